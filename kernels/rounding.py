"""THE rounder: whether a magnitude moves to its upper neighbour. Every operator asks this function.

The discarded part of a magnitude is a binary fraction of one ulp. It arrives as two 32-bit words: `fraction` holds the
bits of weight 1/2 ... 2^-32, `rest` those of 2^-33 ... 2^-64, its lowest bit standing for anything below. A random
word of r bits arrives aligned to the top of 32 bits, beside a mask of its r bits.
"""

import numpy as np

from ._jit import core
from .modes import RNA, RNE, RTN, RTO, RTP, RTZ, SR, SR_B, SR_C
from .primitives import shift_right


def make_round_up(U):
    """The rounder over uint32 or uint64 lanes (a lane of 64 bits holds the same 32-bit words)."""
    HALF, ONES, ONE, ZERO = U(0x80000000), U(0xFFFFFFFF), U(1), U(0)

    def round_up(mode, negative, odd, fraction, rest, word, mask):
        """1 if the magnitude is rounded up, else 0; a fraction of zero never is.

        negative, odd: 0 or 1 (sign; parity of the lower neighbour's code). SR: with k = floor(f 2^r), up iff
        k + R >= 2^r; SR_B and SR_C take k rounded to nearest, ties up and ties to even (IEEE P3109 v4.0, 4.7.4).
        """
        if mode == RNE:
            above = (fraction > HALF) | ((fraction == HALF) & ((rest | odd) != ZERO))
            return ONE if above else ZERO
        if mode == RNA:
            return ONE if fraction >= HALF else ZERO
        if mode == RTZ:
            return ZERO
        if mode == RTP:
            return ONE if ((fraction | rest) != ZERO) & (negative == ZERO) else ZERO
        if mode == RTN:
            return ONE if ((fraction | rest) != ZERO) & (negative != ZERO) else ZERO
        if mode == RTO:
            return ONE if ((fraction | rest) != ZERO) & (odd == ZERO) else ZERO
        kept = U(fraction & mask)
        # kept + word >= 2^32; both are multiples of 2^(32-r), so word > mask - kept says it without leaving 32 bits.
        # (Written as ONES - kept it becomes an add-with-overflow instruction, which keeps the loop from vectorising.)
        room = U(kept ^ mask)
        if mode == SR:
            return ONE if word > room else ZERO
        unit = U(U(ONES - mask) + ONE)  # 2^(32-r)
        half_unit = shift_right(unit, ONE)  # 0 where r = 32: the next bit is then the first of `rest`
        below = U(fraction & U(ONES - mask))
        all_bits = mask == ONES
        next_bit = rest >= HALF if all_bits else below >= half_unit
        tail = U(rest & U(HALF - ONE)) if all_bits else U(U(below & U(half_unit - ONE)) | rest)
        carry = next_bit if mode == SR_B else next_bit & ((tail | U(kept & unit)) != ZERO)
        return ONE if (word >= room if carry else word > room) else ZERO

    return round_up


round_up32 = core(make_round_up(np.uint32))
round_up64 = core(make_round_up(np.uint64))

MODES = (RNE, RNA, RTZ, RTP, RTN, RTO, SR, SR_B, SR_C)
