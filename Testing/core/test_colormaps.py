"""The colour tables of the maps are even, monotone in lightness, and stay apart for colour-blind readers."""

import numpy as np
import pytest

from ivimcore.physics.parameters import PARAMETERS
from ivimcore.reports.colormaps import COLORMAPS, SIZE, colormap, srgb_from_oklab

# Machado, Oliveira, Fernandes, IEEE Trans. Vis. Comput. Graph. 2009;15:1291: complete deficiency, linear RGB.
PROTANOPIA = np.array([
    [0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998],
])
DEUTERANOPIA = np.array([
    [0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881],
])
VISION = {"normal": np.eye(3), "protanopia": PROTANOPIA, "deuteranopia": DEUTERANOPIA}
OURS = [name for name in COLORMAPS if name.startswith("IVIM")]


def cielab(srgb, vision="normal"):
    """CIELAB (n, 3) under D65 of sRGB colours (n, 3), as seen with the given vision."""
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ VISION[vision].T, 0.0, 1.0)
    to_xyz = np.array([
        [0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041],
    ])
    xyz = linear @ to_xyz.T / to_xyz.sum(axis=1)
    curved = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack(
        [116 * curved[:, 1] - 16, 500 * (curved[:, 0] - curved[:, 1]), 200 * (curved[:, 1] - curved[:, 2])], axis=1
    )


@pytest.mark.parametrize("name", COLORMAPS)
def test_table_has_256_colours_inside_the_gamut_and_cannot_be_changed(name):
    table = colormap(name)
    assert table.shape == (SIZE, 3)
    assert table.min() >= 0.0 and table.max() <= 1.0
    with pytest.raises(ValueError):
        table[0] = 1.0


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("name", COLORMAPS)
def test_lightness_rises_at_every_step_for_every_vision(name, vision):
    assert np.diff(cielab(colormap(name), vision)[:, 0]).min() > 0.1


@pytest.mark.parametrize("name", OURS)
def test_steps_of_lightness_and_of_colour_are_even(name):
    lab = cielab(colormap(name))
    lightness = np.diff(lab[:, 0])
    assert lightness.std() / lightness.mean() < 0.1
    colour = np.linalg.norm(np.diff(lab, axis=0), axis=1)
    assert colour.std() / colour.mean() < 0.25
    assert colour.max() / colour.min() < 2.5


@pytest.mark.parametrize("name", OURS)
def test_dark_end_is_visible_against_black_and_bright_end_is_not_white(name):
    lab = cielab(colormap(name))
    assert 8 < lab[0, 0] < 20
    assert 90 < lab[-1, 0] < 97


@pytest.mark.parametrize(("vision", "least"), [("normal", 30), ("protanopia", 10), ("deuteranopia", 10)])
def test_middle_colours_of_the_three_parameters_stay_apart(vision, least):
    middle = [cielab(colormap(PARAMETERS[key].colors)[96:192:16], vision) for key in ("D", "f", "Dstar")]
    for i in range(3):
        for j in range(i):
            assert np.linalg.norm(middle[i] - middle[j], axis=1).min() > least


def test_every_parameter_has_its_table():
    assert {parameter.colors for parameter in PARAMETERS.values()} <= set(COLORMAPS)


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(KeyError, match="IVIM Diffusion"):
        colormap("Jet")


def test_white_and_black_of_oklab_are_those_of_srgb():
    np.testing.assert_allclose(srgb_from_oklab([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]), [[1, 1, 1], [0, 0, 0]], atol=1e-5)
