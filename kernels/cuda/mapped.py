"""Arrays element by element through a core, with a random word each where it draws: LUQ, its codes, signs, powers."""

from functools import cache
from typing import Any

import numpy as np
from numba import cuda

from ..elementwise import DETERMINISTIC, GIVEN
from ..luq import by_word, grid_code, larger
from ..primitives import from_bits, shift_left, to_bits
from ..signs import drawn_sign, power_by_logarithm, sign_of
from ._jit import device, kernel, moves
from .elementwise import LINE, THREADS, UNIT_BITS, WORDS, make_draw

U32, U64, I64 = np.uint32, np.uint64, np.int64
LUQ, LUQ_CODES, SIGN, DRAWN_SIGN, POWER = range(5)

aligned = device(lambda word, align: shift_left(U32(word), U32(align)))
most_of = device(lambda most, x: larger(most, to_bits(x)))
masked = device(lambda word, mask: U32(word & mask))
skipped = device(lambda offset, units: I64(offset & U64(units - 1)))


def _rule(rule: int) -> Any:
    """(x, word aligned to the top, limits) -> the result. limits: bits of alpha and of the largest value, the sign's place."""
    if rule == LUQ:
        return device(lambda x, word, limits: from_bits(by_word(to_bits(x), word, limits[0], limits[1])))
    if rule == LUQ_CODES:
        return device(
            lambda x, word, limits: grid_code(by_word(to_bits(x), word, limits[0], limits[1]), limits[0], limits[2])
        )
    # Each on a line of its own: functions without a name are told apart by it where they are kept.
    if rule == DRAWN_SIGN:
        return device(lambda x, word, limits: drawn_sign(x, word))
    if rule == SIGN:
        return device(lambda x, word, limits: sign_of(x))
    return device(lambda x, word, limits: power_by_logarithm(x))


@cache
def make_most(double: int) -> Any:
    """The kernel for the largest magnitude of an array."""
    bits = np.uint64 if double else np.uint32

    def most(x, found):
        """found[0] = max of itself and the bits of the magnitudes of x [n], above those of numbers for infinity and NaN."""
        top = bits(0)
        for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
            top = most_of(top, x[i])
        cuda.atomic.max(found, 0, top)

    return kernel(most)


@cache
def make_mapped(rule: int, source: int, double: int) -> Any:
    """The kernel of a rule; source: where its words come from."""
    bits = np.uint64 if double else np.uint32
    one = _rule(rule)
    if source in (DETERMINISTIC, GIVEN):
        given = source == GIVEN
        word_of = moves(
            (lambda words, i, align: aligned(words[i], align)) if given else (lambda words, i, align: U32(0))
        )

        def mapped(x, out, limits, words, align, found):
            """out[i] of x[i]; found as `most`.

            x, out: contiguous [n]; limits: three numbers of the type of found; words: uint32 [n] if given, align = 32 less
            their bits.
            """
            top = bits(0)
            for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
                value = x[i]
                out[i] = one(value, word_of(words, i, align), limits)
                top = most_of(top, value)
            cuda.atomic.max(found, 0, top)

        return kernel(mapped)

    units = 1 << UNIT_BITS[source]
    block_of, place_of, unit_of = make_draw(source)

    def mapped_by_draws(x, out, limits, seed, stream, offset, mask, found):
        """The same where element i draws word offset + i; mask: of the bits of a word. THREADS threads a block."""
        blocks = cuda.shared.array(WORDS, np.uint32)
        thread = cuda.threadIdx.x
        n, skip, top = x.size, skipped(offset, units), bits(0)
        for tile in range(cuda.blockIdx.x, (n + skip + THREADS * units - 1) // (THREADS * units), cuda.gridDim.x):
            w0, w1, w2, w3 = block_of(offset, tile, thread, stream, seed)
            blocks[thread], blocks[LINE + thread] = w0, w1
            blocks[2 * LINE + thread], blocks[3 * LINE + thread] = w2, w3
            cuda.syncthreads()
            first = tile * THREADS * units - skip
            for unit in range(thread, THREADS * units, THREADS):
                i = first + unit
                if i >= 0 and i < n:
                    value = x[i]
                    out[i] = one(value, masked(unit_of(blocks[place_of(unit)], unit), mask), limits)
                    top = most_of(top, value)
            cuda.syncthreads()
        cuda.atomic.max(found, 0, top)

    return kernel(mapped_by_draws)


@cache
def make_decode() -> Any:
    """The kernel that decodes by a table with holes."""

    def decode(codes, table, out, flags):
        """out[i] = table[codes[i]], contiguous [n], codes unsigned; flags[0] = 1 if one has no value, NaN in the table."""
        for i in range(cuda.grid(1), codes.size, cuda.gridsize(1)):
            code = codes[i]
            value = table[code if code < table.size else 0]
            if code < table.size and value == value:
                out[i] = value
            else:
                flags[0] = 1

    return kernel(decode)
