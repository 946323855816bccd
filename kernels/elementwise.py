"""Loops over arrays: round to a float format, or to its codepoints."""

from functools import cache

import numpy as np

from ._jit import loop
from .carrier import grid_of, noticed, quantize_bits, store, unpack
from .modes import RANDOM_MASK, RANDOM_SHIFT
from .philox import fill_blocks
from .primitives import to_bits, widest_vectors

TILE = 4096  # elements whose random words are drawn ahead, in the L1 cache
DETERMINISTIC, GIVEN, DRAWN_4, DRAWN_2, DRAWN_1 = range(5)  # where words come from; DRAWN_n: n bytes an element


@cache
def make_quantize(mode: int, normalise: int, source: int, check: int):
    """The loop for a rounding mode; four small integers, so that compiled code is found again on disk."""

    def quantize(x, out, row, words, seed, stream, offset, start, stop):
        """out[i] = value (float out) or codepoint (unsigned out) of x[i], i in [start, stop); returns SAW_ flags.

        words: uint32 [n] if source is GIVEN. seed, stream, offset: uint64; element i draws word offset + i.
        """
        widest_vectors()
        facts = unpack(row)
        flags = 0
        if source == DETERMINISTIC:
            x, out = x[start:stop], out[start:stop]
            for i in range(x.size):
                bits = to_bits(x[i])
                result = quantize_bits(bits, np.uint32(0), mode, normalise, facts)
                store(out, i, result, facts)
                if check:
                    flags |= noticed(bits, result, facts)
        elif source == GIVEN:
            x, out, words = x[start:stop], out[start:stop], words[start:stop]
            align = np.uint32(grid_of(facts)[RANDOM_SHIFT])
            for i in range(x.size):
                bits = to_bits(x[i])
                result = quantize_bits(bits, np.uint32(words[i] << align), mode, normalise, facts)
                store(out, i, result, facts)
                if check:
                    flags |= noticed(bits, result, facts)
        else:
            unit_bytes = 4 if source == DRAWN_4 else (2 if source == DRAWN_2 else 1)
            units = 16 // unit_bytes
            mask = np.uint32(grid_of(facts)[RANDOM_MASK])
            tile = np.empty(TILE * unit_bytes // 4 + 8, np.uint32)
            if source == DRAWN_4:
                drawn = tile
            elif source == DRAWN_2:
                drawn = tile.view(np.uint16)
            else:
                drawn = tile.view(np.uint8)
            align = np.uint32(32 - 8 * unit_bytes)
            for begin in range(start, stop, TILE):
                end = min(begin + TILE, stop)
                element = np.uint64(offset + np.uint64(begin))
                block = np.uint64(element // np.uint64(units))
                skip = np.int64(element % np.uint64(units))
                blocks = (skip + end - begin + units - 1) // units
                fill_blocks(tile[: 4 * blocks], block, units, seed, stream)
                xs, outs, taken = x[begin:end], out[begin:end], drawn[skip : skip + end - begin]
                for i in range(xs.size):
                    bits = to_bits(xs[i])
                    word = np.uint32(np.uint32(np.uint32(taken[i]) << align) & mask)
                    result = quantize_bits(bits, word, mode, normalise, facts)
                    store(outs, i, result, facts)
                    if check:
                        flags |= noticed(bits, result, facts)
        return flags

    return loop(quantize)
