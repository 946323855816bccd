"""Events of a matrix unit's blocks, in lanes: what the vector forms that count have in common.

The products of a block are summed once more, exactly, in float64, wherever the exponents of a lane's products lie close
enough to each other. A lane where they do not is looked at again, alone, by expansions: in few blocks of ordinary data.
Beside the result and c, the exact sum answers what numerics.Events asks. The caller has proved that no sum overflows and
that no product vanishes where it is multiplied by a scale.
"""

import numpy as np

from ._jit import core
from .expansions import grow, two_sum
from .primitives import shift_right, to_bits
from .unit_tallies import SUMS, expansion_flags

U16, U32, I16, F64 = np.uint16, np.uint32, np.int16, np.float64
OFFSET = 1 << 12  # of exponents that are compared as unsigned: those of what is no term are then above all others
HIGHEST = U16(0xFFFF)
SIZE = U32(0x7FFFFFFF)
NOTHING, LESS_THAN_ONE = U32(0xFFFFFFFF), U32(0x3F7FFFFF)  # of `less_one`: of zero; above what less than one has
UNDER, INEXACT, SWAMPED, GONE = U32(1), U32(1 << 8), U32(1 << 16), U32(1 << 24)  # counts of a lane, in one number
FULL = 255
COUNTED, GRADUAL = 1, 2  # what a loop is told: whether a sum can be below the smallest normal number, and not zero


@core
def smaller(x, y):
    """The smaller of two."""
    return x if x < y else y


@core
def lowest_of(low, x, y):
    """The smaller of low and x + y: exponents of a product's factors, with OFFSET."""
    return smaller(low, U16(I16(x + y) + I16(OFFSET)))


@core
def too_far(low, top, span):
    """1 where the lowest exponent is more than `span` below the highest, top, which has no OFFSET; else 0."""
    return U16(1 if U16(low + U16(span)) < U16(top + I16(OFFSET)) else 0)


@core
def less_one(number):
    """The bits of a float32's magnitude less one: NOTHING for zero, else below LESS_THAN_ONE where it is less."""
    return U32(U32(to_bits(number) & SIZE) - U32(1))


@core
def judged(result, c, exact):
    """INEXACT and SWAMPED, as far as they happened in c + exact, which became `result`; all float64."""
    needed, error = two_sum(result, -c)  # what the products would have to add up to
    inexact = (needed != exact) | (error != 0.0)
    swamped = (c != 0.0) & (((result == c) & inexact) | ((result == exact) & (exact != 0.0)))
    return U32(U32(INEXACT if inexact else U32(0)) | U32(SWAMPED if swamped else U32(0)))


@core
def below(high, low, tiny):
    """Whether the magnitude of high + low, high being that sum to nearest, is below `tiny`, and not zero."""
    inward = (low != 0.0) & ((low < 0.0) != (high < 0.0))
    return ((abs(high) < tiny) | ((abs(high) == tiny) & inward)) & (high != 0.0)


@core
def is_below(c, exact, tiny):
    """The same of c + exact, float64."""
    high, low = two_sum(c, exact)
    return below(high, low, tiny)


@core
def packed_flags(found):
    """`unit_tallies.flags` but that of overflow, as one more of each in the counts of a lane."""
    under = U32(U32(UNDER if found & 2 else U32(0)) | U32(INEXACT if found & 4 else U32(0)))
    return U32(under | U32(U32(SWAMPED if found & 8 else U32(0)) | U32(GONE if found & 16 else U32(0))))


@core
def by_expansion(parts, left, right, k, stop, column, c, result, tiny):
    """`judged`, and UNDER, of one block in one column, by the exact sum of its products; parts: room."""
    held = grow(parts, 0, F64(c))
    for q in range(k, stop):
        held = grow(parts, held, F64(left[q]) * F64(right[q, column]))
    return packed_flags(expansion_flags(parts, held, F64(c), F64(result), False, tiny, False))


@core
def spread(packed, counts, first, past, rows, j0, j1):
    """Adds what is packed to counts [8, B, M, N] of rows first .. past of the output, and begins anew."""
    for index in range(first, past):
        happened = packed[index - first]
        for event in range(4):
            row = counts[SUMS + 1 + event, index // rows, index % rows, j0:j1]
            for j in range(j1 - j0):
                row[j] += U32(shift_right(happened[j], U32(8 * event)) & U32(FULL))
        happened[:] = U32(0)
