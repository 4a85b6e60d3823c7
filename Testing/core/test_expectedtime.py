"""The time that a job will take, and what earlier runs tell about it."""

from __future__ import annotations

import pytest

from ivimcore import InputError, available, create
from ivimcore.jobs import expectedtime
from ivimcore.jobs.expectedtime import (
    RATES,
    START,
    VARIANTS,
    expected_seconds,
    gain,
    rate_key,
    rate_measured,
    rate_of,
    words,
)
from ivimcore.jobs.job import Request
from ivimcore.physics.phantom import abdomen

VOXELS, IMAGES = 100_000, 12


def test_every_estimator_and_every_option_named_has_a_positive_rate():
    assert {rate.name for rate in RATES} == {name for name, about in available().items() if about.card is None}
    for rate in RATES:
        create(rate.name, **rate.options)
        for images in (4, 12, 100):
            assert rate.base + rate.slope * images > 0 and rate.fixed >= 0
    named = [(name, {key: value for key, value in options.items() if key != "organ"}) for name, options in VARIANTS]
    assert [(rate.name, rate.options) for rate in RATES] == named


def test_the_options_choose_the_rate():
    assert rate_of("posterior") == rate_of("posterior", {"prior": "learned_local", "point": "median"})
    assert rate_of("posterior", {"prior": "uniform"}) < rate_of("posterior", {"prior": "learned_local"})
    assert rate_of("nlls", {"errors": "profile"}) > 3 * rate_of("nlls")
    assert rate_of("nlls", images=100) > rate_of("nlls", images=12) > rate_of("adc")
    assert rate_key("posterior", {"prior": "learned"}) == "posterior prior=learned"
    assert rate_key("nlls") == "nlls"
    organ, file = {"prior": "organ", "organ": "brain"}, {"prior": "file", "prior_file": "prior.npz"}
    assert rate_of("posterior", organ) == rate_of("posterior", file) < rate_of("posterior")


def test_more_work_takes_longer_and_more_cores_less():
    one = expected_seconds([Request("nlls")], VOXELS, IMAGES, threads=1)
    assert one > START
    assert expected_seconds([Request("nlls")], 2 * VOXELS, IMAGES, threads=1) > one
    assert expected_seconds([Request("nlls")], VOXELS, IMAGES, threads=2) < one
    both = expected_seconds([Request("nlls"), Request("posterior")], VOXELS, IMAGES, threads=1)
    assert both > expected_seconds([Request("posterior")], VOXELS, IMAGES, threads=1) > one
    assert gain(1) == 1 and 1.3 < gain(2) < 1.8 and gain(64) < 4 and gain(None) >= 1


def test_what_this_machine_took_before_counts_more_than_the_table():
    request = Request("posterior", {"prior": "learned"})
    table = expected_seconds([request], VOXELS, IMAGES)
    assert expected_seconds([request], VOXELS, IMAGES, measured={"posterior": 5.0}) == pytest.approx(START + 0.5)
    exact = {"posterior": 5.0, "posterior prior=learned": 10.0}
    assert expected_seconds([request], VOXELS, IMAGES, measured=exact) == pytest.approx(START + 1.0)
    assert expected_seconds([request], VOXELS, IMAGES, measured={"nlls": 5.0}) == table


def test_a_run_tells_its_rate_unless_it_was_too_small():
    phantom = abdomen(shape=(48, 48, 3), snr=40)
    fit = create("segmented", fit_f=True).fit(phantom.signal, phantom.acquisition, phantom.mask)
    key, rate = rate_measured(fit.provenance)
    assert key == "segmented fit_f=True"
    assert rate == pytest.approx(fit.provenance["fit_seconds"] / phantom.mask.sum() * 1e6)
    assert rate_measured({**fit.provenance, "voxels": 10}) is None
    small = create("posterior", prior="uniform").fit(phantom.signal, phantom.acquisition, phantom.mask).provenance
    assert rate_measured(small)[0] == "posterior prior=uniform"


def test_an_estimator_that_nobody_measured_counts_as_the_slowest(monkeypatch):
    monkeypatch.setattr(expectedtime, "RATES", tuple(rate for rate in RATES if rate.name != "adc"))
    assert rate_of("adc") == max(rate.base + 12 * rate.slope for rate in RATES)


def test_a_wrong_request_is_refused():
    for request in (Request("magic"), Request("nlls", {"colour": 1})):
        with pytest.raises(InputError):
            expected_seconds([request], VOXELS, IMAGES)


def test_times_are_written_no_more_exact_than_they_are():
    seconds = (0.2, 4.4, 23.0, 54.0, 60.0, 200.0, 3500.0, 5400.0)
    said = ("1 s", "4 s", "25 s", "55 s", "1 min", "3 min", "58 min", "1.5 h")
    assert [words(one) for one in seconds] == [f"about {text}" for text in said]


def test_the_command_measures_and_prints_lines_of_the_table(monkeypatch, capsys):
    monkeypatch.setattr(expectedtime, "VARIANTS", (("adc", {}),))
    expectedtime.main()
    printed = capsys.readouterr().out
    (rate,) = eval(printed.partition("= (")[2].partition("\n")[2].join(("(", "")), {"Rate": expectedtime.Rate})
    assert rate.name == "adc" and rate.base + 12 * rate.slope > 0


def test_a_network_counts_the_time_that_loading_torch_takes():
    fixed = expected_seconds([Request("anyprotocol")], 0, IMAGES) - START
    assert fixed > 1.0
    assert rate_of("anyprotocol", {"ensemble": True}) > rate_of("anyprotocol")
