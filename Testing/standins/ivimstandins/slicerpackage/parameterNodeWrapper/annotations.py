"""What may stand in Annotated[...] beside the type of a parameter."""

import typing


class Default:
    """The value of a parameter that nobody has set."""

    def __init__(self, value):
        self.value = value


class Decimals:
    """Digits that a spin box shows."""

    def __init__(self, value):
        self.value = value


class SingleStep:
    """Step of a spin box or slider."""

    def __init__(self, value):
        self.value = value


class Validator:
    """Refuses values by raising."""

    def validate(self, value):
        raise NotImplementedError


class NotNone(Validator):
    def validate(self, value):
        if value is None:
            raise ValueError("Value must not be None")


class IsInstance(Validator):
    def __init__(self, classtype):
        self.classtype = classtype

    def validate(self, value):
        if value is not None and not isinstance(value, self.classtype):
            raise TypeError(f"Value {value!r} is a {type(value).__name__} and not of {self.classtype}")


class WithinRange(Validator):
    def __init__(self, minimum, maximum):
        self.minimum, self.maximum = minimum, maximum

    def validate(self, value):
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"Value {value} is outside [{self.minimum}, {self.maximum}]")


class Minimum(Validator):
    def __init__(self, minimum):
        self.minimum = minimum

    def validate(self, value):
        if value < self.minimum:
            raise ValueError(f"Value {value} is below {self.minimum}")


class Maximum(Validator):
    def __init__(self, maximum):
        self.maximum = maximum

    def validate(self, value):
        if value > self.maximum:
            raise ValueError(f"Value {value} is above {self.maximum}")


class Choice(Validator):
    def __init__(self, choices):
        self.choices = choices

    def validate(self, value):
        if value not in self.choices:
            raise ValueError(f"Value {value!r} is none of {self.choices}")


class Exclude(Validator):
    def __init__(self, excludedValues):
        self.excludedValues = excludedValues

    def validate(self, value):
        if value in self.excludedValues:
            raise ValueError(f"Value {value!r} is one of {self.excludedValues}")


def split(kind):
    """Return the type itself and what is annotated to it."""
    if typing.get_origin(kind) is typing.Annotated:
        kind, *extras = typing.get_args(kind)
        return kind, tuple(extras)
    return kind, ()


def first(extras, wanted):
    """Return the first of `extras` that is a `wanted`, or None."""
    return next((extra for extra in extras if isinstance(extra, wanted)), None)
