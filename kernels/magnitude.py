"""From carrier bits to the rounder and back: a float32 or float64 magnitude rounded to a narrower float format.

Integers only, so nothing here depends on the floating-point environment. Written once over the lane type; the two
widths differ in how a discarded part longer than a lane is cut into the rounder's words.
"""

import numpy as np

from ._jit import core
from .modes import (
    BELOW,
    CODE_EMIN,
    CODE_INFINITY,
    CODE_MANTISSA,
    CODE_NAN,
    CODE_OFFSET,
    CODE_SIGN,
    DROP,
    EMIN,
    INFINITE,
    LARGEST,
    OFFSET,
    OVER_NEGATIVE,
    OVER_POSITIVE,
    PARITY,
    PARITY_EMIN,
    QUANTUM,
    RANDOM_MASK,
    SIGNED_ZERO,
    SMALLEST,
    SR,
)
from .primitives import from_bits, shift_left, shift_right, to_bits
from .rounding import round_up32, round_up64

U32, U64 = np.uint32, np.uint64


def _fraction32(m, shift):
    """The low `shift` bits of m < 2^24 as a fraction of 2^shift; shift <= 57, beyond which every rounding agrees."""
    near = shift_left(m, U32(U32(U32(32) - shift) & U32(31)))
    near = near if shift != U32(0) else U32(0)
    far = shift_right(m, U32(shift & U32(31)))
    cut_off = shift_left(m, U32(U32(U32(64) - shift) & U32(31)))
    short = shift <= U32(32)
    return (near if short else far), (U32(0) if short else cut_off)


def _fraction64(m, shift):
    """The same for m < 2^53, shift <= 100; the lowest bit of the second word also stands for what is cut off."""
    near = shift_left(m, U64(U64(U64(64) - shift) & U64(63)))
    near = near if shift != U64(0) else U64(0)
    cut_off = shift_left(m, U64(U64(U64(128) - shift) & U64(63)))
    far = U64(shift_right(m, U64(shift & U64(63))) | (U64(1) if cut_off != U64(0) else U64(0)))
    f = near if shift <= U64(64) else far
    return shift_right(f, U64(32)), U64(f & U64(0xFFFFFFFF))


fraction32, fraction64 = core(_fraction32), core(_fraction64)


def _make_lift(U, F, TRAILING, BIAS, WIDTH):
    T, FIELD, COUNT = U(TRAILING), U((BIAS + TRAILING) << TRAILING), U(WIDTH - 1)
    ORIGIN, POWER = U(BIAS + TRAILING), F(1 << TRAILING)

    def lift(a):
        """How far a carrier subnormal (bits `a`, exponent field 0) is below the lowest normal binade, in places.

        The integer becomes a float by its place in a binade: no instruction for leading zeros, which few CPUs have for
        vectors. Without meaning for other bits.
        """
        as_number = from_bits(U(a | FIELD)) - POWER
        return U(U(ORIGIN - shift_right(to_bits(as_number), T)) & COUNT)

    return lift


lift32 = core(_make_lift(U32, np.float32, 23, 127, 32))
lift64 = core(_make_lift(U64, np.float64, 52, 1023, 64))


def _make_round_magnitude(U, WIDTH, TRAILING, FAR, fraction_of, round_up, lift):
    HIDDEN, LOW, ONE, ZERO = U(1 << TRAILING), U((1 << TRAILING) - 1), U(1), U(0)
    T, START, COUNT, LANE = U(TRAILING), U(OFFSET), U(WIDTH - 1), U(WIDTH)
    NEAR_LIMIT, FAR_LIMIT = U(TRAILING + 3), U(FAR)

    def round_magnitude(a, negative, word, mode, normalise, facts):
        """Bits of a finite magnitude (bits `a`, no sign) rounded to the grid of `facts`, exponents unbounded above.

        normalise: whether carrier subnormals must be seen at their own exponent (the grid goes on below the carrier's
        smallest normal). The result may be the carrier's infinity; the caller compares it with the largest value.
        Both outcomes are computed and one is selected: a branch would keep the loop from being vectorised.
        """
        field = shift_right(a, T)
        normal = field != ZERO
        biased = U(START + (field if normal else ONE))
        m = U(U(a & LOW) | (HIDDEN if normal else ZERO))
        lifted = ZERO
        if normalise:
            lifted = lift(a)
            lifted = ZERO if normal else lifted
            m = shift_left(m, lifted)
            biased = U(biased - lifted)
        bottom = max(biased, facts[EMIN])
        distance = U(facts[DROP] + U(bottom - biased))
        # Discarded parts below a quarter ulp are all alike, except to random words.
        shift = min(distance, NEAR_LIMIT if mode < SR else FAR_LIMIT)
        kept = shift_right(m, U(shift & COUNT))
        kept = kept if shift < LANE else ZERO
        odd = U(U(kept + U(U(bottom - facts[PARITY_EMIN]) & facts[PARITY])) & ONE)
        fraction, rest = fraction_of(m, shift)
        up = round_up(mode, negative, odd, fraction, rest, word, facts[RANDOM_MASK])
        # Back in the carrier's own bits the grid step is 2^cut, or, from one half of the quantum down, the quantum.
        cut = max(distance, lifted) - lifted
        step = U(U(cut) & COUNT)
        down = shift_left(shift_right(a, step), step)
        above = U(down + shift_left(ONE, step))
        on_bits = U(cut) <= T
        down = down if on_bits else ZERO
        above = above if on_bits else facts[QUANTUM]
        return above if up != ZERO else down

    return round_magnitude


round_magnitude32 = core(_make_round_magnitude(U32, 32, 23, 57, fraction32, round_up32, lift32))
round_magnitude64 = core(_make_round_magnitude(U64, 64, 52, 100, fraction64, round_up64, lift64))


def _make_finish(U, EXPONENT, SIGN, QUIET):
    INF, TOP, NAN, ZERO = U(EXPONENT), U(SIGN), U(QUIET), U(0)

    def finish(rounded, a, sign, facts):
        """Result bits from a rounded magnitude, the one before it and the sign bit: both ends of the range."""
        below = facts[BELOW]
        r = rounded if rounded >= facts[SMALLEST] else below
        over = facts[OVER_NEGATIVE] if sign != ZERO else facts[OVER_POSITIVE]
        r = r if r <= facts[LARGEST] else over
        r = r if a != INF else facts[INFINITE]
        kept_sign = TOP if r != below else facts[SIGNED_ZERO]
        signed = U(r | U(sign & kept_sign))
        return signed if (a <= INF) & (r <= INF) else NAN

    return finish


finish32 = core(_make_finish(U32, 0x7F800000, 0x80000000, 0x7FC00000))
finish64 = core(_make_finish(U64, 0x7FF << 52, 1 << 63, 0xFFF << 51))


def _make_code(U, TRAILING, EXPONENT, SIGN, LANE, lift):
    HIDDEN, LOW, ONE, ZERO = U(1 << TRAILING), U((1 << TRAILING) - 1), U(1), U(0)
    T, START, INF, TOP = U(TRAILING), U(OFFSET), U(EXPONENT), U(SIGN)
    COUNT = U(LANE - 1)

    def code(bits, facts):
        """Codepoint of a value that is on the grid of `facts` (the bits that `finish` returned)."""
        a = U(bits & U(TOP - ONE))
        field = shift_right(a, T)
        normal = field != ZERO
        lifted = lift(a)
        lifted = ZERO if normal else lifted
        m = shift_left(U(U(a & LOW) | (HIDDEN if normal else ZERO)), lifted)
        biased = U(U(START + (field if normal else ONE)) - lifted)
        bottom = max(biased, facts[CODE_EMIN])
        shift = U(facts[DROP] + U(bottom - biased))
        kept = shift_right(m, U(shift & COUNT))
        kept = kept if shift <= COUNT else ZERO
        steps = shift_left(U(bottom - facts[CODE_EMIN]), facts[CODE_MANTISSA])
        # Zero is lifted as if it were the carrier's second smallest number: in a format that begins there, to code 1.
        magnitude = U(U(steps + kept) - facts[CODE_OFFSET]) if a != ZERO else ZERO
        magnitude = magnitude if a != INF else facts[CODE_INFINITY]
        sign = facts[CODE_SIGN] if bits >= TOP else ZERO
        return U(magnitude | sign) if a <= INF else facts[CODE_NAN]

    return code


code32 = core(_make_code(U32, 23, 0x7F800000, 0x80000000, 32, lift32))
code64 = core(_make_code(U64, 52, 0x7FF << 52, 1 << 63, 64, lift64))
