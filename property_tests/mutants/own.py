"""A rounder in plain numpy, of which the mutants are variations: exact in float64, none of it from the package."""

from collections.abc import Callable
from typing import Any

import numpy as np

Array = Any
Up = Callable[..., Array]


def split(x: Array, fmt: Any, emin: int | None = None) -> tuple[Array, Array, Array]:
    """(lower neighbour of |x|, step, fraction of the step) on the grid of a float format, which has no top."""
    size = np.minimum(np.where(np.isfinite(x), np.abs(x), 0).astype(np.float64), 4 * fmt.max)  # nothing new beyond
    exponent = np.maximum(np.frexp(size)[1] - 1, fmt.emin if emin is None else emin)
    step = np.ldexp(1.0, exponent - fmt.mantissa_bits)
    low = np.floor(size / step) * step
    return low, step, (size - low) / step


def split_fixed(x: Array, fmt: Any) -> tuple[Array, Array, Array]:
    """The same on the grid of a fixed-point format."""
    size = np.where(np.isfinite(x), np.abs(x), 0).astype(np.float64)
    step = np.full(size.shape, 2.0**-fmt.fraction_bits)
    low = np.floor(size / step) * step
    return low, step, (size - low) / step


def saturate(size: Array, x: Array, fmt: Any) -> Array:
    """A magnitude with the sign of x, at most the largest value, infinities too; NaN stays."""
    top = np.where(np.isinf(x), np.inf, size)
    result = np.copysign(np.minimum(top, fmt.max), x)
    return np.where(np.isnan(x), np.nan, result).astype(x.dtype)


def to_infinity(size: Array, x: Array, fmt: Any) -> Array:
    """A magnitude with the sign of x, infinite beyond the largest value: IEEE 754, to nearest."""
    top = np.where(np.isinf(x) | (size > fmt.max), np.inf, size)
    return np.where(np.isnan(x), np.nan, np.copysign(top, x)).astype(x.dtype)


def saturate_fixed(size: Array, x: Array, fmt: Any) -> Array:
    """A magnitude with the sign of x inside a fixed-point format; its zero has no sign."""
    top = np.copysign(np.where(np.isinf(x), np.inf, size), x)
    return (np.clip(top, fmt.min, fmt.max) + 0.0).astype(x.dtype)


def even(part: Array, whole: Array, x: Array) -> Array:
    """To nearest, ties to even."""
    return (part > 0.5) | ((part == 0.5) & (whole % 2 == 1))


def away(part: Array, whole: Array, x: Array) -> Array:
    """To nearest, ties away from zero."""
    return part >= 0.5


def down(part: Array, whole: Array, x: Array) -> Array:
    """Toward zero."""
    return np.zeros(np.shape(part), bool)


def upward(part: Array, whole: Array, x: Array) -> Array:
    """Toward plus infinity."""
    return (part > 0) & (x > 0)


def odd(part: Array, whole: Array, x: Array) -> Array:
    """To odd, where not exact."""
    return (part > 0) & (whole % 2 == 0)


def rounder(fmt: Any, up: Up, end: Callable[..., Array] = saturate, grid: Callable[..., Any] = split) -> Any:
    """x -> its lower or upper neighbour, as up(fraction, lower neighbour in steps, x) says."""

    def fn(x: Array) -> Array:
        low, step, part = grid(x, fmt)
        return end(low + step * up(part, low / step, x), x, fmt)

    return fn


def by_words(fmt: Any, bits: int, up: Up, end: Callable[..., Array] = saturate, grid: Any = split) -> Any:
    """(x, words) -> one of the neighbours, as up(fraction * 2**bits, words) says."""

    def fn(x: Array, words: Array) -> Array:
        low, step, part = grid(x, fmt)
        return end(low + step * up(part * 2.0**bits, words.astype(np.float64)), x, fmt)

    return fn


def near(x: Array, fmt: Any, up: Up = even) -> Array:
    """float64 numbers rounded to a float format, saturating."""
    low, step, part = split(x, fmt)
    return saturate(low + step * up(part, low / step, x), x, fmt)


def odd_sum(a: Array, b: Array) -> Array:
    """a + b rounded to odd in float64, so that one more rounding gives what rounding the exact sum gives."""
    total = a + b
    back = total - a
    error = (a - (total - back)) + (b - back)
    inexact_even = (error != 0) & (total.view(np.int64) & 1 == 0)
    return np.where(inexact_even, np.nextafter(total, np.where(error > 0, np.inf, -np.inf)), total)
