"""The digital reference objects: what they contain, and that signal and truth belong together."""

from __future__ import annotations

import numpy as np
import pytest

from ivimcore.data.phantom_series import series_of_phantom
from ivimcore.errors import InputError
from ivimcore.physics.acquisition import Acquisition
from ivimcore.physics.parameters import PARAMETERS
from ivimcore.physics.phantom import ABDOMEN, BRAIN, REFERENCE_SIGNAL, abdomen, brain
from ivimcore.physics.protocols import PROTOCOLS, protocol
from ivimcore.physics.signal import biexponential

BOTH = pytest.mark.parametrize(("make", "tissues"), [(abdomen, ABDOMEN), (brain, BRAIN)], ids=["abdomen", "brain"])


@BOTH
def test_every_tissue_of_the_table_is_there_with_its_name(make, tissues):
    phantom = make()
    assert phantom.names == {tissue.label: tissue.name for tissue in tissues}
    assert set(np.unique(phantom.labels)) == {0, *phantom.names}
    assert 0.2 < phantom.mask.mean() < 0.8


@BOTH
@pytest.mark.parametrize("shape", [(96, 96, 8), (144, 144, 18), (64, 80, 3)])
def test_the_lesion_has_27_voxels_at_every_resolution(make, tissues, shape):
    phantom = make(shape=shape, snr=None)
    (lesion,) = [label for label, name in phantom.names.items() if name == "lesion"]
    found = np.argwhere(phantom.labels == lesion)
    assert len(found) == 27
    assert (np.ptp(found, axis=0) == 2).all()


@BOTH
def test_without_noise_the_signal_is_that_of_the_truth(make, tissues):
    phantom = make(snr=None)
    inside, truth = phantom.mask, phantom.truth
    expected = biexponential(
        phantom.acquisition.bvalues, truth["S0"][inside], truth["D"][inside], truth["f"][inside], truth["Dstar"][inside]
    )
    np.testing.assert_allclose(phantom.signal[inside], expected, rtol=1e-5)
    assert (phantom.signal[~inside] == 0).all()
    assert np.isnan(truth["D"][~inside]).all()


@BOTH
def test_without_variation_every_voxel_has_the_value_of_its_tissue(make, tissues):
    phantom = make(variation=0.0, snr=None)
    for tissue in tissues:
        there = phantom.labels == tissue.label
        for key, factor in (("D", 1), ("f", 1), ("Dstar", 1), ("S0", REFERENCE_SIGNAL)):
            np.testing.assert_allclose(phantom.truth[key][there], getattr(tissue, key) * factor, rtol=1e-6)


@BOTH
def test_variation_is_slow_and_stays_within_the_bounds(make, tissues):
    phantom = make(snr=None, variation=0.08)
    for key in ("D", "f", "Dstar"):
        values = phantom.truth[key][phantom.mask]
        low, high = PARAMETERS[key].bounds
        assert low <= values.min() <= values.max() <= high
    there = phantom.labels == tissues[0].label
    neighbours = there[1:] & there[:-1]
    steps = np.abs(np.diff(phantom.truth["D"], axis=0))[neighbours]
    assert phantom.truth["D"][there].std() > 5 * np.median(steps)


def test_noise_has_the_stated_snr():
    phantom = abdomen(snr=25.0)
    clean = abdomen(snr=None)
    liver = phantom.labels == 5
    assert phantom.sigma == REFERENCE_SIGNAL / 25
    assert (phantom.signal - clean.signal)[liver][:, 0].std() == pytest.approx(phantom.sigma, rel=0.05)
    background = phantom.signal[~phantom.mask]
    assert background.mean() == pytest.approx(phantom.sigma * np.sqrt(np.pi / 2), rel=0.01)


def test_the_same_seed_gives_the_same_object_and_another_seed_another():
    first, second, third = abdomen(seed=4), abdomen(seed=4), abdomen(seed=5)
    np.testing.assert_array_equal(first.signal, second.signal)
    assert (first.signal != third.signal).any()


def test_the_brain_lesion_has_1_8_times_the_f_of_white_matter():
    values = {tissue.name: tissue for tissue in BRAIN}
    assert values["lesion"].f / values["white matter"].f == pytest.approx(1.8)


def test_an_oblique_grid_is_a_rotation_with_three_different_spacings():
    series = series_of_phantom(abdomen(oblique=True, snr=None))
    spacing = series.geometry.spacing
    assert len({round(s, 6) for s in spacing}) == 3
    turn = series.geometry.affine[:3, :3] / spacing
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(turn) > 0
    assert np.abs(turn).max() < 0.999


def test_the_liver_is_on_the_right_and_the_vertebra_at_the_back():
    phantom = abdomen(snr=None)

    def centre(label):
        return phantom.affine @ [*np.argwhere(phantom.labels == label).mean(axis=0), 1]

    assert centre(5)[0] > 20  # of RAS, positive is the right
    assert centre(6)[0] < -20
    assert centre(4)[1] < -20


@pytest.mark.parametrize("name", PROTOCOLS)
def test_any_protocol_can_be_measured(name):
    phantom = brain(protocol=name, shape=(32, 32, 1), snr=30)
    assert phantom.signal.shape[3] == len(protocol(name).bvalues)
    assert PROTOCOLS[name].source.endswith(".")


def test_an_acquisition_can_be_given_instead_of_a_name():
    phantom = brain(protocol=Acquisition([0, 0, 500]), shape=(32, 32, 1))
    assert phantom.signal.shape == (32, 32, 1, 3)


def test_the_series_carries_geometry_b_values_and_says_that_it_is_simulated():
    phantom = abdomen()
    series = series_of_phantom(phantom)
    assert series.signal.shape[:3] == series.geometry.shape == phantom.labels.shape
    assert series.acquisition is phantom.acquisition
    assert "Simulated" in series.decisions[0]


def test_an_unknown_protocol_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match="paper1"):
        abdomen(protocol="another")


def test_a_grid_too_small_for_the_organs_is_refused():
    with pytest.raises(InputError, match="32 x 32 x 1"):
        abdomen(shape=(16, 16, 4))
