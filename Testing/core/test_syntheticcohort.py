"""The synthetic cohort, linearity, and the protocol sheet: known truth in, honest sentences out."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from refusal import refused

from ivimcore.cli import main
from ivimcore.data.reading import read_labels, read_series
from ivimcore.evaluation import linearity, suite
from ivimcore.evaluation.cohortbenchmark import COLUMNS, format_table, run
from ivimcore.evaluation.linearity import Line, fit_line, sentence
from ivimcore.evaluation.syntheticcohort import EFFECTS, generate
from ivimcore.jobs.cohort import open_cohort
from ivimcore.reports.protocolsheet import sheet, to_html, to_text

SMALL = {"shape": (32, 32, 1)}


# --- synthetic cohort --------------------------------------------------------------------------------------------


def test_a_synthetic_cohort_is_a_manifest_of_readable_series_with_regions(tmp_path):
    made = generate(tmp_path / "c", reference=2, treated=2, responders=1, **SMALL)
    manifest = open_cohort(made.manifest)
    assert len(manifest.scans) == 8 and {scan.group for scan in manifest.scans} == {"reference", "treated"}
    series = read_series(manifest.scans[0].series[0])
    labels, names = read_labels(manifest.scans[0].rois, series.geometry)
    assert set(names.values()) == {"tumour", "liver"} and min(np.bincount(labels.ravel())[1:]) > 10


def test_only_those_who_respond_have_the_effect(tmp_path):
    truth = generate(tmp_path / "c", reference=3, treated=3, responders=2, **SMALL).truth
    ratio = {(r["subject"], r["region"], r["map"]): r["second"] / r["first"] for r in truth}
    assert {r["subject"] for r in truth if r["responds"]} == {"treated-001", "treated-002"}
    for row in truth:
        expected = 1 + EFFECTS[row["map"]] if row["responds"] else 1.0
        # Day to day, and what else a region holds that was drawn anew.
        spread = {"D": 0.2, "f": 0.35, "Dstar": 0.8}[row["map"]]
        assert abs(ratio[row["subject"], row["region"], row["map"]] / expected - 1) < spread


def test_the_same_seed_writes_the_same_cohort(tmp_path):
    one, two, other = (generate(tmp_path / name, reference=1, treated=0, responders=0, seed=seed, **SMALL).truth
                       for name, seed in (("a", 5), ("b", 5), ("c", 6)))  # fmt: skip
    assert one == two != other
    refused(lambda: generate(tmp_path / "x", treated=2, responders=3), "no cohort")
    refused(lambda: generate(tmp_path / "x", snr=0), "SNR is 0")


def test_the_whole_pipeline_scores_its_verdicts_against_the_truth(tmp_path):
    pytest.importorskip("jinja2", reason="Jinja is not installed: reports are not tested")
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: reports are not tested")
    rows, report = run(
        tmp_path, ("segmented",), snr=60.0, maps=("D",), workers=0, reference=10, treated=3, responders=2,
        effects={"D": 1.0}, instability=0.0, **SMALL,
    )
    (row,) = rows
    assert set(row) == set(COLUMNS) and report.html.is_file()
    assert (row["true_changes"], row["found"], row["unchanged"], row["false_positives"]) == (2, 2, 1, 0)
    assert row["icc"] > 0.5 and 0.15 < row["sensitivity_low"] < row["sensitivity_high"] == 1.0
    text = format_table(rows)
    assert "segmented" in text and "2 of 2" in text and "0 of 1" in text


def test_the_benchmark_refuses_what_it_cannot_do():
    assert {"cohort", "linearity"} <= set(suite.descriptions())
    refused(lambda: suite.evaluate("cohort", voxels=1000), "leave out --voxels")
    refused(lambda: suite.evaluate("cohort", snrs=[10, 20]), "one SNR")
    refused(lambda: suite.evaluate("paper1", bvalues=[0, 50, 100, 800]), "leave out --bvalues")


def test_a_cohort_and_its_report_are_two_commands_from_nothing(tmp_path, capsys):
    pytest.importorskip("jinja2", reason="Jinja is not installed: reports are not tested")
    data, out = tmp_path / "data", tmp_path / "out"
    numbers = ["--reference", "3", "--treated", "1", "--responders", "1", "--snr", "40"]
    assert main(["synthetic-cohort", "--out", str(data), *numbers]) == 0
    assert "8 series" in capsys.readouterr().err
    command = ["cohort", str(data / "manifest.csv"), "--out", str(out), "--estimator", "segmented", "--workers", "0",
               "--report", "--few", "--no-pdf", "--scanner", "phantom"]  # fmt: skip
    assert main([*command, "--maps", "X"]) == 2
    assert "Unknown map" in capsys.readouterr().err and not out.exists()
    assert main(command) == 0
    said = capsys.readouterr()
    assert said.out.startswith("A change of D in tumour beyond the limit") and "8 series fitted" in said.err
    assert (out / "reference_segmented.json").is_file()
    assert "scanner phantom" in (out / "report.html").read_text(encoding="utf-8")
    assert main([*command, "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[-1]["event"] == "report" and lines[-1]["claims"]


# --- linearity ---------------------------------------------------------------------------------------------------


def test_a_line_is_found_with_its_slope_interval_and_curvature():
    rng = np.random.default_rng(0)
    truth = np.linspace(1, 2, 10)
    hits, curved = [], 0
    for _ in range(400):
        line = fit_line(truth, 0.1 + 0.9 * truth + rng.normal(0, 0.01, 10), np.full(10, 0.01))
        hits.append(line.low <= 0.9 <= line.high)
        curved += line.quadratic_p < 0.05
    assert 0.93 <= np.mean(hits) <= 1.0 and curved < 40
    bent = fit_line(truth, truth**2, np.full(10, 0.01))
    assert bent.quadratic_p < 1e-3 and np.isnan(fit_line(truth[:3], truth[:3], np.ones(3)).slope)


def test_the_sentence_says_what_a_slope_does_to_a_claim():
    def said(slope, low=None, high=None, r2=0.99):
        return sentence("D", Line(slope, slope if low is None else low, slope if high is None else high, 0.0, r2, 0.5))

    assert "1.2 times the measured one" in said(0.8) and "overstated" in said(1.2)
    assert "not follow" in said(-0.1) and "interval leaves" in said(1.0, 0.8, 1.2)
    assert "no straight line" in said(1.0, r2=0.5) and "linear enough" in said(1.0)


def test_nlls_is_linear_in_d_at_high_snr_and_d_star_of_a_prior_is_not(tmp_path):
    rows = linearity.run(["nlls", "posterior:prior=uniform"], snrs=[100.0, 12.0], voxels=60, levels=5)
    found = {(r["estimator"], r["snr"], r["parameter"]): r for r in rows}
    assert abs(found["nlls", 100.0, "D"]["slope"] - 1) < 0.03 and found["nlls", 100.0, "D"]["r2"] > 0.99
    poor = found["posterior:prior=uniform", 12.0, "Dstar"]
    assert poor["slope"] < 0.95 and "must carry the slope" in poor["sentence"] and not poor["linear"]
    paths = linearity.write_all(tmp_path, rows)
    with open(paths[1], encoding="utf-8", newline="") as stream:
        assert len(list(csv.DictReader(stream))) == len(rows) * 5
    text = linearity.format_table(rows)
    assert "SNR 100, 5 levels" in text and "R²" in text
    refused(lambda: linearity.run(["nlls"], levels=4), "5 or more")


def test_an_estimator_without_the_parameter_has_no_line():
    assert linearity.run(["adc"], snrs=[50.0], voxels=5, levels=5) == []
    assert linearity.format_table([]) == "No estimator was measured."


# --- protocol sheet ----------------------------------------------------------------------------------------------


def test_the_sheet_names_the_b_values_the_numbers_and_the_commands():
    made = sheet([0, 10, 20, 50, 100, 200, 400, 800], organ="liver", snr=25, subjects=14)
    text = to_text(made)
    for words in ("b = 0 10 20 50 100 200 400 800 s/mm², 8 images", "leaves the table", "0.73 .. 1.58", "2.14",
                  "With your 14 subjects", "subject,session,group,series",
                  "ivim cohort MANIFEST.csv --out STUDY --report",
                  "not a medical device", "SNR 25", "ivim evaluate linearity --bvalues 0 10 20"):  # fmt: skip
        assert words in text, words
    page = to_html(made)
    assert page.startswith("<!DOCTYPE html>") and page.count("<table>") == 2 and "http" not in page
    assert "too few for verdicts" in to_text(sheet([0, 10, 50, 100, 400, 800], subjects=6))


def test_the_sheet_refuses_what_no_estimator_can_use(capsys):
    refused(lambda: sheet([0, 800]))
    refused(lambda: sheet([0, 10, 50, 100, 400, 800], organ="moon"), "Unknown organ")
    refused(lambda: sheet([0, 10, 50, 100, 400, 800], snr=-1), "SNR")
    refused(lambda: sheet([0, 10, 50, 100, 400, 800], subjects=1), "no study")
    assert main(["protocol-sheet", "--bvalues", "0", "10", "50", "100", "400", "800"]) == 0
    assert "Command (run it again" in capsys.readouterr().out


def test_the_sheet_goes_into_a_file(tmp_path):
    arguments = ["protocol-sheet", "--bvalues", "0", "10", "50", "100", "400", "800", "--out"]
    assert main([*arguments, str(tmp_path / "s.html")]) == 0
    assert (tmp_path / "s.html").read_text(encoding="utf-8").startswith("<!DOCTYPE")
    assert main([*arguments, str(tmp_path / "none" / "s.html")]) == 2
