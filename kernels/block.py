"""Loops over arrays in blocks that share a scale: values, or codes beside the scales.

Under powers of two the two passes over a block, the maximum of its magnitudes and the rounding of its elements, run
while it is in the first cache. Quotients may need the maximum of the whole array first, so the maxima are a pass of
their own. Which scale follows from a maximum is in `block_power` and `block_ratio`.
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._jit import core, loop
from .block_elements import (
    ADDED,
    BASE,
    CODE_MASK,
    COUNTS_INFINITY,
    ELEMENT_NAN,
    FAST_HIGHEST,
    FAST_LOWEST,
    LOWER,
    SCALE_NAN,
    fill_nan,
    finite_maximum,
    fixed_bits,
    is_finite,
    magnitude,
    put,
    put_scaled,
    saturated_fixed_bits,
)
from .block_power import field_of, lifted, lifted_bits, power_of_two, shared_exponent, shifted
from .block_ratio import clamped, quotient, ratio_scale, special_quotient
from .carrier import noticed, quantize_bits, saturate_bits, saw, unpack_row
from .elementwise import DETERMINISTIC, DRAWN_2, DRAWN_4, GIVEN
from .modes import RANDOM_MASK, RANDOM_SHIFT, SAW_NAN
from .philox import fill_blocks
from .primitives import from_bits, to_bits, widest_vectors
from .streams import ask_ahead, read_ahead, strip_of

U32, U64 = np.uint32, np.uint64
GROUP = 2048  # elements that are handled together: their words are drawn ahead, their quotient scales computed ahead


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


@core
def draw_words(blocks, words, element, source, seed, stream):
    """The words of elements element, element + 1, ... aligned to the top of 32 bits; as many as `words` has room for."""
    unit_bytes = 4 if source == DRAWN_4 else (2 if source == DRAWN_2 else 1)
    units = 16 // unit_bytes
    skip = np.int64(element % U64(units))
    used = blocks[: 4 * ((skip + words.size + units - 1) // units)]
    fill_blocks(used, U64(element // U64(units)), units, seed, stream)
    if source == DRAWN_4:
        return blocks[skip : skip + words.size]
    spread(blocks, skip, words, source)
    return words


@core
def word_at(taken, position, align, mask):
    """The random word at a position of `taken`, its r bits aligned to the top of 32."""
    return U32(U32(taken[position] << align) & mask)


@core
def first_element(block, columns, length):
    """(flat position of a block's first element, its column): rows of `columns` elements in blocks of `length`."""
    per_row = (columns + length - 1) // length
    column = (block % per_row) * length
    return (block // per_row) * columns + column, column


@cache
def make_power_blocks(mode: int, form: int, source: int, integers: int, saturates: int, check: int):
    """The loop for scales that are powers of two; small integers, so that compiled code is found again on disk.

    form: 0, or a faster form of the mode for blocks that allow it. integers: fixed-point elements. saturates: elements
    of those blocks end as in `saturate_bits`.
    """
    quick = mode + form
    stochastic = source != DETERMINISTIC
    drawn = stochastic and source != GIVEN

    def power_blocks(x, out, scales, row, words, seed, stream, offset, columns, length, start, stop):
        """Quantise blocks [start, stop) of x, whose rows of `columns` elements are cut into blocks of `length`.

        x: flat. out: values (float) or codes (unsigned). scales: the value of each block's scale, or of size 0. words:
        uint32 like x if source is GIVEN. Where words are drawn a block has at most GROUP elements. Returns SAW_ flags.
        """
        widest_vectors()
        facts, rule = unpack_row(row.row), row.rule
        lower, mask = row.row.dtype.type(rule[LOWER]), row.row.dtype.type(rule[CODE_MASK])
        word, word_mask = U32(0), U32(facts[RANDOM_MASK])
        align = U32(facts[RANDOM_SHIFT]) if source == GIVEN else U32(0)
        taken, first = words, U64(0)
        buffer, units = np.empty(GROUP if drawn else 0, U32), np.empty(GROUP + 8 if drawn else 0, U32)
        flags, nothing = U32(0), magnitude(x.dtype.type(0))
        base, widest = rule[BASE] + rule[FAST_LOWEST], U64(rule[FAST_HIGHEST] - rule[FAST_LOWEST])
        begin, column = first_element(start, columns, length)
        held = begin  # words of elements up to here have been drawn
        asked, strip = begin, strip_of(x, out)
        b = start
        while b < stop:
            # As long as blocks are of the ordinary kind: a loop of its own, so that it keeps its constants in registers.
            top, low, size = nothing, U64(begin), 0
            while b < stop:
                low, size = U64(begin), min(length, columns - column)
                if begin >= asked:
                    ask_ahead(x, out, begin, x.size)
                    asked = begin + strip
                if drawn and begin + size > held:
                    held, first = begin + (GROUP // length) * length, low
                    taken = draw_words(units, buffer[: held - begin], U64(offset + low), source, seed, stream)
                top = nothing
                for j in range(U64(size)):
                    top = max(top, magnitude(x[low + j]))
                above = U64(field_of(top, rule[ADDED]) - base)
                if above > widest:
                    break
                exponent = np.int64(above) + rule[FAST_LOWEST]
                if scales.size:
                    scales[b] = power_of_two(exponent, top)
                moved, limit = lifted(facts, exponent), lifted_bits(lower, exponent)
                for j in range(U64(size)):
                    i = low + j
                    bits = to_bits(x[i])
                    if stochastic:
                        word = word_at(taken, U64(i - first), align, word_mask)
                    if integers and saturates:
                        result = saturated_fixed_bits(bits, quick, moved, limit)
                    elif integers:
                        result = fixed_bits(bits, word, quick, 0, moved, limit)
                    elif saturates:
                        result = saturate_bits(bits, np.uint32(0), quick, moved)
                    else:
                        result = quantize_bits(bits, word, quick, 0, moved)
                    put(out, i, result, moved, integers, mask)
                    if check:
                        flags = U32(flags | noticed(bits, result, moved))
                begin, column = begin + size, (0 if column + length >= columns else column + length)
                b += 1
            if b == stop:
                break
            begin, column = begin + size, (0 if column + length >= columns else column + length)
            if not is_finite(top):
                top, nan = finite_maximum(x, low, U64(begin), rule[COUNTS_INFINITY] != 0)
                if nan and rule[ELEMENT_NAN] == 0:  # only the scale can hold it, and takes the block along
                    fill_nan(out, low, U64(begin))
                    if scales.size:
                        scales[b] = np.nan
                    flags = U32(flags | saw(SAW_NAN, rule[SCALE_NAN] == 0))
                    b += 1
                    continue
            exponent = shared_exponent(top, rule)
            scale = power_of_two(exponent, top)
            if scales.size:
                scales[b] = scale
            moved, limit = shifted(facts, exponent, scale), to_bits(from_bits(lower) * scale)
            for j in range(U64(size)):
                i = low + j
                bits = to_bits(x[i])
                if stochastic:
                    word = word_at(taken, U64(i - first), align, word_mask)
                if integers:
                    result = fixed_bits(bits, word, mode, 1, moved, limit)
                else:
                    result = quantize_bits(bits, word, mode, 1, moved)
                put(out, i, result, moved, integers, mask)
                if check:
                    flags = U32(flags | noticed(bits, result, moved))
            b += 1
        return flags

    return loop(power_blocks)


@loop
def block_maxima(x: NDArray[Any], maxima: NDArray[Any], columns: int, length: int, start: int, stop: int) -> None:
    """maxima[b] = the largest magnitude of block b in [start, stop); a NaN counts as larger than infinity.

    The length stays a variable: of a known one the compiler makes gathers over blocks, which are ten times as slow.
    """
    widest_vectors()
    nothing = magnitude(x.dtype.type(0))
    begin, column = first_element(start, columns, length)
    asked, strip = begin, strip_of(x, x)
    for b in range(start, stop):
        low, size = U64(begin), min(length, columns - column)
        if begin >= asked:
            read_ahead(x, begin, x.size)
            asked = begin + strip
        begin, column = begin + size, (0 if column + length >= columns else column + length)
        top = nothing
        for j in range(U64(size)):
            top = max(top, magnitude(x[low + j]))
        maxima[b] = from_bits(top)


@core
def under_scale(value, factor, infinite):
    """value * factor, float64, the NaN always the same one; infinite: whether an infinity is one under a zero too."""
    product = value if infinite & (factor == 0.0) & (abs(value) == np.inf) else value * factor
    return product if product == product else np.nan


@loop
def scale_blocks(
    values: NDArray[Any],
    factors: NDArray[Any],
    out: NDArray[Any],
    infinite: bool,
    columns: int,
    length: int,
    start: int,
    stop: int,
) -> None:
    """out[i] = `under_scale` of values[i] for blocks [start, stop), in float64 and then rounded to the type of out."""
    widest_vectors()
    begin, column = first_element(start, columns, length)
    for b in range(start, stop):
        low, size = U64(begin), min(length, columns - column)
        begin, column = begin + size, (0 if column + length >= columns else column + length)
        for j in range(U64(size)):
            out[low + j] = out.dtype.type(under_scale(np.float64(values[low + j]), factors[b], infinite))


@cache
def make_ratio_blocks(
    mode: int, scale_form: int, whole: int, form: int, source: int, integers: int, saturates: int, check: int
):
    """The loop for scales that are quotients; scale_form: MAGIC where scales allow it; the rest as above.

    whole: the length of all blocks, where the compiler is to know it, or 0. (Not in the loops above: the compiler would
    unroll them, and then not vectorise.) The blocks of a group of elements are handled together: first all their
    scales, which is a vectorised loop, then their elements.
    """
    quick = mode + form
    stochastic = source != DETERMINISTIC
    drawn = stochastic and source != GIVEN

    def ratio_blocks(x, out, scales, row, tensor, maxima, words, seed, stream, offset, columns, length, start, stop):
        """As in `make_power_blocks`; tensor: the tensor scale, float32; maxima: as of `block_maxima`."""
        widest_vectors()
        facts, scale_facts, rule, largest = unpack_row(row.row), unpack_row(row.scale_row), row.rule, row.largest[0]
        lower, mask = row.row.dtype.type(rule[LOWER]), row.row.dtype.type(rule[CODE_MASK])
        word, word_mask = U32(0), U32(facts[RANDOM_MASK])
        align = U32(facts[RANDOM_SHIFT]) if source == GIVEN else U32(0)
        taken, first = words, U64(0)
        buffer, units = np.empty(GROUP if drawn else 0, U32), np.empty(GROUP + 8 if drawn else 0, U32)
        group = max(GROUP // length, 1)
        factors = np.empty(group, np.float32)
        flags, nothing = U32(0), magnitude(x.dtype.type(0))
        begin, column = first_element(start, columns, length)
        asked, strip = begin, strip_of(x, out)
        for head in range(start, stop, group):
            count = min(group, stop - head)
            heads = maxima[head : head + count]
            worst, smallest = nothing, U32(0x7F800000)
            for b in range(count):
                worst = max(worst, magnitude(heads[b]))
                scale = ratio_scale(heads[b], largest, tensor, scale_form, scale_facts)
                smallest = min(smallest, to_bits(scale))
                factors[b] = np.float32(scale * tensor)
                if scales.size:
                    scales[head + b] = scale
            if drawn:
                end = min(begin + GROUP, x.size)
                element, first = U64(offset + U64(begin)), U64(begin)
                taken = draw_words(units, buffer[: end - begin], element, source, seed, stream)
            if is_finite(worst) and np.float32(from_bits(smallest) * tensor) > np.float32(0):
                for b in range(count):
                    low, size = U64(begin), whole if whole else min(length, columns - column)
                    if begin >= asked:
                        ask_ahead(x, out, begin, x.size)
                        asked = begin + strip
                    begin, column = begin + size, (0 if column + length >= columns else column + length)
                    d = factors[b]
                    for j in range(U64(size)):
                        i = low + j
                        bits = quotient(x[i], d)
                        if not saturates:
                            bits = clamped(bits)
                        if stochastic:
                            word = word_at(taken, U64(i - first), align, word_mask)
                        if integers:
                            result = fixed_bits(bits, word, quick, 1, facts, lower)
                        elif saturates:
                            result = saturate_bits(bits, np.uint32(0), quick, facts)
                        else:
                            result = quantize_bits(bits, word, quick, 1, facts)
                        put_scaled(out, i, result, d, facts, integers, mask)
                        if check:
                            flags = U32(flags | noticed(bits, result, facts))
                continue
            for b in range(count):
                low, size = U64(begin), min(length, columns - column)
                begin, column = begin + size, (0 if column + length >= columns else column + length)
                top, nan = finite_maximum(x, low, U64(begin), rule[COUNTS_INFINITY] != 0)
                scale = ratio_scale(from_bits(top), largest, tensor, scale_form, scale_facts)
                taken_by_nan = nan and rule[ELEMENT_NAN] == 0
                if scales.size:
                    scales[head + b] = np.float32(np.nan) if taken_by_nan else scale
                if taken_by_nan:
                    fill_nan(out, low, U64(begin))
                    flags = U32(flags | saw(SAW_NAN, rule[SCALE_NAN] == 0))
                    continue
                d = np.float32(scale * tensor)
                factor = d if d > np.float32(0) else np.float32(1)
                for j in range(U64(size)):
                    i = low + j
                    bits = special_quotient(x[i], d)
                    if stochastic:
                        word = word_at(taken, U64(i - first), align, word_mask)
                    if integers:
                        result = fixed_bits(bits, word, mode, 1, facts, lower)
                    else:
                        result = quantize_bits(bits, word, mode, 1, facts)
                    put_scaled(out, i, result, factor, facts, integers, mask)
                    if check:
                        flags = U32(flags | noticed(bits, result, facts))
        return flags

    return loop(ratio_blocks)
