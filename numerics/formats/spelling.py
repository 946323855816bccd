"""Records as the Python that makes them again."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

#: A type, how one is had by its name, and what finds it: those who know names add theirs, as records come before them.
NAMED: list[tuple[Any, str, Callable[[str], Any]]] = []


def spelled(record: Any) -> str:
    """A frozen record as an expression that evaluates to an equal one, in which what may be left out is.

    Formats inside of it are named, parse_format('e4m3fn'), and so are matrix units of the catalog. It wants the names of
    numerics, or of emul and its submodules, in scope. As `__repr__` of a record it is what is printed.
    """
    kept = {one.name: getattr(record, one.name) for one in fields(record) if one.init and one.compare}
    for name in [one.name for one in fields(record) if one.name in kept]:
        rest = {other: value for other, value in kept.items() if other != name}
        if _makes(rest, record):
            kept = rest
    if getattr(record, "name", ""):
        kept.setdefault("name", record.name)  # which formats and units are printed by, and not compared by
    parts, in_order = [], True
    for one in fields(record):
        if one.name not in kept:
            in_order = False
            continue
        in_order = in_order and not one.kw_only
        value = expression(kept[one.name])
        parts.append(value if in_order else f"{one.name}={value}")
    return f"{type(record).__name__}({', '.join(parts)})"


def _makes(arguments: dict[str, Any], record: Any) -> bool:
    """Whether a record of these arguments is equal to this one."""
    try:
        return bool(type(record)(**arguments) == record)
    except (TypeError, ValueError):
        return False


def expression(value: Any) -> str:
    """What is inside of a record as Python: members of enums, tuples, records, by their name where they have one."""
    if isinstance(value, Enum):
        return f"{type(value).__name__}.{value.name}"
    if isinstance(value, tuple):
        return f"({', '.join(map(expression, value))}{',' * (len(value) == 1)})"
    if not is_dataclass(value):
        return repr(value)
    return _named(value) or repr(value)


def known_name(name: str) -> tuple[str, Any]:
    """(how a record of this name is had, the record); "" and None where nothing is called so."""
    for _, text, find in NAMED:
        try:
            return text.format(repr(name)), find(name)
        except (KeyError, ValueError):
            continue
    return "", None


def _named(record: Any) -> str:
    """How a record is had by its name, "" where it is not."""
    for kind, text, find in NAMED:
        if isinstance(record, kind):
            name = record.name or str(record)
            try:
                return text.format(repr(name)) if find(name) == record else ""
            except (KeyError, ValueError):
                return ""
    return ""
