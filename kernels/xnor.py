"""Products of bit matrices: how many ones two rows share, for all pairs of rows. Counts are exact, so no order matters.

Both operands are packed along K, 64 bits a word: element k is bit k % 64 of word k // 64, and behind the last are zeros.
The kernels count the ones of a AND b; what an exclusive or has is count(a) + count(b) - 2 count(a AND b), so a product of
+-1 is 4 count(a AND b) and a term of the row and one of the column.

Two routes with the same results. `count_words` is plain: population counts of words along the columns, of which LLVM
makes vectors. `count_nibbles` is for processors that look bytes up in a table of 16 but have no count of vectors: four
bits of a row of a choose a table, in which 32 columns of b look four bits up at once: two instructions for 128 products.
It is the trick of Mula, Kurz, Lemire (arXiv 1611.07612), with an operand in the place of their constant table.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic
from numpy.typing import NDArray

from ._jit import loop
from .primitives import population_count, widest_vectors

I32, I64, U8, U64 = np.int32, np.int64, np.uint8, np.uint64
ROWS = 4  # of a, done together
COLUMNS = 64  # of b, in a tile of `count_nibbles`
LANES = 32  # bytes of a vector
DEPTH = 31  # bytes of K: counts of 8 bits overflow behind 31 * 8 = 248
STEP = 4  # words that `count_words` adds before it stores
_LINE = 256  # columns that are packed together


def looks_up_bytes() -> bool:
    """Whether `count_nibbles` can be compiled here, and is the faster: AVX2 and no population count of vectors."""
    features = cpu_target.target_context.codegen().magic_tuple()[2].split(",")
    return "+avx2" in features and "+avx512vpopcntdq" not in features


# Packing


@loop
def pack_rows(x: NDArray[Any], low: int, words: NDArray[np.uint64], start: int, stop: int) -> bool:
    """words[i] = row i of x [R, K] in bits, i in [start, stop): set where x is 1. Whether some x is neither 1 nor low."""
    widest_vectors()
    high, low = x.dtype.type(1), x.dtype.type(low)
    bad = U64(0)
    for i in range(start, stop):
        for w in range(words.shape[1]):
            part = x[i, 64 * w : 64 * w + 64]
            word = U64(0)
            for k in range(part.size):
                one = part[k] == high
                word = U64(word | U64(U64(one) << U64(k)))
                bad = U64(bad | U64(not (one | (part[k] == low))))
            words[i, w] = word
    return bool(bad != U64(0))


@loop
def pack_columns(x: NDArray[Any], low: int, words: NDArray[np.uint64], start: int, stop: int) -> bool:
    """`pack_rows` of the columns of x [K, R]: words[j] = column j in bits, j in [start, stop)."""
    widest_vectors()
    high, low = x.dtype.type(1), x.dtype.type(low)
    bad = U64(0)
    line = np.empty(_LINE, np.uint64)
    for first in range(start, stop, _LINE):
        taken = line[: min(_LINE, stop - first)]
        for w in range(words.shape[1]):
            taken[:] = U64(0)
            for k in range(64 * w, min(64 * w + 64, x.shape[0])):
                part, place = x[k, first : first + taken.size], U64(k & 63)
                for j in range(taken.size):
                    one = part[j] == high
                    taken[j] = U64(taken[j] | U64(U64(one) << place))
                    bad = U64(bad | U64(not (one | (part[j] == low))))
            for j in range(taken.size):
                words[first + j, w] = taken[j]
    return bool(bad != U64(0))


# Products


@loop
def count_words(
    a: NDArray[np.uint64],
    b: NDArray[np.uint64],
    scale: int,
    row_terms: NDArray[np.int64],
    column_terms: NDArray[np.int64],
    out: NDArray[np.int32],
    start: int,
    stop: int,
) -> None:
    """out[i, j] = scale * count(a[i] AND b[:, j]) + row_terms[i] + column_terms[j], i in [start, stop).

    a: uint64 [M, W]; b: uint64 [W', N], the words of the columns side by side, W' the next multiple of STEP, zeros behind.
    """
    widest_vectors()
    counts = np.empty((ROWS, out.shape[1]), np.int64)
    words = np.empty(STEP, np.uint64)
    for first in range(start, stop, ROWS):
        rows = min(ROWS, stop - first)
        counts[:] = 0
        for w in range(0, b.shape[0], STEP):
            b0, b1, b2, b3 = b[w], b[w + 1], b[w + 2], b[w + 3]
            for r in range(rows):
                for s in range(STEP):
                    words[s] = a[first + r, w + s] if w + s < a.shape[1] else U64(0)
                a0, a1, a2, a3 = words[0], words[1], words[2], words[3]
                total = counts[r]
                for j in range(total.size):
                    total[j] += I64(
                        (population_count(a0 & b0[j]) + population_count(a1 & b1[j]))
                        + (population_count(a2 & b2[j]) + population_count(a3 & b3[j]))
                    )
        for r in range(rows):
            total, line, term = counts[r], out[first + r], row_terms[first + r]
            for j in range(line.size):
                line[j] = I32(scale * total[j] + term + column_terms[j])


@loop
def byte_tiles(b: NDArray[np.uint8], tiles: NDArray[np.uint8]) -> None:
    """tiles[t, k, j] = byte k of row COLUMNS * t + j of b [N, 8 W]; zeros behind the last row. tiles [T, 8 W, COLUMNS]."""
    for t in range(tiles.shape[0]):
        for j in range(COLUMNS):
            row = COLUMNS * t + j
            for k in range(tiles.shape[1]):
                tiles[t, k, j] = b[row, k] if row < b.shape[0] else U8(0)


@intrinsic
def _add_tile(typingctx: Any, tables: Any, tile: Any, depth: Any, counts: Any, column: Any) -> Any:
    """counts[r, column + j] += sum over k < depth, h < 2 of tables[k, r, h, (tile[k, j] >> 4 h) & 15], r < ROWS, j < COLUMNS.

    tables: uint64 [DEPTH, ROWS, 2, 2], the bytes of tables of 16; tile: uint8 [>= depth, COLUMNS]; counts: int32 [ROWS, n].
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        views = {i: context.make_array(signature.args[i])(context, builder, arguments[i]) for i in (0, 1, 3)}
        stride = cgutils.unpack_tuple(builder, views[3].shape)[1]
        byte, half, full = ir.IntType(8), ir.VectorType(ir.IntType(8), LANES // 2), ir.VectorType(ir.IntType(8), LANES)
        wide = ir.VectorType(ir.IntType(32), LANES)
        look_up = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(full, (full, full)), "llvm.x86.avx2.pshuf.b"
        )
        twice = ir.Constant(wide, [lane % (LANES // 2) for lane in range(LANES)])

        def lanes(value: int) -> Any:
            return ir.Constant(full, [value] * LANES)

        def index(value: int) -> Any:
            return ir.Constant(ir.IntType(64), value)

        def place(view: int, offset: Any, kind: Any) -> Any:
            start = builder.bitcast(views[view].data, byte.as_pointer())
            return builder.bitcast(builder.gep(start, [offset]), kind.as_pointer())

        parts = range(COLUMNS // LANES)
        sums = {(r, c): cgutils.alloca_once(builder, full) for r in range(ROWS) for c in parts}
        for total in sums.values():
            builder.store(lanes(0), total)
        with cgutils.for_range(builder, arguments[2]) as steps:
            nibbles = []
            for c in parts:
                offset = builder.add(builder.mul(steps.index, index(COLUMNS)), index(LANES * c))
                bits = builder.load(place(1, offset, full), align=1)
                nibbles.append((builder.and_(bits, lanes(15)), builder.lshr(bits, lanes(4))))
            for r in range(ROWS):
                for h in range(2):
                    offset = builder.add(builder.mul(steps.index, index(2 * 16 * ROWS)), index(16 * (2 * r + h)))
                    table = builder.load(place(0, offset, half), align=8)
                    table = builder.shuffle_vector(table, ir.Constant(half, ir.Undefined), twice)
                    for c in parts:
                        found = builder.call(look_up, [table, nibbles[c][h]])
                        builder.store(builder.add(builder.load(sums[r, c]), found), sums[r, c])
        for (r, c), total in sums.items():
            element = builder.add(builder.add(arguments[4], index(LANES * c)), builder.mul(stride, index(r)))
            where = place(3, builder.mul(element, index(4)), wide)
            old = builder.load(where, align=4)
            builder.store(builder.add(old, builder.zext(builder.load(total), wide)), where, align=4)
        return context.get_dummy_value()

    return types.none(tables, tile, types.int64, counts, types.int64), generate


@loop
def count_nibbles(
    a: NDArray[np.uint8],
    tiles: NDArray[np.uint8],
    table: NDArray[np.uint64],
    scale: int,
    row_terms: NDArray[np.int64],
    column_terms: NDArray[np.int64],
    out: NDArray[np.int32],
    start: int,
    stop: int,
) -> None:
    """The results of `count_words`. a: uint8 [M, 8 W], the bytes of the words; tiles as `byte_tiles` makes them.

    table: uint64 [256, 4], `NIBBLE_TABLE`.
    """
    tables = np.empty((DEPTH, ROWS, 2, 2), np.uint64)
    counts = np.empty((ROWS, COLUMNS * tiles.shape[0]), np.int32)
    for first in range(start, stop, ROWS):
        rows = min(ROWS, stop - first)
        counts[:] = 0
        for begin in range(0, tiles.shape[1], DEPTH):
            depth = min(DEPTH, tiles.shape[1] - begin)
            for k in range(depth):
                for r in range(ROWS):
                    byte = a[first + min(r, rows - 1), begin + k]  # a row too many is counted twice and not written
                    for h in range(2):
                        tables[k, r, h, 0], tables[k, r, h, 1] = table[byte, 2 * h], table[byte, 2 * h + 1]
            for t in range(tiles.shape[0]):
                _add_tile(tables, tiles[t, begin:], depth, counts, COLUMNS * t)
        for r in range(rows):
            total, line, term = counts[r], out[first + r], row_terms[first + r]
            for j in range(line.size):
                line[j] = I32(scale * I64(total[j]) + term + column_terms[j])


def _nibble_table() -> NDArray[np.uint64]:
    """[256, 4]: for a byte of a, two tables of 16 bytes: how many ones its low, its high four bits share with 0 ... 15."""
    low = np.array([[(x & y).bit_count() for y in range(16)] for x in range(16)], np.uint8)
    byte = np.arange(256)
    return np.concatenate([low[byte & 15], low[byte >> 4]], axis=1).view(np.uint64)


NIBBLE_TABLE = _nibble_table()
