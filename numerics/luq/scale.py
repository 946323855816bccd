"""The smallest magnitude of the grid: from the largest element, from earlier maxima, in the type of the array."""

import math
from fractions import Fraction
from struct import Struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..formats.integers import whole
from ..formats.naming import named
from ..kernels import luq as kernel
from ..kernels import threads
from ..operands import floats

MOST_LEVELS = 1024
_COST = 0.15  # nanoseconds of an element
_BITS: dict[np.dtype[Any], Any] = {np.dtype(np.float32): np.uint32, np.dtype(np.float64): np.uint64}
_INFINITY = {dtype: int(dtype.type(math.inf).view(bits)) for dtype, bits in _BITS.items()}
#: Bit patterns and values of each type, both in the machine's order.
_PACKED = {np.dtype(np.float32): (Struct("=I"), Struct("=f")), np.dtype(np.float64): (Struct("=Q"), Struct("=d"))}
_LIMITS = {dtype: np.finfo(dtype) for dtype in _BITS}
#: The smallest normals and, in `math.frexp`'s terms, the exponents beyond the largest.
_NORMAL = {dtype: float(limits.smallest_normal) for dtype, limits in _LIMITS.items()}
_MOST = {dtype: int(limits.maxexp) for dtype, limits in _LIMITS.items()}


def alpha(x: Any, levels: int = 7, *, power_of_two: str | None = None) -> float:
    """max|x| / 2**(levels-1): float32 or float64 [...] -> the smallest magnitude of the grid that ends at max|x|.

    0.0 for an array of zeros and for an empty one. Exact, except where the quotient is subnormal and no number of x's
    dtype: then it is rounded up to one, so that nothing is clipped and the quantizer stays unbiased; the maximum is then
    not always a grid value. power_of_two: "up" gives the next power of two at or above, with which nothing is clipped
    either; "down" the one at or below, which clips what is above half the maximum, with a bias; the smallest subnormal
    where that would underflow. Unit: that of x.
    Errors: TypeError for other dtypes; ValueError for NaN and infinities, levels outside 1 to 1024, another power_of_two,
    an "up" beyond the largest number of the dtype.
    Source: arXiv 2112.10769, eq. 11; power_of_two: its appendix, whose direction was not seen.
    """
    array, levels = floats(x, "x"), check_levels(levels)
    return alpha_of(array, levels, check_power_of_two(power_of_two))


def hindsight_max(previous: float, observed: float, eta: float) -> float:
    """(1 - eta) observed + eta previous: the maximum to use at the next step, from magnitudes, in their unit.

    Float64 arithmetic, three roundings. An alpha from it clips an array whose maximum has grown, which biases the
    quantizer by exactly what is clipped.
    Errors: TypeError for what is no number; ValueError for a negative, infinite or NaN maximum and for eta outside [0, 1].
    Source: arXiv 2112.10769.
    """
    last, seen, weight = (
        _number(label, value, "and one only")
        for label, value in (("previous", previous), ("observed", observed), ("eta", eta))
    )
    for label, value in (("previous", last), ("observed", seen)):
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{label} = {value!r}: give a finite maximum of magnitudes, at least 0")
    if not 0 <= weight <= 1:
        raise ValueError(f"eta = {weight!r}: give the weight of the previous maximum, from 0 to 1")
    return (1 - weight) * seen + weight * last


def check_levels(levels: Any) -> int:
    """The number of nonzero magnitudes, or a sentence."""
    number = whole(levels)
    if number is None:
        raise TypeError(f"levels = {levels!r}: give the number of nonzero magnitudes, an integer")
    if not 1 <= number <= MOST_LEVELS:
        raise ValueError(f"levels = {number}: give the number of nonzero magnitudes, from 1 to {MOST_LEVELS}")
    return number


def check_power_of_two(direction: Any) -> str | None:
    """None, "up" or "down", or a sentence."""
    if direction is not None and direction not in ("up", "down"):
        raise ValueError(f"power_of_two = {direction!r}: give None, 'up' or 'down'")
    result: str | None = direction
    return result


def alpha_of(array: NDArray[Any], levels: int, power_of_two: str | None) -> float:
    """`alpha` of checked arguments."""
    return alpha_from_peak(largest_magnitude(array), array.dtype, levels, power_of_two)


def alpha_from_peak(peak: float, dtype: np.dtype[Any], levels: int, power_of_two: str | None) -> float:
    """`alpha` of an array of this type whose largest magnitude is `peak`."""
    if peak == 0:
        return 0.0
    if power_of_two is not None:
        fraction, exponent = math.frexp(peak)
        rounded = exponent if power_of_two == "up" and fraction > 0.5 else exponent - 1
        if rounded - levels + 1 >= _MOST[dtype]:
            raise ValueError(
                f"power_of_two = 'up' with {levels} levels: the power of two above the largest magnitude, {peak},"
                f" overflows {dtype}; scale x, or give 'down'"
            )
        return max(math.ldexp(1.0, rounded - levels + 1), float(_LIMITS[dtype].smallest_subnormal))
    exact = math.ldexp(peak, 1 - levels)
    if exact >= _NORMAL[dtype]:  # then nothing is rounded
        return exact
    value = dtype.type(exact)
    if Fraction(float(value)) * (1 << (levels - 1)) < Fraction(peak):
        value = np.nextafter(value, dtype.type(math.inf))
    return float(value)


def largest_magnitude(array: NDArray[Any]) -> float:
    """max|x|, 0 of an empty array. Errors: ValueError for NaN and infinities."""
    flat = array.ravel()
    most = max(threads.run(lambda start, stop: kernel.largest_bits(flat, start, stop), flat.size, _COST))
    check_finite(most, flat)
    bits, value = _PACKED[flat.dtype]
    largest: float = value.unpack(bits.pack(most))[0]
    return largest


def check_finite(most: int, flat: NDArray[Any]) -> None:
    """Refuse an array whose largest magnitude has bits `most`, if they are not those of a number."""
    if most >= _INFINITY[flat.dtype]:
        first = int(np.argmin(np.isfinite(flat)))
        raise ValueError(f"{flat[first]} at element {first}: LUQ has no infinity and no NaN; replace or clip it first")


def grid_ends(alpha: Any, dtype: np.dtype[Any], levels: int) -> tuple[Any, Any]:
    """(alpha, the largest magnitude) in the array's type, alpha rounded to it, to nearest; or a sentence."""
    number = _number("alpha", alpha, "one for the whole array")
    if not (math.isfinite(number) and number >= 0):
        raise ValueError(f"alpha = {number}: give the smallest magnitude of the grid, finite and not negative")
    with np.errstate(over="ignore", under="ignore"):
        step = dtype.type(number)
    if number and not step:
        raise ValueError(f"alpha = {number} is zero in {dtype}: use float64 arrays or a larger alpha")
    if not np.isfinite(step):
        raise ValueError(f"alpha = {number} is infinite in {dtype}: use float64 arrays or a smaller alpha")
    return ends_from(step, dtype, levels)


def ends_from(step: Any, dtype: np.dtype[Any], levels: int) -> tuple[Any, Any]:
    """`grid_ends` of an alpha that is a number of the array's type."""
    number = float(step)
    if math.frexp(number)[1] + levels - 1 > _MOST[dtype]:
        raise ValueError(
            f"alpha = {number} with {levels} levels: the largest magnitude, alpha * 2**{levels - 1}, overflows {dtype};"
            " give a smaller alpha or fewer levels, or scale x"
        )
    return step, dtype.type(math.ldexp(number, levels - 1))


def grid_below(size: NDArray[np.float64], step: float) -> NDArray[np.float64]:
    """step 2**k at or below, k >= 0, by exponents and fractions: no quotient overflows."""
    (fractions, exponents), (fraction, exponent) = np.frexp(size), np.frexp(step)
    low: NDArray[np.float64] = np.ldexp(step, np.maximum(exponents - exponent - (fractions < fraction), 0))
    return low


def _number(label: str, value: Any, which: str) -> float:
    """A number of any library as a float, or a sentence; strings and bools are none."""
    try:
        if isinstance(value, str | bytes | bool | np.bool):
            raise TypeError
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{label} = {named(value)}: give a number, {which}") from None
