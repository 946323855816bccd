"""Rounding to powers of two by logarithm, and the linear and logarithmic quantizers.

Sources: arXiv 1602.02830, 1609.07061. Taken from secondary descriptions: the formulas of LinearQuant and LogQuant. Their
bounds and the rule at ties were not seen and are arguments.
"""

import math
from typing import Any

import numpy as np

from ..formats.integers import whole
from .signs import FloatArray, carried, without_nan

# A significand m in [1/2, 1) is above the threshold sqrt(1/2) iff the integer m * 2**53 is above isqrt(2**105): its
# square is then above 2**105, and never equal to it. The constant is a float, as any integer below 2**53 times 2**-53 is.
_THRESHOLD = math.ldexp(math.isqrt(1 << 105), -53)


def ap2(x: Any) -> FloatArray:
    """sign(x) * 2**round(log2|x|): float32 or float64 [...] -> the same shape and dtype.

    Exact: neighbours part at sqrt(2) times the lower one, decided on the significand and not by a rounded logarithm;
    subnormals as any other. Zeros, infinities and NaN stay as they are; finite values whose power lies beyond the dtype
    become its largest power of two. Relative to x the result is in [1/sqrt(2), sqrt(2)]. Not nearest in linear distance,
    where neighbours part at 1.5 (`luq.rdnp`).
    Errors: TypeError for other dtypes. Source: arXiv 1602.02830, approximate power of 2; the threshold is derived.
    """
    array = carried(x)
    significand, exponent = np.frexp(np.abs(array))
    exponent = exponent - (significand <= _THRESHOLD)
    top = np.finfo(array.dtype).maxexp - 1
    power = np.ldexp(array.dtype.type(1), np.minimum(exponent, top))
    finite = np.isfinite(array) & (array != 0)
    return np.where(finite, np.copysign(power, array), array)


def linear_quant(x: Any, bits: int, *, low: float = -1.0, high: float | None = None, ties: str = "even") -> FloatArray:
    """clip(round(x * 2**(bits-1)) / 2**(bits-1), low, high): float32 or float64 [...] -> the same. Exact.

    bits: 1 to 24. high: None for 1 - 2**(1-bits), so that there are 2**bits values from -1 up. ties: "even" or "away"
    from zero. Infinities go to the bounds.
    Errors: TypeError for other dtypes; ValueError for NaN, other bits or ties, and low above high.
    Source: arXiv 1609.07061, LinearQuant, by a secondary description.
    """
    array = without_nan(x, "linear_quant")
    number = whole(bits)
    if number is None:
        raise TypeError(f"bits = {bits!r}: give an integer, 1 to 24")
    if not 1 <= number <= 24:
        raise ValueError(f"bits = {number}: give 1 to 24")
    if ties not in ("even", "away"):
        raise ValueError(f"ties = {ties!r}: give 'even' or 'away'")
    scale = float(1 << (number - 1))
    high = 1 - 1 / scale if high is None else high
    _check_bounds(low, high)
    # In float64 the grid of float32 is scaled without a rounding. What overflows there is beyond any bound.
    with np.errstate(over="ignore"):
        scaled = array.astype(np.float64) * scale
    rounded = np.rint(scaled)
    if ties == "away":
        finite = np.isfinite(scaled)
        tie = np.abs(np.subtract(scaled, np.trunc(scaled), where=finite, out=np.zeros_like(scaled))) == 0.5
        rounded = np.where(tie, np.trunc(scaled) + np.copysign(1.0, scaled), rounded)
    return np.asarray(np.clip(rounded / scale, low, high).astype(array.dtype))


def log_quant(x: Any, low: float, high: float) -> FloatArray:
    """clip(AP2(x), low, high): float32 or float64 [...] -> the same.

    Bounds that are powers of two, or their negatives, keep the values such. With low > 0 a negative becomes low.
    Errors: TypeError for other dtypes; ValueError for NaN, and for low above high.
    Source: arXiv 1609.07061, LogQuant, by a secondary description.
    """
    array = without_nan(x, "log_quant")
    _check_bounds(low, high)
    return np.asarray(np.clip(ap2(array), low, high).astype(array.dtype))


def _check_bounds(low: float, high: float) -> None:
    if not low <= high:
        raise ValueError(f"low = {low}, high = {high}: give low <= high")
