"""The codes of our DICOM objects in one table: quantity, unit, model, fitting method, derivation.

Code values and meanings are those of PS3.16 as pydicom ships them. Estimators without a standard code get one of the
private scheme 99IVIM, which every object declares. `segmented` is among them: the standard's text on 113268
(Segmented-Unconstrained) and 113269 (Segmented-Constrained) could not be read, and a guess would be worse than none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

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
SCANNER_ADC = {("113041", "DCM"), ("113290", "DCM"), ("113289", "DCM")}
"""Quantities under which scanners and other programs file an ADC map."""

LIMITS = {"low": "Lower end of credible interval", "high": "Upper end of credible interval"}
_BAYES = {"posterior", "bayes_map", "bayes_mrf"}


def parameter_of_map(key: str) -> tuple[Parameter | None, bool]:
    """Return the table's row of a map and whether the map is its standard deviation; None for an unknown key."""
    parent = key.removesuffix("_sd")
    return PARAMETERS.get(parent) or EXTRAS.get(key), parent != key


def model_code(estimator: str) -> Code:
    """Return the diffusion model that an estimator fits."""
    return MONOEXPONENTIAL if estimator == "adc" else BIEXPONENTIAL


def fitting_code(estimator: str, bvalues: Sequence[float]) -> Code:
    """Return the fitting method; nlls is variable projection, neither Levenberg-Marquardt nor a trust region."""
    if estimator == "adc":
        return TWO_SAMPLES if len(set(bvalues)) == 2 else LEAST_SQUARES
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


def quantity_definition(key: str, estimator: str, bvalues: Sequence[float]) -> list[Any]:
    """Build the items of Quantity Definition Sequence (0040,9220): quantity, model, method, derivation, b-values."""
    parameter, _ = parameter_of_map(key)
    assert parameter is not None
    pairs = [(QUANTITY, parameter.quantity_code), (METHOD, model_code(estimator)),
             (FITTING, fitting_code(estimator, bvalues)), (DERIVATION, derivation_code(key))]  # fmt: skip
    items = [coded_item(name, value) for name, value in pairs if value is not None]
    return items + [number_item(B_VALUE, b, B_UNIT) for b in bvalues]


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
