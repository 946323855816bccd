"""Records as canonical JSON."""

import json
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any


def remember_text(record: Any) -> None:
    """Write a frozen record's text once, when it is made: it is the record's form in operators and compiled graphs."""
    object.__setattr__(record, "_text", canonical_text(record))


def canonical_text(record: Any) -> str:
    """JSON with sorted keys of a dataclass of numbers, strings, enum members and other such records."""
    return json.dumps(_plain(record), sort_keys=True, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        kind = type(value).__name__
        return {"kind": kind, **{f.name: _plain(getattr(value, f.name)) for f in fields(value)}}
    if isinstance(value, Enum):
        return {"enum": type(value).__name__, "member": value.name}
    return value
