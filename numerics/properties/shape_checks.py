"""Check of arrays of every length, shape and layout: wherever an element lies, it becomes what it becomes elsewhere.

Few values are asked, each of which shows another fault: one beside a tie tells truncation from rounding, one at the
threshold of a word that word from the one before. Every place of an array sees all of them.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..words import random_words
from .evidence import EXACT, ClaimError, Evidence, hides, shown
from .law import law_of, overflows
from .points import steps
from .quantizers import QuantizerUnderTest
from .reproductions import FORTRAN, FOUR, INNER, LAID, REVERSED, TURNED, same_bits
from .rounding_checks import inputs
from .wiring_checks import SLOW, Made, compare

__tracebackhide__ = hides

#: Every short length, for loops of any width with a rest of any size, and those beside usual blocks.
LENGTHS = (*range(1, 71), 100, 127, 128, 129, 255, 256, 257, 511, 512, 513, 1000, 1023, 1024, 1025, 2047, 4095)
FEW_LENGTHS = range(1, 18)
LONG, ALIKE = (1 << 16) + 17, 96
CASES = 16
LAYOUTS = {
    FOUR: "as [2, 1, 3, n]",
    FORTRAN: "in Fortran order",
    TURNED: "with dimensions in another order in memory",
    INNER: "from rows with gaps",
    REVERSED: "from a view from end to start",
}


class Cases(NamedTuple):
    """Elements x [n], or blocks [n, m], with their words [n] or None, and what they give."""

    x: NDArray[Any]
    words: Any
    wanted: NDArray[Any]

    def at(self, places: NDArray[np.int64]) -> "Cases":
        """Those at some places, each as often as it is named."""
        return Cases(self.x[places], None if self.words is None else self.words[places], self.wanted[places])


def any_shape(q: QuantizerUnderTest) -> Evidence:
    """An element gives the same at every place of arrays of every short length and a long one, however they lie in memory.

    Sixteen telling elements, alone and among each other, each at every place. Arrays without dimensions, and views with a
    negative stride, which torch has not, may be refused by an error.
    """
    told, cases = _cases(q), 0
    for given, how in _arrays(told, slow=q.limit < SLOW):
        _same(q, given, f"{how}, an element gave another result", "{}")
        cases += len(given.x)
    for laid, how in LAYOUTS.items():
        given = told.at(np.arange(6 * CASES) * 7 % CASES)
        try:
            _same(q, given, f"{how}, an element gave another result", laid)
        except ClaimError:
            raise
        except Exception:
            if laid != REVERSED:
                raise
            continue
        cases += len(given.x)
    return Evidence(EXACT, cases + _without_dimensions(q, told))


def _without_dimensions(q: QuantizerUnderTest, told: Cases) -> int:
    """The same of an array of no dimensions, where such are taken; how many cases."""
    for i in range(CASES):
        word = None if told.words is None else told.words[i].reshape(())
        try:
            found = q(told.x[i].reshape(()), word)
        except ClaimError:
            raise
        except Exception:
            return i
        if not same_bits(found, told.wanted[i]):
            raise ClaimError(
                "any_shape",
                f"in an array of no dimensions, an element gave another result ({q.fmt}, {q.rounding.name})",
                x=shown(told.x[i]),
                **({} if word is None else {"word": int(word)}),
                seen=shown(found),
                allowed=shown(told.wanted[i]),
                reproduce=q.reproduce(told.x[i], word, "{}.reshape(())"),
            )
    return CASES


def _same(q: QuantizerUnderTest, given: Cases, statement: str, laid: str) -> None:
    """The elements, so laid, give what they gave."""
    lay = LAID[laid]
    found = q(lay(given.x), None if given.words is None else lay(given.words)).reshape(-1)
    made = Made(given.x, given.words, found, np.arange(len(given.x)), laid)
    compare(q, "any_shape", statement, given.x, given.words, found, given.wanted, made)


def _arrays(told: Cases, *, slow: bool) -> Iterator[tuple[Cases, str]]:
    """The cases in arrays of all lengths, each case at each place, and each by itself many times over."""
    for case in range(CASES):
        yield told.at(np.full(ALIKE, case)), f"{ALIKE} times over"
    for length in FEW_LENGTHS if slow else (*LENGTHS, LONG):
        for shift in range(2 if slow else CASES):
            yield told.at((np.arange(length) + shift) % CASES), f"in an array of {length}"


def _cases(q: QuantizerUnderTest) -> Cases:
    if q.takes_words:
        x, words = _at_thresholds(q)
    else:
        x, words = _telling(q), None
    return Cases(x, words, q(x, words))


def _telling(q: QuantizerUnderTest) -> NDArray[Any]:
    """Ties of two steps near 1, quarters, ends, what overflows, what vanishes and zeros; members of a source instead."""
    pool = inputs(q, None)
    drawn = pool[random_words(CASES, 32, seed=CASES).astype(np.int64) % len(pool)]
    if q.source is not None:
        return drawn
    low, high = _near_one(q)
    parts = [low + (high - low) * part for part in (0.5, 0.25, 0.75)] + [high + (high - low) / 2, high, 0.0]
    with np.errstate(over="ignore", under="ignore"):
        x = np.array([v for part in parts for v in ((part, -part) if q.element.signed else (part,))]).astype(q.dtype)
    x = x[np.isfinite(x)]
    x = x[~overflows(q, x)]
    return np.concatenate([x, drawn])[:CASES].astype(q.dtype)


def _near_one(q: QuantizerUnderTest) -> tuple[float, float]:
    low, high = steps(q.element, q.dtype)
    i = int(np.argmin(np.abs(np.log2(np.maximum(low, 1e-300)))))
    return float(low[i]), float(high[i])


def _at_thresholds(q: QuantizerUnderTest) -> tuple[NDArray[Any], NDArray[np.uint32]]:
    """Four thresholds, with the word there and the one before, of either sign; drawn ones where a step has none."""
    r = int(q.random_bits or 32)
    count = 1 << r
    low, high = _near_one(q)
    part = np.array([1, count // 2, max(1, count // 2 - 1), count - 1]) + (
        0.0 if np.frexp(high - low)[0] == 0.5 else 0.25
    )
    x = (low + (high - low) * part / count).astype(q.dtype)
    x = np.concatenate([x, -x]) if q.element.signed else np.tile(x, 2)
    x = _of_source(q, x) if q.source is not None else x
    first = count - law_of(q, x).counts(q.rounding, r)
    both = np.concatenate([first, first - 1]).clip(0, count - 1)
    return np.tile(x, 2), both.astype(np.uint32)


def _of_source(q: QuantizerUnderTest, x: NDArray[Any]) -> NDArray[Any]:
    """As many inputs that are not members of the format, where there are some: what a word decides."""
    pool = inputs(q, None)
    pool = pool[~overflows(q, pool)]
    law = law_of(q, pool)
    inner = pool[law.low != law.high]
    return np.resize(inner if len(inner) else pool, x.shape)
