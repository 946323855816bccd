"""Which values count as integers, which as yes or no, and which as texts."""

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


def check_flags(record: Any, *labels: str) -> None:
    """Refuse fields of a record that are not bools: arithmetic with a 2 for True would be another format's. ValueError."""
    for label in labels:
        if not isinstance(getattr(record, label), bool):
            raise ValueError(f"{label} = {getattr(record, label)!r}: give True or False")


def check_texts(record: Any, *labels: str) -> None:
    """Refuse fields of a record that are not texts: a name is shown, and a source is read. TypeError."""
    for label in labels:
        if not isinstance(getattr(record, label), str):
            raise TypeError(f"{label} = {getattr(record, label)!r}: give a str")
