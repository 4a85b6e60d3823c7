"""The table of parameters that a panel shows, generated from the description of each estimator."""

from __future__ import annotations

import re

import numpy as np
import pytest

from ivimcore import PARAMETERS, Acquisition, InputError, available, create
from ivimcore.estimators.parametertable import bounds_from_rows, other_options, parameter_rows
from ivimcore.physics.presets import preset
from ivimcore.physics.signal import biexponential

CLASSICAL = [name for name, about in available().items() if about.card is None]
"""A network has no limits to set, and is not fitted in the process of a window."""


def by_key(name, *arguments):
    return {row.key: row for row in parameter_rows(name, *arguments)}


@pytest.mark.parametrize("name", available())
def test_every_estimator_has_a_table_whose_untouched_rows_change_nothing(name):
    for organ in ("none", "brain"):
        rows = parameter_rows(name, organ)
        assert bounds_from_rows(rows) == {}
        assert all(row.unit == PARAMETERS[row.key].display_unit and row.start == "automatic" for row in rows)
        assert {row.key for row in rows if row.estimated} == set(available()[name].parameters)
        assert all(row.typical is None or row.typical_text for row in rows)


def test_a_bi_exponential_fit_limits_three_parameters_in_the_unit_of_display():
    rows = by_key("nlls")
    D = rows["D"]
    assert (D.lower, D.upper, D.fixed, D.editable) == (0.0, 5e-3, False, True)
    assert (D.shown(D.lower), D.shown(D.upper), D.unit) == ("0", "5", "10⁻³ mm²/s")
    assert D.typical_text == "0.7 to 2" and rows["f"].typical_text == "2 to 35" and rows["f"].unit == "%"
    assert rows["S0"].lower is None and not rows["S0"].editable and rows["S0"].shown(None) == ""


def test_the_apparent_diffusion_coefficient_has_no_use_for_perfusion():
    rows = by_key("adc")
    assert list(rows) == ["ADC", "S0", "f", "Dstar"]
    assert not any(row.editable for row in rows.values())
    assert rows["ADC"].estimated and not rows["f"].estimated
    with pytest.raises(InputError, match=re.escape("takes no limits of D*")):
        rows["Dstar"].edited(lower=1)


def test_an_organ_fills_limits_and_typical_values():
    rows = by_key("posterior", "brain")
    assert rows["D"].upper == 4e-3 and rows["D"].typical == (0.83e-3, 0.83e-3) and rows["D"].typical_text == "0.83"
    assert rows["f"].upper == preset("brain").bounds["f"][1]


def test_only_what_a_person_changed_is_returned():
    rows = parameter_rows("nlls", "liver")
    changed = [row.edited(upper=3) if row.key == "D" else row for row in rows]
    assert bounds_from_rows(changed) == {"D": (0.0, 3e-3)}
    again = by_key("nlls", "liver", bounds_from_rows(changed))
    assert again["D"].upper == pytest.approx(3e-3) and not again["D"].is_default and again["f"].is_default


def test_a_fixed_parameter_has_one_value_and_returns_to_its_limits():
    row = by_key("nlls", "liver")["Dstar"]
    fixed = row.edited(fixed=True)
    assert fixed.fixed and fixed.lower == fixed.upper == 70e-3
    other = fixed.edited(lower=50)
    assert other.fixed and other.lower == other.upper == 50e-3
    assert other.edited(upper=60).lower == 60e-3
    assert other.edited(fixed=False) == row
    assert row.edited(lower=40, upper=40).fixed
    assert by_key("nlls", "none", {"D": (1e-3, 1e-3)})["D"].fixed


@pytest.mark.parametrize("name", [name for name in CLASSICAL if "f" in available()[name].parameters])
def test_a_parameter_fixed_in_the_table_stays_fixed_in_the_fit(name):
    b = np.array([0, 10, 20, 40, 80, 150, 300, 500, 800.0])
    rows = [row.edited(fixed=True) if row.key == "Dstar" else row for row in parameter_rows(name, "liver")]
    estimator = create(name, organ="liver", bounds=bounds_from_rows(rows))
    signal = biexponential(b, 100.0, 1.1e-3, 0.2, 60e-3) + np.random.default_rng(1).normal(size=(4, 4, 1, b.size))
    result = estimator.fit(signal, Acquisition(b, sigma=1.0))
    np.testing.assert_allclose(result.maps["Dstar"], 70e-3, rtol=1e-4)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"lower": 3, "upper": 1}, "lower first"),
        ({"upper": -1}, "must be positive"),
        ({"upper": 5000}, "check the unit"),
        ({"upper": float("nan")}, "must be positive"),
    ],
)
def test_limits_that_make_no_sense_are_refused_with_the_sentence_of_the_option(change, words):
    rows = [row.edited(**change) if row.key == "D" else row for row in parameter_rows("nlls")]
    with pytest.raises(InputError, match=re.escape(words)):
        bounds_from_rows(rows)


def test_a_wrong_estimator_organ_or_limit_is_refused():
    for arguments in (("magic",), ("nlls", "toe"), ("nlls", "none", {"D": (2, 1)})):
        with pytest.raises(InputError):
            parameter_rows(*arguments)


def test_the_other_options_are_those_that_the_table_does_not_show():
    assert [option.name for option in other_options("segmented")] == ["threshold", "fit_f"]
    for name, about in available().items():
        shown = {option.name for option in other_options(name)}
        assert shown == {option.name for option in about.options} - {"bounds", "organ"}
