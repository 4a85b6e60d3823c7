"""The table of parameters is complete and consistent."""

from __future__ import annotations

import pytest

from ivimcore.physics.parameters import PARAMETERS, PERFUSION_EXISTS
from ivimcore.physics.presets import broad_bounds

ALL = list(PARAMETERS.values())


def test_every_map_that_is_written_is_in_the_table():
    assert {"D", "f", "Dstar", "S0", "rmse", "ADC"} <= set(PARAMETERS)


@pytest.mark.parametrize("parameter", ALL, ids=lambda p: p.key)
def test_the_key_of_the_table_is_the_key_of_the_row(parameter):
    assert PARAMETERS[parameter.key] is parameter


@pytest.mark.parametrize("parameter", ALL, ids=lambda p: p.key)
def test_every_row_has_words_units_and_codes(parameter):
    texts = (parameter.symbol, parameter.description, parameter.unit, parameter.display_unit, parameter.colors)
    assert all(texts)
    for code in (parameter.quantity_code, parameter.unit_code):
        assert len(code) == 3
        assert all(code)
    assert parameter.display_factor > 0


@pytest.mark.parametrize("parameter", [p for p in ALL if p.typical], ids=lambda p: p.key)
def test_bounds_contain_what_is_typical_and_what_is_shown_contains_it_too(parameter):
    assert parameter.bounds[0] <= parameter.typical[0] < parameter.typical[1] <= parameter.bounds[1]
    low, high = parameter.stored_range
    assert low <= parameter.typical[0] * (1 + 1e-9)
    assert high >= parameter.typical[1] * (1 - 1e-9)


def test_a_label_names_symbol_and_unit():
    assert PARAMETERS["Dstar"].label == "D* [10⁻³ mm²/s]"
    assert PARAMETERS["f"].label == "f [%]"


def test_a_stored_value_is_written_in_display_units():
    assert PARAMETERS["D"].format(1.234e-3) == "1.23 10⁻³ mm²/s"
    assert PARAMETERS["f"].format(0.125) == "12.5 %"


def test_the_display_window_is_given_in_stored_units_too():
    assert PARAMETERS["f"].stored_range == pytest.approx((0.0, 0.4))
    assert PARAMETERS["S0"].stored_range is None


def test_the_slowest_blood_is_faster_than_the_bound_of_tissue():
    bounds = broad_bounds()
    assert bounds["Dstar"][0] >= bounds["D"][1]
    assert 0 < PERFUSION_EXISTS < bounds["f"][1]
