"""Arrays in blocks that share a scale: values, or codes beside the scales, over the cores of `..block`.

A few threads have a block, and each of them every so manyth element of it: they meet in shared memory for the maximum,
and read their elements again, from the first cache.
"""

from functools import cache
from typing import Any

import numpy as np
from numba import cuda

from ..block_elements import (
    CODE_MASK,
    COUNTS_INFINITY,
    ELEMENT_NAN,
    FAST_HIGHEST,
    FAST_LOWEST,
    LOWER,
    SCALE_NAN,
    element_code,
    finite_magnitude,
    fixed_bits,
    is_finite,
    magnitude,
    saturated_fixed_bits,
)
from ..block_power import lifted, lifted_bits, power_of_two, shared_exponent, shifted
from ..block_ratio import ratio_scale, special_quotient
from ..carrier import noticed, quantize_bits, saturate_bits, unpack_row
from ..elementwise import DETERMINISTIC, GIVEN
from ..modes import SAW_NAN
from ..primitives import from_bits, to_bits
from ._jit import SIMULATED, device, kernel, moves
from .draws import lifted as lifted_word
from .draws import word_at

F32, I64, U32, U64 = np.float32, np.int64, np.uint32, np.uint64
PARTS = 2 if SIMULATED else 8  # threads of a block of elements
THREADS = 8 if SIMULATED else 256
A_NAN, INFINITE = 1, 2  # what a block has
GROUPS = THREADS // PARTS  # blocks of elements at a time

facts_of = device(lambda row: unpack_row(row))
rule_of = device(lambda r: (r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7], r[8], r[9], r[10]))
lower_of = device(lambda row, rule: row.dtype.type(rule[LOWER]))
larger = device(lambda x, y: max(x, y))
numbered = device(lambda offset, element: U64(offset + U64(element)))
merged = device(lambda seen, met: U32(seen | met))


def _finite(x, rule):
    bits, nan = finite_magnitude(x, rule[COUNTS_INFINITY] != 0)
    infinite = U32(0) if is_finite(magnitude(x)) else U32(INFINITE)
    return bits, U32(A_NAN) if nan else infinite


finite_of = device(_finite)
# Whether there is a NaN that takes its block along.
lost = device(lambda met, rule: (U32(met & U32(A_NAN)) != U32(0)) & (rule[ELEMENT_NAN] == 0))
unscaled = device(lambda rule: U32(SAW_NAN) if rule[SCALE_NAN] == 0 else U32(0))


@moves
def place_of(block, x, length):
    """(first index, second index, first column, column behind the last) of a block of x [P, Q, C]."""
    columns = x.shape[2]
    per_row = (columns + length - 1) // length
    row, column = block // per_row, block % per_row * length
    return row // x.shape[1], row % x.shape[1], column, min(column + length, columns)


@cache
def make_word(source: int) -> Any:
    """(words that are given, element of the array, numbers, facts) -> the word of an element, aligned to the top."""
    if source == DETERMINISTIC:
        return moves(lambda words, element, numbers, facts: U32(0))
    if source == GIVEN:
        return moves(lambda words, element, numbers, facts: lifted_word(words[element], facts))
    return moves(lambda words, element, numbers, facts: word_at(numbered(numbers[2], element), numbers, facts))


@cache
def make_largest() -> Any:
    """The kernel for the largest magnitude of an array."""

    def largest(x, rules, found):
        """found[0] = max of itself and the finite magnitude bits of x [P, Q, C]; found: uint32 or uint64, as x is.

        rules: (the rule of the format,), see `..block_elements`.
        """
        rule = rule_of(rules[0])
        top, _ = finite_of(x[0, 0, 0], rule)
        rows, columns = x.shape[1], x.shape[2]
        for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
            one, _ = finite_of(x[i // (rows * columns), i // columns % rows, i % columns], rule)
            top = larger(top, one)
        cuda.atomic.max(found, 0, top)

    return kernel(largest)


def _power_steps(mode: int, form: int, integers: int, saturates: int) -> tuple[Any, ...]:
    """(scale, facts of a block, whether it is an ordinary one and its facts then, and the two roundings)."""
    quick = mode + form

    def scale(top, rule, scale_row, largest, tensor):
        exponent = shared_exponent(top, rule)
        return exponent, power_of_two(exponent, top)

    def shift(facts, lower, exponent, scale):
        return shifted(facts, exponent, scale), to_bits(from_bits(lower) * scale)

    ordinary = device(lambda exponent, rule: (exponent >= rule[FAST_LOWEST]) & (exponent <= rule[FAST_HIGHEST]))
    lift = device(lambda facts, lower, exponent: (lifted(facts, exponent), lifted_bits(lower, exponent)))
    if integers and saturates:
        fast = device(lambda x, word, facts, limit: saturated_fixed_bits(to_bits(x), quick, facts, limit))
    elif integers:
        fast = device(lambda x, word, facts, limit: fixed_bits(to_bits(x), word, quick, 0, facts, limit))
    elif saturates:
        fast = device(lambda x, word, facts, limit: saturate_bits(to_bits(x), U32(0), quick, facts))
    else:
        fast = device(lambda x, word, facts, limit: quantize_bits(to_bits(x), word, quick, 0, facts))
    return device(scale), device(shift), ordinary, lift, fast, device(lambda x, scale: to_bits(x))


def _ratio_steps(scale_form: int) -> tuple[Any, ...]:
    """Likewise of quotients, of which every block is rounded alike."""

    def scale(top, rule, scale_row, largest, tensor):
        found = ratio_scale(from_bits(top), largest, tensor, scale_form, unpack_row(scale_row))
        return I64(0), found

    same = device(lambda facts, lower, exponent, scale: (facts, lower))
    return device(scale), same, None, None, None, device(lambda x, d: special_quotient(x, d))


def _shown(ratio: int, integers: int, codes: int, double: int) -> Any:
    """(result bits, scale, facts, rule) -> the value of an element, or its code."""
    kind, unsigned = (np.float64, np.uint64) if double else (np.float32, np.uint32)
    lanes = np.uint32 if ratio else unsigned
    if codes:
        return device(lambda result, d, facts, rule: element_code(result, facts, integers, lanes(rule[CODE_MASK])))
    if not ratio:
        return device(lambda result, d, facts, rule: from_bits(result))
    return device(lambda result, d, facts, rule: kind(from_bits(result)) * kind(d if d > F32(0) else F32(1)))


@cache
def make_blocks(
    ratio: int,
    mode: int,
    form: int,
    scale_form: int,
    source: int,
    integers: int,
    saturates: int,
    check: int,
    codes: int,
    double: int,
) -> Any:
    """The kernel for the constants of `..block`. ratio: scales are quotients; codes: not values; double: x is float64."""
    bits = np.uint64 if double else np.uint32
    scale_of, shift, ordinary, lift, fast, divided = (
        _ratio_steps(scale_form) if ratio else _power_steps(mode, form, integers, saturates)
    )
    word_of, shown = make_word(source), _shown(ratio, integers, codes, double)
    nothing = 0 if codes else np.nan
    quickly = not ratio and form != 0
    met_of = device(lambda bits, result, facts: noticed(bits, result, facts))
    scaled = device(lambda scale, tensor: F32(scale * tensor)) if ratio else moves(lambda scale, tensor: scale)
    if integers:
        rounded = device(lambda bits, word, facts, limit: fixed_bits(bits, word, mode, 1, facts, limit))
    else:
        rounded = device(lambda bits, word, facts, limit: quantize_bits(bits, word, mode, 1, facts))

    def blocks(x, out, scales, rows, largest, tensor, length, words, numbers, steps, flags):
        """out[...] = values or codes of x [P, Q, C], of blocks of `length` along the last axis; flags[0] |= SAW_ flags.

        scales [P, Q, blocks]: of codes, the values of the scales. rows: (row, row of the scale, rule) of a
        `..block_elements.BlockRow`. largest: of an element, tensor: the tensor scale, both float32. words: uint32 [n] if
        given; numbers: (seed, stream, offset); steps: how many elements of the array, in its own order, lie between
        neighbours along P, Q and C. THREADS threads a block.
        """
        facts, rule = facts_of(rows[0]), rule_of(rows[2])
        lower = lower_of(rows[0], rule)
        tops = cuda.shared.array(THREADS, bits)
        mets = cuda.shared.array(THREADS, np.uint32)
        thread = cuda.threadIdx.x
        part, group = thread % PARTS, thread // PARTS
        columns, seen = x.shape[2], U32(0)
        count = x.shape[0] * x.shape[1] * ((columns + length - 1) // length)
        for first in range(cuda.blockIdx.x * GROUPS, count, cuda.gridDim.x * GROUPS):
            inside = first + group < count
            p, q, c0, c1 = place_of(first + group if inside else count - 1, x, length)
            top, met = bits(0), U32(0)
            for c in range(c0 + part, c1, PARTS):
                one, own = finite_of(x[p, q, c], rule)
                top, met = larger(top, one), merged(met, own)
            tops[thread], mets[thread] = top, met
            cuda.syncthreads()
            for other in range(group * PARTS, group * PARTS + PARTS):
                top, met = larger(top, tops[other]), merged(met, mets[other])
            cuda.syncthreads()
            if inside:
                taken = lost(met, rule)
                exponent, scale = scale_of(top, rule, rows[1], largest, tensor)
                if codes and part == 0:
                    scales[p, q, c0 // length] = np.nan if taken else scale
                d = scaled(scale, tensor)
                if taken:
                    seen = merged(seen, unscaled(rule))
                    for c in range(c0 + part, c1, PARTS):
                        out[p, q, c] = nothing
                elif quickly and ordinary(exponent, rule) and met == U32(0):
                    moved, limit = lift(facts, lower, exponent)
                    for c in range(c0 + part, c1, PARTS):
                        word = word_of(words, p * steps[0] + q * steps[1] + c * steps[2], numbers, facts)
                        result = fast(x[p, q, c], word, moved, limit)
                        out[p, q, c] = shown(result, d, moved, rule)
                        if check:
                            seen = merged(seen, met_of(divided(x[p, q, c], d), result, moved))
                else:
                    moved, limit = shift(facts, lower, exponent, scale)
                    for c in range(c0 + part, c1, PARTS):
                        word = word_of(words, p * steps[0] + q * steps[1] + c * steps[2], numbers, facts)
                        given = divided(x[p, q, c], d)
                        result = rounded(given, word, moved, limit)
                        out[p, q, c] = shown(result, d, moved, rule)
                        if check:
                            seen = merged(seen, met_of(given, result, moved))
        if seen != U32(0):
            cuda.atomic.or_(flags, 0, seen)

    return kernel(blocks)
