"""Unsigned integers of 128 bits as two 64-bit words, the high one first."""

import numpy as np

from ._jit import core
from .primitives import leading_zeros

U64 = np.uint64
_HALF, _LOW, _BASE = U64(32), U64(0xFFFFFFFF), U64(1 << 32)


@core
def multiply(x, y):
    """x * y of two 64-bit words."""
    x1, x0 = U64(x >> _HALF), U64(x & _LOW)
    y1, y0 = U64(y >> _HALF), U64(y & _LOW)
    p00, p01, p10 = U64(x0 * y0), U64(x0 * y1), U64(x1 * y0)
    middle = U64(U64(p00 >> _HALF) + U64(U64(p01 & _LOW) + U64(p10 & _LOW)))
    high = U64(U64(x1 * y1) + U64(U64(p01 >> _HALF) + U64(U64(p10 >> _HALF) + U64(middle >> _HALF))))
    return high, U64(U64(middle << _HALF) | U64(p00 & _LOW))


@core
def _digit(numerator, next_digit, divisor):
    """Quotient digit of (numerator, next_digit) by a divisor with its top bit set, in base 2**32 (Knuth, 4.3.1 D)."""
    v1, v0 = U64(divisor >> _HALF), U64(divisor & _LOW)
    digit = U64(numerator // v1)
    rest = U64(numerator - U64(digit * v1))
    while digit >= _BASE or U64(digit * v0) > U64(U64(rest << _HALF) | next_digit):
        digit = U64(digit - U64(1))
        rest = U64(rest + v1)
        if rest >= _BASE:
            break
    return digit


@core
def divide(high, low, divisor):
    """(quotient, remainder) of (high, low) by a 64-bit divisor that is above `high` and has its top bit set."""
    d1, d0 = U64(low >> _HALF), U64(low & _LOW)
    q1 = _digit(high, d1, divisor)
    middle = U64(U64(U64(high << _HALF) | d1) - U64(q1 * divisor))  # its top is lost on both sides alike
    q0 = _digit(middle, d0, divisor)
    rest = U64(U64(U64(middle << _HALF) | d0) - U64(q0 * divisor))
    return U64(U64(q1 << _HALF) | q0), rest


@core
def zeros_above(high, low):
    """Number of zero bits above the highest set bit of (high, low), which is not zero."""
    return np.int64(leading_zeros(high)) if high != U64(0) else 64 + np.int64(leading_zeros(low))


@core
def shift_left(high, low, count):
    """(high, low) * 2**count modulo 2**128, 0 <= count < 128 (int64)."""
    if count >= 64:
        return U64(low << U64(count - 64)), U64(0)
    carried = U64(U64(low >> U64(1)) >> U64(63 - count))  # in two steps: a shift by 64 has no meaning
    return U64(U64(high << U64(count)) | carried), U64(low << U64(count))


@core
def shift_right_odd(high, low, count):
    """(high, low) / 2**count rounded to odd: the lowest bit also stands for what is cut off; count >= 0 (int64)."""
    if count < 64:
        above = U64(high >> U64(count))
        below = U64(U64(U64(high << U64(1)) << U64(63 - count)) | U64(low >> U64(count)))
        lost = U64(U64(low << U64(1)) << U64(63 - count))
    elif count < 128:
        above = U64(0)
        below = U64(high >> U64(count - 64))
        lost = U64(U64(U64(high << U64(1)) << U64(127 - count)) | low)
    else:
        above, below, lost = U64(0), U64(0), U64(high | low)
    return above, U64(below | (U64(1) if lost != U64(0) else U64(0)))


@core
def add(high, low, other_high, other_low, carry):
    """(high, low) + (other_high, other_low) + carry (0 or 1) modulo 2**128."""
    total = U64(low + other_low)
    first = U64(1) if total < low else U64(0)
    result = U64(total + carry)
    second = U64(1) if result < total else U64(0)
    return U64(U64(high + other_high) + U64(first + second)), result
