"""Functions from codes to values or codes: tables, of which every entry is looked at."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import reference
from ..formats import ElementFormat, code_dtype
from ..quantizer import Quantizer
from ..rounding import Overflow
from ..words import random_words
from .evidence import EXACT, EXHAUSTIVE, ClaimError, Evidence, call_function, called, literal, shown
from .law import law_of, overflows
from .quantizers import QuantizerUnderTest

ENTRIES = 16  # bits of a code up to which all codes are tried


def every_code(q: QuantizerUnderTest) -> Evidence:
    """Each code of the source gives what the oracle makes of its value: all codes are tried, infinities and NaNs too.

    Under random words: a drawn one, and of finite values the last that stays and the first that goes up. Left out is what
    the format cannot say: NaN without a NaN, negative values without a sign, under Overflow.ERROR what overflows, under
    Overflow.WRAP infinities.
    """
    source = q.source
    assert source is not None
    codes, values = _table(source, q.dtype)
    keep = _expressible(q, values)
    codes, values = codes[keep], values[keep]
    cases = 0
    for words in _words(q, values):
        given = (codes,) if words is None else (codes, words)
        convert = q.tensor or (lambda array: array)
        result = np.asarray(call_function(q.fn, *(convert(array.copy()) for array in given)))
        result = Quantizer(q.element).decode(result, dtype=q.dtype) if q.codes else result
        if result.shape != codes.shape:
            raise ClaimError("every_code", "the result has another shape", seen=result.shape, allowed=codes.shape)
        wanted = reference.quantize(values, q.ideal, words=words)
        wrong = ~((result == wanted) | (np.isnan(result.astype(np.float64)) & np.isnan(wanted)))
        if wrong.any():
            i = int(np.argmax(wrong))
            parts = [literal(part[i : i + 1], part.dtype) for part in given]
            raise ClaimError(
                "every_code",
                f"{int(wrong.sum())} of {len(codes)} codes of {source} give something else"
                f" ({q.fmt}, {q.rounding.name}, {q.overflow.name})",
                code=f"{int(codes[i]):#x}, of the value {shown(values[i])}",
                **({} if words is None else {"word": int(words[i])}),
                seen=shown(result[i]),
                allowed=shown(wanted[i]),
                formula="Q(value of the code)",
                reproduce=called(q.name, q.tensor, parts),
            )
        cases += len(codes)
    note = f"all {len(codes)} codes of {source}" + ("" if keep.all() else f" that {q.fmt} can say")
    return Evidence(EXACT if q.takes_words else EXHAUSTIVE, cases, note)


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


def _words(q: QuantizerUnderTest, values: NDArray[Any]) -> list[NDArray[np.uint32] | None]:
    if not q.takes_words:
        return [None]
    r = int(q.random_bits or 32)
    chosen = [random_words(len(values), r, seed=len(values)).astype(np.uint32)]
    finite = np.flatnonzero(np.isfinite(values))
    edge = (1 << r) - law_of(q, values[finite]).counts(q.rounding, r)
    for step in (-1, 0):
        words = chosen[0].copy()
        words[finite] = np.clip(edge + step, 0, (1 << r) - 1)
        chosen.append(words)
    return list(chosen)
