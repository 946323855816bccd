"""Records in sentences: short names, and what to make of the wrong one."""

from dataclasses import is_dataclass
from typing import Any

from .spelling import known_name


def named(value: Any) -> str:
    """A value in a sentence: a format by its name, a record that rounds to one as Quantizer(e4m3fn), else a short repr."""
    if not is_dataclass(value) or isinstance(value, type):
        text = repr(value)
        return text if len(text) <= 60 else f"{text[:57]}..."
    if type(value).__str__ is not object.__str__:
        return str(value)
    inner = format_in(value)
    return type(value).__name__ if inner is None else f"{type(value).__name__}({inner})"


def made_from(value: Any, kind: str) -> str:
    """How a record of the wanted kind is had from a value of another: Quantizer(e4m3fn) from a format, "a Quantizer".

    From the name of a format, Quantizer(parse_format('e4m3fn')); from that of a matrix unit, the unit.
    """
    if isinstance(value, str):
        text, found = known_name(value)
        if text:
            return text if format_in(found) is None else f"{kind}({text})"
    inner = format_in(value)
    article = "an" if kind[0] in "AEIOU" else "a"
    return f"{article} {kind}" if inner is None else f"{kind}({inner})"


def format_in(value: Any) -> Any:
    """The format that a record rounds to, or that it is; None for anything else."""
    if not is_dataclass(value) or isinstance(value, type):
        return None
    if hasattr(value, "has_nan"):  # every family says so, and nothing else does
        return value
    return getattr(value, "fmt", getattr(value, "format", None))
