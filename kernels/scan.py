"""What decides the exactness of products, read off the bits of an operand: a loop over cores that `cuda.scan` shares."""

from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from ._jit import by_literals, core, loop
from .primitives import from_bits, shift_right, to_bits, widest_vectors

U32, U64 = np.uint32, np.uint64


def _make_read(U, TRAILING, BIAS, FIELDS, WIDTH):
    T, ONE, ZERO, TOP = U(TRAILING), U(1), U(0), U(1 << (WIDTH - 1))
    LOW, NUMBER, ABOVE = U((1 << TRAILING) - 1), U((BIAS + TRAILING) << TRAILING), U(FIELDS + TRAILING + 1)

    def read(x):
        magnitude = U(x & U(TOP - ONE))
        field = shift_right(magnitude, T)
        fraction = U(magnitude & LOW)
        last = U(fraction & U(ZERO - fraction))
        as_float = from_bits(U(last | NUMBER)) - from_bits(NUMBER)  # an integer in these low bits is its own value
        place = U(shift_right(to_bits(as_float), T) - U(BIAS))
        place = place if fraction != ZERO else T
        place = U(place + max(field, ONE))
        return fraction, magnitude, place if magnitude != ZERO else ABOVE, ONE if x == TOP else ZERO

    return read


_read32, _read64 = core(_make_read(U32, 23, 127, 0xFF, 32)), core(_make_read(U64, 52, 1023, 0x7FF, 64))


@by_literals
def read(x):
    """The four results of `scan` for one element; of several: OR, maximum, minimum, OR."""
    of_one = _read32 if x == types.uint32 else _read64
    return lambda x: of_one(x)


@loop
def scan(x: NDArray[Any]) -> tuple[Any, Any, Any, Any]:
    """What decides the exactness of products: OR of all significands, largest magnitude, lowest bit of all, any -0.

    x: contiguous [n] bit patterns, uint32 or uint64. A largest magnitude from infinity's bits on tells of an element
    that is not finite. The lowest bit counts in places above the carrier's smallest subnormal, plus one; it is above
    every place if all elements are zero. Last, 1 if there is a negative zero.
    """
    widest_vectors()
    seen, largest, lowest, minus = read(x.dtype.type(0))
    for i in range(x.size):
        fraction, magnitude, place, negative = read(x[i])
        seen |= fraction
        largest = max(largest, magnitude)
        lowest = min(lowest, place)
        minus |= negative
    return seen, largest, lowest, minus
