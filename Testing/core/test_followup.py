"""Reference cohort files and follow-up: the sentence for a radiologist, and every reason not to trust it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from refusal import refused

from ivimcore.reports.followup import Session, follow_up, read_session, session_of
from ivimcore.reports.referencecohort import (
    SCHEMA,
    ReferenceCohort,
    ReferenceEntry,
    differences_of_method,
    entry_of,
    load_reference,
)
from ivimcore.reports.repeatability import analyse

B = (0.0, 10.0, 20.0, 50.0, 100.0, 200.0, 400.0, 800.0)
PRIOR = {"kind": "learned_local"}


def entry(region: str = "lesion", key: str = "D", sd: float = 0.047, n: int = 22) -> ReferenceEntry:
    return ReferenceEntry(region, key, "proportional", 1.0, n, float(n), 5e-5, sd, 1.1e-3, 0.5e-3, 2e-3, 2e-4, 0.9, 0.8)


COHORT = ReferenceCohort(
    "our hospital", "posterior", {"prior": "learned_local"}, PRIOR, B, "median",
    (entry(), replace(entry(key="f", sd=0.2), wsd=0.02, mean=0.1, low=0.03, high=0.3)),
)  # fmt: skip


def session(D: float = 1.02e-3, f: float = 0.08, region: str = "lesion", **other) -> Session:
    base = Session({region: {"D": D, "f": f, "Dstar": 0.03}}, "posterior", {"prior": "learned_local"}, PRIOR, B)
    return replace(base, **other)


def test_one_line_for_each_lesion_and_map_answers_in_words():
    found = follow_up(session(), session(1.31e-3, 0.09), COHORT)
    d, f = found.lines
    assert d.text == (
        "lesion: D 1.02 → 1.31 ·10⁻³ mm²/s, +28 % (95 % interval +12 to +47 %); limit of the reference cohort "
        "−13/+15 % (n = 22): changed"
    )
    assert f.text.startswith("lesion: f 8.00 → 9.00 %, +12 %") and f.text.endswith("(n = 22): within chance")
    assert found.comparisons == 2
    assert "Research use only" in found.text()


def test_dstar_is_absent_unless_it_was_measured_or_asked_for():
    told = {"lesion": {"D": 0.9, "f": 0.8, "Dstar": 0.1}}
    found = follow_up(session(information=told), session(information=told), COHORT)
    assert [line.map for line in found.lines] == ["D", "f"]
    assert any("D* of 'lesion'" in text and "0.10" in text for text in found.left_out)
    asked = follow_up(session(), session(), COHORT, keys=("Dstar",))
    assert "no verdict" in asked.lines[0].text and "does not know" in asked.lines[0].text
    told = {"lesion": {"D": 0.9, "f": 0.8, "Dstar": 0.6}}
    found = follow_up(session(information=told), session(information=told), COHORT)
    assert [line.map for line in found.lines] == ["D", "f", "Dstar"]


def test_every_difference_of_method_is_said():
    other = session(estimator="nlls", options={}, prior={}, bvalues=B[:-1])
    text = " ".join(follow_up(session(), other, COHORT).warnings)
    for words in ("different estimators ('posterior', 'nlls')", "different priors", "different b-values",
                  "limits are of the estimator 'posterior'", "prior is not that of the reference"):  # fmt: skip
        assert words in text
    options = session(options={"prior": "uniform"}, prior={"kind": "uniform"})
    text = " ".join(follow_up(session(), options, COHORT).warnings)
    assert "different options (prior uniform instead of learned_local)" in text
    assert differences_of_method(COHORT, "posterior", COHORT.options, PRIOR, B, "median") == []


def test_where_a_prior_file_lies_is_no_difference_but_another_prior_is():
    one, two = ({"prior": "file", "prior_file": path} for path in ("/a/prior.npz", "/b/prior.npz"))
    same = {"kind": "learned", "checksum": "abc", "from_file": True}
    assert not any("options" in text for text in follow_up(
        session(options=one, prior=same), session(options=two, prior=same), None).warnings)  # fmt: skip
    found = follow_up(session(prior=same), session(prior={**same, "checksum": "xyz"}), None)
    assert any("different priors" in text for text in found.warnings)


def test_a_network_that_was_trained_anew_is_another_prior():
    def fitted(checksum):
        about = {"estimator": "mine", "options": {}, "bvalues_used": B, "model": {"id": "mine", "sha256": checksum}}
        return session_of([{"region": "lesion", "map": "D", "median": 1e-3}], about)

    assert not follow_up(fitted("a" * 64), fitted("a" * 64), None).warnings
    cohort = replace(COHORT, estimator="mine", options={}, prior=fitted("a" * 64).prior)
    found = follow_up(fitted("a" * 64), fitted("b" * 64), cohort)
    assert any("different trainings of the network" in text for text in found.warnings)
    assert any(text.startswith("Now: The network was trained anew") for text in found.warnings)
    assert not any(text.startswith("Before") for text in found.warnings)


def test_a_lesion_of_another_name_is_judged_by_the_only_region_and_that_is_said():
    found = follow_up(session(region="lesion 2"), session(2e-3, region="lesion 2"), COHORT)
    assert found.lines[0].verdict.word == "changed"
    assert "'lesion 2': judged by the limits of 'lesion'." in found.warnings
    two = replace(COHORT, entries=(*COHORT.entries, entry("liver")))
    assert follow_up(session(region="x"), session(region="x"), two).lines[0].verdict.word == "no verdict"
    chosen = follow_up(session(region="x"), session(2e-3, region="x"), two, region_of={"x": "LIVER"})
    assert chosen.lines[0].verdict.word == "changed"


def test_a_region_at_one_date_only_is_left_out_with_its_name():
    found = follow_up(session(), session(region="new one"), COHORT)
    assert not found.lines
    assert found.left_out == ("the region 'new one' exists only this time.", "the region 'lesion' exists only before.")


def test_a_region_is_listed_though_its_name_is_part_of_another():
    found = follow_up(session(), session(values={"liver metastasis": {"D": 1e-3}, "liver": {"D": 1e-3}}), COHORT)
    assert len(found.left_out) == 3


def test_without_a_reference_the_noise_of_the_fit_gives_an_interval():
    errors = {"lesion": {"D": 3e-5}}
    line = follow_up(session(errors=errors), session(1.31e-3, errors=errors), None, ("D",)).lines[0]
    half = 1.959964 * np.hypot(3e-5, 3e-5)
    np.testing.assert_allclose([line.verdict.low, line.verdict.high], [0.29e-3 - half, 0.29e-3 + half], rtol=1e-6)
    assert line.verdict.word == "no verdict"
    assert "(95 % interval +20 to +37 % from the noise of the fit alone" in line.text


def test_without_a_reference_there_is_a_change_and_no_verdict():
    (line, _) = follow_up(session(), session(1.31e-3), None).lines
    assert line.text.endswith("+28 %: no verdict. No limit is known, because no reference cohort was chosen.")


def test_values_outside_the_cohort_missing_values_and_few_subjects_are_said():
    assert any("outside the values" in text for text in follow_up(session(), session(4e-3), COHORT).warnings)
    assert "A value is missing" in follow_up(session(), session(np.nan), COHORT).lines[0].text
    few = replace(COHORT, entries=(entry(n=8),))
    assert "too few" in follow_up(session(), session(2e-3), few).lines[0].text
    assert follow_up(session(), session(2e-3), few, few=True).lines[0].verdict.word == "changed"
    assert any("factor of" in text for text in follow_up(session(), session(2e-3), COHORT).warnings)


def test_the_number_of_comparisons_is_said_and_holm_takes_chance_back():
    names = [f"lesion {i}" for i in range(8)]
    values = {name: {"D": 1.0e-3} for name in names}
    after = {name: {"D": 1.0e-3 * (1.16 if name == "lesion 3" else 1.01)} for name in names}
    one, two = session(values=values), session(values=after)
    plain = follow_up(one, two, COHORT)
    assert [line.verdict.word for line in plain.lines].count("changed") == 1
    assert any("8 comparisons at 5 % each" in text and "34 %" in text for text in plain.warnings)
    corrected = follow_up(one, two, COHORT, holm=True).lines
    assert not any(line.verdict.word == "changed" for line in corrected)
    assert all("corrected for 8 comparisons)" in line.text for line in corrected)


# --- the file ----------------------------------------------------------------------------------------------------


def test_a_cohort_survives_its_file(tmp_path):
    COHORT.save(tmp_path / "c.json")
    assert load_reference(tmp_path / "c.json") == COHORT


def test_the_schema_names_every_entry_of_the_file(tmp_path):
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    COHORT.save(tmp_path / "c.json")
    content = json.loads((tmp_path / "c.json").read_text(encoding="utf-8"))
    assert set(content) == set(schema["properties"]) and set(schema["required"]) <= set(content)
    item = schema["properties"]["entries"]["items"]
    assert set(content["entries"][0]) == set(item["properties"]) and set(item["required"]) <= set(content["entries"][0])


def test_what_was_found_in_a_cohort_becomes_an_entry_and_nothing_becomes_none():
    rng = np.random.default_rng(0)
    values = rng.normal(1e-3, 2e-4, (14, 1)) * np.exp(0.05 * rng.normal(size=(14, 2)))
    made = entry_of("lesion", "D", analyse(values))
    assert made.spread == analyse(values).spread and made.information is None
    assert entry_of("lesion", "D", analyse(np.full((4, 2), np.nan))) is None
    assert entry_of("lesion", "D", analyse(np.ones((4, 2)))) is None


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda c: c.pop("format"), "no reference cohort"),
        (lambda c: c.pop("bvalues"), "lacks 'bvalues'"),
        (lambda c: c["entries"].clear(), "no entries"),
        (lambda c: c["entries"][0].update(nu=None), "nu of D in lesion is no number"),
        (lambda c: c["entries"][0].update(wsd=-1), "makes no sense"),
        (lambda c: c["entries"][0].update(log_sd=None), "logarithmic spread"),
        (lambda c: c["entries"][0].update(form="cubic"), "form of D"),
        (lambda c: c["entries"][0].update(subjects=0), "makes no sense"),
        (lambda c: c.update(entries=[1]), "wrong form"),
        (lambda c: c.update(bvalues=["x"]), "wrong form"),
    ],
)
def test_a_damaged_file_is_refused_in_one_sentence(tmp_path, change, part):
    path = tmp_path / "c.json"
    COHORT.save(path)
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")
    refused(lambda: load_reference(path), part)


def test_other_files_are_no_cohort(tmp_path):
    for content in ("{", "[]", "null"):
        (tmp_path / "x.json").write_text(content)
        refused(lambda: load_reference(tmp_path / "x.json"), "x.json")
    refused(lambda: load_reference(tmp_path / "none.json"), "cannot be read")
    refused(lambda: read_session(tmp_path), "holds no result")
    (tmp_path / "nlls").mkdir()
    (tmp_path / "nlls" / "provenance.json").write_text("{}")
    refused(lambda: read_session(tmp_path), "one of its folders: nlls")


def test_statistics_are_loaded_when_they_are_first_needed():
    """Half a second of the opening of the panel."""
    code = "import sys, ivimcore.reports.followup, ivimcore.reports.repeatability; print('scipy.stats' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, encoding="utf-8", check=True).stdout
    assert said.strip() == "False"
