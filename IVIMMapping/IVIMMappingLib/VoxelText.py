"""What a run says at the cursor, in one line: every parameter with deviation and unit, or why there is no value."""

from __future__ import annotations

import math

from ivimcore import PARAMETERS

from .MapDescription import describeMap
from .ProbeValues import statusSentence, valuesAt
from .Runs import Run
from .StatisticsView import valueText


def voxelText(run: Run | None, cursor: tuple[float, float, float] | None, shownKey: str) -> str:
    """Return the values of a run at `cursor` (RAS [mm]), those of the map `shownKey` too; empty without either."""
    if run is None or cursor is None:
        return ""
    values = valuesAt(run, cursor)
    keys = [key for key in dict.fromkeys((*PARAMETERS, shownKey)) if key in values]
    known = [valueText(*values[key], describeMap(key)) for key in keys if math.isfinite(values[key][0])]
    text = "; ".join(known)
    if len(known) == len(keys) and known:
        return text
    sentence = statusSentence(run, cursor)
    return f"{text}. {sentence}" if text else sentence
