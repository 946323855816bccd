"""Powers of two: the nearest one in linear distance, and products with them by sign, shift and exponent."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..means import finite
from ..operands import as_array

#: What log2|x| is shifted by so that rounding it to nearest gives the power of two at the least distance from |x|.
RDNP_SHIFT = math.log2(4 / 3) - 0.5

_LARGEST_INTEGER = 7
_LARGEST_POWER = 6


def rdnp(x: Any) -> Any:
    """The nearest power of two in linear distance: float32 or float64 [...] -> same; exact.

    The midpoint 3/4 2**n = 1.5 2**(n-1) goes up; signs are kept, 0 -> 0. It is 2**floor(log2(4/3 |x|)), or
    2**round(log2|x| + RDNP_SHIFT), without a logarithm.
    Errors: TypeError for other dtypes; ValueError for NaN, infinities and what goes up beyond the largest power.
    Source: arXiv 2112.10769 (whose line on the midpoint prints 3/4 2**(n-1)).
    """
    array = finite(x)
    fractions, exponents = np.frexp(np.abs(array))  # fractions in [1/2, 1)
    exponents = exponents - (fractions < 0.75)
    over = (exponents >= np.finfo(array.dtype).maxexp) & (fractions > 0)
    if over.any():
        first = int(np.argmax(over.reshape(-1)))
        raise ValueError(
            f"{array.reshape(-1)[first]} at element {first}: its nearest power of two is beyond {array.dtype}; scale it"
        )
    powers = np.ldexp(array.dtype.type(1), np.where(fractions > 0, exponents, 0))
    return np.copysign(np.where(fractions > 0, powers, array.dtype.type(0)), array)


def multiply_int4_fp4(i: Any, f: Any) -> NDArray[np.float64]:
    """i * f by sign, shift and exponent alone: integers in -7..7 and 0 or +-2**k, k = 0..6, broadcast -> float64.

    The signs are combined by exclusive or, |i| is shifted until its leading bit stands where a fraction begins, the
    exponents are added; there is no multiplication. With |i| = m 2**e, m in {1, 1.25, 1.5, 1.75}, the product has a
    fraction of 2 bits and an exponent in 0..8: it is exact in [1,4,2]. Zeros have the sign of the product.
    Errors: TypeError for i of another kind than integers and f of another than reals; ValueError for operands out of range.
    Source: multiplication-free backpropagation, arXiv 2112.10769, appendix (the idea; details are derived here).
    """
    integers, powers = as_array(i, "i", "an array of integers"), as_array(f, "f", "an array of floats")
    if integers.dtype.kind not in "iu" and integers.size:
        raise TypeError(f"i of dtype {integers.dtype}: give integers from -{_LARGEST_INTEGER} to {_LARGEST_INTEGER}")
    # Before any conversion: neither |-2**63| nor 2**63 is an int64, nor is every longer float a float64.
    outside = (integers > _LARGEST_INTEGER) | (integers < -_LARGEST_INTEGER)
    if outside.any():
        worst = int(integers.reshape(-1)[int(np.argmax(outside))])
        raise ValueError(f"i = {worst}: give integers from -{_LARGEST_INTEGER} to {_LARGEST_INTEGER}")
    if powers.dtype.kind not in "fiu" or powers.dtype.itemsize > 8:
        raise TypeError(f"f of dtype {powers.dtype}: give 0 or +-2**k, k = 0 to {_LARGEST_POWER}, as real numbers")
    integers, powers = integers.astype(np.int64), powers.astype(np.float64)
    fractions, exponents = np.frexp(powers)
    wrong = (powers != 0) & ~((np.abs(fractions) == 0.5) & (exponents >= 1) & (exponents <= _LARGEST_POWER + 1))
    if wrong.any():
        worst_power = float(powers.reshape(-1)[int(np.argmax(wrong))])
        raise ValueError(f"f = {worst_power}: give 0 or +-2**k, k = 0 to {_LARGEST_POWER}; divide by alpha first")
    return _by_fields(integers, powers.view(np.uint64))


def _by_fields(integers: NDArray[np.int64], powers: NDArray[np.uint64]) -> NDArray[np.float64]:
    sizes = np.abs(integers).astype(np.uint64)
    leading = (sizes >= 2).astype(np.uint64) + (sizes >= 4)  # place of the leading bit
    fraction = (sizes << (np.uint64(2) - leading)) & np.uint64(3)  # two bits below it
    sign = (integers < 0).astype(np.uint64) ^ (powers >> np.uint64(63))
    exponent = (powers >> np.uint64(52) & np.uint64(0x7FF)) + leading
    nonzero = (sizes != 0) & (powers << np.uint64(1) != 0)
    body = np.where(nonzero, (exponent << np.uint64(52)) | (fraction << np.uint64(50)), np.uint64(0))
    bits: NDArray[np.uint64] = np.asarray((sign << np.uint64(63)) | body)
    return bits.view(np.float64)
