"""Loops over arrays: round to a float format, or to its codepoints."""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._jit import core, loop
from .carrier import grid_of, noticed, quantize_bits, store, store_direct, store_short, unpack
from .modes import DIRECT_CODE, RANDOM_MASK, RANDOM_SHIFT, SHORT_CODE
from .philox import fill_blocks
from .primitives import to_bits, widest_vectors

TILE = 4096  # elements whose random words are drawn ahead, in the L1 cache
DETERMINISTIC, GIVEN, DRAWN_4, DRAWN_2, DRAWN_1 = range(5)  # where words come from; DRAWN_n: n bytes an element


@core
def put(out, i, bits, mode, facts):
    """out[i] = value or code of `bits`, by the short way where `mode` says so."""
    if mode & SHORT_CODE:
        store_short(out, i, bits, facts)
    else:
        store(out, i, bits, facts)


@core
def spread(blocks, skip, words, source):
    """words[i] = unit skip + i of the blocks' bytes, aligned to the top of 32 bits; units of 2 bytes or 1.

    A loop of its own: the vectoriser gives up on a loop that widens units and rounds at the same time.
    """
    if source == DRAWN_2:
        pairs = blocks.view(np.uint16)[skip : skip + words.size]
        for i in range(words.size):
            words[i] = np.uint32(np.uint32(pairs[i]) << np.uint32(16))
    else:
        singles = blocks.view(np.uint8)[skip : skip + words.size]
        for i in range(words.size):
            words[i] = np.uint32(np.uint32(singles[i]) << np.uint32(24))


@loop
def look_up(codes: NDArray[Any], table: NDArray[Any], out: NDArray[Any], start: int, stop: int) -> None:
    """out[i] = table[codes[i]], i in [start, stop); codes unsigned, below the length of the table."""
    widest_vectors()
    codes, out = codes[start:stop], out[start:stop]
    for i in range(codes.size):
        out[i] = table[np.uint64(codes[i])]


@cache
def make_quantize(mode: int, normalise: int, source: int, check: int):
    """The loop for a rounding mode; four small integers, so that compiled code is found again on disk.

    mode: with the form that is exact for the row. normalise: as in `round_magnitude`. source: where words come from.
    check: the SAW_ flags to look out for, 0 for none.
    """

    def quantize(x, out, row, words, seed, stream, offset, start, stop):
        """out[i] = value (float out) or codepoint (unsigned out) of x[i], i in [start, stop); returns SAW_ flags.

        words: uint32 [n] if source is GIVEN. seed, stream, offset: uint64; element i draws word offset + i.
        """
        widest_vectors()
        facts = unpack(row)
        flags = np.uint32(0)
        if source == DETERMINISTIC:
            x, out = x[start:stop], out[start:stop]
            for i in range(x.size):
                bits = to_bits(x[i])
                if mode >= 0 and mode & DIRECT_CODE:
                    store_direct(out, i, bits, facts)
                    continue
                result = quantize_bits(bits, np.uint32(0), mode, normalise, facts)
                put(out, i, result, mode, facts)
                if check:
                    flags = np.uint32(flags | np.uint32(noticed(bits, result, facts) & np.uint32(check)))
        elif source == GIVEN:
            x, out, words = x[start:stop], out[start:stop], words[start:stop]
            align = np.uint32(grid_of(facts)[RANDOM_SHIFT])
            for i in range(x.size):
                bits = to_bits(x[i])
                result = quantize_bits(
                    bits, np.uint32(words[i] << np.uint32(align & np.uint32(31))), mode, normalise, facts
                )
                put(out, i, result, mode, facts)
                if check:
                    flags = np.uint32(flags | np.uint32(noticed(bits, result, facts) & np.uint32(check)))
        else:
            unit_bytes = 4 if source == DRAWN_4 else (2 if source == DRAWN_2 else 1)
            units = 16 // unit_bytes
            mask = np.uint32(grid_of(facts)[RANDOM_MASK])
            blocks = np.empty(TILE * unit_bytes // 4 + 8, np.uint32)
            aligned = blocks if source == DRAWN_4 else np.empty(TILE, np.uint32)
            for begin in range(start, stop, TILE):
                end = min(begin + TILE, stop)
                element = np.uint64(offset + np.uint64(begin))
                first = np.uint64(element // np.uint64(units))
                skip = np.int64(element % np.uint64(units))
                fill_blocks(blocks[: 4 * ((skip + end - begin + units - 1) // units)], first, units, seed, stream)
                if source == DRAWN_4:
                    taken = blocks[skip : skip + end - begin]
                else:
                    taken = aligned[: end - begin]
                    spread(blocks, skip, taken, source)
                xs, outs = x[begin:end], out[begin:end]
                for i in range(xs.size):
                    bits = to_bits(xs[i])
                    result = quantize_bits(bits, np.uint32(taken[i] & mask), mode, normalise, facts)
                    put(outs, i, result, mode, facts)
                    if check:
                        flags = np.uint32(flags | np.uint32(noticed(bits, result, facts) & np.uint32(check)))
        return flags

    return loop(quantize)
