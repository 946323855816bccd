"""One rounding, encoding or decoding of a float or of an array of them, for every family of formats."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..formats import BlockFormat, ElementFormat, FixedFormat, LogFormat, PositFormat
from ..rounding import Overflow, Rounding
from . import block, fixed, floats, log, posit

if TYPE_CHECKING:
    from ..quantizer import Quantizer


def round_value(
    x: float,
    fmt: ElementFormat,
    rounding: Rounding = Rounding.RNE,
    overflow: Overflow = Overflow.SATURATE,
    *,
    word: int | None = None,
    random_bits: int | None = None,
    precision: int = 53,
) -> float:
    """One rounding of a float, specials included; precision: 53 or 24, which table of values a LogFormat has.

    Errors: as `round_exact`; ValueError for a stray NaN.
    """
    if math.isnan(x):
        if not fmt.has_nan:
            raise ValueError(f"NaN in {fmt}, which has none")
        return math.nan
    if isinstance(fmt, FixedFormat):
        if math.isinf(x):
            return float(fixed.round_infinite(x, fmt, overflow))
        return float(fixed.round_exact(Fraction(x), fmt, rounding, overflow, word=word, random_bits=random_bits))
    if isinstance(fmt, PositFormat):
        if math.isinf(x):
            return posit.round_infinite(x, fmt, overflow)
        return posit.round_exact(Fraction(x), fmt, rounding, overflow, word=word, random_bits=random_bits)
    if isinstance(fmt, LogFormat):
        if math.isinf(x):
            return log.round_infinite(x, fmt, overflow, precision=precision)
        exact = Fraction(x)
        return log.round_exact(exact, fmt, rounding, overflow, word=word, random_bits=random_bits, precision=precision)
    if math.isinf(x):
        return floats.round_infinite(x, fmt, overflow)
    negative = math.copysign(1.0, x) < 0
    return floats.round_exact(
        Fraction(x), fmt, rounding, overflow, negative=negative, word=word, random_bits=random_bits
    )


def encode_value(value: float, fmt: ElementFormat, *, precision: int = 53) -> int:
    """Codepoint of a member of the format. Errors: ValueError for a value that has no code."""
    if isinstance(fmt, LogFormat):
        return log.encode_value(value, fmt, precision=precision)
    if isinstance(fmt, PositFormat):
        return posit.encode_value(value, fmt)
    return fixed.encode_value(value, fmt) if isinstance(fmt, FixedFormat) else floats.encode_value(value, fmt)


def decode_code(code: int, fmt: ElementFormat, *, precision: int = 53) -> float:
    """Value of a codepoint. Errors: ValueError for a code outside the format's bits."""
    if not 0 <= code < 1 << fmt.bits:
        raise ValueError(f"code {code} is outside the {fmt.bits} bits of {fmt}: 0 to {(1 << fmt.bits) - 1}")
    if isinstance(fmt, LogFormat):
        return log.decode_code(code, fmt, precision=precision)
    if isinstance(fmt, PositFormat):
        return posit.decode_code(code, fmt)
    return fixed.decode_code(code, fmt) if isinstance(fmt, FixedFormat) else floats.decode_code(code, fmt)


def floating(x: Any, label: str) -> NDArray[Any]:
    """x as an array of float32 or float64, or a sentence: in another type results would be cut to what it holds."""
    array = np.asarray(x)
    if array.dtype not in (np.float32, np.float64):
        raise TypeError(f"{label} of dtype {array.dtype}: give float32 or float64")
    return array


def quantize(x: Any, quantizer: Quantizer, *, words: Any = None) -> NDArray[Any]:
    """`quantizer.quantize(x, words=words)`, element by element. Errors: TypeError for other than float32 and float64."""
    array = floating(x, "array")
    q, fmt = quantizer, quantizer.fmt
    if isinstance(fmt, BlockFormat):
        return block.quantize(array, fmt, _policy(q, array), q.axis, words)
    given = [None] * array.size if words is None else [int(w) for w in np.asarray(words).ravel()]
    values = [
        round_value(
            float(v),
            fmt,
            q.rounding,
            q.overflow,
            word=w,
            random_bits=q.random_bits,
            precision=_precision(array),
        )
        for v, w in zip(array.ravel(), given, strict=True)
    ]
    return np.array(values, dtype=array.dtype).reshape(array.shape)


def encode(x: Any, quantizer: Quantizer, *, words: Any = None) -> Any:
    """`quantizer.encode(x, words=words)`, element by element, as Python integers in object arrays."""
    array, fmt = floating(x, "array"), quantizer.fmt
    if isinstance(fmt, BlockFormat):
        return block.encode(array, fmt, _policy(quantizer, array), quantizer.axis, words)
    own = array if isinstance(fmt, LogFormat) else array.astype(np.float64)
    values, precision = quantize(own, quantizer, words=words), _precision(array)
    codes = [encode_value(float(v), fmt, precision=precision) for v in values.ravel()]
    return np.array(codes, dtype=object).reshape(array.shape)


def _policy(quantizer: Quantizer, array: NDArray[Any]) -> block.Policy:
    return block.Policy(quantizer.rounding, quantizer.overflow, quantizer.random_bits, array.dtype == np.float64)


def _precision(array: NDArray[Any]) -> int:
    return 24 if array.dtype == np.float32 else 53
