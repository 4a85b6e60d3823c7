"""The editable table of b-values: reading a pasted text, editing, and the way back."""

from __future__ import annotations

import re

import numpy as np
import pytest

from ivimcore import InputError
from ivimcore.data.bvaluetable import BvalueTable, parse_bvalues

NAN = float("nan")


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0 10 20 50", (0, 10, 20, 50)),
        ("0,10,20,50", (0, 10, 20, 50)),
        ("0, 10, 20, 50,", (0, 10, 20, 50)),
        (" 0 ,10 , 20,50 ", (0, 10, 20, 50)),
        ("0;10;20.5", (0, 10, 20.5)),
        ("0\t10\t200\r\n", (0, 10, 200)),
        ("0\n10\n200\n", (0, 10, 200)),
        ("\ufeff0\r\n1.000000e+03\r\n", (0, 1000)),
        ("[0, 10, 200]", (0, 10, 200)),
        ("0,10,20,\n50,100,200", (0, 10, 20, 50, 100, 200)),
        ("0,10,20\n50,100,200", (0, 10, 20, 50, 100, 200)),
        ("800", (800,)),
        (".5 100", (0.5, 100)),
    ],
)
def test_a_pasted_list_is_read_whatever_stands_between_its_values(text, values):
    assert parse_bvalues(text) == values


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no b-values"),
        (" ,; \n", "holds no b-values"),
        ("0 10 twenty", "Value 3 is not a number ('twenty')"),
        ("0 10 nan", "Value 3 is not a number"),
        ("0 inf", "Value 2 is not a number"),
        ("0 1_0", "Value 2 is not a number"),
        ("0 -10", "Value 2 is negative"),
        ("0,5 10,5 20,5", "decimal point"),
        ("0,5; 10,5; 20,5", "decimal point"),
        ("0,5\n10,5\n20,5", "decimal point"),
        ("0; 10,5; 20", "'10,5'"),
        ("0\t10,5\t20", "'10,5'"),
        ("0, 500, 1,000", "1,000"),
        ("0 0.1 0.5 1", "ms/µm²"),
        ("0 1e9", "no scanner"),
        ("b = 0 10", "Value 1 is not a number ('b')"),
        ("0" * 5000 + "x", "…"),
    ],
)
def test_a_text_that_is_no_list_of_b_values_is_refused_with_a_sentence(text, words):
    with pytest.raises(InputError, match=re.escape(words)) as refusal:
        parse_bvalues(text)
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 250


def test_rows_are_one_per_distinct_b_or_one_per_image():
    table = BvalueTable([800, 0, 801, 10, 0], "the file")
    assert [(row.numbers, row.b, row.count, row.used) for row in table.rows()] == [
        ((2, 5), 0.0, 2, True), ((4,), 10.0, 1, True), ((1, 3), 800.5, 2, True),
    ]  # fmt: skip
    assert [row.b for row in table.rows(per_image=True)] == [800, 0, 801, 10, 0]
    assert table.source == "the file" and not table.is_changed and not table.can_undo


def test_images_of_unknown_b_have_a_row_each_at_the_end_until_they_get_a_value():
    table = BvalueTable([NAN, 0, NAN], "nothing")
    assert [row.numbers for row in table.rows()] == [(2,), (1,), (3,)]
    assert [row.known for row in table.rows()] == [True, False, False]
    assert table.unknown == (1, 3)
    table.set_used([3], False)
    assert table.unknown == (1,)
    table.set_b([1], 0)
    assert [row.numbers for row in table.rows()] == [(1, 2), (3,)]
    assert list(table.edited) == [True, False, False]


def test_editing_says_where_the_values_come_from_and_can_be_taken_back_step_by_step():
    table = BvalueTable([0, 10, 20], "the NRRD header")
    table.set_b([2, 3], 15)
    assert table.source == "the NRRD header; b of 2 images edited by hand"
    table.set_b([3], 20)
    assert table.source == "the NRRD header; b of 1 image edited by hand"
    table.set_b([2], 10)
    assert table.source == "the NRRD header"
    table.set_used([1], False)
    assert table.excluded == (1,) and not table.used[0]
    table.replace([1, 2, 300], "pasted")
    assert table.source == "pasted" and list(table.b) == [1, 2, 300] and table.excluded == (1,)
    table.reset()
    assert table.source == "the NRRD header" and list(table.b) == [0, 10, 20] and table.used.all()
    seen = []
    while table.can_undo:
        table.undo()
        seen.append((list(table.b), table.excluded))
    assert seen == [
        ([1, 2, 300], (1,)), ([0, 10, 20], (1,)), ([0, 10, 20], ()), ([0, 15, 20], ()), ([0, 15, 15], ()),
        ([0, 10, 20], ()),
    ]  # fmt: skip
    table.undo()
    assert list(table.b) == [0, 10, 20] and table.source == "the NRRD header"


def test_a_change_that_changes_nothing_is_no_step():
    table = BvalueTable([0, 10], "file")
    table.set_b([1], 0)
    table.set_used([1, 2], True)
    table.reset()
    assert not table.can_undo


def test_values_are_replaced_one_per_image_or_one_per_row():
    table = BvalueTable([500, 0, 500, 0], "file")
    table.replace([10, 600], "typed")
    assert list(table.b) == [600, 10, 600, 10]
    table.replace([1, 2, 3, 4], "typed")
    assert list(table.b) == [1, 2, 3, 4]
    for wrong, words in (([1, 2, 3], "There are 3 values for 4 images; give 4"), ([0, -1, 2, 3], "Value 2 is -1"),
                         ([0, NAN, 2, 3], "Value 2 is nan")):  # fmt: skip
        with pytest.raises(InputError, match=re.escape(words)):
            table.replace(wrong, "typed")
    assert list(table.b) == [1, 2, 3, 4]


def test_what_a_scene_saved_comes_back_without_a_step_to_undo():
    table = BvalueTable([0, 10, 20], "file")
    table.restore([0, 10, 30], excluded=(2, 9))
    assert list(table.b) == [0, 10, 30] and table.excluded == (2,) and not table.can_undo
    assert table.source == "file; b of 1 image edited by hand"
    table.restore([], ())
    assert list(table.b) == [0, 10, 20] and table.source == "file" and table.used.all()
    table.restore([1, 2], (1,))  # of another series
    assert list(table.b) == [0, 10, 20] and table.excluded == (1,)


def test_a_table_shares_nothing_with_its_arrays():
    read = np.array([0.0, 10.0])
    table = BvalueTable(read, "file")
    read[0] = 99
    table.b[0] = 99
    table.used[0] = False
    assert list(table.b) == [0, 10] and table.used.all()


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (lambda table: table.set_b([3], 10), "There is no image 3"),
        (lambda table: table.set_b([0], 10), "There is no image 0"),
        (lambda table: table.set_b([], 10), "No image was chosen"),
        (lambda table: table.set_b([1], -5), "The b-value is -5"),
        (lambda table: table.set_b([1], NAN), "The b-value is nan"),
        (lambda table: table.set_b([1], "ten"), "'ten' is not a number"),
        (lambda table: table.set_used([3], False), "There is no image 3"),
        (lambda table: BvalueTable([], "file"), "has no images"),
    ],
)
def test_a_wrong_edit_is_a_sentence_and_changes_nothing(action, words):
    table = BvalueTable([0, 10], "file")
    with pytest.raises(InputError, match=re.escape(words)):
        action(table)
    assert list(table.b) == [0, 10] and not table.can_undo


def test_partly_used_rows_say_so():
    table = BvalueTable([0, 0, 10], "file")
    table.set_used([1], False)
    row = table.rows()[0]
    assert not row.used and row.partly_used and row.used_count == 1
