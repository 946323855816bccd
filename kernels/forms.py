"""Faster forms of what `magnitude` does, each exact under conditions that the caller has checked.

The tests compare every form with the general one bit for bit.
"""

import numpy as np

from ._jit import core
from .modes import (
    CLAMPED,
    CODE_BASE,
    CODE_INFINITY,
    CODE_NAN,
    CODE_NORMAL,
    CODE_SHIFTER,
    CODE_SIGN,
    DROP,
    EMIN,
    LARGEST,
    LIFTED,
    MAGIC,
    MODE_MASK,
    OFFSET,
    OVER_CODE,
    OVER_POSITIVE,
    QUANTUM,
    RANDOM_MASK,
    RNA,
    RNE,
    RTN,
    RTO,
    RTP,
    RTZ,
    SHIFTED,
    SMALLEST,
    UNIFORM,
)
from .primitives import from_bits, shift_left, shift_right, to_bits

U32, U64 = np.uint32, np.uint64


def _make_uniform_magnitude(U, WIDTH):
    ONE, ZERO = U(1), U(0)

    def uniform_magnitude(a, negative, word, mode, facts):
        """`round_magnitude` where every binade, or the carrier's subnormals too, drops the same number of bits.

        The increment carries into the kept bits; below the smallest normal of a flushed format it is of no matter. Not
        for SR_B and SR_C, not without mantissa bits.
        """
        drop = U(facts[DROP] & U(WIDTH - 1))  # a count that is known to be in range keeps the lanes narrow
        step = shift_left(ONE, drop)
        low = U(step - ONE)
        kept = U(a & U(ZERO - step))
        if mode == RTZ:
            return kept
        if mode == RTO:
            return U(kept | (step if kept != a else ZERO))
        if mode == RNE:
            more = shift_right(U(low + U(shift_right(a, drop) & ONE)), ONE)
        elif mode == RNA:
            more = shift_right(step, ONE)
        elif mode == RTP:
            more = low if negative == ZERO else ZERO
        elif mode == RTN:
            more = low if negative != ZERO else ZERO
        elif WIDTH == 32:  # SR: the top `drop` bits of the word; what they leave of it cannot carry
            more = shift_right(shift_right(word, ONE), U(U(U(31) - drop) & U(31)))
        else:
            more = shift_right(shift_left(word, U(31)), U(U(U(63) - drop) & U(63)))
        return U(U(a + more) & U(ZERO - step))

    return uniform_magnitude


uniform_magnitude32 = core(_make_uniform_magnitude(U32, 32))
uniform_magnitude64 = core(_make_uniform_magnitude(U64, 64))


def _make_magic_magnitude(U, EXPONENT, TRAILING):
    FIELD, ONE, ZERO, TOP = U(EXPONENT), U(1), U(0), U(EXPONENT + (1 << TRAILING))
    T, ULP = U(TRAILING), U(TRAILING << TRAILING)
    HIGHEST = U(EXPONENT - (1 << TRAILING))  # the exponent of the carrier's largest power of two

    def magic_magnitude(a, negative, mode, facts):
        """`round_magnitude` by the carrier's own rounding: adding a power of two whose ulp is the grid step.

        Deterministic modes, gradual underflow with a quantum that is a normal of the carrier, mantissa bits >= 1, and
        a largest value whose exponent plus DROP stays in the carrier. The other modes correct the nearest neighbour,
        or its number of grid steps, which are the low bits of the sum. With CLAMPED nothing is beyond the largest value.
        """
        lowest = shift_left(U(facts[EMIN] - U(OFFSET)), T)
        power = U(max(U(a & FIELD), lowest) + shift_left(facts[DROP], T))
        if not mode & CLAMPED:
            power = min(power, HIGHEST)
        mode = mode & MODE_MASK
        x, shifter = from_bits(a), from_bits(power)
        shifted = x + shifter
        near = shifted - shifter
        if mode == RNE:
            return to_bits(near)
        if (mode == RTZ) | (mode == RTO):
            steps = U(to_bits(shifted) - (ONE if near > x else ZERO))
            if mode == RTO:
                steps = U(steps | (ONE if near != x else ZERO))
            return to_bits(from_bits(steps) - shifter)
        ulp = from_bits(U(power - ULP))
        if mode == RNA:
            rest = x - near
            return to_bits(near + ulp if rest + rest == ulp else near)
        sign = TOP if negative != ZERO else ZERO  # upward and downward are one comparison of signed values
        exact, found = from_bits(U(a | sign)), from_bits(U(to_bits(near) | sign))
        if mode == RTP:
            found = found + ulp if found < exact else found
        else:
            found = found - ulp if found > exact else found
        return U(to_bits(found) & U(TOP - ONE))

    return magic_magnitude


magic_magnitude32 = core(_make_magic_magnitude(U32, 0x7F800000, 23))
magic_magnitude64 = core(_make_magic_magnitude(U64, 0x7FF << 52, 52))


@core
def shifted_magnitude32(a, word, facts):
    """`round_magnitude32` for SR and gradual underflow, where the carrier's subnormals are far below the quantum.

    One binade of the format or many, the discarded fraction is a shift of the significand either way; the shifts mean
    what the vector instructions do, zero from 32 on.
    """
    field = shift_right(a, U32(23))
    shift = U32(facts[DROP] + U32(max(field, U32(facts[EMIN] - U32(OFFSET))) - field))
    m = U32(U32(a & U32(0x7FFFFF)) | U32(0x800000))
    left, right = U32(U32(32) - shift), U32(shift - U32(32))
    near, far = shift_left(m, U32(left & U32(31))), shift_right(m, U32(right & U32(31)))
    near, far = near if left < U32(32) else U32(0), far if right < U32(32) else U32(0)
    mask = facts[RANDOM_MASK]
    room = U32(U32(U32(near | far) & mask) ^ mask)  # not ~: an add with overflow would keep the loop from vectorising
    step = shift_left(U32(1), U32(shift & U32(31)))
    down = U32(a & U32(U32(0) - step))
    inside = shift < U32(24)
    down, step = down if inside else U32(0), step if inside else facts[QUANTUM]
    return U32(down + (step if word > room else U32(0)))


def _make_lifted(U, WIDTH, TRAILING):
    ONE, ZERO, T, LOW_WORD, COUNT = U(1), U(0), U(TRAILING), U(WIDTH - 32), U(WIDTH - 1)

    def lifted(a, word, facts):
        """(bits of the sum of a, 2**emin if it is below, and the word; what was added to a; the bits to drop).

        Adding 2**emin, truncated, lifts what is below into the lowest normal binade, where it drops the same bits. The
        word, added to the dropped bits, carries into the kept ones.
        """
        drop = U(facts[DROP] & COUNT)
        lowest = shift_left(U(facts[EMIN] - U(OFFSET)), T)
        origin = from_bits(lowest if a < lowest else ZERO)
        exact = from_bits(a)
        sum_ = exact + origin
        cut = U(to_bits(sum_) - (ONE if sum_ - origin > exact else ZERO))
        added = shift_right(shift_left(word, LOW_WORD), U(U(U(WIDTH) - drop) & COUNT))
        return U(cut + added), origin, U(shift_left(ONE, drop) - ONE)

    return lifted


_lifted32, _lifted64 = core(_make_lifted(U32, 32, 23)), core(_make_lifted(U64, 64, 52))


def _make_lifted_magnitude(U, lifted):
    def lifted_magnitude(a, word, facts):
        """`round_magnitude` for SR and gradual underflow, where a normal value drops as many bits as the word has or more.

        The cut of `lifted` is below all that decides. Longer words: see `dropped_sum32`.
        """
        total, origin, low = lifted(a, word, facts)
        return to_bits(from_bits(U(total & ~low)) - origin)

    return lifted_magnitude


lifted_magnitude32 = core(_make_lifted_magnitude(U32, _lifted32))
lifted_magnitude64 = core(_make_lifted_magnitude(U64, _lifted64))


@core
def dropped_sum32(bits, word, facts):
    """(the bits that `lifted_magnitude32` drops of a value and a word, the most that they can be).

    Where the word is longer than that, what is left out of both could have carried only if they are the most: one
    random word in 2**DROP makes them so.
    """
    total, _, low = _lifted32(U32(bits & U32(0x7FFFFFFF)), word, facts)
    return U32(total & low), low


def _make_centred(U, EXPONENT, TRAILING, SIGN):
    FIELD, TOP, T, HALF = U(EXPONENT), U(SIGN), U(TRAILING), U(1 << (TRAILING - 1))

    def centred(bits, mode, facts):
        """A finite sum rounded to nearest even, not yet saturated: adding 1.5 * 2**k leaves room for either sign.

        For gradual underflow, at least two dropped bits, and a largest exponent plus DROP that stays in the carrier.
        With UNIFORM, sums are multiples of the quantum and none is -0: nothing below the normals is rounded.
        """
        exponent = U(bits & FIELD)
        if not mode & UNIFORM:
            exponent = max(exponent, shift_left(U(facts[EMIN] - U(OFFSET)), T))
        shifter = from_bits(U(exponent + U(shift_left(facts[DROP], T) + HALF)))
        near = (from_bits(bits) + shifter) - shifter
        if not mode & UNIFORM:
            near = from_bits(U(to_bits(near) | U(bits & TOP)))
        return near

    return centred


def _make_truncated(U, SIGNED_INT, EXPONENT, TRAILING, SIGN):
    FIELD, TOP, T, ONES = U(EXPONENT), U(SIGN), U(TRAILING), U(2 * SIGN - 1)

    def truncated(bits, mode, facts):
        """A finite sum rounded toward zero, not yet saturated, by a mask of the bits that stay; the sign always does.

        Without UNIFORM for gradual underflow, the largest exponent plus DROP in the carrier; with it, below SMALLEST
        only the sign stays.
        """
        if mode & UNIFORM:
            mask = shift_left(ONES, facts[DROP])
            mask = mask if SIGNED_INT(bits & U(TOP - U(1))) >= SIGNED_INT(facts[SMALLEST]) else TOP
        else:
            drop = shift_left(facts[DROP], T)
            lowest = U(shift_left(U(facts[EMIN] - U(OFFSET)), T) + drop)
            below = max(SIGNED_INT(U(lowest - U(bits & FIELD))), SIGNED_INT(drop))
            mask = shift_left(ONES, shift_right(U(below), T))
            mask = mask if below < SIGNED_INT((TRAILING + 1) << TRAILING) else TOP
        return from_bits(U(bits & mask))

    return truncated


truncated32 = core(_make_truncated(U32, np.int32, 0x7F800000, 23, 0x80000000))
truncated64 = core(_make_truncated(U64, np.int64, 0x7FF << 52, 52, 1 << 63))
centred32 = core(_make_centred(U32, 0x7F800000, 23, 0x80000000))
centred64 = core(_make_centred(U64, 0x7FF << 52, 52, 1 << 63))


def _make_finish_plain(U, EXPONENT, QUIET):
    INF, NAN, ZERO = U(EXPONENT), U(QUIET), U(0)

    def finish_plain(rounded, a, sign, mode, facts):
        """`finish` where all overflows and infinities become one magnitude, no NaN, and the format has a -0.

        The forms MAGIC, SHIFTED and LIFTED are for gradual underflow, where nothing that is rounded is too small.
        """
        r = rounded if mode & (MAGIC | SHIFTED | LIFTED) or rounded >= facts[SMALLEST] else ZERO
        if not mode & CLAMPED:
            r = r if r <= facts[LARGEST] else facts[OVER_POSITIVE]
        return U(r | sign) if a <= INF else NAN

    return finish_plain


finish_plain32 = core(_make_finish_plain(U32, 0x7F800000, 0x7FC00000))
finish_plain64 = core(_make_finish_plain(U64, 0x7FF << 52, 0xFFF << 51))


def _make_short_code(U, EXPONENT, SIGN, WIDTH):
    INF, TOP, ONE, ZERO, COUNT = U(EXPONENT), U(SIGN), U(1), U(0), U(WIDTH - 1)

    def short_code(bits, facts):
        """`code` where subnormals of the format are the carrier's normals, or their grids are the same."""
        a = U(bits & U(TOP - ONE))
        shifter = facts[CODE_SHIFTER]
        small = U(to_bits(from_bits(a) + from_bits(shifter)) - shifter)
        large = U(shift_right(a, U(facts[DROP] & COUNT)) - facts[CODE_BASE])
        magnitude = large if a >= facts[CODE_NORMAL] else small
        magnitude = magnitude if a != INF else facts[CODE_INFINITY]
        sign = facts[CODE_SIGN] if bits >= TOP else ZERO
        return U(magnitude | sign) if a <= INF else facts[CODE_NAN]

    return short_code


short_code32 = core(_make_short_code(U32, 0x7F800000, 0x80000000, 32))
short_code64 = core(_make_short_code(U64, 0x7FF << 52, 1 << 63, 64))


def _make_direct_code(U, EXPONENT, SIGN, TRAILING, WIDTH):
    INF, TOP, T, COUNT, ZERO = U(EXPONENT), U(SIGN), U(TRAILING), U(WIDTH - 1), U(0)
    HIGHEST = U(EXPONENT - (1 << TRAILING))

    def direct_code(bits, facts):
        """The codepoint that `bits` round to, to nearest even: `magic_magnitude`, `finish_plain` and `code` at once.

        The sum with the shifter holds the number of grid steps in its low bits; each binade adds as many codes as it
        has steps.
        """
        sign = U(bits & TOP)
        a = U(bits ^ sign)
        lowest = shift_left(U(facts[EMIN] - U(OFFSET)), T)
        exponent = max(U(a & INF), lowest)
        power = min(U(exponent + shift_left(facts[DROP], T)), HIGHEST)
        steps = U(to_bits(from_bits(a) + from_bits(power)) - power)
        code = U(steps + shift_right(U(exponent - lowest), U(facts[DROP] & COUNT)))
        code = min(code, facts[OVER_CODE])  # what overflows has a larger code than the largest value
        code = U(code | (facts[CODE_SIGN] if sign != ZERO else ZERO))
        return code if a <= INF else facts[CODE_NAN]

    return direct_code


@core
def byte_code32(bits, facts):
    """The low byte of `direct_code`, whose upper bits are left as they come.

    Below the exponent's field the shifter holds what the steps are counted from, so that nothing is subtracted from
    the sum; a multiple of the codes of a binade, it is even, and ties stay where they are. What overflows is cut before
    it is rounded: at the largest value, or at the next of its grid where an infinity has the next code.
    """
    INF, T = U32(0x7F800000), U32(23)
    drop = U32(facts[DROP] & U32(31))
    lowest = shift_left(U32(facts[EMIN] - U32(OFFSET)), T)
    largest_code = U32(shift_right(U32(facts[LARGEST] - lowest), drop) + shift_left(U32(1), U32(T - drop)))
    most = U32(facts[LARGEST] + shift_left(U32(facts[OVER_CODE] - largest_code), drop))
    below = U32(U32(U32(0) - shift_right(lowest, drop)) & U32(0xFF))
    shifter = U32(shift_left(drop, T) + below)
    magnitude = U32(bits & U32(0x7FFFFFFF))
    a = min(magnitude, most)
    exponent = max(U32(a & INF), lowest)
    steps = to_bits(from_bits(a) + from_bits(U32(exponent + shifter)))
    code = U32(steps + shift_right(exponent, drop))
    code = U32(code | (facts[CODE_SIGN] if bits > U32(0x7FFFFFFF) else U32(0)))
    return code if magnitude <= INF else facts[CODE_NAN]


direct_code32 = core(_make_direct_code(U32, 0x7F800000, 0x80000000, 23, 32))
direct_code64 = core(_make_direct_code(U64, 0x7FF << 52, 1 << 63, 52, 64))
