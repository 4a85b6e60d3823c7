"""The estimators, behind one interface; importing this package registers all of them."""

from . import adc, nlls, segmented
from .base import Estimator, Option, Problem
from .registry import available, create, describe
from .result import SENTENCES, FitResult, Status

__all__ = [
    "SENTENCES",
    "Estimator",
    "FitResult",
    "Option",
    "Problem",
    "Status",
    "adc",
    "available",
    "create",
    "describe",
    "nlls",
    "segmented",
]
