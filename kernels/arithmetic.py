"""Correctly rounded operators, in the manner of Berkeley HardFloat: an exact-or-sticky raw result, then one rounding.

A raw value is (kind, sign, exponent, high, low): +-(high, low) * 2**(exponent - 127) with the top of the 128 bits set,
so that 2**exponent <= magnitude < 2**(exponent + 1); the lowest bit also stands for anything below (rounded to odd).
53 bits of precision, 32 random bits and the bit after them take 86, so every mode sees the exact value. Exponents are
int64: nothing overflows or underflows before the rounding. Integers only: no result depends on the floating-point
environment.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from ._jit import core, loop
from .carrier import noticed, unpack
from .magnitude import finish64
from .modes import (
    CODE_SIGN,
    DROP,
    EMIN,
    OFFSET,
    PARITY,
    PARITY_EMIN,
    RANDOM_MASK,
    RANDOM_SHIFT,
    RTN,
    SAW_NEGATIVE,
)
from .primitives import from_bits, leading_zeros, to_bits
from .rounding import round_up64
from .wide import add, divide, multiply, shift_left, shift_right_odd, zeros_above

I64, U32, U64 = np.int64, np.uint32, np.uint64

ADD, SUB, MUL, DIV, SQRT, FMA = range(6)

# Kinds of raw values, ordered as magnitudes of float64 bits are; FINITE: not zero.
ZERO, FINITE, INFINITE, NAN = U64(0), U64(1), U64(0x7FF << 52), U64(0xFFF << 51)
LOWEST = I64(-(1 << 20))  # the exponent of a zero: below those of all other raw values
_BIAS, _TOP = 1023, U64(1 << 63)


@core
def operand(bits):
    """(kind, sign, exponent, significand) of float64 bits; the significand's top bit is set unless it is 0."""
    sign = U64(bits >> U64(63))
    field = U64(U64(bits >> U64(52)) & U64(0x7FF))
    fraction = U64(bits & U64((1 << 52) - 1))
    significand = U64(fraction | U64(1 << 52)) if field != U64(0) else fraction
    if field == U64(0x7FF):
        return (INFINITE if fraction == U64(0) else NAN), sign, I64(0), significand
    if significand == U64(0):
        return ZERO, sign, LOWEST, significand
    lift = I64(leading_zeros(significand))
    exponent = I64(max(field, U64(1))) + I64(63 - 52 - _BIAS) - lift
    return FINITE, sign, exponent, U64(significand << U64(lift))


@core
def raw_sum(kx, sx, ex, hx, lx, ky, sy, ey, my, mode):
    """x + y of a raw value whose lowest bit is 0 and an operand; an exact zero has IEEE 754's sign."""
    if kx == NAN or ky == NAN or (kx == INFINITE and ky == INFINITE and sx != sy):
        return NAN, U64(0), I64(0), U64(0), U64(0)
    if kx == INFINITE or ky == INFINITE:
        return INFINITE, (sx if kx == INFINITE else sy), I64(0), U64(0), U64(0)
    swap = ey > ex or (ey == ex and my > hx)
    sign, other = (sy, sx) if swap else (sx, sy)
    top, bottom = (ey, ex) if swap else (ex, ey)
    high, other_high = (my, hx) if swap else (hx, my)
    low, other_low = (U64(0), lx) if swap else (lx, U64(0))
    # One bit of headroom. Only the smaller one can lose bits, and only where it lies 22 places or more below: then at
    # most one leading bit cancels, and the sum of an even number and one rounded to odd is itself rounded to odd.
    high, low = shift_right_odd(high, low, I64(1))
    other_high, other_low = shift_right_odd(other_high, other_low, top - bottom + I64(1))
    # A difference is a sum with the complement, a mask of ones where the signs differ.
    opposite = U64(U64(0) - U64(sign ^ other))
    high, low = add(high, low, U64(other_high ^ opposite), U64(other_low ^ opposite), U64(sign ^ other))
    if U64(high | low) == U64(0):
        sign = sx if sx == sy else (U64(1) if mode == RTN else U64(0))
        return ZERO, sign, LOWEST, high, low
    lift = zeros_above(high, low)
    high, low = shift_left(high, low, lift)
    return FINITE, sign, top + I64(1) - lift, high, low


@core
def raw_product(kx, sx, ex, mx, ky, sy, ey, my):
    """x * y, exact."""
    sign = U64(sx ^ sy)
    if kx == NAN or ky == NAN or (kx == INFINITE and ky == ZERO) or (kx == ZERO and ky == INFINITE):
        return NAN, U64(0), I64(0), U64(0), U64(0)
    if kx == INFINITE or ky == INFINITE:
        return INFINITE, sign, I64(0), U64(0), U64(0)
    if kx == ZERO or ky == ZERO:
        return ZERO, sign, LOWEST, U64(0), U64(0)
    high, low = multiply(mx, my)
    lift = I64(0) if high >= _TOP else I64(1)
    high, low = shift_left(high, low, lift)
    return FINITE, sign, ex + ey + I64(1) - lift, high, low


@core
def raw_quotient(kx, sx, ex, mx, ky, sy, ey, my):
    """x / y: 128 bits of the quotient, the lowest one sticky."""
    sign = U64(sx ^ sy)
    if kx == NAN or ky == NAN or (kx == ky and kx != FINITE):
        return NAN, U64(0), I64(0), U64(0), U64(0)
    if kx == INFINITE or ky == ZERO:
        return INFINITE, sign, I64(0), U64(0), U64(0)
    if kx == ZERO or ky == INFINITE:
        return ZERO, sign, LOWEST, U64(0), U64(0)
    # A quotient in [1/2, 1): the significand's low bits are free.
    halved = I64(1) if mx >= my else I64(0)
    high, rest = divide(U64(mx >> U64(halved)), U64(0), my)
    low = U64(0)
    if rest != U64(0):
        low, rest = divide(rest, U64(0), my)
        low = U64(low | (U64(1) if rest != U64(0) else U64(0)))
    return FINITE, sign, ex - ey - I64(1) + halved, high, low


@core
def _extend_root(root, rest, tail, count):
    """Root and remainder of n * 4**count + tail from those of n; root in [2**(b-1), 2**b) with b >= count.

    Zimmermann's step (Karatsuba Square Root, INRIA RR-3805): the quotient by twice the root is right or one too large.
    """
    twice = U64(root << U64(1))
    numerator = U64(U64(rest << count) | U64(tail >> count))
    digits = U64(numerator // twice)
    carried = U64(U64(U64(numerator - U64(digits * twice)) << count) | U64(tail & U64(U64(U64(1) << count) - U64(1))))
    square = U64(digits * digits)
    extended = U64(U64(root << count) + digits)
    if carried < square:
        return U64(extended - U64(1)), U64(U64(carried - square) + U64(U64(extended << U64(1)) - U64(1)))
    return extended, U64(carried - square)


@core
def raw_root(kind, sign, exponent, m):
    """The square root: 100 bits and a sticky one."""
    if kind == NAN or (sign != U64(0) and kind != ZERO):
        return NAN, U64(0), I64(0), U64(0), U64(0)
    if kind != FINITE:
        return kind, sign, exponent, U64(0), U64(0)
    odd = I64(exponent & I64(1))
    radicand = U64(m >> U64(I64(5) - odd))  # in [2^58, 2^60): no bit of the 53 is lost
    # 15 bits, one by one; a mask in place of a branch, of which the processor would guess every other one wrong.
    rest, root, bit = U64(radicand >> U64(30)), U64(0), U64(1 << 28)
    for _ in range(15):
        trial = U64(root + bit)
        fits = U64(U64(0) - U64(rest >= trial))
        rest = U64(rest - U64(trial & fits))
        root = U64(U64(root >> U64(1)) + U64(bit & fits))
        bit = U64(bit >> U64(2))
    root, rest = _extend_root(root, rest, U64(radicand & U64((1 << 30) - 1)), U64(15))
    inexact = U64(1) if rest != U64(0) else U64(0)  # a root that ends has at most 27 bits, half of the radicand's
    root, rest = _extend_root(root, rest, U64(0), U64(30))
    # 40 bits more, on 128 bits: the divisor 2 root < 2^61 is shifted to the top of its word.
    digits, left = divide(U64(rest >> U64(21)), U64(rest << U64(43)), U64(root << U64(4)))
    left = U64(left >> U64(3))
    left_high, left_low = U64(left >> U64(24)), U64(left << U64(40))
    high, low = multiply(digits, digits)
    if left_high < high or (left_high == high and left_low < low):
        digits = U64(digits - U64(1))
    high = U64(U64(root << U64(4)) | U64(digits >> U64(36)))
    low = U64(U64(digits << U64(28)) | inexact)
    return FINITE, U64(0), I64((exponent - odd) >> I64(1)), high, low


@core
def round_raw(sign, exponent, high, low, word, mode, facts):
    """float64 bits of the magnitude of a raw value rounded to the grid of `facts`, exponents unbounded above.

    Beyond float64 it is infinity or more. What a flushed format rounds to below its smallest value is cut to float64's
    bits. `finish64` compares either with the ends of the range.
    """
    biased = exponent + I64(_BIAS + OFFSET)
    bottom = max(biased, I64(facts[EMIN]))
    drop = I64(facts[DROP])
    cut = min(I64(11) + drop + bottom - biased, I64(192))  # places of the high word that the result does not keep
    kept, fraction = shift_right_odd(high, low, cut)
    parity = U64((bottom - I64(facts[PARITY_EMIN])) & I64(facts[PARITY]))
    odd = U64(U64(kept + parity) & U64(1))
    up = round_up64(
        mode, sign, odd, U64(fraction >> U64(32)), U64(fraction & U64(0xFFFFFFFF)), word, facts[RANDOM_MASK]
    )
    # An integer of at most 2^53 in units of 2^(field - 1075).
    kept = U64(U64(kept + up) << U64(drop))
    field = min(bottom - I64(OFFSET), I64(_BIAS + 1025))
    if field < I64(1):
        return U64(kept >> U64(I64(1) - field)) if field > I64(-63) else U64(0)
    if kept == U64(0):
        return kept
    lift = min(max(I64(leading_zeros(kept)) - I64(11), I64(0)), field - I64(1))
    return U64(U64(U64(field - I64(1) - lift) << U64(52)) + U64(kept << U64(lift)))


@cache
def make_arithmetic(operation: int):
    """The loop of an operator; one small integer, so that compiled code is found again on disk."""

    def arithmetic(x, y, z, out, words, row, mode, errors):
        """out[i] = x[i] op y[i] (SQRT: of x[i]; FMA: x[i]*y[i] + z[i]) for all i, rounded once to the format of `row`.

        x, y, z, out: contiguous float64 [n], operands that are not used anything of that type; out may be one of them.
        words: uint32 [n], or [0] for a deterministic mode. errors: SAW_ flags at which to stop. Returns (number of
        results before the first such one, its flags), (n, 0) if there is none.
        """
        facts = unpack(row)
        for i in range(x.size):
            kx, sx, ex, mx = operand(to_bits(x[i]))
            if operation == SQRT:
                kind, sign, exponent, high, low = raw_root(kx, sx, ex, mx)
            else:
                ky, sy, ey, my = operand(to_bits(y[i]))
                if operation == SUB:
                    sy = U64(sy ^ U64(1))
                if (operation == ADD) | (operation == SUB):
                    kind, sign, exponent, high, low = raw_sum(kx, sx, ex, mx, U64(0), ky, sy, ey, my, mode)
                elif operation == DIV:
                    kind, sign, exponent, high, low = raw_quotient(kx, sx, ex, mx, ky, sy, ey, my)
                else:
                    kind, sign, exponent, high, low = raw_product(kx, sx, ex, mx, ky, sy, ey, my)
                if operation == FMA:
                    kz, sz, ez, mz = operand(to_bits(z[i]))
                    kind, sign, exponent, high, low = raw_sum(kind, sign, exponent, high, low, kz, sz, ez, mz, mode)
            rounded = U64(0)
            if kind == FINITE:
                word = U64(U64(words[i]) << facts[RANDOM_SHIFT]) if words.size else U64(0)
                rounded = round_raw(sign, exponent, high, low, word, mode, facts)
            # In an unsigned format a negative is not a number.
            negative = facts[CODE_SIGN] == U64(0) and sign != U64(0) and kind != ZERO and kind <= INFINITE
            kind = NAN if negative else kind
            top = U64(sign << U64(63))
            bits = finish64(rounded, kind, top, facts)
            flags = I64(noticed(U64(kind | top), bits, facts)) | I64(SAW_NEGATIVE if negative else 0)
            if flags & errors:
                return i, flags & errors
            out[i] = from_bits(bits)
        return x.size, I64(0)

    return loop(arithmetic)


@loop
def widen(x: NDArray[np.float32], out: NDArray[np.float64]) -> None:
    """out[i] = x[i], float32 to float64 [n] by integers: signals and flushes nothing."""
    for i in range(x.size):
        bits = U64(to_bits(x[i]))
        sign, a = U64(U64(bits >> U64(31)) << U64(63)), U64(bits & U64(0x7FFFFFFF))
        wide = U64(U64(a << U64(29)) + U64(U64(_BIAS - 127) << U64(52)))
        if a >= U64(0x7F800000):
            wide = U64(U64(a << U64(29)) | INFINITE)
        elif a < U64(0x800000):  # subnormals: a units of 2^-149
            lift = U64(leading_zeros(a) & U64(63))
            wide = U64(U64(U64(_BIAS - 149 + 62) - lift) << U64(52)) + U64(U64(a << lift) >> U64(11))
            wide = wide if a != U64(0) else U64(0)
        out[i] = from_bits(U64(sign | wide))


@loop
def narrow(x: NDArray[np.float64], out: NDArray[np.float32]) -> None:
    """out[i] = x[i], float64 to float32 [n], values that float32 holds; a NaN becomes the canonical one."""
    for i in range(x.size):
        bits = to_bits(x[i])
        a = U64(bits & U64((1 << 63) - 1))
        field = I64(a >> U64(52)) - I64(_BIAS - 127)
        short = U64(0)
        if a > INFINITE:
            short = U64(0x7FC00000)
        elif a == INFINITE:
            short = U64(0x7F800000)
        elif field >= I64(1):
            short = U64(U64(a >> U64(29)) - U64((_BIAS - 127) << 23))
        elif field > I64(-23):
            short = U64(U64(U64(a & U64((1 << 52) - 1)) | U64(1 << 52)) >> U64(I64(30) - field))
        out[i] = from_bits(U32(U64(U64(bits >> U64(63)) << U64(31)) | short))
