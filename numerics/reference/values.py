"""One rounding, encoding or decoding of a float or of an array of them, for every family of formats."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..formats import ElementFormat, FixedFormat
from ..quantizer import Quantizer
from ..rounding import Overflow, Rounding
from . import fixed, floats


def round_value(
    x: float,
    fmt: ElementFormat,
    rounding: Rounding = Rounding.RNE,
    overflow: Overflow = Overflow.SATURATE,
    *,
    word: int | None = None,
    random_bits: int | None = None,
) -> float:
    """One rounding of a float, specials included. Errors: as `round_exact`; ValueError for a stray NaN."""
    if math.isnan(x):
        if not fmt.has_nan:
            raise ValueError(f"NaN in {fmt}, which has none")
        return math.nan
    if isinstance(fmt, FixedFormat):
        if math.isinf(x):
            return float(fixed.round_infinite(x, fmt, overflow))
        return float(fixed.round_exact(Fraction(x), fmt, rounding, overflow, word=word, random_bits=random_bits))
    if math.isinf(x):
        return floats.round_infinite(x, fmt, overflow)
    negative = math.copysign(1.0, x) < 0
    return floats.round_exact(
        Fraction(x), fmt, rounding, overflow, negative=negative, word=word, random_bits=random_bits
    )


def encode_value(value: float, fmt: ElementFormat) -> int:
    """Codepoint of a member of the format. Errors: ValueError for a value that has no code."""
    return fixed.encode_value(value, fmt) if isinstance(fmt, FixedFormat) else floats.encode_value(value, fmt)


def decode_code(code: int, fmt: ElementFormat) -> float:
    """Value of a codepoint."""
    return fixed.decode_code(code, fmt) if isinstance(fmt, FixedFormat) else floats.decode_code(code, fmt)


def quantize(x: Any, quantizer: Quantizer, *, words: Any = None) -> NDArray[Any]:
    """`quantizer.quantize(x, words=words)`, element by element."""
    array = np.asarray(x)
    given = [None] * array.size if words is None else [int(w) for w in np.asarray(words).ravel()]
    values = [
        round_value(
            float(v), quantizer.fmt, quantizer.rounding, quantizer.overflow, word=w, random_bits=quantizer.random_bits
        )
        for v, w in zip(array.ravel(), given, strict=True)
    ]
    return np.array(values, dtype=array.dtype).reshape(array.shape)


def encode(x: Any, quantizer: Quantizer, *, words: Any = None) -> NDArray[Any]:
    """`quantizer.encode(x, words=words)`, element by element, as Python integers in an object array."""
    array = np.asarray(x)
    values = quantize(array.astype(np.float64), quantizer, words=words)
    codes = [encode_value(float(v), quantizer.fmt) for v in values.ravel()]
    return np.array(codes, dtype=object).reshape(array.shape)
