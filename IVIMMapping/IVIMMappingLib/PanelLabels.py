"""Sentences of the panel: a label without text takes no room, and a message looks like what it is."""

from __future__ import annotations

_LEVELS = {
    "error": ("#f7c0b5", "#5a1408"), "warning": ("#ffe3a3", "#4a3200"), "information": ("#b7e4cf", "#0b3d2a"),
}
"""Background and text of a message: both are set, so that it reads alike in light and dark palettes."""


def showText(label, text: str) -> None:
    """Write `text` into a QLabel, and hide the label where there is none: an empty line would be left in the panel."""
    label.setText(text)
    label.setVisible(bool(text))


def showMessage(frame, label, sentence: str, level: str) -> None:
    """Show a sentence in the frame above the panel, coloured by `level` ('error', 'warning', 'information')."""
    background, text = _LEVELS.get(level, _LEVELS["warning"])
    frame.setStyleSheet(f"QFrame#{frame.objectName} {{ background: {background}; border-radius: 3px; }}")
    label.setStyleSheet(f"color: {text};")
    label.setProperty("level", level)
    label.setText(sentence)
    frame.setVisible(bool(sentence))
