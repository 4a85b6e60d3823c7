"""The b-values of a series as a person edits them: which image has which b, which are used, and the way back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..physics.acquisition import LARGEST_WRONG_UNIT, group_bvalues

Array = np.ndarray
LARGEST = 50_000.0
"""Largest b-value that is taken for one [s/mm²]; scanners for people reach a fifth of it."""

_NUMBER = re.compile(r"\+?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_EXAMPLE = "write for example 0 10 20 50 100"


def parse_bvalues(text: str) -> tuple[float, ...]:
    """Read b-values from a text as people paste it.

    Values stand between commas, semicolons, tabs, spaces or lines (also one line or one column of an FSL .bval file),
    with or without brackets around all. A comma is never taken for a decimal point: where it could be one, the text is
    refused.

    Arguments: `text` of any length. Returns: the values in their order [s/mm²].
    Raises InputError, naming the first value that cannot be used.
    """
    inner = text.strip().lstrip("\ufeff").strip()
    if len(inner) > 1 and inner[0] + inner[-1] in ("[]", "()", "{}"):
        inner = inner[1:-1]
    _refuse_decimal_comma(inner)
    words = [word for word in re.split(r"[,;\s]+", inner) if word]
    if not words:
        raise InputError(f"The text holds no b-values; {_EXAMPLE}.")
    values = tuple(_value(word, place) for place, word in enumerate(words, start=1))
    if len(values) > 1 and 0 < max(values) <= LARGEST_WRONG_UNIT:
        raise InputError(
            f"The largest b-value is {max(values):g} s/mm², which looks like ms/µm²; multiply the b-values by 1000."
        )
    return values


def _refuse_decimal_comma(text: str) -> None:
    """Refuse a comma between two digits where another separator stands between the values: '0,5 10,5' or '0,5; 10'."""
    parts = [part for part in re.split(r"\s*;\s*|(?<![,\s])\s+(?!,)", re.sub(r"\s*,\s+|\s+,", ", ", text)) if part]
    tight = [part for part in parts if re.search(r"\d,\d", part)]
    if len(parts) < 2 or not tight:
        return
    lines = [line.strip().strip(",") for line in text.splitlines() if line.strip()]
    # Lines of a comma-separated list are clear as long as no line could be one number with a decimal comma.
    if not re.search(r";|[^\s,][ \t]+[^\s,]", text) and not any(re.fullmatch(r"\d+,\d+", line) for line in lines):
        return
    example = next((part for part in tight if re.fullmatch(r"\d+,\d+", part)), tight[0])
    raise InputError(
        f"It is not clear whether the comma in '{_short(example)}' is a decimal point or stands between two b-values; "
        "write decimals with a point, and one kind of separator."
    )


def _short(word: str) -> str:
    return word if len(word) <= 24 else word[:23] + "…"


def _value(word: str, place: int) -> float:
    if re.fullmatch(r"-\S*\d", word):
        raise InputError(f"Value {place} is negative ('{_short(word)}'); b-values are 0 or more, in s/mm².")
    if not _NUMBER.fullmatch(word):
        raise InputError(f"Value {place} is not a number ('{_short(word)}'); {_EXAMPLE}.")
    if re.fullmatch(r"0\d+", word):
        raise InputError(
            f"Value {place} is '{_short(word)}', as after a comma that groups digits; write 1000, not 1,000."
        )
    value = float(word)
    if value > LARGEST:
        raise InputError(f"Value {place} is {value:g} s/mm², which no scanner measures; give b-values in s/mm².")
    return value


@dataclass(frozen=True)
class BvalueRow:
    """One row of the table: `numbers` of its images, from 1; `b` [s/mm²], their mean, NaN where nobody knows it;
    `used_count` of them are used."""

    numbers: tuple[int, ...]
    b: float
    used_count: int

    @property
    def count(self) -> int:
        """Number of images."""
        return len(self.numbers)

    @property
    def used(self) -> bool:
        """Whether every image of the row is used."""
        return self.used_count == self.count

    @property
    def partly_used(self) -> bool:
        """Whether some images of the row are used and some not."""
        return 0 < self.used_count < self.count

    @property
    def known(self) -> bool:
        """Whether the row has a b-value."""
        return bool(np.isfinite(self.b))


@dataclass(frozen=True, eq=False)
class _State:
    b: Array
    used: Array
    origin: str


class BvalueTable:
    """The editable b-values of a series, with undo.

    Arguments: `read` (n,) as they came with the series [s/mm²], NaN where unknown; `source` in words, where from.
    Images have numbers from 1. Nothing is shared with the arrays given or returned.
    Raises InputError where there is no image.
    """

    def __init__(self, read: Sequence[float] | Array, source: str) -> None:
        self._read = np.array(read, dtype=float, ndmin=1)
        if self._read.ndim != 1 or self._read.size == 0:
            raise InputError("The series has no images; choose another series.")
        self._read_source = source
        self._state = self._untouched()
        self._past: list[_State] = []

    # --- what it says --------------------------------------------------------------------------------------------

    @property
    def count(self) -> int:
        """Number of images."""
        return self._read.size

    @property
    def b(self) -> Array:
        """One b-value per image (n,) [s/mm²], NaN where nobody knows it."""
        return self._state.b.copy()

    @property
    def used(self) -> Array:
        """Whether each image is used (n,) of bool."""
        return self._state.used.copy()

    @property
    def excluded(self) -> tuple[int, ...]:
        """Numbers of the images that are not used, from 1."""
        return tuple(int(index) + 1 for index in np.flatnonzero(~self._state.used))

    @property
    def edited(self) -> Array:
        """Whether the b-value of each image differs from the one that was read (n,) of bool."""
        return ~((self._state.b == self._read) | (np.isnan(self._state.b) & np.isnan(self._read)))

    @property
    def is_changed(self) -> bool:
        """Whether anything differs from what was read."""
        return bool(self.edited.any() or not self._state.used.all())

    @property
    def source(self) -> str:
        """Where the b-values come from, in words; says how many were edited by hand."""
        return self._state.origin

    @property
    def unknown(self) -> tuple[int, ...]:
        """Numbers of the images used that have no b-value, from 1."""
        return tuple(int(index) + 1 for index in np.flatnonzero(self._state.used & np.isnan(self._state.b)))

    def rows(self, per_image: bool = False) -> list[BvalueRow]:
        """Return the rows of the table: with `per_image` one per image in their order, else one per distinct b,
        ascending (values within the tolerance of a scanner's rounding are one), then each image of unknown b by itself,
        because every one of them may get another value."""
        b, used = self._state.b, self._state.used
        single = [BvalueRow((index + 1,), float(b[index]), int(used[index])) for index in range(b.size)]
        if per_image:
            return single
        known = np.flatnonzero(np.isfinite(b))
        rows = []
        if known.size:
            means, group = group_bvalues(b[known])
            for number, mean in enumerate(means):
                images = known[group == number]
                rows.append(BvalueRow(tuple(int(i) + 1 for i in images), float(mean), int(used[images].sum())))
        return rows + [single[index] for index in np.flatnonzero(~np.isfinite(b))]

    # --- changes -------------------------------------------------------------------------------------------------

    def set_b(self, numbers: Sequence[int], value: float) -> None:
        """Give images the b-value `value` [s/mm²]; `numbers` from 1.

        Raises InputError for a number that is no b-value and for an image that does not exist.
        """
        index = self._index(numbers)
        try:
            value = float(value)
        except (TypeError, ValueError):
            raise InputError(f"'{value}' is not a number; give a b-value in s/mm².") from None
        if not 0 <= value <= LARGEST:
            raise InputError(f"The b-value is {value:g} s/mm²; give a number from 0 to {LARGEST:g} s/mm².")
        b = self._state.b.copy()
        if (b[index] == value).all():
            return
        b[index] = value
        self._put(b, self._state.used, None)

    def set_used(self, numbers: Sequence[int], flag: bool) -> None:
        """Use images, or leave them out; `numbers` from 1. Raises InputError for an image that does not exist."""
        index = self._index(numbers)
        used = self._state.used.copy()
        if (used[index] == bool(flag)).all():
            return
        used[index] = bool(flag)
        self._put(self._state.b, used, self._state.origin)

    def replace(self, values: Sequence[float], source: str) -> None:
        """Replace every b-value: one per image in their order, or one per row of `rows()` in theirs.

        Arguments: `values` [s/mm²]; `source` in words, such as 'pasted' or the kind of file.
        Raises InputError for any other number of values, and for one that is no b-value.
        """
        given = np.array(values, dtype=float, ndmin=1)
        rows = self.rows()
        if given.size not in (self.count, len(rows)):
            per_row = f", or {len(rows)}, one per row" if len(rows) != self.count else ""
            raise InputError(
                f"There are {given.size} values for {self.count} images; give {self.count}, one per image{per_row}."
            )
        bad = np.flatnonzero(~((given >= 0) & (given <= LARGEST)))
        if bad.size:
            raise InputError(
                f"Value {bad[0] + 1} is {given[bad[0]]:g}; b-values are numbers from 0 to {LARGEST:g} s/mm²."
            )
        if given.size == self.count:
            b = given
        else:
            b = self._state.b.copy()
            for row, value in zip(rows, given, strict=True):
                b[np.array(row.numbers) - 1] = value
        self._put(b, self._state.used, source)

    def restore(self, b: Sequence[float], excluded: Sequence[int] = (), source: str | None = None) -> None:
        """Take over what was saved with a scene, without a way back: `b` (n,) [s/mm²] or empty for those read,
        `excluded` numbers of images from 1. What does not fit this series is left as read."""
        state = self._untouched()
        values = np.array(b, dtype=float, ndmin=1)
        new = values if values.size == self.count else state.b
        numbers = np.array([number for number in excluded if 1 <= number <= self.count], dtype=int)
        used = state.used
        used[numbers - 1] = False
        self._state = _State(new, used, source or self._after_editing(new, state.origin))
        self._past.clear()

    @property
    def can_undo(self) -> bool:
        """Whether there is a change to take back."""
        return bool(self._past)

    def undo(self) -> None:
        """Take back the last change; without one, nothing happens."""
        if self._past:
            self._state = self._past.pop()

    def reset(self) -> None:
        """Return to what was read, every image used; this too can be undone."""
        if self.is_changed or self._state.origin != self._read_source:
            self._past.append(self._state)
            self._state = self._untouched()

    # --- inside --------------------------------------------------------------------------------------------------

    def _untouched(self) -> _State:
        return _State(self._read.copy(), np.ones(self._read.size, dtype=bool), self._read_source)

    def _index(self, numbers: Sequence[int]) -> Array:
        index = np.array([int(number) for number in numbers], dtype=int) - 1
        if index.size == 0:
            raise InputError("No image was chosen; choose a row of the table.")
        wrong = index[(index < 0) | (index >= self.count)]
        if wrong.size:
            raise InputError(f"There is no image {wrong[0] + 1}; the series has images 1 to {self.count}.")
        return index

    def _put(self, b: Array, used: Array, origin: str | None) -> None:
        """Make a new present; `origin` None: edited by hand."""
        self._past.append(self._state)
        self._state = _State(b, used, self._after_editing(b, self._base()) if origin is None else origin)

    def _base(self) -> str:
        return self._state.origin.partition(_BY_HAND_MARK)[0]

    def _after_editing(self, b: Array, base: str) -> str:
        same = (b == self._read) | (np.isnan(b) & np.isnan(self._read))
        number = int(np.count_nonzero(~same))
        if number == 0 and base == self._read_source:
            return base
        plural = "image" if number == 1 else "images"
        return f"{base}{_BY_HAND_MARK}b of {number} {plural} edited by hand"


_BY_HAND_MARK = "; "
