"""Values of options that more than one command takes."""

from __future__ import annotations

import argparse


def seed(text: str) -> int:
    """Read a seed of random numbers, as numpy and torch take it."""
    if not text.isdecimal() or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"'{text}' is no seed, give a whole number from 0 on")
    return int(text)
