"""Loops over arrays: round to a format of any family, or to its codepoints; look up values of codes; find a NaN.

What a family does with an element is chosen by the type of its facts, see `carrier`.
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._jit import by_literals, loop
from .carrier import grid_of, noticed, quantize_bits, saw, shown, shown_byte, shown_direct, shown_short, unpack
from .forms import dropped_sum32
from .modes import BYTE_CODE, DIRECT_CODE, HASTY, LIFTED, RANDOM_MASK, RANDOM_SHIFT, SAW_NAN, SHIFTED, SHORT_CODE
from .philox import fill_blocks
from .primitives import keep, shift_left, to_bits, uncounted, widest_vectors
from .scratch import lined_row
from .streams import ask_ahead, strip_of

DRAWN_TILE = (
    1024  # elements at most whose random words are drawn ahead: with what is read and written they fit the L1 cache
)
BLOCKS = 128  # of Philox that are drawn at once
DETERMINISTIC, GIVEN, DRAWN_4, DRAWN_2, DRAWN_1 = range(5)  # where words come from; DRAWN_n: n bytes an element


@by_literals
def element(x, kind, word, mode, normalise, check, facts):
    """One element, by the constants of `make_quantize`: (its value or codepoint, the flags of `check` that it met)."""
    m, flags = mode.literal_value, check.literal_value
    if m >= 0 and m & BYTE_CODE:

        def byte(x, kind, word, mode, normalise, check, facts):
            return shown_byte(to_bits(x), facts), np.uint32(0)

        return byte
    if m >= 0 and m & DIRECT_CODE:

        def direct(x, kind, word, mode, normalise, check, facts):
            return shown_direct(kind, to_bits(x), facts), np.uint32(0)

        return direct
    ended = shown_short if m & SHORT_CODE else shown
    if not flags:

        def unchecked(x, kind, word, mode, normalise, check, facts):
            return ended(kind, quantize_bits(to_bits(x), word, mode, normalise, facts), facts), np.uint32(0)

        return unchecked

    def checked(x, kind, word, mode, normalise, check, facts):
        bits = to_bits(x)
        result = quantize_bits(bits, word, mode, normalise, facts)
        return ended(kind, result, facts), np.uint32(noticed(bits, result, facts) & np.uint32(flags))

    return checked


@loop
def look_up(codes: NDArray[Any], table: NDArray[Any], out: NDArray[Any], start: int, stop: int) -> None:
    """out[i] = table[codes[i]], i in [start, stop); codes unsigned, below the length of the table."""
    widest_vectors()
    strip = strip_of(codes, out)
    for begin in range(start, stop, strip):
        ask_ahead(codes, out, begin, stop)
        values = uncounted(out)[begin : min(begin + strip, stop)]
        some = uncounted(codes)[begin : begin + values.size]
        for i in range(values.size):
            values[i] = table[np.uint64(some[i])]


@loop
def meets_nan(x: NDArray[Any], start: int, stop: int) -> int:
    """SAW_NAN if there is a NaN in x[start:stop], else 0."""
    widest_vectors()
    x = x[start:stop]
    met = np.uint32(0)
    for i in range(x.size):
        met = np.uint32(met | saw(SAW_NAN, x[i] != x[i]))
    return int(met)


@cache
def make_quantize(mode: int, normalise: int, source: int, check: int):
    """The loop for a rounding mode; four small integers, so that compiled code is found again on disk.

    mode: with the form that is exact for the row. normalise: as in `round_magnitude`. source: where words come from.
    check: the SAW_ flags to look out for, 0 for none.
    """
    hasty = bool(mode >= 0 and mode & HASTY)
    hurried = mode - HASTY - SHIFTED + LIFTED if hasty else mode

    def quantize(x, out, row, words, seed, stream, offset, start, stop):
        """out[i] = value (float out) or codepoint (unsigned out) of x[i], i in [start, stop); returns SAW_ flags.

        words: uint32 [n] if source is GIVEN. seed, stream, offset: uint64; element i draws word offset + i.
        """
        widest_vectors()
        facts, kind = unpack(row), out.dtype.type(0)
        flags, strip = np.uint32(0), strip_of(x, out)
        if source == DETERMINISTIC:
            for begin in range(start, stop, strip):
                end = min(begin + strip, stop)
                ask_ahead(x, out, begin, stop)
                xs, outs = uncounted(x)[begin:end], uncounted(out)[begin:end]
                for i in range(xs.size):
                    outs[i], met = element(xs[i], kind, np.uint32(0), mode, normalise, check, facts)
                    flags = np.uint32(flags | met)
        elif source == GIVEN:
            align = np.uint32(grid_of(facts)[RANDOM_SHIFT])
            for begin in range(start, stop, strip):
                end = min(begin + strip, stop)
                ask_ahead(x, out, begin, stop)
                xs, outs, given = uncounted(x)[begin:end], uncounted(out)[begin:end], uncounted(words)[begin:end]
                for i in range(xs.size):
                    word = np.uint32(given[i] << np.uint32(align & np.uint32(31)))
                    outs[i], met = element(xs[i], kind, word, mode, normalise, check, facts)
                    flags = np.uint32(flags | met)
        else:
            unit_bytes = 4 if source == DRAWN_4 else (2 if source == DRAWN_2 else 1)
            units = 16 // unit_bytes
            tile = min(DRAWN_TILE, BLOCKS * units)
            mask, to_top = np.uint32(grid_of(facts)[RANDOM_MASK]), np.uint32(32 - 8 * unit_bytes)
            held = lined_row(tile * unit_bytes // 4 + 8, np.zeros(1, np.uint32))
            blocks = uncounted(held)
            drawn = uncounted(held if source == DRAWN_4 else held.view(np.uint16 if source == DRAWN_2 else np.uint8))
            apart = x.ctypes.data != out.ctypes.data
            for begin in range(start, stop, tile):
                end = min(begin + tile, stop)
                element_number = np.uint64(offset + np.uint64(begin))
                first = np.uint64(element_number // np.uint64(units))
                skip = np.int64(element_number % np.uint64(units))
                fill_blocks(blocks[: 4 * ((skip + end - begin + units - 1) // units)], first, units, seed, stream)
                for low in range(begin, end, strip):
                    high = min(low + strip, end)
                    ask_ahead(x, out, low, stop)
                    xs, outs, taken = uncounted(x)[low:high], uncounted(out)[low:high], drawn[skip + low - begin :]
                    if hasty and apart:  # what is overwritten could not be rounded again
                        seen, closest, most = np.uint32(0), np.uint32(0), np.uint32(0)
                        for i in range(xs.size):
                            word = np.uint32(shift_left(np.uint32(taken[i]), to_top) & mask)
                            outs[i], met = element(xs[i], kind, word, hurried, normalise, check, facts)
                            seen = np.uint32(seen | met)
                            dropped, most = dropped_sum32(to_bits(xs[i]), word, facts)
                            closest = max(closest, dropped)
                        if closest < most:
                            flags = np.uint32(flags | seen)
                            continue
                    for i in range(xs.size):
                        word = np.uint32(shift_left(np.uint32(taken[i]), to_top) & mask)
                        outs[i], met = element(xs[i], kind, word, mode, normalise, check, facts)
                        flags = np.uint32(flags | met)
            keep(held)
        return flags

    return loop(quantize)
