"""The estimators, behind one interface; importing this package registers all of them."""

from . import adc, bayes, mle, mrf, nlls, posterior, segmented
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
    "bayes",
    "create",
    "describe",
    "mle",
    "mrf",
    "nlls",
    "posterior",
    "segmented",
]
