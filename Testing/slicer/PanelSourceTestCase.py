"""Rules of PythonQt that no stand-in can enforce while the panel runs, read from its source."""

import ast
import enum
import unittest

import slicer
from IVIMTestPanel import MODULES, PanelTest
from IVIMTestScene import IN_DESKTOP

FILES = tuple(
    path for module in MODULES for path in (module, *sorted((module.parent / f"{module.stem}Lib").glob("*.py")))
)


def chain(node):
    """Return the names of `a.b.c` as a list, or None for anything else."""
    names = []
    while isinstance(node, ast.Attribute):
        names.insert(0, node.attr)
        node = node.value
    return [node.id, *names] if isinstance(node, ast.Name) else None


def isWidgetClass(names):
    return names is not None and len(names) > 1 and (
        names[0] in ("qt", "ctk") or (names[0] == "slicer" and names[1].startswith(("qMRML", "qSlicer")))
    )


def complaints(tree, qt=None):
    """Yield (line, sentence) for what works in PySide and breaks in PythonQt."""
    for node in ast.walk(tree):
        names = chain(node) if isinstance(node, ast.Attribute) else None
        if isinstance(node, ast.Call):
            called = chain(node.func)
            if called == ["isinstance"] and any(isWidgetClass(chain(part)) for part in ast.walk(node.args[1])):
                yield node.lineno, "isinstance of a Qt class is False in PythonQt; use .inherits('...')"
            if called == ["_"] and any(not isinstance(part, ast.Constant) for part in node.args):
                yield node.lineno, "only plain text stands in _(...), for the translators"
            if isWidgetClass(called) and node.keywords:
                yield node.lineno, f"{'.'.join(called)} takes no keyword arguments in PythonQt"
            if (isinstance(node.func, ast.Attribute) and node.func.attr.endswith("Event")
                    and isinstance(node.func.value, ast.Call) and chain(node.func.value.func) == ["super"]):
                yield node.lineno, "super() has no event handlers in PythonQt; call those of the class by its name"
        elif isinstance(node, ast.Assert):
            if any(isinstance(part, ast.Attribute) and part.attr == "connect" for part in ast.walk(node)):
                yield node.lineno, "a connection inside an assert is not made by python -O"
        elif isinstance(node, ast.Import | ast.ImportFrom):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [name.name for name in node.names]
            if any(name.split(".")[0] in ("PySide6", "PySide2", "PyQt5", "PyQt6") for name in modules):
                yield node.lineno, "desktop Slicer has Qt only as the modules qt and ctk"
        elif names and names[0] == "qt" and qt is not None:
            value = qt
            for depth, name in enumerate(names[1:], 1):
                value = getattr(value, name, None)
                if value is None:
                    yield node.lineno, f"there is no {'.'.join(names[:depth + 1])}"
                    break
                if depth > 2 and isinstance(value, enum.Enum):
                    yield node.lineno, f"{'.'.join(names)}: PythonQt reaches enum values without their scope"
                    break


class PanelSourceTestCase(unittest.TestCase):
    def test_each_rule_is_noticed(self):
        for source in (
            "isinstance(a, qt.QWidget)", "isinstance(a, (str, ctk.ctkSliderWidget))", "_(f'a {b}')", "_(name)",
            "qt.QTimer.singleShot(msec=3)", "slicer.qMRMLWidget(parent=a)", "super().resizeEvent(e)",
            "from PySide6 import QtCore", "assert button.connect('clicked()', f) is not False",
        ):
            with self.subTest(source):
                self.assertEqual(len(list(complaints(ast.parse(source)))), 1)

    def test_the_panel_follows_the_rules(self):
        for path in FILES:
            found = list(complaints(ast.parse(path.read_text("utf-8"))))
            with self.subTest(path.name):
                self.assertEqual(found, [])


@unittest.skipIf(IN_DESKTOP, "in desktop Slicer a wrong name raises by itself")
class PanelNamesTestCase(PanelTest):
    def test_every_name_of_qt_exists(self):
        import qt

        self.assertEqual(len(list(complaints(ast.parse("qt.Qt.CheckState.Checked"), qt))), 1)
        self.assertEqual(len(list(complaints(ast.parse("qt.QUnheardOf"), qt))), 1)
        for path in FILES:
            with self.subTest(path.name):
                self.assertEqual(list(complaints(ast.parse(path.read_text("utf-8")), qt)), [])
        self.assertIsNotNone(slicer.app)
