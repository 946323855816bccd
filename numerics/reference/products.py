"""Accumulation, step by step, by the definition."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..rounding import Rounding
from . import floats
from .values import round_value

if TYPE_CHECKING:
    from ..accumulator import Accumulator


def add(x: float, y: float, accumulator: Accumulator) -> float:
    """One step: x + y exactly, rounded once; an exact zero has IEEE 754's sign."""
    if not (math.isfinite(x) and math.isfinite(y)):
        return _passed_on(x + y, accumulator)
    total = Fraction(x) + Fraction(y)
    return _round_sum(total, math.copysign(1.0, x) < 0, math.copysign(1.0, y) < 0, accumulator)


def _round_sum(total: Fraction, first_negative: bool, second_negative: bool, accumulator: Accumulator) -> float:
    both, either = first_negative and second_negative, first_negative or second_negative
    negative = either if accumulator.rounding is Rounding.RTN else both
    return floats.round_exact(total, accumulator.format, accumulator.rounding, accumulator.overflow, negative=negative)


def _passed_on(total: float, accumulator: Accumulator) -> float:
    if math.isnan(total):
        return math.nan
    return floats.round_infinite(total, accumulator.format, accumulator.overflow)


def multiply_add(total: float, a: float, b: float, accumulator: Accumulator) -> float:
    """One step of a chain: total + a*b with the product exact, or rounded first by the product quantizer."""
    exact = Fraction(a) * Fraction(b)
    negative = (math.copysign(1.0, a) < 0) != (math.copysign(1.0, b) < 0)
    quantizer, fmt = accumulator.product, accumulator.product_format
    if quantizer is not None and fmt is not None:
        product = floats.round_exact(exact, fmt, quantizer.rounding, quantizer.overflow, negative=negative)
        return add(total, product, accumulator)
    if not math.isfinite(total):
        return _passed_on(total, accumulator)
    return _round_sum(Fraction(total) + exact, math.copysign(1.0, total) < 0, negative, accumulator)


def accumulate(a: Any, b: Any, accumulator: Accumulator, c: float = 0.0) -> float:
    """c + sum of a[k]*b[k], k ascending, as the accumulator says."""
    depth = len(a)
    outer = accumulator.combining
    if depth == 0:
        return round_value(c, outer.format, outer.rounding, outer.overflow)
    if accumulator.chunk is None:
        for k in range(depth):
            c = multiply_add(c, float(a[k]), float(b[k]), accumulator)
        return c
    for start in range(0, depth, accumulator.chunk):
        part = 0.0
        for k in range(start, min(start + accumulator.chunk, depth)):
            part = multiply_add(part, float(a[k]), float(b[k]), accumulator)
        c = add(c, part, outer)
    return c


def matmul(a: Any, b: Any, accumulator: Accumulator, *, c: Any = None, **_: Any) -> NDArray[Any]:
    """`numerics.matmul` by the definition: a [..., M, K], b [..., K, N], c broadcast to [..., M, N]."""
    left, right = np.asarray(a), np.asarray(b)
    batch = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    shape = (*batch, left.shape[-2], right.shape[-1])
    left = np.broadcast_to(left, (*batch, *left.shape[-2:]))
    right = np.broadcast_to(right, (*batch, *right.shape[-2:]))
    start = np.broadcast_to(np.zeros(()) if c is None else np.asarray(c), shape)
    out = np.empty(shape, np.result_type(left, right))
    for index in np.ndindex(*shape):
        *outer, i, j = index
        row, column = left[(*outer, i)], right[(*outer, slice(None), j)]
        out[index] = accumulate(row, column, accumulator, float(start[index]))
    return out
