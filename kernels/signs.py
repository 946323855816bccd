"""Signs, drawn or not, and powers of two by logarithm, as scalar cores on floats of either width.

A drawn sign is +1 iff floor(x 2**(r-1)) + word >= 2**(r-1), |x| <= 1. With the word w aligned to the top of 32 bits that is
floor(x 2**31) + 2**31 > 2**32 - 1 - w, both sides in [0, 2**32) while x < 1; from 1 on it is always.
AP2 looks at the significand: above floor(sqrt(2) 2**t), t its bits behind the point, the next power is nearer by logarithm.
"""

import math

import numpy as np
from numba import types
from numba.extending import overload

from ._jit import SCALAR, core
from .primitives import floor, from_bits, leading_zeros, shift_left, to_bits

U32, U64, I32, F32, F64 = np.uint32, np.uint64, np.int32, np.float32, np.float64
HALF = U32(1 << 31)


def _make(U, F, width, significand_bits):
    FRACTION, SIZE = U((1 << significand_bits) - 1), U((1 << (width - 1)) - 1)
    UNIT = U(1 << significand_bits)
    INFINITE = U(int(SIZE) - int(FRACTION))
    TOP = U(int(INFINITE) - int(UNIT))  # the largest power of two
    THRESHOLD = U(math.isqrt(1 << (2 * significand_bits + 1)) - (1 << significand_bits))
    SPAN, ONE, NONE = U(width - 1), U(1), U(0)

    @core
    def plain(x):
        return F(1) if x >= F(0) else F(-1)

    @core
    def drawn(x, word):
        inside = max(min(x, F(1)), F(-1))
        scaled = floor((inside if inside < F(1) else F(0)) * F(2.0**31))
        place = U32(U32(I32(scaled)) + HALF)
        return F(1) if (inside >= F(1)) | (place > U32(~word)) else F(-1)

    @core
    def power(x):
        bits = to_bits(x)
        size = U(bits & SIZE)
        lead = U(SPAN - leading_zeros(U(size | ONE)))  # of a subnormal the place of its highest bit
        low = lead < U(significand_bits)
        fraction = U(shift_left(size, U(U(significand_bits) - lead) if low else NONE) & FRACTION)
        up = ONE if fraction > THRESHOLD else NONE
        small = shift_left(ONE, U(U(lead if low else NONE) + up))
        large = U(min(U(U(size & INFINITE) + U(up * UNIT)), TOP))
        result = small if size < UNIT else large
        stays = (size == NONE) | (size >= INFINITE)
        return from_bits(U(bits if stays else U(result | U(bits & U(~SIZE)))))

    return plain, drawn, power


_PLAIN, _DRAWN, _POWER = zip(_make(U32, F32, 32, 23), _make(U64, F64, 64, 52), strict=True)


def sign_of(x):
    """+1 for x >= 0 and for -0.0, else -1."""
    raise NotImplementedError("compiled code only")


@overload(sign_of, jit_options=SCALAR)
def _sign_of(x):
    f = _PLAIN[x == types.float64]
    return lambda x: f(x)


def drawn_sign(x, word):
    """+1 with probability clip((x + 1)/2, 0, 1), by a word aligned to the top of 32 bits; x is no NaN."""
    raise NotImplementedError("compiled code only")


@overload(drawn_sign, jit_options=SCALAR)
def _drawn_sign(x, word):
    f = _DRAWN[x == types.float64]
    return lambda x, word: f(x, word)


def power_by_logarithm(x):
    """sign(x) 2**round(log2|x|), at most the largest power of two; zeros, infinities and NaN as they are."""
    raise NotImplementedError("compiled code only")


@overload(power_by_logarithm, jit_options=SCALAR)
def _power_by_logarithm(x):
    f = _POWER[x == types.float64]
    return lambda x: f(x)
