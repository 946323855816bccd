"""Quantizers, accumulators and formats as text and back: for operators, reports and vectors."""

import json
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import lru_cache
from typing import Any

from .accumulator import Accumulator
from .formats import FloatFormat, NanEncoding, Subnormals
from .quantizer import Quantizer
from .rounding import Overflow, Rounding

_RECORDS = {cls.__name__: cls for cls in (FloatFormat, Quantizer, Accumulator)}
_ENUMS: dict[str, type[Enum]] = {cls.__name__: cls for cls in (NanEncoding, Subnormals, Rounding, Overflow)}


def dumps(record: FloatFormat | Quantizer | Accumulator) -> str:
    """Canonical JSON of a record, names included; loads(dumps(x)) == x."""
    # Kept on the record itself: records that compare equal may carry different names.
    text: str | None = record.__dict__.get("_text")
    if text is None:
        text = json.dumps(_plain(record), sort_keys=True, separators=(",", ":"))
        object.__setattr__(record, "_text", text)
    return text


@lru_cache(maxsize=4096)
def loads(text: str) -> Any:
    """The record that `dumps` wrote. Errors: ValueError for other text."""
    try:
        return _record(json.loads(text))
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"not the text of a format, quantizer or accumulator ({error}): {text[:80]!r}") from error


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        kind = type(value).__name__
        return {"kind": kind, **{f.name: _plain(getattr(value, f.name)) for f in fields(value)}}
    if isinstance(value, Enum):
        return {"enum": type(value).__name__, "member": value.name}
    return value


def _record(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if "enum" in value:
        return _ENUMS[value["enum"]][value["member"]]
    return _RECORDS[value["kind"]](**{name: _record(part) for name, part in value.items() if name != "kind"})
