"""The case that breaks a claim about a quantizer: which one is shown, and what is said of it."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import reference
from ..rounding import Overflow
from .evidence import ClaimError, shown
from .law import law_of
from .quantizers import QuantizerUnderTest
from .reproductions import Call, details_of


def broken(
    claim: str,
    statement: str,
    q: QuantizerUnderTest,
    x: Any,
    words: Any,
    seen: Any,
    allowed: Any,
    formula: str,
    *calls: Call,
) -> ClaimError:
    """The counter-example at one x, or at two; calls: in which it was seen, to try whether x alone shows it."""
    details: dict[str, object] = {"x": ", ".join(shown(v) for v in np.atleast_1d(x))}
    if words is not None:
        details["word"] = ", ".join(str(int(w)) for w in np.atleast_1d(words))
    finite = [float(v) for v in np.atleast_1d(x) if math.isfinite(v)]
    if q.elementwise and finite:
        law = law_of(q, np.array(finite))
        details["neighbours"] = ", ".join(
            f"{a!r} and {b!r}" for a, b in zip(law.low.tolist(), law.high.tolist(), strict=True)
        )
    details |= {"seen": seen, "allowed": allowed, "formula": formula}
    rule = _other_overflow(q, float(x), words, seen) if np.ndim(x) == 0 else None
    if rule is not None:
        details["perhaps"] = f"Overflow.{rule.name} is meant: overflow=Overflow.{rule.name}, or --overflow {rule.name}"
    # What draws for itself gives something else each time: there is nothing to try.
    details |= details_of(q, *calls) if calls and not q.sampler else {"reproduce": q.reproduce(x, words)}
    return ClaimError(claim, f"{statement} ({q.fmt}, {q.rounding.name}, {q.overflow.name})", **details)


def _other_overflow(q: QuantizerUnderTest, x: float, words: Any, seen: Any) -> Overflow | None:
    """The overflow rule under which what was seen at x beyond the range would have been right, if there is one."""
    if not (q.elementwise and q.element.max < abs(x)):
        return None
    for rule in (Overflow.IEEE, Overflow.SATURATE, Overflow.PROPAGATE, Overflow.WRAP):
        try:
            ideal = replace(q.ideal, overflow=rule)
            given = None if words is None else np.atleast_1d(words)
            right = reference.quantize(np.array([x], q.dtype), ideal, words=given)
        except (ValueError, TypeError):  # the format or the mode has no such rule
            continue
        if rule is not q.overflow and shown(right[0]) == seen:
            return rule
    return None


def first_of(wrong: NDArray[np.bool_]) -> tuple[int, ...]:
    """The indices of the first case that is wrong, in C order."""
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(wrong)), wrong.shape))


def simplest(wrong: NDArray[np.bool_], x: NDArray[Any]) -> int:
    """Which of the cases that are wrong is the easiest to think about: near 1, of few bits, positive."""
    places = np.flatnonzero(wrong)
    values = x[places].astype(np.float64)
    with np.errstate(invalid="ignore"):
        fraction, exponent = np.frexp(np.abs(values))
        significand = np.where(np.isfinite(values), fraction * 2.0**53, 0).astype(np.int64)
    away = np.where(np.isfinite(values) & (values != 0), np.abs(exponent - 1), 5000)
    lowest = significand & -significand  # the larger, the fewer bits there are
    return int(places[np.lexsort((values < 0, -lowest, away))[0]])
