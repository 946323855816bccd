"""Posits: a float's own bits, cut where the regime says.

A posit's exponent and fraction follow the regime as one string of bits, and so do a float's, behind a biased exponent.
With one added to that exponent field its bias is a multiple of four, so the two lowest exponent bits and the fraction
are the posit's string, and the field above them is the regime (2022 standard, es = 2). Rounding the posit's code is
then rounding these bits at a place that the regime sets; a carry out of them is the next code, as it is the next
float. Random words are compared with the linear distance, which differs where exponent bits are cut off.
"""

from collections import namedtuple

import numpy as np
from numba import types
from numba.extending import overload

from ._jit import SCALAR, core
from .carrier import grid_of, noticed, quantize_bits, saw, shown, shown_value, unpack, unpack_row
from .modes import CODE_SIGN, DROP, LARGEST, RANDOM_MASK, SAW_NAN, SAW_OVERFLOW, SMALLEST, SR
from .primitives import multiply_high, shift_left, shift_right
from .rounding import round_up32, round_up64

U32, U64 = np.uint32, np.uint64

# row: a parameter row. DROP: bits cut off where the regime is two bits long; LARGEST, SMALLEST: bits of the two ends;
# CODE_SIGN: the code of NaR; RANDOM_MASK and RANDOM_SHIFT.
PositRow = namedtuple("PositRow", "row")
PositFacts = namedtuple("PositFacts", "grid")


def _is(kind, value):
    return isinstance(value, types.BaseNamedTuple) and value.instance_class is kind


@overload(unpack, jit_options=SCALAR)
def _unpack_posit(row):
    return (lambda row: PositFacts(unpack_row(row.row))) if _is(PositRow, row) else None


@overload(grid_of, jit_options=SCALAR)
def _grid_of_posit(facts):
    return (lambda facts: facts.grid) if _is(PositFacts, facts) else None


def _make_split(U, TRAILING, BIAS):
    HIDDEN, BODY, UNITY = U(1 << TRAILING), U(TRAILING + 2), U((BIAS + 1) << TRAILING)
    SCALES, ZERO = U((BIAS + 1) // 4 - 1), U(0)

    def split(a, grid):
        """(string of bits, at least 1?, regime bits beyond two, bits cut off) of a magnitude within the range."""
        string = U(a + HIDDEN)
        above = string >= UNITY
        beyond = U(U(shift_right(string, BODY) ^ (ZERO if above else SCALES)) & SCALES)
        return string, above, beyond, U(grid[DROP] + beyond)

    return split


split32, split64 = core(_make_split(U32, 23, 127)), core(_make_split(U64, 52, 1023))


@core
def words32(string, cut):
    """The lowest `cut` bits, at most 31, as the rounder's two words."""
    fraction = shift_left(string, U32(U32(U32(32) - cut) & U32(31)))
    return (fraction if cut != U32(0) else U32(0)), U32(0)


@core
def words64(string, cut):
    """The lowest `cut` bits, 1 to 63, as the rounder's two words."""
    fraction = U64(string << U64(U64(U64(64) - cut) & U64(63)))
    return U64(fraction >> U64(32)), U64(fraction & U64(0xFFFFFFFF))


# Vectors multiply 32 bits by 32; a quotient of 64-bit numbers would be taken lane by lane. With x < d * 2^24 and
# M = ceil(2^32 / d), floor(x * M / 2^32) is floor(x / d) because x * (d * M - 2^32) < 2^32: the bracket is 2 for d = 3
# and 14 for d = 15.


@core
def divide32(n, three):
    """(quotient, remainder) of n < 15 * 2^23 by 3 or 15."""
    reciprocal = U32(1431655766) if three else U32(286331154)
    q = multiply_high(n, reciprocal)
    return q, U32(n - U32(q * (U32(3) if three else U32(15))))


@core
def divide64(n, three):
    """(quotient, remainder) of n < 15 * 2^52 by 3 or 15: long division in digits of 24 bits."""
    d = U64(3) if three else U64(15)
    reciprocal = U64(1431655766) if three else U64(286331154)
    x = U64(n >> U64(48))
    q = U64(U64(x * reciprocal) >> U64(32))
    x = U64(U64(U64(x - U64(q * d)) << U64(24)) | U64(U64(n >> U64(24)) & U64(0xFFFFFF)))
    digit = U64(U64(U64(x & U64(0xFFFFFFFF)) * reciprocal) >> U64(32))
    q = U64(U64(q << U64(24)) | digit)
    x = U64(U64(U64(x - U64(digit * d)) << U64(24)) | U64(n & U64(0xFFFFFF)))
    digit = U64(U64(U64(x & U64(0xFFFFFFFF)) * reciprocal) >> U64(32))
    return U64(U64(q << U64(24)) | digit), U64(x - U64(digit * d))


def _make_linear(U, TRAILING, divide):
    HIDDEN, LOW, T = U(1 << TRAILING), U((1 << TRAILING) - 1), U(TRAILING)
    ONE, THREE = U(1), U(3)
    THIRD, FIFTEENTH = U(0x55555555), U(0x11111111)  # the period of the expansion, 32 bits of it
    wide = TRAILING > 32

    def linear(string, one_left):
        """(|x| - lo) / (hi - lo) as the rounder's two words, where both exponent bits are cut off, or one is left.

        hi is then 16 lo or 4 lo, so the distance is an integer over 15 or 3 times 2^TRAILING: one integer division. A
        remainder's binary expansion has a period of four bits and never ends, so the lowest bits of the second word,
        which come from it, also say that something lies below them.
        """
        lift = U(shift_right(string, T) & (ONE if one_left else THREE))
        n = U(shift_left(U(U(string & LOW) | HIDDEN), lift) - HIDDEN)
        q, t = divide(n, one_left)
        period = U(t * (THIRD if one_left else FIFTEENTH))
        if wide:
            fraction = U(q >> U(TRAILING - 32))
            rest = U(U(U(q << U(64 - TRAILING)) & U(0xFFFFFFFF)) | U(period >> U(TRAILING - 32)))
        else:
            fraction = U(shift_left(q, U(32 - TRAILING)) | shift_right(period, T))
            rest = U(shift_left(period, U(32 - TRAILING)) | shift_right(period, T))
        return fraction, rest

    return linear


linear32, linear64 = core(_make_linear(U32, 23, divide32)), core(_make_linear(U64, 52, divide64))


def _make_posit_bits(U, WIDTH, TRAILING, QUIET, split, words, linear, round_up):
    TOP, COUNT, HIDDEN = U(1 << (WIDTH - 1)), U(WIDTH - 1), U(1 << TRAILING)
    T, BODY = U(TRAILING), U(TRAILING + 2)
    INF, NAN = U((1 << (WIDTH - 1)) - (1 << TRAILING)), U(QUIET)
    ONE, ZERO = U(1), U(0)

    def posit_bits(bits, word, mode, normalise, facts):
        grid = facts.grid
        sign = U(bits & TOP)
        a = U(bits ^ sign)
        string, above, _, drop = split(a, grid)
        cut = U(drop & COUNT)
        kept = shift_right(string, cut)
        # Where no exponent bit is left the code ends in the bit that closes the regime.
        closing = ZERO if above else ONE
        odd = closing if drop == BODY else U(kept & ONE)
        fraction, rest = words(string, cut)
        if mode >= SR:
            fraction_linear, rest_linear = linear(string, drop == U(T + ONE))
            fraction = fraction_linear if drop > T else fraction
            rest = rest_linear if drop > T else rest
        up = round_up(mode, ONE if sign != ZERO else ZERO, odd, fraction, rest, U(word), grid[RANDOM_MASK])
        r = U(shift_left(U(kept + up), cut) - HIDDEN)
        r = r if a > grid[SMALLEST] else grid[SMALLEST]
        r = r if a < grid[LARGEST] else grid[LARGEST]
        signed = U(r | sign) if a != ZERO else ZERO
        return signed if a < INF else NAN

    return posit_bits


_posit_bits32 = _make_posit_bits(U32, 32, 23, 0x7FC00000, split32, words32, linear32, round_up32)
_posit_bits64 = _make_posit_bits(U64, 64, 52, 0xFFF << 51, split64, words64, linear64, round_up64)


@overload(quantize_bits, jit_options=SCALAR)
def _quantize_posit(bits, word, mode, normalise, facts):
    if not _is(PositFacts, facts):
        return None
    return _posit_bits32 if bits == types.uint32 else _posit_bits64


def _make_code(U, WIDTH, TRAILING, split):
    TOP, COUNT = U(1 << (WIDTH - 1)), U(WIDTH - 1)
    BODY, STRING = U(TRAILING + 2), U((1 << (TRAILING + 2)) - 1)
    INF, ONE, ZERO = U((1 << (WIDTH - 1)) - (1 << TRAILING)), U(1), U(0)

    def code(bits, grid):
        """Two's complement code of a value that is on the grid."""
        sign = U(bits & TOP)
        a = U(bits ^ sign)
        string, above, beyond, drop = split(a, grid)
        left = U(
            U(BODY + ONE) - drop
        )  # bits behind the run: the closing one and what is kept; none in the largest value
        run = U(shift_left(ONE, U(U(beyond + ONE) & COUNT)) - ONE)
        regime = shift_left(run, U(left & COUNT)) if above else shift_left(ONE, U(U(left - ONE) & COUNT))
        c = U(regime | shift_right(U(string & STRING), U(drop & COUNT)))
        c = c if a != ZERO else ZERO
        nar = grid[CODE_SIGN]
        c = U(U(ZERO - c) & U(nar | U(nar - ONE))) if sign != ZERO else c
        return c if a < INF else nar

    return code


code32, code64 = core(_make_code(U32, 32, 23, split32)), core(_make_code(U64, 64, 52, split64))


@overload(shown, jit_options=SCALAR)
def _shown_posit(kind, bits, facts):
    if not _is(PositFacts, facts):
        return None
    if isinstance(kind, types.Float):
        return shown_value
    code = code32 if bits == types.uint32 else code64
    return lambda kind, bits, facts: code(bits, facts.grid)


@overload(noticed, jit_options=SCALAR)
def _noticed_posit(bits, result, facts):
    if not _is(PositFacts, facts):
        return None
    narrow = bits == types.uint32
    lane = U32 if narrow else U64
    magnitude = U32(0x7FFFFFFF) if narrow else U64((1 << 63) - 1)
    infinity = U32(0x7F800000) if narrow else U64(0x7FF << 52)

    def noticed_of(bits, result, facts):
        a = lane(bits & magnitude)
        over = (a > facts.grid[LARGEST]) & (a <= infinity)
        return U32(saw(SAW_OVERFLOW, over) | saw(SAW_NAN, a > infinity))

    return noticed_of
