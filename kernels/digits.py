"""Exact sums: signed integers of any length in digits of 32 bits, and their one rounding.

A number is sum(digits[i] * 2**(32 i)) * 2**base. Digits are int64: a sum leaves its carries where they are, and `carry`
moves them on once for many sums (Kulisch's long accumulator, in the carry-save form of Neal, arXiv 1505.05571). What
is rounded is a raw value of kernels.arithmetic, 128 bits of which the lowest is sticky; on a fixed grid 64 bits on
either side of the point. Float formats come as a parameter row of float64, fixed point as a `fixed.FixedRow`.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from ._jit import SCALAR, core
from .arithmetic import FINITE, INFINITE, LOWEST, ZERO, operand, round_raw
from .fixed import LARGEST as FIXED_LARGEST
from .fixed import LARGEST_NEGATIVE, POINT, SIGN, fixed_code
from .magnitude import finish64
from .modes import CODE_EMIN, LARGEST, OFFSET, RANDOM_MASK, SMALLEST
from .primitives import leading_zeros
from .rounding import round_up64
from .wide import shift_left, shift_right_odd, zeros_above

I64, U64 = np.int64, np.uint64
DIGIT = 32  # bits
MASK, _LOW, _TOP = I64(0xFFFFFFFF), U64(0xFFFFFFFF), U64(1 << 63)

# What a rounding met. NOTHING: the exact sum is zero, and its sign is still to be found.
OVER, UNDER, INEXACT, NOTHING, NEGATIVE = 1, 2, 4, 8, 16
# What an addend is, as a set.
NONZERO, PLUS_ZERO, MINUS_ZERO, PLUS_INFINITY, MINUS_INFINITY, NO_NUMBER = 1, 2, 4, 8, 16, 32


@intrinsic
def multiply_words(typingctx: Any, x: Any, y: Any) -> Any:
    """(high, low) of the product of two uint64: one instruction, where `wide.multiply` takes four multiplications."""
    if x != types.uint64 or y != types.uint64:
        return None
    pair = types.UniTuple(types.uint64, 2)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        wide, word = ir.IntType(128), ir.IntType(64)
        product = builder.mul(*(builder.zext(argument, wide) for argument in arguments))
        high = builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), word)
        return context.make_tuple(builder, pair, [high, builder.trunc(product, word)])

    return pair(x, y), generate


@core
def add_word(digits, position, value):
    """digits += value * 2**position: a signed word, position >= 0 (both int64); a digit grows by less than 2**33."""
    i, s = U64(position >> 5), I64(position & 31)
    low, high = I64(I64(value & MASK) << s), I64(I64(value >> 32) << s)
    digits[i] += I64(low & MASK)
    digits[U64(i + U64(1))] += I64(low >> 32) + I64(high & MASK)
    digits[U64(i + U64(2))] += I64(high >> 32)


@core
def add_pair(digits, position, negative, high, low):
    """digits += (-1)**negative * (high, low) * 2**position: an unsigned integer of 128 bits, negative 0 or 1, position >= 0."""
    i, s = U64(position >> 5), U64(position & 31)
    flip = I64(0) - I64(negative)
    w0 = U64(low << s)
    w1 = U64(U64(U64(low >> U64(1)) >> U64(U64(63) - s)) | U64(high << s))
    w2 = U64(U64(high >> U64(1)) >> U64(U64(63) - s))
    digits[i] += I64(I64(w0 & _LOW) ^ flip) - flip
    digits[U64(i + U64(1))] += I64(I64(w0 >> U64(32)) ^ flip) - flip
    digits[U64(i + U64(2))] += I64(I64(w1 & _LOW) ^ flip) - flip
    digits[U64(i + U64(3))] += I64(I64(w1 >> U64(32)) ^ flip) - flip
    digits[U64(i + U64(4))] += I64(w2 ^ U64(flip)) - flip


@core
def carry(digits):
    """Move carries on: digits in [0, 2**32), but the last, which keeps the sign."""
    left = I64(0)
    for i in range(digits.size - 1):
        total = I64(digits[i] + left)
        digits[i] = I64(total & MASK)
        left = I64(total >> 32)
    digits[digits.size - 1] += left


@core
def make_positive(digits):
    """Digits of the magnitude, all in [0, 2**32), and the sign: 1 for a negative number."""
    carry(digits)
    if digits[digits.size - 1] >= 0:
        return U64(0)
    left = I64(1)
    for i in range(digits.size):
        total = I64(I64(I64(digits[i] ^ I64(-1)) & MASK) + left)
        digits[i] = I64(total & MASK)
        left = I64(total >> 32)
    return U64(1)


@core
def digit(digits, i):
    """A digit as uint64; 0 outside."""
    return U64(digits[i]) if (i >= 0) & (i < digits.size) else U64(0)


@core
def word_at(digits, position):
    """64 bits from `position` (int64) up."""
    i, s = I64(position >> 5), U64(position & 31)
    low = U64(digit(digits, i) | U64(digit(digits, i + 1) << U64(32)))
    return U64(U64(low >> s) | U64(U64(digit(digits, i + 2) << U64(32)) << U64(U64(32) - s)))


@core
def some_below(digits, position):
    """1 if there is a bit below `position`, else 0."""
    i, s = I64(position >> 5), U64(position & 31)
    if i < 0:
        return U64(0)
    for j in range(min(i, digits.size)):
        if digits[j] != 0:
            return U64(1)
    return U64(1) if U64(digit(digits, i) & U64(U64(U64(1) << s) - U64(1))) != U64(0) else U64(0)


@core
def some_from(digits, position):
    """Whether there is a bit at `position` or above."""
    i, s = I64(position >> 5), U64(position & 31)
    if i < 0:
        i, s = I64(0), U64(0)
    for j in range(i + 1, digits.size):
        if digits[j] != 0:
            return True
    return U64(digit(digits, i) >> s) != U64(0)


@core
def raw_of_digits(digits, base, sign):
    """The raw value of magnitude digits times 2**base."""
    top = I64(digits.size - 1)
    while top >= 0 and digits[top] == 0:
        top -= 1
    if top < 0:
        return ZERO, sign, LOWEST, U64(0), U64(0)
    high = U64(U64(digits[top] << 32) | digit(digits, top - 1))
    low = U64(U64(digit(digits, top - 2) << U64(32)) | digit(digits, top - 3))
    lift = I64(leading_zeros(high))  # at most 31
    high, low = shift_left(high, low, lift)
    end = I64(32 * (top - 3)) - lift
    low = U64(low | U64(digit(digits, top - 4) >> U64(32 - lift)))
    return FINITE, sign, I64(base + 32 * top + 31) - lift, high, U64(low | some_below(digits, end))


def round_value(kind, sign, exponent, high, low, word, mode, facts):
    """(bits, what it met) of a raw value rounded once: bits of a float64, or the code of a fixed-point format.

    word: aligned to the top of 32 bits. Events are those of numerics.Events.
    """
    raise NotImplementedError("compiled code only")


@overload(round_value, jit_options=SCALAR)
def _round_value(kind, sign, exponent, high, low, word, mode, facts):
    if isinstance(facts, types.UniTuple):
        return _round_to_float
    return _round_to_fixed


def _round_to_float(kind, sign, exponent, high, low, word, mode, facts):
    rounded = U64(0)
    if kind == FINITE:
        rounded = round_raw(sign, exponent, high, low, word, mode, facts)
    bits = finish64(rounded, kind, U64(sign << U64(63)), facts)
    met = I64(0)
    if kind == FINITE:
        found, _, e, m = operand(bits)
        exact = (found == FINITE) & (e == exponent) & (m == high) & (low == U64(0))
        if not exact:
            met = I64(INEXACT)
            e, m = I64(facts[CODE_EMIN]) - I64(1023 + OFFSET), _TOP
            if facts[SMALLEST] != U64(0):
                _, _, e, m = operand(facts[SMALLEST])
            if exponent < e or (exponent == e and high < m):
                met = I64(met | I64(UNDER))
        if rounded > facts[LARGEST]:
            met = I64(met | I64(OVER))
    return bits, met


def _round_to_fixed(kind, sign, exponent, high, low, word, mode, facts):
    cut = I64(127) - exponent - I64(facts.limits[POINT])  # places of the 128 bits that lie below the grid step
    kept, fraction, above = high, low, False
    if kind != FINITE:
        kept, fraction = U64(0), U64(0)
    elif cut >= 64:
        kept, fraction = shift_right_odd(high, low, cut - I64(64))
    else:
        above = cut <= 0 or U64(high >> U64(cut & I64(63))) != U64(0)
        kept, fraction = shift_left(high, low, min(I64(64) - cut, I64(127)))
        if cut <= -64:
            kept, fraction = U64(0), U64(0)
    return round_on_grid(sign, kept, fraction, above, word, mode, facts)


@core
def round_on_grid(sign, kept, fraction, above, word, mode, facts):
    """(code, what it met) of a magnitude of `kept` grid steps and a fraction of 64 bits, the lowest one sticky.

    above: whether the magnitude has bits above those of `kept`; kept is then right modulo 2**64.
    """
    limits = facts.limits
    high, low = U64(fraction >> U64(32)), U64(fraction & _LOW)
    up = round_up64(mode, sign, U64(kept & U64(1)), high, low, word, facts.grid[RANDOM_MASK])
    magnitude = U64(kept + up)
    negative = sign != U64(0)
    limit = limits[LARGEST_NEGATIVE] if negative else limits[FIXED_LARGEST]
    over = above or magnitude < kept or magnitude > limit
    met = I64(INEXACT) if over or fraction != U64(0) else I64(0)
    if negative and limits[SIGN] == U64(0) and (above or U64(kept | fraction) != U64(0)):
        met = I64(met | I64(NEGATIVE))
    code = fixed_code(magnitude, over, negative, limits)
    return code, I64(met | I64(OVER)) if over else met


def round_digits(digits, base, word, mode, facts):
    """(bits or code, what it met) of digits times 2**base, rounded once; the digits are then those of the magnitude."""
    raise NotImplementedError("compiled code only")


@overload(round_digits, jit_options=SCALAR)
def _round_digits(digits, base, word, mode, facts):
    if isinstance(facts, types.UniTuple):
        return _digits_to_float
    return _digits_to_fixed


def _digits_to_float(digits, base, word, mode, facts):
    sign = make_positive(digits)
    kind, sign, exponent, high, low = raw_of_digits(digits, base, sign)
    bits, met = round_value(kind, sign, exponent, high, low, word, mode, facts)
    return bits, I64(NOTHING) if kind == ZERO else met


def _digits_to_fixed(digits, base, word, mode, facts):
    sign = make_positive(digits)
    point = I64(0) - I64(facts.limits[POINT]) - I64(base)
    fraction = U64(word_at(digits, point - I64(64)) | some_below(digits, point - I64(64)))
    above = some_from(digits, point + I64(64))
    return round_on_grid(sign, word_at(digits, point), fraction, above, word, mode, facts)


@core
def round_wide(high, low, base, word, mode, facts):
    """(bits or code, what it met) of a two's complement integer of 128 bits times 2**base, rounded once."""
    sign = U64(high >> U64(63))
    flip = U64(U64(0) - sign)
    low = U64(U64(low ^ flip) + sign)
    high = U64(U64(high ^ flip) + (U64(1) if sign != U64(0) and low == U64(0) else U64(0)))
    if U64(high | low) == U64(0):
        bits, _ = round_value(ZERO, U64(0), LOWEST, high, low, word, mode, facts)
        return bits, I64(NOTHING)
    lift = zeros_above(high, low)
    high, low = shift_left(high, low, lift)
    return round_value(FINITE, sign, I64(base + 127) - lift, high, low, word, mode, facts)


@core
def add_double(digits, base, bits):
    """digits += the finite float64 of these bits, a multiple of 2**base."""
    kind, sign, exponent, significand = operand(bits)
    if kind == ZERO:
        return
    position = exponent - I64(52) - I64(base)
    magnitude = I64(significand >> U64(11))
    if position < 0:  # the bits that are shifted out are zeros
        magnitude, position = I64(magnitude >> (I64(0) - position)), I64(0)
    add_word(digits, position, I64(0) - magnitude if sign != U64(0) else magnitude)


def add_member(digits, base, bits, facts):
    """digits += a member of the format, as `round_value` returns it, where it is finite; returns what it is."""
    raise NotImplementedError("compiled code only")


@overload(add_member, jit_options=SCALAR)
def _add_member(digits, base, bits, facts):
    if isinstance(facts, types.UniTuple):
        return _add_float
    return _add_code


def _add_float(digits, base, bits, facts):
    magnitude = U64(bits & U64(_TOP - U64(1)))
    negative = bits >= _TOP
    if magnitude > INFINITE:
        return I64(NO_NUMBER)
    if magnitude == INFINITE:
        return I64(MINUS_INFINITY) if negative else I64(PLUS_INFINITY)
    if magnitude == U64(0):
        return I64(MINUS_ZERO) if negative else I64(PLUS_ZERO)
    add_double(digits, base, bits)
    return I64(NONZERO)


def _add_code(digits, base, bits, facts):
    # The unsigned integer, less 2**bits where the sign bit is set.
    position = I64(0) - I64(facts.limits[POINT]) - I64(base)
    add_pair(digits, position, U64(0), U64(0), bits)
    sign = U64(bits & facts.limits[SIGN])
    add_pair(digits, position, U64(1), U64(sign >> U64(63)), U64(sign << U64(1)))
    return I64(PLUS_ZERO) if bits == U64(0) else I64(NONZERO)
