"""Typed parameters in a vtkMRMLScriptedModuleNode, bound to widgets, as slicer.parameterNodeWrapper offers them.

Kept from the real one, as they surprise: `connectGui` returns None, so that only `connectParametersToGui` gives a tag
for `disconnectGui`; a node selector takes its types from the annotation and forgets those of the .ui file; an abstract
node class cannot be bound to a selector; lists are no `list`, cannot be added and write back when they change; a union
must be written `typing.Union` and needs None.
"""

from .annotations import (
    Choice,
    Decimals,
    Default,
    Exclude,
    IsInstance,
    Maximum,
    Minimum,
    NotNone,
    SingleStep,
    Validator,
    WithinRange,
)
from .wrapper import SlicerParameterNamePropertyName, isParameterNodeWrapper, parameterNodeWrapper

__all__ = [
    "parameterNodeWrapper", "isParameterNodeWrapper", "SlicerParameterNamePropertyName", "Default", "NotNone",
    "IsInstance", "WithinRange", "Minimum", "Maximum", "Choice", "Exclude", "Decimals", "SingleStep", "Validator",
]
