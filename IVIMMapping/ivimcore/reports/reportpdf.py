"""A page of HTML onto paper: by WeasyPrint, which needs no browser, else by a Chromium that is installed.

WeasyPrint (BSD) is preferred because it numbers the pages and runs wherever Pango is; Chromium is the way out where the
libraries of Pango are missing.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import tempfile
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
LONGEST = 180
"""Seconds that printing may take."""


def browser() -> str | None:
    """Return the path of a Chromium on this computer, None without one."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def print_pdf(page: Path, target: Path) -> str:
    """Print a local HTML file; return '' where that worked, else a sentence why there is no PDF.

    Neither way fetches anything: the page holds all it needs, and an address in it is refused.
    """
    if by_weasyprint(page, target):
        return ""
    program = browser()
    if program and by_chromium(program, page, target):
        return ""
    return (
        "No PDF was made: neither WeasyPrint (pip install 'ivimslicer[report]', with the Pango libraries of the "
        "system) nor Chromium is there; print report.html from a browser."
    )


def by_weasyprint(page: Path, target: Path) -> bool:
    """Print by WeasyPrint; False where it or the libraries of Pango are missing."""
    try:
        import weasyprint
    except (ImportError, OSError):  # OSError: the package is there, the libraries of Pango are not
        return False
    for name in ("weasyprint", "fontTools"):
        logging.getLogger(name).setLevel(logging.CRITICAL)

    class OnlyInside(weasyprint.URLFetcher):
        def fetch(self, url: str, headers: object = None) -> object:
            if not url.startswith("data:"):
                raise ValueError("a report fetches nothing")
            return super().fetch(url, headers)

    weasyprint.HTML(string=page.read_text(encoding="utf-8"), url_fetcher=OnlyInside()).write_pdf(target)
    return True


def by_chromium(program: str, page: Path, target: Path) -> bool:
    """Print by a Chromium whose path is `program`; False where that did not work."""
    with tempfile.TemporaryDirectory() as profile:
        command = [
            program, "--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer", "--disable-extensions",
            "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
            f"--user-data-dir={profile}", f"--print-to-pdf={target}", page.resolve().as_uri(),
        ]  # fmt: skip
        try:
            done = subprocess.run(command, capture_output=True, timeout=LONGEST, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return False
    return done.returncode == 0 and target.is_file()
