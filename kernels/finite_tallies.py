"""Counting in rows of sums none of which is infinite or NaN: fewer questions to ask, and cheaper ones.

Where a mode allows it (`tally_lanes.in_lanes`), sums of float32 leave masks (`mask_tallies`). Else, and for sums that fill
no mask, the five counts of a lane are fields of one number, added up at once and spread from time to time: after the
eight rows, counts holds the row of these numbers, and an array of how many roundings are in them.

Of x and y let S be the one that is smaller in magnitude, L the other. No question about S, L or the exact sum needs
more than this:

- absorbed, 0 < |S| < ulp at the exact sum: as numbers, the bits of |S| less one are below those of the ulp less one, and
  the bits of zero less one are a NaN, which is below nothing.
- swamped, 0 < |S| and the result is L: a result that is not clamped is nearer to the exact sum than one ulp, so S is
  absorbed; a clamped one is the format's largest. With both addends no larger than that (TAME), no result is S then: the
  sum was absorbed or clamped, and the result is one of the addends.
- the carrier's own sum s may stand for the exact one where both addends have at most p bits and q >= 2p + 2, to nearest
  even, on the format's grid. Where s is not exact, S ends at least q bits below the top of the sum: with its p bits it
  is less than a quarter of an ulp of L, so the result is L and S is absorbed, with the ulp at s as with that at the sum.
  So the sum is inexact where the result is not s, or S is swamped.
"""

import numpy as np

from ._jit import core
from .mask_tallies import MASKS, next_fitting, next_tame
from .modes import (
    CODE_MANTISSA,
    DROP,
    EMIN,
    LARGEST,
    MAGIC,
    MODE_MASK,
    OFFSET,
    ONCE,
    RNE,
    RTN,
    SHIFTED,
    SIGNED,
    SMALLEST,
    UNIFORM,
)
from .primitives import from_bits, shift_left, to_bits
from .sums import to_odd
from .tally_lanes import in_lanes, make_count_lanes, make_row

U32, U64 = np.uint32, np.uint64

ANY, TAME, FITTING = 1, 2, 3  # what is counted: any sums; of addends the format reaches to; that do not overflow it
FIELD = 6  # bits of a count in such a number, which is spread before one can be full
FULL = (1 << FIELD) - 1
LOWEST = 2  # where they begin: a condition shifted is cheaper than one that is a number itself
OVERFLOW, UNDERFLOW, INEXACT, SWAMPED, ABSORBED = (1 << FIELD * n + LOWEST for n in range(5))
AT_ONCE = RNE + SIGNED + ONCE, RNE + SIGNED + UNIFORM + ONCE  # modes in which the carrier's own sum tells all


@core
def _spread_field(packed, field, count):
    for j in range(packed.size):
        count[j] += U32(U32(packed[j] >> U32(FIELD * field + LOWEST)) & U32(FULL))


@core
def spread(counts):
    """Adds what is counted in `counts[8]` to the rows of sums, and begins anew."""
    packed = counts[8]
    if counts[9][0] == U32(0):
        return
    _spread_field(packed, 0, counts[3])
    _spread_field(packed, 1, counts[4])
    _spread_field(packed, 2, counts[5])
    _spread_field(packed, 3, counts[6])
    _spread_field(packed, 4, counts[7])
    packed[:] = U32(0)
    counts[9][0] = U32(0)


@core
def one_more(counts):
    """Makes room for one more rounding in the row of packed counts."""
    if counts[9][0] == FULL:
        spread(counts)
    counts[9][0] += U32(1)


@core
def lane_numbers(facts, tiny):
    """What a step in lanes is told of a format: tally_lanes.NUMBERS bits; tiny: its smallest normal."""
    drop, trailing = shift_left(facts[DROP], U32(23)), shift_left(facts[CODE_MANTISSA], U32(23))
    lowest = shift_left(U32(facts[EMIN] - U32(OFFSET)), U32(23)) if facts[EMIN] > U32(OFFSET) else U32(0)
    kept = shift_left(U32(0xFFFFFFFF), U32(facts[DROP] & U32(31)))
    steps = to_bits(np.float32(shift_left(U32(1), facts[CODE_MANTISSA])))
    return (
        U32(drop + U32(1 << 22)),
        U32(trailing + U32(1)),
        facts[LARGEST],
        lowest,
        to_bits(tiny),
        kept,
        facts[SMALLEST],
        steps,
        facts[DROP],
        drop,
    )


def make_add_finite(mode, width, counting, fused, round_counted, word_of, binade):
    """`tallies.sum_counted` in place, sums rounded to odd first; fused: y[j] = factor * panel[j] before.

    Two loops: the sums and their roundings in one are so long a chain that the processor runs out of room for the next
    lanes. Underflow is gradual in the forms that need their own question about the ulp; in SIGNED and UNIFORM to nearest
    nothing below the normals is rounded.
    """
    sticky = (RTN if mode & MODE_MASK == RTN else RNE) + UNIFORM  # what rounds to odd, with a zero's sign of the mode
    nearest, shape = mode & MODE_MASK == RNE, mode & (SIGNED | UNIFORM)
    multiples = nearest and shape == SIGNED | UNIFORM
    clamped = bool(mode & (MAGIC | SHIFTED)) or (nearest and shape == SIGNED)
    tame, fitting = counting >= TAME, counting == FITTING
    U, T, FIELD_BITS, SIGN = (U32, 23, 0x7F800000, 1 << 31) if width == 32 else (U64, 52, 0x7FF << 52, 1 << 63)
    BITS, MAGNITUDE, ONE, TRAILING = U(FIELD_BITS), U(SIGN - 1), U(1), U(T)

    lanes = tame and width == 32 and in_lanes(mode)
    count_row = make_row(make_count_lanes(mode, fitting, odd=not mode & ONCE, fused=fused))
    next_step = next_fitting if fitting else next_tame

    def add_finite(total, y, factor, panel, scratch, draw, mode, how, counts):
        normalise, facts, tiny = how
        odd, packed, begin = scratch[1], counts[8], 0
        if lanes:
            at, masks, numbers = next_step(counts, not multiples), counts[MASKS], lane_numbers(facts, tiny)
            begin = count_row(total, factor, panel, masks, at, numbers)
            if begin == total.size:
                return
        one_more(counts)
        steps = total.dtype.type(U64(U64(1) << U64(facts[CODE_MANTISSA])))
        down = U(shift_left(U(facts[CODE_MANTISSA]), TRAILING) + ONE)
        lowest = shift_left(U(facts[EMIN] - U(OFFSET)), TRAILING)
        for j in range(begin, total.size):
            start = total[j]
            added = y[j]
            if fused:
                added = factor * panel[j]
                y[j] = added
            s = start + added
            t = s - start
            error = (start - (s - t)) + (added - t)
            odd[j] = to_odd(s, error, to_bits(start) | to_bits(added), sticky)
        for j in range(begin, total.size):
            start, added, exact = total[j], y[j], from_bits(odd[j])
            value, over = round_counted(odd[j], word_of(draw, j, mode), mode, normalise, facts, fitting)
            p, q = U(to_bits(start) & MAGNITUDE), U(to_bits(added) & MAGNITUDE)
            small = U(min(p, q))
            if multiples or clamped:
                exponent = U(odd[j] & BITS)
                exponent = max(exponent, lowest) if clamped else exponent
                absorbed = from_bits(U(small - ONE)) < from_bits(U(exponent - down))
                absorbed = absorbed & (exact != 0) if clamped else absorbed
            else:
                absorbed = (from_bits(small) * steps < binade(odd[j], facts)) & (exact != 0) & (small != U(0))
            if tame:
                swamped = (absorbed | over) & (U(to_bits(value) & MAGNITUDE) == max(p, q))
            else:
                swamped = (value == (added if p <= q else start)) & (small != U(0))
            inexact = exact != value
            met = packed[j]
            if not fitting:
                met = U32(met + (U32(OVERFLOW) if over else U32(0)))
            if not multiples:
                met = U32(met + (U32(UNDERFLOW) if inexact & (abs(exact) < tiny) else U32(0)))
            met = U32(met + (U32(ABSORBED) if absorbed else U32(0)))
            met = U32(met + (U32(SWAMPED) if swamped else U32(0)))
            packed[j] = U32(met + (U32(INEXACT) if inexact else U32(0)))
            total[j] = value

    return add_finite
