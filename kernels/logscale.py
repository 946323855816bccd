"""Logarithmic formats: an octave's magnitudes are a short table of integers, found by one guess and one comparison.

Two ways from a value to a code. Where the mode is deterministic, what the rounder says is written down beforehand as
the turning points of an octave, the least significands that go to the upper neighbour. For a random word (and for RTO)
the neighbours are found and the rounder is asked; the distance to the lower one is a ratio of integers that is not
binary, so its bits come from an exact long division, or in float32 two products are compared instead. What goes from
`quantize_bits` to `shown` is a code on a grid that has no top, with the sign in the top bit of the lane.
"""

from collections import namedtuple

import numpy as np
from numba import types
from numba.extending import overload

from ._jit import SCALAR, core, loop
from .carrier import grid_of, noticed, quantize_bits, saw, shown, unpack, unpack_row
from .modes import RANDOM_MASK, RNE, RNL, SAW_NAN, SAW_NEGATIVE, SAW_OVERFLOW, SR, SR_B, SR_C
from .primitives import from_bits, leading_zeros
from .rounding import round_up32

U32, U64, I64 = np.uint32, np.uint64, np.int64

# row: a parameter row of which only the random bits count. steps: the 2**f + 1 significands of an octave and the next
# power of two, as integers. limits: int64 [6], see the constants. For each bucket of the fraction's leading f + 1 bits
# guess has the last step at or below its first value; turns [4, buckets], by sign and parity of the octave's code, how
# many turning points are at or below that value, plus TURN times the distance to the next.
LogRow = namedtuple("LogRow", "row steps guess limits")
TurnsRow = namedtuple("TurnsRow", "row steps turns limits")
FRACTION_BITS, OCTAVE, LARGEST, SIGN, BOTTOM, BOTTOM_NEGATIVE = range(6)
# OCTAVE: the biased carrier exponent of the octave of code 0. BOTTOM: the bits of the least magnitude, by sign, that
# goes to the smallest value, not to zero.
TURN = 512
LogFacts = namedtuple("LogFacts", "grid steps guess limits")
TurnsFacts = namedtuple("TurnsFacts", "grid steps turns limits")

# Where a value lies between its neighbours: on the lower one, or before, at or past the point where nearest turns to
# the upper; as the leading bits of a fraction they are what the rounder decides by where no random word is asked.
ON, BEFORE, AT, PAST = range(4)


@loop
def decisions(mode: int) -> int:
    """Whether a rounding mode goes up: bit (side << 2 | negative << 1 | odd); RNL is RNE without ties."""
    word = I64(0)
    for case in range(16):
        side, negative, odd = U32(case >> 2), U32(case >> 1 & 1), U32(case & 1)
        asked = RNE if mode == RNL else mode
        word |= I64(round_up32(asked, negative, odd, U32(side << U32(30)), U32(0), U32(0), U32(0))) << case
    return int(word)


@core
def unpack_limits(limits):
    """The limits as a tuple of scalars."""
    return limits[0], limits[1], limits[2], limits[3], limits[4], limits[5]


def _is(kind, value):
    return isinstance(value, types.NamedTuple) and value.instance_class is kind


def _is_log(facts):
    return _is(LogFacts, facts) or _is(TurnsFacts, facts)


@overload(unpack, jit_options=SCALAR)
def _unpack_log(row):
    if _is(LogRow, row):
        return lambda row: LogFacts(unpack_row(row.row), row.steps, row.guess, unpack_limits(row.limits))
    if _is(TurnsRow, row):
        return lambda row: TurnsFacts(unpack_row(row.row), row.steps, row.turns, unpack_limits(row.limits))
    return None


@overload(grid_of, jit_options=SCALAR)
def _grid_of_log(facts):
    return (lambda facts: facts.grid) if _is_log(facts) else None


@core
def quotient32(numerator, denominator):
    """(floor(numerator * 2^32 / denominator), the remainder), numerator < denominator < 2^62: digits while there is room."""
    quotient, rest, left = U64(0), U64(numerator), I64(32)
    room = I64(leading_zeros(U64(denominator)))
    while left > 0:
        count = U64(min(left, room))
        shifted = U64(rest << count)
        digits = U64(shifted // denominator)
        rest = U64(shifted - U64(digits * denominator))
        quotient = U64(U64(quotient << count) | digits)
        left -= I64(count)
    return quotient, rest


@core
def ratio_words(numerator, denominator, halvings):
    """numerator / denominator * 2^-halvings as the rounder's two words; numerator < denominator, halvings >= 0.

    The first 33 bits are exact, the lowest bit of the second word stands for all below.
    """
    quotient, rest = quotient32(numerator, denominator)
    double = U64(rest << U64(1))
    half = U64(1) if double >= denominator else U64(0)
    more = U64(1) if (double != denominator) & (rest != U64(0)) else U64(0)
    word = U64(U64(quotient << U64(32)) | U64(U64(half << U64(31)) | more))
    shift = U64(min(halvings, 63))  # from 2^-63 on all is below what any word looks at
    kept = U64(word >> shift)
    kept = U64(kept | (U64(1) if U64(kept << shift) != word else U64(0)))
    return U32(U64(kept >> U64(32))), U32(U64(kept & U64(0xFFFFFFFF)))


@core
def random_up(numerator, denominator, halvings, word, mode, mask):
    """Whether the fraction numerator / denominator * 2^-halvings goes up, 0 or 1: `round_up32` of it, without a division.

    numerator < denominator <= 2^25. With words of r bits at the top of 32, of W = 2^32 - word and a unit of 2^(32-r), SR
    asks whether the fraction times 2^32 reaches W, SR_B whether it reaches W - unit / 2, and SR_C lets a tie pass where
    W / unit is even.
    """
    unit = U64(U64(U32(~U32(mask))) + U64(1))
    least = U64(U64(1 << 32) - U64(word))
    twice = U64(least << U64(1)) if mode == SR else U64(U64(least << U64(1)) - unit)
    product = U64(twice * denominator)
    scaled = U64(numerator << U64(33))
    shift = U64(min(halvings, 63))
    reached = U64(scaled >> shift)
    if mode == SR_C:
        passes = (U64(reached << shift) != scaled) | (U64(least & unit) == U64(0))
        return U32(1) if (reached > product) | ((reached == product) & passes) else U32(0)
    return U32(1) if reached >= product else U32(0)


def _make_round_to_code(U, TRAILING, SIGN_BIT):
    HIDDEN, LOW, TOP, ZERO = U(1 << TRAILING), U((1 << TRAILING) - 1), U(SIGN_BIT), U(0)
    T, COUNT = U(TRAILING), U(8 * U(0).itemsize - 1)
    ABOVE, WIDE = U(COUNT - T), TRAILING > 32

    def round_to_code(bits, word, mode, normalise, facts):
        f, octave = facts.limits[FRACTION_BITS], facts.limits[OCTAVE]
        sign = U(bits & TOP)
        a = U(bits ^ sign)
        field = I64(a >> T)
        lift = U(max(U(leading_zeros(a)), ABOVE) - ABOVE)
        m = U(a << lift) if field == 0 else U(U(a & LOW) | HIDDEN)
        exponent = 1 - I64(lift) if field == 0 else field
        j = U64(facts.guess[U64(U(m & LOW) >> U(I64(TRAILING) - f - 1))])
        j = U64(j + (U64(1) if m >= facts.steps[U64(j + U64(1))] else U64(0)))
        code = ((exponent - octave) << f) + I64(j)
        # Below the smallest magnitude the neighbours are zero and it. A choice would become a branch around the look-ups.
        code = max(code, 0)
        inside = U64(min(code, 1))
        some = U(ZERO - U(inside))
        lower, upper, least = facts.steps[j], facts.steps[U64(j + U64(1))], facts.steps[U64(1 & ((1 << f) - 1))]
        numerator, denominator = U64(m - U(lower & some)), U64(U(U(upper - lower) & some) | U(least & ~some))
        whole = U64(1) if numerator >= denominator else U64(0)  # never between two magnitudes
        denominator = U64(denominator << whole)
        halvings = (octave + (1 >> f) - exponent - I64(whole)) * (1 - I64(inside))
        negative, mask = U32(1) if sign != ZERO else U32(0), U32(facts.grid[RANDOM_MASK])
        if (mode == SR) | (mode == SR_B) | (mode == SR_C):  # `in` would be a call, and the loop no vectors
            if WIDE:
                fraction, rest = ratio_words(numerator, denominator, halvings)
                up = round_up32(mode, negative, U32(code & 1), fraction, rest, U32(word), mask)
            else:
                up = random_up(numerator, denominator, halvings, U32(word), mode, mask)
        else:
            double = U64(numerator << U64(1))
            side = BEFORE if (halvings > 0) | (double < denominator) else (AT if double == denominator else PAST)
            fraction = U32(U32(side if numerator != U64(0) else ON) << U32(30))
            up = round_up32(mode, negative, U32(code & 1), fraction, U32(0), U32(0), mask)
        return U(U(code + I64(up)) | sign)

    return round_to_code


def _make_turn_to_code(U, TRAILING, SIGN_BIT):
    LOW, TOP, ZERO, ONE = U((1 << TRAILING) - 1), U(SIGN_BIT), U(0), U(1)
    T, COUNT = U(TRAILING), U(8 * U(0).itemsize - 1)

    def turn_to_code(bits, word, mode, normalise, facts):
        sign = U(bits & TOP)
        a = U(bits ^ sign)
        field, low = U(a >> T), U(a & LOW)
        f, octave = U(facts.limits[FRACTION_BITS] & 15), U(facts.limits[OCTAVE])
        octaves = U(U(field - octave) << f)
        shift = U(U(T - f) - ONE)
        case = U(U(U(sign >> COUNT) << ONE) | U(octaves & ONE))
        entry = facts.turns[U64(case), U64(low >> shift)]
        within = U(low & U(U(ONE << shift) - ONE))
        past = ONE if within >= U(entry >> U(9)) else ZERO
        code = U(U(octaves + U(entry & U(TURN - 1))) + past)
        code = code if (field >= octave) & (field != ZERO) else ZERO
        bottom = U(facts.limits[BOTTOM_NEGATIVE]) if sign != ZERO else U(facts.limits[BOTTOM])
        return U(max(code, ONE if a >= bottom else ZERO) | sign)

    return turn_to_code


_round_to_code32 = _make_round_to_code(U32, 23, 0x80000000)
_round_to_code64 = _make_round_to_code(U64, 52, 1 << 63)
_turn_to_code32 = _make_turn_to_code(U32, 23, 0x80000000)
_turn_to_code64 = _make_turn_to_code(U64, 52, 1 << 63)


@overload(quantize_bits, jit_options=SCALAR)
def _quantize_log(bits, word, mode, normalise, facts):
    if _is(TurnsFacts, facts):
        return _turn_to_code32 if bits == types.uint32 else _turn_to_code64
    if _is(LogFacts, facts):
        return _round_to_code32 if bits == types.uint32 else _round_to_code64
    return None


def _make_value(U, TRAILING, SIGN_BIT):
    HIDDEN, TOP, ZERO, ONE, T = U(1 << TRAILING), U(SIGN_BIT), U(0), U(1), U(TRAILING)

    def value(code, facts):
        """Bits of the value of a signed code, clamped to the largest."""
        f = U(facts.limits[FRACTION_BITS] & 15)
        c = min(U(code & U(TOP - ONE)), U(facts.limits[LARGEST]))
        step = facts.steps[U64(U(c & U(U(ONE << f) - ONE)))]
        field = U(U(U(c >> f) + U(facts.limits[OCTAVE])) << T)
        some = U(ZERO - U(min(c, ONE)))  # all ones but for zero: a choice would become a branch around the look-up
        return U(U(U(field + U(step - HIDDEN)) | U(code & TOP)) & some)

    return value


value32 = core(_make_value(U32, 23, 0x80000000))
value64 = core(_make_value(U64, 52, 1 << 63))


def _make_sign_and_code(U, SIGN_BIT):
    TOP, ZERO = U(SIGN_BIT), U(0)

    def sign_and_code(code, facts):
        c = min(U(code & U(TOP - U(1))), U(facts.limits[LARGEST]))
        return U(c | (U(facts.limits[SIGN]) if (code >= TOP) & (c != ZERO) else ZERO))

    return sign_and_code


code32, code64 = core(_make_sign_and_code(U32, 0x80000000)), core(_make_sign_and_code(U64, 1 << 63))


@overload(shown, jit_options=SCALAR)
def _shown_log(kind, bits, facts):
    if not _is_log(facts):
        return None
    if isinstance(kind, types.Float):
        value = value32 if bits == types.uint32 else value64
        return lambda kind, bits, facts: from_bits(value(bits, facts))
    code = code32 if bits == types.uint32 else code64
    return lambda kind, bits, facts: code(bits, facts)


def _make_noticed(U, SIGN_BIT, EXPONENT):
    TOP, INF, ZERO = U(SIGN_BIT), U(EXPONENT), U(0)

    def noticed_of(bits, result, facts):
        a = U(bits & U(TOP - U(1)))
        over = U(result & U(TOP - U(1))) > U(facts.limits[LARGEST])
        return U32(
            saw(SAW_NAN, a > INF)
            | saw(SAW_OVERFLOW, over & (a <= INF))
            | saw(SAW_NEGATIVE, (bits >= TOP) & (a != ZERO) & (a <= INF))
        )

    return noticed_of


_noticed32, _noticed64 = _make_noticed(U32, 0x80000000, 0x7F800000), _make_noticed(U64, 1 << 63, 0x7FF << 52)


@overload(noticed, jit_options=SCALAR)
def _noticed_log(bits, result, facts):
    if not _is_log(facts):
        return None
    return _noticed32 if bits == types.uint32 else _noticed64
