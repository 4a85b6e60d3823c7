"""What every registered estimator must do; run by `test_estimators.py` on each of them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from ivimcore import PARAMETERS, Acquisition, Cancelled, InputError, Status, create
from ivimcore.physics.signal import biexponential, monoexponential

PROTOCOL = Acquisition([0, 10, 20, 40, 80, 110, 140, 170, 200, 300, 400, 500, 600, 700, 800, 900])


def phantom(name: str, noise: float = 0.0, seed: int = 0, shape=(6, 5, 4)) -> SimpleNamespace:
    """Return signal and truth that the named estimator can recover: one exponential for `adc`, two for the others."""
    rng = np.random.default_rng(seed)
    truth = {
        "D": rng.uniform(0.7e-3, 1.8e-3, shape), "f": rng.uniform(0.08, 0.4, shape),
        "Dstar": rng.uniform(30e-3, 90e-3, shape), "S0": rng.uniform(200, 900, shape),
    }
    if name == "adc":
        truth = {"ADC": truth["D"], "S0": truth["S0"]}
        signal = monoexponential(PROTOCOL.bvalues, truth["S0"], truth["ADC"])
    else:
        signal = biexponential(PROTOCOL.bvalues, truth["S0"], truth["D"], truth["f"], truth["Dstar"])
    noise_arrays = rng.normal(size=(2, *signal.shape)) * noise
    return SimpleNamespace(truth=truth, signal=np.hypot(signal + noise_arrays[0], noise_arrays[1]))


TOLERANCE = {"segmented": 0.06, "bayes_map": 1e-3, "bayes_mrf": 1e-3, "posterior": 2e-3}
"""Relative error allowed without noise. 'segmented' keeps the bias of perfusion that is left above its threshold:
exp(-200 * 0.03) = 0.25 % of S0, several per cent of a small f. A prior pulls with a force of sigma², and those with
priors assume at least the rounding of single precision as noise, 'posterior' an SNR of some thousand."""
SCATTER = {"bayes_map": (0.75, 3.0), "bayes_mrf": (0.75, 4.0)}
"""Claimed / seen spread that is allowed. Those with priors claim the uncertainty about the truth, which is wider than
the scatter of estimates that a prior has drawn together: in a phantom of one tissue the prior draws as hard as it can.
"""
REGION_TEACHES = {"bayes_map", "bayes_mrf", "posterior"}
"""Estimators that learn from the whole region: a smaller one gives other values inside it, by design."""
ORDER = {"bayes_mrf": 0.02}
"""Relative change allowed when the axes are turned round. The half sweeps of a Markov random field then begin with the
other colour, and they end when a round changes the maps by less than 1 % of their uncertainty."""


def recovers_the_noise_free_phantom(name: str) -> None:
    case = phantom(name)
    result = create(name).fit(case.signal, PROTOCOL)
    for key, truth in case.truth.items():
        np.testing.assert_allclose(result.maps[key], truth, rtol=TOLERANCE.get(name, 1e-4), err_msg=key)
    assert (result.status == Status.OK).all()
    assert (result.residual <= {"segmented": 0.02, "posterior": 2e-4}.get(name, 1e-5) * case.truth["S0"]).all()


def gives_every_parameter_with_unit_shape_and_provenance(name: str) -> None:
    case = phantom(name, noise=5)
    estimator = create(name)
    result = estimator.fit(case.signal, PROTOCOL)
    shape = case.signal.shape[:3]
    assert set(result.maps) == set(estimator.parameters) <= set(PARAMETERS)
    assert set(result.errors) <= set(result.maps)
    for array in (*result.maps.values(), *result.errors.values(), result.residual, result.status):
        assert array.shape == shape
    assert result.status.dtype == np.uint8
    assert result.provenance["estimator"] == name
    assert result.provenance["bvalues_used"] == list(PROTOCOL.bvalues)


def has_errors_of_the_size_of_the_scatter(name: str) -> None:
    """The claimed standard deviation matches the spread over noise draws within 25 % for a voxel of high SNR."""
    b = PROTOCOL.bvalues
    one = monoexponential(b, 500.0, 1e-3) if name == "adc" else biexponential(b, 500.0, 1e-3, 0.3, 40e-3)
    signal = one + np.random.default_rng(2).normal(scale=2.5, size=(20, 20, 5, b.size))
    result = create(name).fit(signal, PROTOCOL)
    for key in result.errors:
        claimed, seen = np.nanmedian(result.errors[key]), np.nanstd(result.maps[key])
        low, high = SCATTER.get(name, (0.75, 1.25))
        assert low < claimed / seen < high, f"{key}: claims {claimed:g}, scatters by {seen:g}"


def leaves_voxels_outside_the_mask_alone(name: str) -> None:
    case = phantom(name, noise=5)
    mask = np.zeros(case.signal.shape[:3], bool)
    mask[1:3, 2:4, 1] = True
    # The noise level is told, because one that is estimated depends on the region as well.
    known = Acquisition(PROTOCOL.bvalues, sigma=5.0)
    part, whole = create(name).fit(case.signal, known, mask), create(name).fit(case.signal, known)
    assert (part.status[~mask] == Status.OUTSIDE).all()
    for key in part.maps:
        assert np.isnan(part.maps[key][~mask]).all()
        assert np.isfinite(part.maps[key][mask]).all()
        if name in REGION_TEACHES:
            continue
        np.testing.assert_allclose(part.maps[key][mask], whole.maps[key][mask], rtol=1e-5)


def does_not_care_for_the_order_of_voxels_or_of_memory(name: str) -> None:
    case = phantom(name, noise=5)
    there = create(name).fit(case.signal, PROTOCOL)
    back = create(name).fit(case.signal[::-1, :, ::-1], PROTOCOL)
    fortran = create(name).fit(np.asfortranarray(case.signal), PROTOCOL)
    for key in there.maps:
        np.testing.assert_allclose(back.maps[key][::-1, :, ::-1], there.maps[key], rtol=ORDER.get(name, 1e-5))
        np.testing.assert_allclose(fortran.maps[key], there.maps[key], rtol=1e-5)


def does_not_care_for_the_order_of_images(name: str) -> None:
    case = phantom(name, noise=5)
    order = np.random.default_rng(1).permutation(PROTOCOL.count)
    sorted_ = create(name).fit(case.signal, PROTOCOL)
    shuffled = create(name).fit(case.signal[..., order], PROTOCOL.select(order))
    for key in sorted_.maps:
        np.testing.assert_allclose(shuffled.maps[key], sorted_.maps[key], rtol=1e-5)


def gives_the_same_result_again(name: str) -> None:
    case = phantom(name, noise=20)
    first, second = create(name).fit(case.signal, PROTOCOL), create(name).fit(case.signal, PROTOCOL)
    for key in first.maps:
        np.testing.assert_array_equal(first.maps[key], second.maps[key])


def scales_only_S0_with_the_signal(name: str) -> None:
    case = phantom(name, noise=5)
    one, thousand = create(name).fit(case.signal, PROTOCOL), create(name).fit(case.signal * 1000, PROTOCOL)
    for key in one.maps:
        factor = 1000 if key == "S0" else 1
        np.testing.assert_allclose(thousand.maps[key], one.maps[key] * factor, rtol=1e-4)
    np.testing.assert_allclose(thousand.residual, one.residual * 1000, rtol=1e-4)


def reports_voxels_without_a_value(name: str) -> None:
    case = phantom(name, noise=5)
    case.signal[0, 0, 0, 3] = np.nan
    case.signal[1, 0, 0] = 0
    case.signal[2, 0, 0] = -5
    result = create(name).fit(case.signal, PROTOCOL)
    assert result.status[0, 0, 0] == Status.NOT_FINITE
    assert result.status[1, 0, 0] == Status.NO_SIGNAL
    assert result.status[2, 0, 0] in (Status.NEGATIVE, Status.NO_DECAY)
    for key in result.maps:
        assert np.isnan(result.maps[key][:3, 0, 0]).all()
        assert np.isfinite(result.maps[key][3:, 0, 0]).all()
    assert len(result.status_counts()) >= 3


def stops_when_asked(name: str) -> None:
    case = phantom(name, noise=5)
    calls = []

    def progress(done: int, total: int) -> bool:
        calls.append((done, total))
        return False

    with pytest.raises(Cancelled):
        create(name).fit(case.signal, PROTOCOL, progress=progress)
    assert calls == [(0, case.signal[..., 0].size)]


def reports_progress_to_the_end(name: str) -> None:
    case = phantom(name, noise=5)
    calls = []
    create(name).fit(case.signal, PROTOCOL, progress=lambda *call: bool(calls.append(call)) or True)
    total = case.signal[..., 0].size
    assert calls[0] == (0, total) and calls[-1] == (total, total)
    assert calls == sorted(calls)


def refuses_what_cannot_be_fitted_in_one_sentence(name: str) -> None:
    case = phantom(name)
    estimator = create(name)
    for arguments, words in (
        ((case.signal[..., :1], PROTOCOL.select([0])), "b-values"),
        ((case.signal[..., 0], PROTOCOL), "four axes"),
        ((case.signal[..., :5], PROTOCOL), "16 b-values for 5 images"),
        ((case.signal, PROTOCOL, np.ones((2, 2, 2), bool)), "mask has shape"),
        ((case.signal, PROTOCOL, np.zeros(case.signal.shape[:3], bool)), "empty"),
    ):
        with pytest.raises(InputError, match=words) as refusal:
            estimator.fit(*arguments)
        assert "\n" not in str(refusal.value)


def describes_itself_and_refuses_unknown_options(name: str) -> None:
    from ivimcore import describe

    about = describe(name)
    assert about.title and about.description and about.references
    for option in about.options:
        assert option.sentence.endswith(".")
        assert option.check(option.default) == option.default
    with pytest.raises(InputError, match="no option 'colour'"):
        create(name, colour="blue")


CHECKS = (
    recovers_the_noise_free_phantom,
    gives_every_parameter_with_unit_shape_and_provenance,
    has_errors_of_the_size_of_the_scatter,
    leaves_voxels_outside_the_mask_alone,
    does_not_care_for_the_order_of_voxels_or_of_memory,
    does_not_care_for_the_order_of_images,
    gives_the_same_result_again,
    scales_only_S0_with_the_signal,
    reports_voxels_without_a_value,
    stops_when_asked,
    reports_progress_to_the_end,
    refuses_what_cannot_be_fitted_in_one_sentence,
    describes_itself_and_refuses_unknown_options,
)
