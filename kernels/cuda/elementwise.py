"""Arrays to the values or codepoints of a format."""

from functools import cache
from typing import Any

import numpy as np
from numba import cuda

from ..carrier import grid_of, unpack
from ..elementwise import DRAWN_1, DRAWN_2, DRAWN_4, GIVEN, element
from ..modes import RANDOM_MASK, RANDOM_SHIFT
from ..philox import philox32
from ..primitives import shift_left
from ._jit import SIMULATED, device, kernel

U32, U64, I64 = np.uint32, np.uint64, np.int64
THREADS = 32 if SIMULATED else 256  # of a block
EACH = 4  # elements of a thread whose loads are under way together
LINE = THREADS + 8  # words of a tile, those of one place in their blocks: eight more keep reads off each other's banks
WORDS = 4 * LINE
UNIT_BITS = {DRAWN_4: 2, DRAWN_2: 3, DRAWN_1: 4}  # log2 of the elements that share a block of Philox

facts_of = device(lambda row: unpack(row))
aligned = device(lambda word, facts: shift_left(word, U32(grid_of(facts)[RANDOM_SHIFT] & U32(31))))
masked = device(lambda word, facts: U32(word & U32(grid_of(facts)[RANDOM_MASK])))
merged = device(lambda seen, met: U32(seen | met))


@cache
def make_quantize(mode: int, normalise: int, source: int, check: int) -> Any:
    """The kernel for the constants of `..elementwise.make_quantize`, for words that are given or not needed."""
    given = source == GIVEN
    one = device(lambda x, kind, word, facts: element(x, kind, word, mode, normalise, check, facts))

    def quantize(x, out, kind, rows, words, flags):
        """out[i] = value or codepoint of x[i]; flags[0] |= SAW_ flags.

        x, out: contiguous [n]; kind: a number of out's type. rows: (parameter row,). words: uint32 [n] if given, else [0].
        """
        facts = facts_of(rows[0])
        n, stride = x.size, cuda.blockDim.x
        seen = U32(0)
        first = cuda.blockIdx.x * EACH * stride + cuda.threadIdx.x
        for i in range(first, n, cuda.gridDim.x * EACH * stride):
            j, k, m = i + stride, i + 2 * stride, i + 3 * stride
            if m < n:
                a, b, c, d = x[i], x[j], x[k], x[m]
                p, q, r, s = U32(0), U32(0), U32(0), U32(0)
                if given:
                    p, q, r, s = words[i], words[j], words[k], words[m]
                    p, q, r, s = aligned(p, facts), aligned(q, facts), aligned(r, facts), aligned(s, facts)
                a, met_a = one(a, kind, p, facts)
                b, met_b = one(b, kind, q, facts)
                c, met_c = one(c, kind, r, facts)
                d, met_d = one(d, kind, s, facts)
                out[i], out[j], out[k], out[m] = a, b, c, d
                if check:
                    seen = merged(merged(merged(seen, met_a), merged(met_b, met_c)), met_d)
            else:
                for e in range(i, n, stride):
                    word = aligned(words[e], facts) if given else U32(0)
                    value, met = one(x[e], kind, word, facts)
                    out[e] = value
                    if check:
                        seen = merged(seen, met)
        if check and seen != U32(0):
            cuda.atomic.or_(flags, 0, seen)

    return kernel(quantize)


@cache
def make_draw(source: int) -> Any:
    """(block of a tile's thread, place of a unit's word in the tile, a unit aligned to the top) where words are drawn."""
    unit_bits = UNIT_BITS[source]
    per_word = unit_bits - 2  # log2 of the units in a word
    last = (1 << (64 - unit_bits)) - 1

    def block(offset, tile, thread, stream, seed):
        number = U64(U64(offset >> U64(unit_bits)) + U64(U64(tile) * U64(THREADS) + U64(thread)))
        return philox32(U64(number & U64(last)), stream, seed)

    def place(unit):
        word = U32(U32(U32(unit) >> U32(per_word)) & U32(3))
        return np.int32(U32(word * U32(LINE)) + U32(U32(unit) >> U32(unit_bits)))

    def unit_of(word, unit):
        within = U32(U32(unit) & U32((1 << per_word) - 1))
        left = U32(U32(32) - U32(U32(within + U32(1)) << U32(5 - per_word)))
        return shift_left(word, U32(left & U32(31)))

    return device(block), device(place), device(unit_of)


@cache
def make_stochastic(mode: int, normalise: int, source: int, check: int) -> Any:
    """The kernel where words are drawn: a tile of blocks of Philox at a time, one a thread, through shared memory."""
    units = 1 << UNIT_BITS[source]
    block_of, place_of, unit_of = make_draw(source)
    one = device(lambda x, kind, word, facts: element(x, kind, word, mode, normalise, check, facts))
    skipped = device(lambda offset: I64(offset & U64(units - 1)))

    def quantize(x, out, kind, rows, seed, stream, offset, flags):
        """As `make_quantize`; seed, stream, offset: uint64, element i draws word offset + i. THREADS threads a block."""
        facts = facts_of(rows[0])
        blocks = cuda.shared.array(WORDS, np.uint32)
        thread = cuda.threadIdx.x
        n, skip = x.size, skipped(offset)
        seen = U32(0)
        for tile in range(cuda.blockIdx.x, (n + skip + THREADS * units - 1) // (THREADS * units), cuda.gridDim.x):
            w0, w1, w2, w3 = block_of(offset, tile, thread, stream, seed)
            blocks[thread], blocks[LINE + thread] = w0, w1
            blocks[2 * LINE + thread], blocks[3 * LINE + thread] = w2, w3
            cuda.syncthreads()
            first = tile * THREADS * units - skip
            for unit in range(thread, THREADS * units, THREADS):
                i = first + unit
                if i >= 0 and i < n:
                    value, met = one(x[i], kind, masked(unit_of(blocks[place_of(unit)], unit), facts), facts)
                    out[i] = value
                    if check:
                        seen = merged(seen, met)
            cuda.syncthreads()
        if check and seen != U32(0):
            cuda.atomic.or_(flags, 0, seen)

    return kernel(quantize)


@cache
def make_look_up() -> Any:
    """The kernel that decodes by a table."""

    def look_up(codes, table, out, flags):
        """out[i] = table[codes[i]]; contiguous [n], codes unsigned; flags[0] = 1 if one is no place in the table."""
        for i in range(cuda.grid(1), codes.size, cuda.gridsize(1)):
            code = codes[i]
            if code < table.size:
                out[i] = table[code]
            else:
                flags[0] = 1

    return kernel(look_up)
