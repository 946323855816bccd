"""The operators of `numerics.arithmetic` by their definitions: exact rationals, rounded once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..formats import FloatFormat
from ..rounding import Rounding
from . import floats
from .decision import floor_log2
from .values import round_value

if TYPE_CHECKING:
    from ..quantizer import Quantizer

_ROOT_BITS = 256


def root(x: Fraction) -> Fraction:
    """The square root of a positive rational; if irrational, a rational beside it that rounds alike.

    With u = 2**-256 of the root's binade, it is m*u if the root is, else (m + 1/2)*u for m*u < root < (m+1)*u, which an
    integer square root decides by comparing squares. Neighbours, midpoints and the thresholds of random words are
    multiples of u for every format that float64 holds, so that the root and its stand-in lie on one side of each.
    """
    shift = _ROOT_BITS - floor_log2(x) // 2
    scaled = x * Fraction(4) ** shift
    m = math.isqrt(scaled.numerator // scaled.denominator)
    assert m * m <= scaled < (m + 1) * (m + 1)
    return (Fraction(m) if m * m == scaled else m + Fraction(1, 2)) / Fraction(2) ** shift


def apply(operation: str, operands: Sequence[float], quantizer: Quantizer, *, word: int | None = None) -> float:
    """One element of add, sub, mul, div, sqrt or fma. Errors: as `round_exact`, ValueError for a stray NaN."""
    exact, negative = exact_result(operation, operands, quantizer.rounding)
    return round_result(exact, negative, quantizer, word=word)


def round_result(exact: Fraction | float, negative: bool, quantizer: Quantizer, *, word: int | None = None) -> float:
    """What an exact result, as `exact_result` gives it, becomes in the quantizer's format."""
    fmt, rounding, overflow, bits = quantizer.fmt, quantizer.rounding, quantizer.overflow, quantizer.random_bits
    assert isinstance(fmt, FloatFormat)
    if isinstance(exact, float):
        return round_value(exact, fmt, rounding, overflow)
    return floats.round_exact(exact, fmt, rounding, overflow, negative=negative, word=word, random_bits=bits)


def exact_result(operation: str, operands: Sequence[float], rounding: Rounding) -> tuple[Fraction | float, bool]:
    """(the exact value, or an infinity or NaN as a float; whether it is negative or -0, which RTN has a say in)."""
    x, *others = operands
    match operation:
        case "add":
            return _sum(_number(x), _negative(x), others[0], rounding)
        case "sub":
            return _sum(_number(x), _negative(x), -others[0], rounding)
        case "mul":
            return _product(x, others[0])
        case "div":
            return _quotient(x, others[0])
        case "sqrt":
            return _root(x)
        case "fma":
            return _sum(*_product(x, others[0]), others[1], rounding)
        case _:
            raise ValueError(f"operation {operation!r}: give add, sub, mul, div, sqrt or fma")


def elementwise(operation: str, operands: Sequence[Any], quantizer: Quantizer, *, words: Any = None) -> NDArray[Any]:
    """`numerics.arithmetic`'s operator of this name, element by element."""
    arrays = np.broadcast_arrays(*(np.asarray(operand) for operand in operands))
    given = [None] * arrays[0].size if words is None else [int(w) for w in np.asarray(words).ravel()]
    columns = [array.ravel().tolist() for array in arrays]
    values = [apply(operation, row, quantizer, word=w) for *row, w in zip(*columns, given, strict=True)]
    return np.array(values, np.result_type(*arrays)).reshape(arrays[0].shape)


def _number(x: float) -> Fraction | float:
    return Fraction(x) if math.isfinite(x) else x


def _negative(x: float) -> bool:
    return math.copysign(1.0, x) < 0


def _sum(x: Fraction | float, negative: bool, y: float, rounding: Rounding) -> tuple[Fraction | float, bool]:
    if isinstance(x, float) or not math.isfinite(y):
        total = (x if isinstance(x, float) else 0.0) + (0.0 if math.isfinite(y) else y)
        return total, _negative(total)
    exact = x + Fraction(y)
    if exact:
        return exact, exact < 0
    both, either = negative and _negative(y), negative or _negative(y)
    return exact, either if rounding is Rounding.RTN else both


def _product(x: float, y: float) -> tuple[Fraction | float, bool]:
    negative = _negative(x) != _negative(y)
    if math.isfinite(x) and math.isfinite(y):
        return Fraction(x) * Fraction(y), negative
    if math.isnan(x) or math.isnan(y) or x == 0 or y == 0:
        return math.nan, False
    return -math.inf if negative else math.inf, negative


def _quotient(x: float, y: float) -> tuple[Fraction | float, bool]:
    negative = _negative(x) != _negative(y)
    if math.isnan(x) or math.isnan(y) or (math.isinf(x) and math.isinf(y)) or x == y == 0:
        return math.nan, False
    if math.isinf(x) or y == 0:
        return -math.inf if negative else math.inf, negative
    return (Fraction(0) if math.isinf(y) else Fraction(x) / Fraction(y)), negative


def _root(x: float) -> tuple[Fraction | float, bool]:
    if math.isnan(x) or x < 0:
        return math.nan, False
    if math.isinf(x):
        return x, False
    return (root(Fraction(x)) if x else Fraction(0)), _negative(x)
