"""Quantizers, accumulators and formats as text and back: for operators, reports and vectors."""

import json
from enum import Enum
from functools import lru_cache
from typing import Any

from .accumulator import Accumulator
from .formats import (
    BlockFormat,
    FixedFormat,
    FloatFormat,
    Format,
    LogFormat,
    NanEncoding,
    PositFormat,
    ScaleRule,
    Subnormals,
)
from .formats.naming import named
from .matrix_unit import MatrixUnit
from .quantizer import Quantizer
from .rounding import Overflow, Rounding
from .text import canonical_text

_FORMATS = (FloatFormat, FixedFormat, PositFormat, LogFormat, BlockFormat)
_RECORDS = {cls.__name__: cls for cls in (*_FORMATS, Quantizer, Accumulator, MatrixUnit)}
_ENUMS: dict[str, type[Enum]] = {cls.__name__: cls for cls in (NanEncoding, Subnormals, ScaleRule, Rounding, Overflow)}


def dumps(record: Format | Quantizer | Accumulator | MatrixUnit) -> str:
    """Canonical JSON of a record, names included; loads(dumps(x)) == x. Errors: TypeError for anything else."""
    text: str | None = getattr(record, "_text", None)
    if text is not None:
        return text
    if type(record) not in _RECORDS.values():
        raise TypeError(f"{named(record)} is not a format, quantizer or accumulator")
    return canonical_text(record)


@lru_cache(maxsize=4096)
def loads(text: str) -> Any:
    """The record that `dumps` wrote. Errors: TypeError for what is no text, ValueError for other text."""
    if not isinstance(text, str):
        raise TypeError(f"text {text!r:.80}: give the text of a format, quantizer or accumulator, as dumps writes it")
    try:
        record = _record(json.loads(text))
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"not the text of a format, quantizer or accumulator ({error}): {text[:80]!r}") from error
    if type(record) not in _RECORDS.values():
        raise ValueError(f"not the text of a format, quantizer or accumulator: {text[:80]!r}")
    return record


def _record(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if "enum" in value:
        return _ENUMS[value["enum"]][value["member"]]
    return _RECORDS[value["kind"]](**{name: _record(part) for name, part in value.items() if name != "kind"})
