"""The list of a cohort: what is read, and one sentence for each way in which it can be wrong."""

from __future__ import annotations

import re

import pytest
from refusal import refused

from ivimcore.jobs.manifest import read_manifest, safe_name, scan_key

HEAD = "subject,session,series"


@pytest.fixture
def write(tmp_path):
    (tmp_path / "a.nii.gz").write_bytes(b"")

    def manifest(text: str, encoding: str = "utf-8"):
        path = tmp_path / "manifest.csv"
        path.write_bytes(text.encode(encoding))
        return path

    return manifest


def test_columns_in_any_order_of_any_case_with_any_separator(write):
    for separator in ",;\t":
        text = separator.join(("Group", "SERIES", "session", "subject")) + "\n" + separator.join(
            ("treated", "a.nii.gz", "pre", "Müller, Jörg" if separator != "," else '"Müller, Jörg"'))  # fmt: skip
        (scan,) = read_manifest(write("\ufeff" + text)).scans
        assert (scan.subject, scan.session, scan.group) == ("Müller, Jörg", "pre", "treated")
        assert scan.series[0].endswith("a.nii.gz")


def test_paths_are_relative_to_the_manifest_and_several_files_are_joined(write, tmp_path):
    (scan,) = read_manifest(write(f"{HEAD},rois\n1,1,a.nii.gz|b.nii.gz,/there/r.nrrd\n")).scans
    assert scan.series == (str(tmp_path / "a.nii.gz"), str(tmp_path / "b.nii.gz")) and scan.rois == "/there/r.nrrd"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ("empty",)),
        ("\n\n", ("empty",)),
        ("subject,series\n1,a\n", ("lacks the column session", "subject, session, series")),
        ("name,date\n1,2\n", ("lacks the columns subject, session, series",)),
        (f"{HEAD}\n", ("no line below",)),
        (f"{HEAD}\n1,,a.nii.gz\n", ("Line 2", "no session")),
        (f"{HEAD}\n1,1,a.nii.gz,x,y\n", ("Line 2", "5 cells for 3 columns")),
        (f"{HEAD}\n1,1,a.nii.gz\n1,2,a.nii.gz\n1,1,a.nii.gz\n", ("session '1' 2 times", "lines 2, 4")),
        (f"{HEAD}\n1,1,b.nii.gz\n1,2,c.nii.gz\n", ("None of the series", "b.nii.gz")),
        (f"{HEAD},group\n1,1,a.nii.gz,x\n1,2,a.nii.gz,y\n", ("several groups", "'x', 'y'")),
        (f"{HEAD},group,group\n1,1,a.nii.gz,x,y\n", ("column group twice",)),
        (f'{HEAD}\n1,1,"a.nii.gz\n', ("well-formed",)),
        (f"{HEAD}\n1,1,{'a' * 5000}\n", ("Line 2", "unusable series")),
        ("\0\0\0", ("no text file",)),
    ],
)
def test_a_wrong_manifest_is_refused_in_one_sentence(write, text, parts):
    refused(lambda: read_manifest(write(text)), *parts)


def test_another_encoding_and_a_missing_file_are_refused(write, tmp_path):
    refused(lambda: read_manifest(write(f"{HEAD}\nMüller,1,a.nii.gz\n", "latin-1")), "UTF-8")
    refused(lambda: read_manifest(tmp_path / "none.csv"), "cannot be read")
    refused(lambda: read_manifest(tmp_path), "cannot be read")


def test_single_sessions_and_a_single_subject_are_said(write):
    (sentence, other) = read_manifest(write(f"{HEAD}\n1,1,a.nii.gz\n")).warnings
    assert "one session only" in sentence and "single subject" in other
    (sentence,) = read_manifest(write(f"{HEAD}\n1,1,a.nii.gz\n1,2,a.nii.gz\n2,1,a.nii.gz\n")).warnings
    assert "1 of 2 subjects" in sentence


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "C:\\x", "=cmd|' /C calc'!A0", "<script>alert(1)</script>", "a/b", "", ".", "..",
             "nul", "Ärzte", "患者", "a" * 300, "x\u202egpj", "P1", "p1"],
)  # fmt: skip
def test_hostile_names_become_harmless_and_stay_apart(name):
    safe = safe_name(name)
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]{0,60}", safe) and safe not in ("con", "nul")
    assert safe != safe_name(name + "x") and scan_key(name, "1").count("/") == 1


def test_plain_names_stay_as_they_are():
    assert safe_name("reference-001") == "reference-001" and safe_name("P1") != safe_name("p1") == "p1"
