"""N:M masks, a thread a block: the largest, and the draws of least variance over the cores of `..masks` and `..mask_rows`.

What cores leave in doubt is marked, as on the CPU; `take` and `put` bring those blocks to the host and back.
"""

from functools import cache
from typing import Any

import numpy as np
from numba import cuda

from .._jit import core
from ..elementwise import GIVEN
from ..gemm import place_of
from ..mask_rows import EXACT, HUGE, SEQUENTIAL, draw_approximate, draw_exact, draw_sequential
from ..masks import draw_of_four, draw_of_two, largest_of_four
from ..philox import philox32
from ..primitives import shift_left, shift_right
from ._jit import SIMULATED, device, kernel, moves

U32, U64 = np.uint32, np.uint64
WIDEST = 32  # elements of a block of any pattern: its scratch lies in shared memory
THREADS = 4 if SIMULATED else 32  # of a block of threads with scratch
SEED, STREAM, OFFSET = range(3)  # of keys
UNIT_BITS, DOWN = range(2)  # of how words are cut: log2 of the units in 16 bytes, 32 less the bits of a word

merged = device(lambda seen, met: U32(seen | U32(met)))
four_largest = device(lambda a, b, c, d, zero: largest_of_four(a, b, c, d, zero))
of_four = device(lambda a, b, c, d, word, period: draw_of_four(a, b, c, d, word, period))
of_two = device(lambda a, b, word, period: draw_of_two(a, b, word, period))
size_of = device(lambda x: np.float64(abs(x)))
a_nan = device(lambda x: U32(1) if x != x else U32(0))
# Whether a rival goes before an element: it is larger, or as large and earlier.
before = device(lambda rival, x, earlier: (abs(rival) > abs(x)) | ((abs(rival) == abs(x)) & earlier))


@core
def _word(block, keys, cut):
    element = U64(keys[OFFSET] + U64(block))
    w0, w1, w2, w3 = philox32(U64(element >> U64(cut[UNIT_BITS])), keys[STREAM], keys[SEED])
    word, left = place_of(element, U64(cut[UNIT_BITS]))
    low = w0 if word == 0 else w1
    high = w2 if word == 2 else w3
    return shift_right(shift_left(low if word < 2 else high, left), U32(cut[DOWN]))


drawn = device(_word)  # (number of the block, (seed, stream, offset), how words are cut) -> its word


@cache
def make_word(source: int) -> Any:
    """(words that are given, number of the block, keys, how words are cut) -> the block's word."""
    if source == GIVEN:
        return moves(lambda words, b, keys, cut: words[b])
    return moves(lambda words, b, keys, cut: drawn(b, keys, cut))


@core
def _draw(sizes, certain, values, others, rests, n, word, period, method, single):
    filled, fine = 0, True
    for i in range(sizes.size):
        fine &= sizes[i] <= HUGE
        filled += sizes[i] > 0.0
        values[i] = sizes[i]
    drawn_word = np.float64(word) + 1.0
    if filled > n and fine and method == EXACT:
        fine = draw_exact(sizes, certain, values, n, drawn_word, period, single)
    elif filled > n and fine and method == SEQUENTIAL:
        fine = draw_sequential(sizes, others, rests, values, drawn_word, period, single)
    elif filled > n and fine:
        fine = draw_approximate(sizes, others, rests, values, drawn_word, period, single)
    return fine


draw = device(_draw)


@cache
def make_largest_of_four(double: int) -> Any:
    """The kernel that keeps two of four."""
    kind = np.float64 if double else np.float32

    def largest(x, out, flags):
        """out = x where it is one of the two largest of its block of four, else +0; x, out [4 B]; flags[0] = 1 at a NaN."""
        seen = U32(0)
        for b in range(cuda.grid(1), x.size // 4, cuda.gridsize(1)):
            i = 4 * b
            y0, y1, y2, y3, met = four_largest(x[i], x[i + 1], x[i + 2], x[i + 3], kind(0))
            out[i], out[i + 1], out[i + 2], out[i + 3] = y0, y1, y2, y3
            seen = merged(seen, met)
        if seen != U32(0):
            flags[0] = 1

    return kernel(largest)


@cache
def make_largest(double: int) -> Any:
    """The kernel for any pattern, a thread an element: how many of its block go before it."""
    kind = np.float64 if double else np.float32

    def largest(x, out, n, m, flags):
        """out = x where fewer than n of its block of m go before it, else +0; x, out [m B], apart; flags[0] = 1 at a NaN."""
        seen = U32(0)
        for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
            value, count, first = x[i], 0, i - i % m
            for j in range(first, first + m):
                if before(x[j], value, j < i):
                    count += 1
            out[i] = value if count < n else kind(0)
            seen = merged(seen, a_nan(value))
        if seen != U32(0):
            flags[0] = 1

    return kernel(largest)


@cache
def make_swift(m: int, source: int) -> Any:
    """The kernel of the exact draw of two of four (m = 4) or one of two (m = 2), float32."""
    word_of = make_word(source)

    def swift(x, out, words, keys, cut, period, left, flags):
        """out = x_i/p_i where kept for its block's word, else +0; x, out [m B]; left [B]: 1 where that is left.

        period: 2.0**bits of a word; words: uint32 [B] if given; keys, cut: as `drawn`. flags[0] = 1 where any is left.
        """
        seen = U32(0)
        for b in range(cuda.grid(1), left.size, cuda.gridsize(1)):
            i, word = m * b, word_of(words, b, keys, cut)
            if m == 4:
                y0, y1, y2, y3, flag = of_four(x[i], x[i + 1], x[i + 2], x[i + 3], word, period)
                out[i], out[i + 1], out[i + 2], out[i + 3] = y0, y1, y2, y3
            else:
                y0, y1, flag = of_two(x[i], x[i + 1], word, period)
                out[i], out[i + 1] = y0, y1
            left[b] = flag
            seen = merged(seen, flag)
        if seen != U32(0):
            flags[0] = 1

    return kernel(swift)


@cache
def make_rows(m: int, source: int, double: int) -> Any:
    """The kernel of a draw of any n and method, in blocks of m up to WIDEST, through float64 as on the CPU."""
    word_of = make_word(source)
    kind, single = (np.float64 if double else np.float32), not double
    shown = device(lambda value, x: (kind(value) if x > 0 else -kind(value)) if value > 0.0 else kind(0))

    def rows(x, out, words, keys, cut, period, n, method, left, flags):
        """As `swift`. THREADS threads a block."""
        sizes = cuda.shared.array((THREADS, m), np.float64)
        values = cuda.shared.array((THREADS, m), np.float64)
        others = cuda.shared.array((THREADS, m), np.float64)
        rests = cuda.shared.array((THREADS, m), np.float64)
        certain = cuda.shared.array((THREADS, m), np.bool_)
        t, seen = cuda.threadIdx.x, False
        for b in range(cuda.grid(1), left.size, cuda.gridsize(1)):
            for i in range(m):
                sizes[t, i] = size_of(x[m * b + i])
            word = word_of(words, b, keys, cut)
            fine = draw(sizes[t], certain[t], values[t], others[t], rests[t], n, word, period, method, single)
            for i in range(m):
                out[m * b + i] = shown(values[t, i], x[m * b + i])
            left[b] = 0 if fine else 1
            seen = seen or not fine
        if seen:
            flags[0] = 1

    return kernel(rows)


@cache
def make_moved(back: int) -> Any:
    """The kernels between an array and blocks of it by their numbers: from the array, or back to it."""

    def moved(x, places, m, blocks):
        """blocks[k] = x[places[k]], m elements each; or the other way: x [m B], places int64 [K], blocks [m K]."""
        for i in range(cuda.grid(1), blocks.size, cuda.gridsize(1)):
            j = m * places[i // m] + i % m
            if back:
                x[j] = blocks[i]
            else:
                blocks[i] = x[j]

    return kernel(moved)
