"""The codes of our DICOM objects in one table: quantity, unit, model, fitting method, derivation.

Code values and meanings are those of PS3.16 as pydicom ships them. Estimators without a standard code get one of the
private scheme 99IVIM, which every object declares.

PS3.16 Annex D defines 113268 and 113269 by their names only ("model fitting by the ... method"); the terms are those of
Barbieri et al., Magn Reson Med 2016;75:2175, which PS3.17 Annex EEEE names as their source: there *constrained* takes f
from the intercept of the first step and fits D* alone, *unconstrained* fits f and D* together with D held.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..estimators.segmented import ZERO
from ..physics.parameters import EXTRAS, PARAMETERS, Parameter

Code = tuple[str, str, str]

SCHEME = "99IVIM"
QUANTITY: Code = ("246205007", "SCT", "Quantity")
METHOD: Code = ("370129005", "SCT", "Measurement Method")
FITTING: Code = ("113241", "DCM", "Model fitting method")
DERIVATION: Code = ("121401", "DCM", "Derivation")
B_VALUE: Code = ("113240", "DCM", "Source image diffusion b-value")
B_UNIT: Code = ("s/mm2", "UCUM", "second per square millimeter")
ANALYSIS: Code = ("129105", "DCM", "Diffusion image analysis")
PURPOSE: Code = ("121322", "DCM", "Source image for image processing operation")
STANDARD_DEVIATION: Code = ("386136009", "SCT", "Standard Deviation")
ROOT_MEAN_SQUARE: Code = ("C2347976", "UMLS", "Root Mean Square")
MEAN: Code = ("373098007", "SCT", "Mean")
MEDIAN: Code = ("373099004", "SCT", "Median")
BIEXPONENTIAL: Code = ("113251", "DCM", "Bi-exponential (IVIM) diffusion model")
MONOEXPONENTIAL: Code = ("113250", "DCM", "Mono-exponential diffusion model")
BAYESIAN: Code = ("113270", "DCM", "Bayesian-Probability")
TWO_SAMPLES: Code = ("113260", "DCM", "Log of ratio of two samples")
LEAST_SQUARES: Code = ("113261", "DCM", "Least squares fit of multiple samples")
SEGMENTED_UNCONSTRAINED: Code = ("113268", "DCM", "Segmented-Unconstrained")
SEGMENTED_CONSTRAINED: Code = ("113269", "DCM", "Segmented-Constrained")
SCANNER_ADC = {("113041", "DCM"), ("113290", "DCM"), ("113289", "DCM")}
"""Quantities under which scanners and other programs file an ADC map."""

SOMEWHERE: Code = ("123037004", "SCT", "Body structure")
BODY_PARTS: dict[str, Code] = {
    "ABDOMEN": ("818981001", "SCT", "Abdomen"), "ABDOMENPELVIS": ("818982008", "SCT", "Abdomen and Pelvis"),
    "BRAIN": ("12738006", "SCT", "Brain"), "BREAST": ("76752008", "SCT", "Breast"),
    "CHEST": ("816094009", "SCT", "Chest"),
    "CSPINE": ("122494005", "SCT", "Cervical spine"), "HEAD": ("69536005", "SCT", "Head"),
    "HEADNECK": ("774007", "SCT", "Head and Neck"), "KIDNEY": ("64033007", "SCT", "Kidney"),
    "LIVER": ("10200004", "SCT", "Liver"), "LSPINE": ("122496007", "SCT", "Lumbar spine"),
    "NECK": ("45048000", "SCT", "Neck"), "PANCREAS": ("15776009", "SCT", "Pancreas"),
    "PELVIS": ("816092008", "SCT", "Pelvis"), "PROSTATE": ("41216001", "SCT", "Prostate"),
    "RECTUM": ("34402009", "SCT", "Rectum"), "SPINE": ("421060004", "SCT", "Spine"),
    "SPLEEN": ("78961009", "SCT", "Spleen"), "TSPINE": ("122495006", "SCT", "Thoracic spine"),
    "UTERUS": ("35039007", "SCT", "Uterus"), "WHOLEBODY": ("38266002", "SCT", "Entire body"),
}  # fmt: skip
"""Anatomic region by Body Part Examined (PS3.16 Annex L)."""

LIMITS = {"low": "Lower end of credible interval", "high": "Upper end of credible interval"}
_BAYES = {"posterior", "bayes_map", "bayes_mrf"}


def parameter_of_map(key: str) -> tuple[Parameter | None, bool]:
    """Return the table's row of a map and whether the map is its standard deviation; None for an unknown key."""
    parent = key.removesuffix("_sd")
    return PARAMETERS.get(parent) or EXTRAS.get(key), parent != key


def model_code(estimator: str) -> Code:
    """Return the diffusion model that an estimator fits."""
    return MONOEXPONENTIAL if estimator == "adc" else BIEXPONENTIAL


def fitting_code(estimator: str, bvalues: Sequence[float], options: Mapping[str, Any] | None = None) -> Code:
    """Return the fitting method; nlls is variable projection, neither Levenberg-Marquardt nor a trust region.

    `options` of the fit, by name: `segmented` with `fit_f`, or without an image at b = 0, fits f in its second step.
    """
    if estimator == "adc":
        return TWO_SAMPLES if len(set(bvalues)) == 2 else LEAST_SQUARES
    if estimator == "segmented":
        joint = bool((options or {}).get("fit_f")) or min(bvalues, default=0.0) > ZERO
        return SEGMENTED_UNCONSTRAINED if joint else SEGMENTED_CONSTRAINED
    if estimator == "nlls":
        return LEAST_SQUARES
    return BAYESIAN if estimator in _BAYES else (estimator[:16], SCHEME, f"IVIMSlicer estimator {estimator}"[:64])


def derivation_code(key: str) -> Code | None:
    """Return how a map was derived from its quantity, where it is not the quantity itself."""
    if key.endswith("_sd"):
        return STANDARD_DEVIATION
    if key == "rmse":
        return ROOT_MEAN_SQUARE
    end = key.rpartition("_")[2]
    return (f"credible_{end}", SCHEME, LIMITS[end]) if end in LIMITS else None


def quantity_definition(
    key: str, estimator: str, bvalues: Sequence[float], options: Mapping[str, Any] | None = None
) -> list[Any]:
    """Build the items of Quantity Definition Sequence (0040,9220): quantity, model, method, derivation, b-values."""
    parameter, _ = parameter_of_map(key)
    assert parameter is not None
    pairs = [(QUANTITY, parameter.quantity_code), (METHOD, model_code(estimator)),
             (FITTING, fitting_code(estimator, bvalues, options)), (DERIVATION, derivation_code(key))]  # fmt: skip
    items = [coded_item(name, value) for name, value in pairs if value is not None]
    return items + [number_item(B_VALUE, b, B_UNIT) for b in bvalues]


def key_of(quantity: tuple[str, str] | None, derivation: tuple[str, str] | None = None) -> str:
    """Return the key of the map with that quantity and derivation, (value, scheme) each; '' for none of ours."""
    if quantity is None:
        return ""
    candidates = [key for key, parameter in {**PARAMETERS, **EXTRAS}.items()
                  if parameter.quantity_code[:2] == quantity]  # fmt: skip
    candidates += [f"{key}_sd" for key in candidates]
    for key in candidates:
        code = derivation_code(key)
        if (code[:2] if code else None) == derivation:
            return key
    return "ADC" if quantity in SCANNER_ADC and derivation is None else ""


def concept(code: Code) -> Any:
    """Return one item of a code sequence."""
    from highdicom.sr import CodedConcept

    return CodedConcept(value=code[0], scheme_designator=code[1], meaning=code[2][:64])


def coded_item(name: Code, value: Code) -> Any:
    """Return a content item whose value is a code."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.ValueType = "CODE"
    item.ConceptNameCodeSequence = [concept(name)]
    item.ConceptCodeSequence = [concept(value)]
    return item


def number_item(name: Code, value: float, unit: Code) -> Any:
    """Return a number in the form of the content item macro; highdicom's has that of structured reports."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.ValueType = "NUMERIC"
    item.ConceptNameCodeSequence = [concept(name)]
    item.NumericValue = f"{value:.10g}"
    item.MeasurementUnitsCodeSequence = [concept(unit)]
    return item


def declare_scheme(dataset: Any) -> None:
    """Declare the private coding scheme in Coding Scheme Identification Sequence (0008,0110)."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodingSchemeDesignator = SCHEME
    item.CodingSchemeName = "IVIMSlicer estimators and maps"
    item.CodingSchemeResponsibleOrganization = "IVIMSlicer"
    known = [kept for kept in dataset.get("CodingSchemeIdentificationSequence", [])
             if kept.CodingSchemeDesignator != SCHEME]  # fmt: skip
    dataset.CodingSchemeIdentificationSequence = [*known, item]


def model_sentence(provenance: Mapping[str, Any]) -> str:
    """Say which trained model was used, '' for none."""
    card = provenance.get("model") or provenance.get("card") or {}
    if not isinstance(card, Mapping) or not card:
        return ""
    return f"model {card.get('id', '')} sha256 {str(card.get('sha256', ''))[:16]}".strip()
