"""What a check brings back: evidence for a claim, or the case that breaks it."""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

EXHAUSTIVE, EXACT, STATISTICAL = "exhaustive", "exact", "statistical"
CALLS, SECONDS = 400, 2.0  # that making a case smaller may take
FEW = 100  # elements that are printed of what cannot be made smaller
_GIVEN = "_given_to_the_function"
Indices = np.ndarray[Any, np.dtype[np.int64]]
_ORDER = (EXHAUSTIVE, EXACT, STATISTICAL)


@dataclass(frozen=True)
class Evidence:
    """For a claim that held: how it was shown, in how many cases, and on what.

    kind: "exhaustive" (every codepoint or every random word that there is), "exact" (no tolerance, no sampling, on the
    cases listed) or "statistical" (with a stated rate of false alarms).
    """

    kind: str
    cases: int
    note: str = ""

    def __add__(self, other: "Evidence") -> "Evidence":
        kind = max(self.kind, other.kind, key=_ORDER.index)
        return Evidence(
            kind, self.cases + other.cases, "; ".join(dict.fromkeys(n for n in (self.note, other.note) if n))
        )


class ClaimError(AssertionError):
    """A claim does not hold. The text says where, what was seen, what was allowed, by which formula, and how to see it.

    claim: its name. details: the lines of the text by label.
    """

    def __init__(self, claim: str, statement: str, **details: object) -> None:
        self.claim, self.details = claim, {label: str(value) for label, value in details.items()}
        super().__init__(told(f"{claim}: {statement}", self.details))


def told(sentence: str, details: Mapping[str, str]) -> str:
    """A sentence, and below it a line for each detail."""
    width = max(map(len, details), default=0)
    return "\n".join(
        [sentence, *(f"  {label.replace('_', ' '):<{width}}  {value}" for label, value in details.items())]
    )


def call_function(fn: Callable[..., Any], *arguments: Any) -> Any:
    """Calls the function under test: what is raised below this frame is its own error.

    Infinities and NaNs are among what it is given: numpy's remarks on them are not its error. One that leaves Python would
    take the verdict with it, and with status 0 pass for proved.
    """
    try:
        with np.errstate(all="ignore"):
            return fn(*arguments)
    except SystemExit as left:
        if type(left) is not SystemExit:  # the command's own, as where nobody reads what the function prints
            raise
        raise RuntimeError(f"SystemExit({left.code!r}), which ends Python: raise another exception") from left


def raised_for(error: Exception, subject: Any, *arguments: Any) -> None:
    """Keeps with an exception what the function was given, for `raised_details`."""
    with contextlib.suppress(AttributeError, TypeError):  # a class of slots alone takes nothing
        error.__dict__.setdefault(_GIVEN, (subject, arguments))


def raised_details(error: Exception) -> dict[str, str]:
    """x and a line that reproduces what the function raised; nothing where that is not known."""
    given = getattr(error, _GIVEN, None)
    if given is None:
        return {}
    subject, arguments = given
    return {label: str(text) for label, text in subject.raised_by(*arguments, type(error)).items()}


def hides(excinfo: Any) -> bool:
    """For pytest: whether the frames of the checks say nothing, as the function under test is at fault and the text tells it.

    A module of checks has it as its `__tracebackhide__`.
    """
    return isinstance(excinfo.value, ClaimError) or hasattr(excinfo.value, _GIVEN)


__tracebackhide__ = hides


def smallest(size: int, must: Sequence[int], shows: Callable[[Indices], bool]) -> Indices:
    """Of 0 .. size - 1 few that still show a fault, `must` among them: large powers of two left out, then small ones.

    shows: whether the elements of these indices show it. It may take CALLS calls and SECONDS seconds: then what is left.
    """
    kept, needed = np.arange(size), np.array(must)
    end, calls, chunk = time.perf_counter() + SECONDS, 0, 1 << max(0, size.bit_length() - 1)
    while chunk:
        place = 0
        while place < len(kept):
            if calls == CALLS or time.perf_counter() > end:
                return kept
            part = kept[place : place + chunk]
            fewer = np.concatenate([kept[:place], part[np.isin(part, needed)], kept[place + chunk :]])
            calls += 1
            if len(fewer) < len(kept) and shows(fewer):
                kept = fewer
            else:
                place += chunk
        chunk //= 2
    return kept


def called(name: str, convert: Callable[[Any], Any] | None, arguments: Sequence[str]) -> str:
    """A call in Python; convert: what makes each argument what the function takes."""
    if convert is None:
        return f"{name}({', '.join(arguments)})"
    own = getattr(convert, "__name__", None)
    text = f"{convert.__module__}.{own}" if own and own != "<lambda>" else "tensor"
    return f"{name}({', '.join(f'{text}({argument})' for argument in arguments)})"


def shown(value: Any) -> str:
    """A float with its bits, so that it can be typed in again."""
    number = float(value)
    return f"{number!r}" if not np.isfinite(number) or number == 0 else f"{number!r} ({number.hex()})"


def literal(values: Sequence[Any] | np.ndarray[Any, Any], dtype: Any) -> str:
    """Python that makes the array again, bit for bit."""
    array = np.asarray(values)
    kind = np.dtype(dtype).name
    if array.dtype.kind == "f" and _payloads(array).any():
        bits = array.view(f"u{array.dtype.itemsize}")
        return f"np.array({_nested(bits, lambda v: hex(int(v)))}, np.{bits.dtype.name}).view(np.{array.dtype.name})"
    if array.dtype.kind == "f":
        special = {"nan": "np.nan", "inf": "np.inf", "-inf": "-np.inf"}
        nested = _nested(array, lambda v: special.get(str(float(v)), repr(float(v))))
    else:
        nested = _nested(array, lambda v: str(int(v)))
    return f"np.array({nested}, np.{kind})"


def repeated(array: np.ndarray[Any, Any], dtype: Any) -> str:
    """The same, by np.resize where a long array repeats itself."""
    period = _period(array) if array.ndim == 1 and len(array) > 8 else 0
    return f"np.resize({literal(array[:period], dtype)}, {len(array)})" if period else literal(array, dtype)


def _period(array: np.ndarray[Any, Any]) -> int:
    """After how many elements an array repeats itself to the bit, at most half of it; 0 where it does not."""
    bits = np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}")
    for period in (np.flatnonzero(bits[1 : len(bits) // 2 + 1] == bits[0]) + 1).tolist():
        if (bits[period : period + 64] == bits[: len(bits[period : period + 64])]).all() and (
            bits[period:] == bits[:-period]
        ).all():
            return int(period)
    return 0


def _payloads(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Which elements are NaNs that np.nan does not stand for."""
    kind = f"u{array.dtype.itemsize}"
    other: np.ndarray[Any, Any] = np.isnan(array) & (array.view(kind) != np.array(np.nan, array.dtype).view(kind))
    return other


def _nested(array: np.ndarray[Any, Any], text: Any) -> str:
    if array.ndim == 0:
        return str(text(array[()]))
    return f"[{', '.join(_nested(row, text) for row in array)}]"
