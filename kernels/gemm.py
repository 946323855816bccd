"""Matrix products whose accumulator is rounded at every step, exactly as declared.

Row-panel form: one row of the output is the vector of accumulators, and the lanes run along it, so that the order in
k is the declared one in every lane and no result depends on tiling or threads. The caller has proved that products are
exact in the carrier, and which form of each rounding is.

Every kernel takes a [Ba, M, K], b [Bb, K, N], total [B, M, N], contiguous; Ba, Bb either B or 1; rows
start <= n*M + i < stop. rows: the parameter rows of sums, products and the combination of chunks; tiny: of each the
smallest normal, below which what is inexact underflows. given: the `Words`, also where they are drawn or there are none.
"""

from collections import namedtuple
from functools import cache

import numpy as np

from ._jit import by_literals, core, loop
from .carrier import unpack
from .mask_tallies import mask_tally
from .modes import NO_ROUNDING, RANDOM_MASK, RANDOM_SHIFT
from .philox import philox
from .primitives import keep, uncounted, widest_vectors
from .scratch import TILE, lined_row
from .sums import stochastic
from .tallies import add, multiply, multiply_add, settle

U32, U64 = np.uint32, np.uint64
DETERMINISTIC, GIVEN, DRAWN = range(3)  # where words come from

# words: uint32 [rows, S, N] from row `base` on, if given. Drawn: output n*M*N + i*down + j*along has the words of the
# elements from that number times span, plus first, on; steps begin at a multiple of a block's elements.
Words = namedtuple("Words", "words base seed stream span first down along")
_LOW, _HALF = U64(0xFFFFFFFF), U64(32)


@core
def draw_blocks(first, second, third, fourth, element, stride, unit_bits, seed, stream):
    """The four words, of lane j, of the block that holds the unit of element + j*stride; 2**unit_bits units a block."""
    s0, s1 = stream & _LOW, stream >> _HALF
    k0, k1 = seed & _LOW, seed >> _HALF
    for j in range(first.size):
        block = U64(U64(element + U64(U64(j) * stride)) >> unit_bits)
        w0, w1, w2, w3 = philox(block & _LOW, block >> _HALF, s0, s1, k0, k1)
        first[j], second[j], third[j], fourth[j] = U32(w0), U32(w1), U32(w2), U32(w3)


@core
def unit_bits_of(facts):
    """log2 of the elements in a block of 16 bytes, for the random bits of a format: 2, 3 or 4."""
    shift = facts[RANDOM_SHIFT]
    return U64(4) if shift >= 24 else (U64(3) if shift >= 16 else U64(2))


@core
def place_of(step, unit_bits):
    """(word of the block, left shift that brings the unit to the top of 32 bits) of a step."""
    unit = U64(step) & U64(U64(U64(1) << unit_bits) - U64(1))
    per_word = U64(unit_bits - U64(2))  # log2 of the units in a word
    last = U64(U64(U64(1) << per_word) - U64(1))
    width = U64(U64(32) >> per_word)
    return np.int64(unit >> per_word), U32(U64(32) - U64(width * U64(U64(unit & last) + U64(1))))


@by_literals
def draw_row(source, given, blocks, tile, step, lead, mode, how):
    """(words, shift, mask) of one step of a tile of outputs; a block is drawn where the step `lead` begins one.

    tile: (row of the output, first column, end, element of step 0 of the first output, elements from one to the next).
    """
    if not stochastic(mode.literal_value) or source.literal_value == DETERMINISTIC:
        return lambda source, given, blocks, tile, step, lead, mode, how: (blocks[0], U32(0), U32(0))
    if source.literal_value == GIVEN:

        def from_given(source, given, blocks, tile, step, lead, mode, how):
            index, j0, j1, _, _ = tile
            facts = how[1]
            row = given.words[index - given.base, step, j0:j1]
            return row, U32(facts[RANDOM_SHIFT]), U32(facts[RANDOM_MASK])

        return from_given

    def drawn(source, given, blocks, tile, step, lead, mode, how):
        _, j0, j1, element, along = tile
        facts, n = how[1], j1 - j0
        unit_bits = unit_bits_of(facts)
        if U64(lead) & U64(U64(U64(1) << unit_bits) - U64(1)) == U64(0):
            first, second, third, fourth = blocks[0, :n], blocks[1, :n], blocks[2, :n], blocks[3, :n]
            start = U64(element + U64(lead))
            draw_blocks(first, second, third, fourth, start, along, unit_bits, given.seed, given.stream)
        word, shift = place_of(step, unit_bits)
        return blocks[word], shift, U32(facts[RANDOM_MASK])

    return drawn


@core
def operands(a, b, index):
    """(row of a, matrix of b, batch, row in the batch) of one row of the output."""
    batch, i = index // a.shape[1], index % a.shape[1]
    return a[batch if a.shape[0] > 1 else 0, i], b[batch if b.shape[0] > 1 else 0], batch, i


@core
def first_element(given, total, batch, i, j):
    """The element number of the first step of an output."""
    output = U64(U64(batch * total.shape[1] * total.shape[2]) + U64(U64(i) * given.down + U64(j) * given.along))
    return U64(U64(output * given.span) + given.first)


# Rows of one array are not known to be apart where loops are vectorised, so each row of scratch is an array.


@core
def tally_of(width, counting):
    """The row of packed counts, how many roundings are in it, and what `mask_tallies` keeps of sums and of products.

    No room if not counting.
    """
    number = np.zeros(1, np.uint32)
    packed = lined_row(width if counting else 0, number)
    packed[:] = U32(0)
    masks, planes, steps = mask_tally(counting)
    product_masks, product_planes, product_steps = mask_tally(counting)
    return packed, number, masks, planes, steps, product_masks, product_planes, product_steps


@core
def uncounted_tally(tally):
    """The arrays of `tally_of`, for a loop that keeps them."""
    packed, number, masks, planes, steps, product_masks, product_planes, product_steps = tally
    return (
        uncounted(packed),
        uncounted(number),
        uncounted(masks),
        uncounted(planes),
        uncounted(steps),
        uncounted(product_masks),
        uncounted(product_planes),
        uncounted(product_steps),
    )


@core
def scratch_of(width, total, row, source, counting):
    """What a chain needs besides: sums of a chunk, products, `room`, blocks of words of sums and outer sums, a tally."""
    lanes = width if source == DRAWN else 0
    return (
        lined_row(width, total),
        lined_row(width, total),
        room(width, total, row),
        np.empty((4, lanes), np.uint32),
        np.empty((4, lanes), np.uint32),
        tally_of(width, counting),
    )


@core
def uncounted_scratch(held):
    """What `scratch_of` made, for a loop that keeps it."""
    part, products, whole, blocks, outer_blocks, tally = held
    return (
        uncounted(part),
        uncounted(products),
        uncounted_room(whole),
        uncounted(blocks),
        uncounted(outer_blocks),
        uncounted_tally(tally),
    )


@core
def room(width, total, row):
    """Rows of scratch, as the loops of `sums` and `tallies` take them: two of bits, three of floats of the carrier."""
    return (
        lined_row(width, row),
        lined_row(width, row),
        lined_row(width, total),
        lined_row(width, total),
        lined_row(width, total),
    )


@core
def uncounted_room(whole):
    """The rows of `room`, for a loop that keeps them."""
    return uncounted(whole[0]), uncounted(whole[1]), uncounted(whole[2]), uncounted(whole[3]), uncounted(whole[4])


@core
def first_of(scratch, n):
    """The first n of each row of scratch."""
    first, second, third, fourth, fifth = scratch
    return first[:n], second[:n], third[:n], fourth[:n], fifth[:n]


@by_literals
def counts_of(counting, counts, tally, batch, i, j0, j1):
    """The rows of the eight counts of a tile, and what `tallies` keeps beside them."""
    if not counting.literal_value:
        return lambda counting, counts, tally, batch, i, j0, j1: ()

    def rows(counting, counts, tally, batch, i, j0, j1):
        return (
            counts[0, batch, i, j0:j1],
            counts[1, batch, i, j0:j1],
            counts[2, batch, i, j0:j1],
            counts[3, batch, i, j0:j1],
            counts[4, batch, i, j0:j1],
            counts[5, batch, i, j0:j1],
            counts[6, batch, i, j0:j1],
            counts[7, batch, i, j0:j1],
            tally[0][: j1 - j0],
            tally[1],
            tally[2],
            tally[3],
            tally[4],
            tally[5],
            tally[6],
            tally[7],
        )

    return rows


@cache
def make_chain(
    mode: int, product_mode: int, outer_mode: int, normalise: int, source: int = DETERMINISTIC, counting: int = 0
):
    """The chain in k, in one piece or in chunks, for the modes of sums, products and the combination of chunks.

    mode: a rounding mode (plus a form), NATIVE or NATIVE_IEEE. product_mode: a rounding mode, or NO_ROUNDING for
    exact products. outer_mode: as mode, or NO_ROUNDING for one unbroken chain. Words of products come from GIVEN only.
    counting: whether events are counted, see `tallies`.
    """
    exact, unbroken = product_mode == NO_ROUNDING, outer_mode == NO_ROUNDING
    steps = 1 if exact else 2

    def chain(a, b, total, rows, tiny, counts, chunk, given, start, stop):
        """total[n, i, :] = chain of a[n, i, :] against b[n, :, :] from total's own values."""
        widest_vectors()
        how, how_products = (normalise, unpack(rows[0]), tiny[0]), (normalise, unpack(rows[1]), tiny[1])
        how_outer = normalise, unpack(rows[2]), tiny[2]
        depth, columns = b.shape[1], b.shape[2]
        width = min(TILE, columns)
        a, b, total, counts = uncounted(a), uncounted(b), uncounted(total), uncounted(counts)
        held = scratch_of(width, total, rows[0], source, counting)
        part, products, whole, blocks, outer_blocks, tally = uncounted_scratch(held)
        along = U64(given.along * given.span)
        for index in range(start, stop):
            left, right, batch, i = operands(a, b, index)
            for j0 in range(0, columns, TILE):
                j1 = min(j0 + TILE, columns)
                tile = index, j0, j1, first_element(given, total, batch, i, j0), along
                sums = total[batch, i, j0:j1]
                inner = sums if unbroken else part[: j1 - j0]
                product, scratch = products[: j1 - j0], first_of(whole, j1 - j0)
                met = counts_of(counting, counts, tally, batch, i, j0, j1)
                for k0 in range(0, depth, chunk):
                    if not unbroken:
                        inner[:] = 0.0
                    for k in range(k0, min(k0 + chunk, depth)):
                        factor, panel, step = left[k], right[k, j0:j1], steps * k
                        if exact:
                            draw = draw_row(source, given, blocks, tile, step, step, mode, how)
                            multiply_add(counting, inner, product, factor, panel, scratch, draw, mode, how, met)
                        else:
                            draw = draw_row(source, given, blocks, tile, step, step, product_mode, how_products)
                            multiply(counting, product, factor, panel, draw, product_mode, how_products, met)
                            draw = draw_row(source, given, blocks, tile, step + 1, step, mode, how)
                            add(counting, inner, product, scratch, draw, mode, how, met)
                    if not unbroken:
                        step = steps * depth + k0 // chunk
                        draw = draw_row(source, given, outer_blocks, tile, step, step, outer_mode, how_outer)
                        add(counting, sums, inner, scratch, draw, outer_mode, how_outer, met)
                settle(counting, met)
        keep(held)

    return loop(chain)
