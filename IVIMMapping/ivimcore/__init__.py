"""The numerical core of IVIMSlicer: intravoxel incoherent motion from diffusion-weighted series.

    from ivimcore import Acquisition, create
    result = create("nlls").fit(signal, Acquisition(bvalues=[0, 10, 20, 50, 100, 200, 400, 800]), mask)
    result.maps["D"]
"""

__version__ = "0.1.0"

from .data.series import DwiSeries, Geometry
from .errors import Cancelled, InputError
from .estimators import FitResult, Status, available, create, describe
from .physics.acquisition import Acquisition
from .physics.parameters import PARAMETERS, Parameter

__all__ = [
    "PARAMETERS",
    "Acquisition",
    "Cancelled",
    "DwiSeries",
    "FitResult",
    "Geometry",
    "InputError",
    "Parameter",
    "Status",
    "available",
    "create",
    "describe",
]
