"""The page 'Which estimator should I use?': its tables come from measurements, its words stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from ivimcore.errors import InputError
from ivimcore.evaluation import advice
from ivimcore.evaluation.requests import every_request

PAGE = Path(__file__).parents[2] / "Resources" / "Documentation" / "which-estimator.md"


@pytest.fixture(scope="module")
def contents():
    return advice.tables(advice.measure(["segmented", "nlls"], voxels=300, maps=1))


def test_every_table_of_the_page_is_filled_and_its_words_stay(contents, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    assert set(advice.fill(page, contents)) == set(contents)
    once = page.read_text(encoding="utf-8")
    assert "## Which question do you ask?" in once
    advice.fill(page, contents)
    assert page.read_text(encoding="utf-8") == once


def test_tables_are_complete_markdown(contents):
    for name, table in contents.items():
        lines = table.splitlines()
        assert len({line.count("|") for line in lines}) == 1, name
        assert len(lines) >= 3, name
        assert "nlls" in table, name


def test_all_estimators_with_dstar_are_asked():
    requests = every_request()
    assert {"segmented", "nlls"} <= set(requests) and "adc" not in requests


def test_a_page_that_is_none_is_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        advice.fill(tmp_path / "none.md", {})
    (tmp_path / "empty.md").write_text("words")
    with pytest.raises(InputError, match="marks"):
        advice.fill(tmp_path / "empty.md", {"errors": "|"})
