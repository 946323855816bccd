"""Functions from codes to values or codes: tables, of which every entry is looked at."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import reference
from ..formats import ElementFormat, code_dtype
from ..quantizer import Quantizer
from ..rounding import Overflow
from ..words import random_words
from .evidence import EXACT, EXHAUSTIVE, ClaimError, Evidence, call_function, called, hides, literal, shown
from .law import law_of, overflows
from .quantizers import QuantizerUnderTest

__tracebackhide__ = hides

ENTRIES = 16  # bits of a code up to which all codes are tried
ALL = 1 << 22  # results of codes under words up to which every word is tried
AT_ONCE = 1 << 20  # of them held at a time
SOME_WORDS = 14  # tried of each code where there are more, besides the two at its threshold


def every_code(q: QuantizerUnderTest) -> Evidence:
    """Each code of the source gives what the oracle makes of its value: all codes are tried, infinities and NaNs too.

    Under random words: all of them with every code, for up to 2**22 results; else of each code 16 words, among them, of
    finite values, the last that stays and the first that goes up. Left out is what the format cannot say: NaN without a
    NaN, negative values without a sign, under Overflow.ERROR what overflows, under Overflow.WRAP infinities.
    """
    source = q.source
    assert source is not None
    codes, values = _table(source, q.dtype)
    keep = _expressible(q, values)
    codes, values = codes[keep], values[keep]
    answers, cases = _Answers(q, values), 0
    for words in _words(q, answers):
        rows = 1 if words is None else len(words)
        given = (codes,) if words is None else (np.tile(codes, rows), words.reshape(-1))
        convert = q.tensor or (lambda array: array)
        result = np.asarray(call_function(q.fn, *(convert(array.copy()) for array in given)))
        result = Quantizer(q.element).decode(result, dtype=q.dtype) if q.codes else result
        if result.shape != given[0].shape:
            raise ClaimError("every_code", "the result has another shape", seen=result.shape, allowed=given[0].shape)
        wanted = answers.under(words).reshape(-1)
        wrong = ~((result == wanted) | (np.isnan(result.astype(np.float64)) & np.isnan(wanted)))
        if wrong.any():
            raise _broken(q, given, values, result, wanted, wrong)
        cases += len(result)
    note = f"all {len(codes)} codes of {source}" + ("" if keep.all() else f" that {q.fmt} can say")
    every = q.takes_words and _all_words(q, values)
    note += f", all {1 << int(q.random_bits or 32)} words" if every else ""
    return Evidence(EXACT if q.takes_words and not every else EXHAUSTIVE, cases, note)


def _broken(
    q: QuantizerUnderTest,
    given: tuple[NDArray[Any], ...],
    values: NDArray[Any],
    result: NDArray[Any],
    wanted: NDArray[Any],
    wrong: NDArray[np.bool_],
) -> ClaimError:
    i, count = int(np.argmax(wrong)), len(values)
    parts = [literal(part[i : i + 1], part.dtype) for part in given]
    return ClaimError(
        "every_code",
        f"{int(wrong.reshape(-1, count).any(axis=0).sum())} of {count} codes of {q.source} give something else"
        f" ({q.fmt}, {q.rounding.name}, {q.overflow.name})",
        code=f"{int(given[0][i]):#x}, of the value {shown(values[i % count])}",
        **({} if len(given) == 1 else {"word": int(given[1][i])}),
        seen=shown(result[i]),
        allowed=shown(wanted[i]),
        formula="Q(value of the code)",
        reproduce=called(q.name, q.tensor, parts),
    )


class _Answers:
    """What the oracle makes of values [n]: under words [m, n], the one of two results that each word says."""

    def __init__(self, q: QuantizerUnderTest, values: NDArray[Any]) -> None:
        self.count = 1 << int(q.random_bits or 32)
        self.values, finite = values, np.isfinite(values)
        one_word = np.zeros(len(values), np.uint32) if q.takes_words else None
        self.low = reference.quantize(values, q.ideal, words=one_word)
        self.high, self.goes = self.low.copy(), np.zeros(len(values), np.int64)
        if q.takes_words:
            law = law_of(q, values[finite])
            self.low[finite], self.high[finite] = law.low, law.high
            self.goes[finite] = law.counts(q.rounding, int(q.random_bits or 32))

    def under(self, words: NDArray[np.uint32] | None) -> NDArray[Any]:
        """The results [m, n], without words [n]."""
        if words is None:
            return self.low
        return np.where(self.goes + words >= self.count, self.high, self.low)


def _table(source: ElementFormat, dtype: np.dtype[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """All codes, and their values."""
    codes = np.arange(1 << source.bits, dtype=np.uint32).astype(code_dtype(source.bits))
    return codes, np.asarray(Quantizer(source).decode(codes, dtype=dtype))


def _expressible(q: QuantizerUnderTest, values: NDArray[Any]) -> NDArray[np.bool_]:
    fmt = q.element
    keep = np.ones(values.shape, bool)
    if not fmt.has_nan:
        keep &= ~np.isnan(values)
    if not fmt.signed:
        keep &= ~(values < 0)
    if q.overflow in (Overflow.ERROR, Overflow.WRAP):
        keep &= ~np.isinf(values)
    if q.overflow is Overflow.ERROR:
        finite = np.flatnonzero(keep & np.isfinite(values))
        keep[finite] = ~overflows(q, values[finite])
    return keep


def _all_words(q: QuantizerUnderTest, values: NDArray[Any]) -> bool:
    return len(values) << int(q.random_bits or 32) <= ALL


def _words(q: QuantizerUnderTest, answers: _Answers) -> Iterator[NDArray[np.uint32] | None]:
    """The words [m, n] of n codes, as many at a time as can be held."""
    if not q.takes_words:
        yield None
        return
    n, count = len(answers.values), answers.count
    if _all_words(q, answers.values):
        rows = max(1, AT_ONCE // max(1, n))
        for start in range(0, count, rows):
            some = np.arange(start, min(count, start + rows), dtype=np.uint32)
            yield np.repeat(some, n).reshape(len(some), n)
        return
    edge = count - answers.goes
    drawn = random_words(n * SOME_WORDS, int(q.random_bits or 32), seed=n).reshape(SOME_WORDS, n)
    beside = np.clip(np.stack([edge - 1, edge]), 0, count - 1)
    yield np.concatenate([beside, drawn]).astype(np.uint32)
