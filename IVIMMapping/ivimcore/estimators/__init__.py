"""The estimators, behind one interface; importing this package registers all of them."""

# In the order in which lists show them; the names are used nowhere else.
from . import posterior, nlls, mle, bayes, mrf, segmented, adc, trained  # noqa: F401, I001
from .base import Estimator, Option, Problem
from .registry import available, create, describe
from .result import SENTENCES, FitResult, Status

DEFAULT = "posterior"
"""The estimator that runs where a person chose none."""

__all__ = [
    "DEFAULT",
    "SENTENCES",
    "Estimator",
    "FitResult",
    "Option",
    "Problem",
    "Status",
    "available",
    "create",
    "describe",
]
