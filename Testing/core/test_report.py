"""The report: everything on one page that opens anywhere, with the numbers behind it and without names."""

from __future__ import annotations

import csv
import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from refusal import refused

from ivimcore.cli import main
from ivimcore.jobs.cohort import COHORT
from ivimcore.jobs.cohortscan import RECORD
from ivimcore.reports.cohortanalysis import Options, analyse_cohort
from ivimcore.reports.cohortdata import load_cohort
from ivimcore.reports.conformance import load_claims
from ivimcore.reports.referencecohort import load_reference
from ivimcore.reports.report import render, write_report
from ivimcore.reports.reportpdf import browser, by_chromium, by_weasyprint, print_pdf
from ivimcore.reports.reporttables import claim_sentences

pytest.importorskip("jinja2", reason="Jinja is not installed: reports are not tested")
pytest.importorskip("matplotlib", reason="matplotlib is not installed: reports are not tested")

B = [0.0, 10.0, 50.0, 100.0, 200.0, 400.0, 800.0]
EVIL = '<img src=x onerror=alert(1)>"\'&{{7*7}}'


def write_cohort(folder: Path, scans, provenance=lambda scan, estimator: {}) -> Path:
    """Write a finished cohort without any fit.

    `scans` are (subject, session, group, values) with values (estimator, region, map) -> (median, information).
    """
    notes = folder / ".ivim"
    notes.mkdir(parents=True)
    listed, estimators = [], []
    for number, (subject, session, group, values) in enumerate(scans):
        key = f"k{number}/s"
        listed.append({"subject": subject, "session": session, "group": group, "key": key})
        names = list(dict.fromkeys(name for name, _, _ in values))
        estimators += [name for name in names if name not in estimators]
        rows = [
            {"estimator": name, "region": region, "map": one, "unit": "1", "n": 90, "median": median, "mean": median,
             "sd": None, "q1": None, "q3": None, "voxels": 100, "volume_ml": 2.0, "missing_share": 0.1, "left_out": 0,
             "information": information, "informed_share": None if information is None else 1.0}
            for (name, region, one), (median, information) in values.items()
        ]  # fmt: skip
        about = {
            name: {"estimator": name, "options": {}, "bvalues_used": B, "versions": {"ivimslicer": "x"}}
            | provenance((subject, session), name) for name in names
        }  # fmt: skip
        record = {"record": RECORD, "key": key, "files": [], "rows": rows, "provenance": about, "inputs": {}}
        (notes / f"k{number}__s.json").write_text(json.dumps(record), encoding="utf-8")
    content = {"cohort": COHORT, "version": "x", "scans": listed, "settings": {},
               "estimators": [{"name": name} for name in estimators]}  # fmt: skip
    (folder / "cohort.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def scans(reference=14, treated=5, names=lambda n: f"Name{n:02d}", regions=("tumour",), keys=("D", "f"), seed=0,
          estimators=("nlls", "posterior"), sessions=2):  # fmt: skip
    """Draw a cohort: the first treated patient gains 60 % in D."""
    rng = np.random.default_rng(seed)
    typical = {"D": 1.2e-3, "f": 0.12, "Dstar": 0.04}
    found = []
    for number in range(reference + treated):
        own = {(r, k): typical[k] * np.exp(0.2 * rng.normal()) for r in regions for k in keys}
        for session in range(sessions):
            effect = 1.6 if number == reference and session else 1.0
            values = {
                (e, r, k): (float(own[r, k] * np.exp(0.05 * rng.normal()) * (effect if k == "D" else 1.0)),
                            0.7 if e == "posterior" else None)
                for e in estimators for r in regions for k in keys
            }  # fmt: skip
            group = "reference" if number < reference else "treated"
            found.append((names(number), f"v{session}", group, values))
    return found


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A report of 14 + 5 subjects by two estimators; returns it."""
    folder = write_cohort(tmp_path_factory.mktemp("cohort") / "c", scans())
    claims = folder / "claims.json"
    claims.write_text(json.dumps({"name": "claim", "claims": [
        {"map": "D", "region": "*", "wcv_percent": 20}, {"map": "D", "region": "Tumour", "wcv_percent": 4.2},
        {"map": "f", "region": "*", "rc": 0.001}, {"map": "ADC", "region": "*", "rc": 1}]}))  # fmt: skip
    return write_report(folder, claims=load_claims(claims), pdf=False)


def test_the_page_holds_everything_and_fetches_nothing(made):
    page = made.html.read_text(encoding="utf-8")
    for heading in ("Claim", "Cohort", "Repeatability", "Bland-Altman plots", "Treated group", "Single patients",
                    "Estimators on the same subjects", "Assumptions", "Conformance", "Methods",
                    "Left out"):  # fmt: skip
        assert re.search(f"<h[23][^>]*>{heading}<", page), heading
    assert page.count("<svg ") == 4 and page.count("<figure id=") == 4
    addresses = set(re.findall(r'(?:src|href|url)\s*[=(]\s*["\']?([^"\')\s>]+)', page))
    assert all(address.startswith(("data:", "#")) for address in addresses), addresses
    assert "<script" not in page and "Research use only" in page
    assert "A change of D in tumour beyond the limit is a true change with 95 % confidence: nlls " in page
    assert "scanner not stated" in page and "of 100 to 100 voxels" in page


def test_no_names_unless_asked_for(made):
    written = [made.html, *made.tables, *made.references]
    assert not any("Name" in path.read_text(encoding="utf-8") for path in written)
    assert "P15" in made.html.read_text(encoding="utf-8")
    asked = render(analyse_cohort(load_cohort(made.html.parent, identifiers=True)), identifiers=True)
    assert "Name14" in asked and "P15" not in asked


def test_the_csv_behind_a_figure_holds_what_is_drawn(made):
    points = rows_of(made.html.parent / "report" / "bland_altman.csv")
    mine = [p for p in points if (p["estimator"], p["region"], p["map"]) == ("nlls", "tumour", "D")]
    assert [p["group"] for p in mine].count("reference") == 14 and len(mine) == 19
    differences = np.array([float(p["difference"]) for p in mine if p["group"] == "reference"])
    table = rows_of(made.html.parent / "report" / "repeatability.csv")
    wsd = next(float(r["wsd"]) for r in table if (r["estimator"], r["map"]) == ("nlls", "D"))
    assert wsd == pytest.approx(np.sqrt((differences**2).sum() / 28))


def test_the_patient_who_changed_is_named_and_the_group_is_tested(made):
    verdicts = rows_of(made.html.parent / "report" / "verdicts.csv")
    changed = {(r["subject"], r["map"]) for r in verdicts if r["verdict"] == "changed"}
    assert ("P15", "D") in changed and len(changed) <= 3
    assert {r["comparisons"] for r in verdicts} == {"2"}
    assert "Changed: nlls: P15" in made.html.read_text(encoding="utf-8")
    group = rows_of(made.html.parent / "report" / "treated_group.csv")
    assert {r["pairs"] for r in group} == {"5"} and len(group) == 4


def test_claims_are_met_not_shown_or_exceeded_and_never_failed(made):
    results = {(r["map"], r["claimed"]): r for r in rows_of(made.html.parent / "report" / "conformance.csv")
               if r["estimator"] == "nlls"}  # fmt: skip
    assert results["D", "0.2"]["result"] == "met" and results["D", "0.042"]["result"] == "not shown"
    assert results["f", "0.001"]["result"] == "exceeded" and len(results) == 3
    assert "would have to be at most" in results["D", "0.042"]["sentence"]


def test_the_limits_are_saved_for_others_without_names(made):
    (nlls, posterior) = (load_reference(path) for path in made.references)
    assert (nlls.estimator, posterior.estimator) == ("nlls", "posterior") and nlls.regions() == ["tumour"]
    assert nlls.entry("D").subjects == 14 and list(nlls.bvalues) == B
    assert posterior.entry("f").information == pytest.approx(0.7)


def test_hostile_names_are_shown_and_do_nothing(tmp_path):
    made = scans(8, 1, names=lambda n: f"{EVIL}{n}", regions=(EVIL,), estimators=("nlls",))
    folder = write_cohort(tmp_path / "c", made)
    options = Options(name=EVIL, few=True, conditions={"scanner": EVIL})
    report = write_report(folder, options, identifiers=True, pdf=False)
    page = report.html.read_text(encoding="utf-8")
    assert "<img src=x" not in page and "&lt;img src=x" in page and "{{7*7}}" in page and ">49" not in page
    table = (folder / "report" / "verdicts.csv").read_text(encoding="utf-8")
    assert "onerror" in table
    formula = write_cohort(tmp_path / "f", scans(8, 1, names=lambda n: f"=1+{n}", estimators=("nlls",)))
    write_report(formula, Options(few=True), identifiers=True, pdf=False)
    assert ",'=1+8," in (formula / "report" / "verdicts.csv").read_text(encoding="utf-8")


def test_dstar_needs_information_or_a_wish(tmp_path):
    folder = write_cohort(tmp_path / "c", scans(keys=("D", "f", "Dstar")))
    analysis = analyse_cohort(load_cohort(folder))
    assert {(c.estimator, c.map) for c in analysis.cells if c.map == "Dstar"} == {("posterior", "Dstar")}
    assert any("D* in tumour by nlls" in text for text in analysis.left_out)
    asked = analyse_cohort(load_cohort(folder), Options(maps=("D", "Dstar")))
    assert {c.map for c in asked.cells} == {"D", "Dstar"} and "f: not asked for." in asked.left_out


def test_sessions_of_another_method_are_left_out_and_said_or_pooled_and_said(tmp_path):
    def provenance(scan, estimator):
        other = {"Name02": {"bvalues_used": B[:-1]}, "Name03": {"options": {"threshold": 100}},
                 "Name04": {"prior": {"kind": "uniform", "checksum": "q"}}}  # fmt: skip
        return other.get(scan[0], {}) if scan[1] == "v1" else {}

    folder = write_cohort(tmp_path / "c", scans(treated=0), provenance)
    data = load_cohort(folder)
    assert len(data.scans) == 25
    for who, what in (("P03", "b-values"), ("P04", "options"), ("P05", "prior")):
        assert any(text.startswith(who) and f"other {what} " in text for text in data.left_out)
    analysis = analyse_cohort(data)
    assert analysis.cells[0].found.subjects == 11
    assert any("P03: one session only" in text for text in analysis.left_out)
    pooled = load_cohort(folder, pool=True)
    assert len(pooled.scans) == 28 and any("pooled all the same" in text for text in pooled.warnings)


def test_priors_that_every_image_taught_itself_are_said(tmp_path):
    def provenance(scan, estimator):
        return {"prior": {"kind": "learned", "checksum": f"{scan}"}, "options": {"prior": "learned"}}

    data = load_cohort(write_cohort(tmp_path / "c", scans(treated=0, estimators=("posterior",)), provenance))
    assert len(data.scans) == 28 and any("--shared-prior" in text for text in data.warnings)


def test_regions_of_one_session_and_missing_values_are_listed(tmp_path):
    made = scans(treated=0, estimators=("nlls",))
    made[0][3]["nlls", "extra", "D"] = (1e-3, None)
    made[3][3]["nlls", "tumour", "f"] = (None, None)
    analysis = analyse_cohort(load_cohort(write_cohort(tmp_path / "c", made)))
    assert "P01: the region 'extra' exists in 1 of 2 sessions." in analysis.left_out
    assert any(text.startswith("P02: f in 'tumour' has no value") for text in analysis.left_out)
    assert next(c for c in analysis.cells if c.map == "f").found.subjects == 13


def test_three_sessions_and_one_lost_are_used_as_they_are(tmp_path):
    made = scans(treated=0, sessions=3, estimators=("nlls",))
    analysis = analyse_cohort(load_cohort(write_cohort(tmp_path / "c", made[:-1])))
    assert analysis.cells[0].found.nu == 27 and len(analysis.cells[0].found.bias) == 2


def test_a_single_subject_is_analysed_and_warned_of_and_nothing_at_all_is_refused(tmp_path):
    report = write_report(write_cohort(tmp_path / "one", scans(1, 0)), pdf=False)
    assert any("single subject" in text for text in report.analysis.warnings)
    empty = [(s, v, g, {key: (None, None) for key in values}) for s, v, g, values in scans(3, 0)]
    refused(lambda: write_report(write_cohort(tmp_path / "none", empty), pdf=False), "No region of any session")
    assert not (tmp_path / "none" / "report.html").exists()
    single = [scan for scan in scans(4, 0) if scan[1] == "v0"]
    report = write_report(write_cohort(tmp_path / "first", single), pdf=False)
    assert claim_sentences(report.analysis) == [] and not report.references
    refused(lambda: load_cohort(tmp_path), "no folder of 'ivim cohort'")


def test_the_untreated_group_is_known_by_its_name_or_asked_for(tmp_path):
    made = [(s, v, "A" if g == "reference" else "B", values) for s, v, g, values in scans()]
    folder = write_cohort(tmp_path / "c", made)
    refused(lambda: load_cohort(folder), "'A', 'B'", "--reference-group")
    refused(lambda: load_cohort(folder, ["C"]), "no group 'C'")
    assert load_cohort(folder, ["A"]).group_subjects(reference=False) == [f"Name{n}" for n in range(14, 19)]


@pytest.mark.parametrize("text", ["{", "[]", '{"claims": []}', '{"claims": [{"map": "D"}]}',
                                  '{"claims": [{"map": "D", "wcv_percent": -1}]}',
                                  '{"claims": [{"map": "D", "wcv_percent": 1, "rc": 2}]}'])  # fmt: skip
def test_a_wrong_claim_file_is_refused(tmp_path, text):
    (tmp_path / "c.json").write_text(text)
    refused(lambda: load_claims(tmp_path / "c.json"), "c.json")


def test_the_shell_writes_the_report_and_says_its_claims(tmp_path, capsys):
    folder = write_cohort(tmp_path / "c", scans(estimators=("nlls",)))
    assert main(["report", str(folder), "--no-pdf", "--scanner", "3 T", "--holm"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("A change of D in tumour beyond the limit") and "report.html" in said.err
    assert "scanner 3 T" in (folder / "report.html").read_text(encoding="utf-8")
    assert main(["report", str(folder), "--maps", "X"]) == 2 and "Unknown map" in capsys.readouterr().err
    assert main(["report", str(tmp_path)]) == 2


# --- browser and paper -------------------------------------------------------------------------------------------


def in_browser(page: Path, profile: Path) -> tuple[str, str]:
    """Open a page in a real browser without network; return its document and what it wrote to the console."""
    program = browser()
    if program is None:
        pytest.skip("no Chromium is installed")
    done = subprocess.run(
        [program, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", "--dump-dom",
         "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
         "--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr", "--v=0", page.as_uri()],
        capture_output=True, encoding="utf-8", timeout=90, check=True,
    )  # fmt: skip
    return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


def test_a_real_browser_shows_every_figure_and_has_nothing_to_complain_of(made, tmp_path):
    document, console = in_browser(made.html, tmp_path / "p")
    assert console == "" and document.count("<svg ") == 4 and document.rstrip().endswith("</html>")
    # The console is really heard: a page of the same rules with a script in it is refused aloud.
    bad = tmp_path / "bad.html"
    bad.write_text(made.html.read_text(encoding="utf-8").replace("</body>", "<script>1</script></body>"), "utf-8")
    assert "Content Security Policy" in in_browser(bad, tmp_path / "p")[1]


def test_the_page_prints_without_a_browser(made, tmp_path):
    pytest.importorskip("weasyprint", reason="WeasyPrint or the Pango libraries are not installed", exc_type=OSError)
    assert by_weasyprint(made.html, tmp_path / "r.pdf")
    content = (tmp_path / "r.pdf").read_bytes()
    assert content.startswith(b"%PDF") and len(content) > 20_000


def test_the_page_prints_by_a_browser_too(made, tmp_path):
    if browser() is None:
        pytest.skip("no Chromium is installed")
    assert by_chromium(browser(), made.html, tmp_path / "r.pdf")
    assert (tmp_path / "r.pdf").read_bytes().startswith(b"%PDF")


def test_without_either_there_is_a_page_and_a_sentence(made, tmp_path, monkeypatch):
    monkeypatch.setattr("ivimcore.reports.reportpdf.by_weasyprint", lambda page, target: False)
    monkeypatch.setattr("ivimcore.reports.reportpdf.browser", lambda: None)
    said = print_pdf(made.html, tmp_path / "r.pdf")
    assert "No PDF was made" in said and not (tmp_path / "r.pdf").exists()
