"""Which values count as integers."""

import operator
from typing import Any


def whole(value: Any) -> int | None:
    """`value` as an int where it is an integer of any library (it has `__index__`), else None; a bool is none."""
    if type(value) is int:
        return value
    if isinstance(value, bool):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def keep_whole(record: Any, label: str) -> int | None:
    """A field of a frozen record by `whole`, written back as an int, so that equal records have equal texts."""
    number = whole(getattr(record, label))
    if number is not None:
        object.__setattr__(record, label, number)
    return number
