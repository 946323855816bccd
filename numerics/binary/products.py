"""Matrix products of single bits, by AND or exclusive or and counting ones: exact integers, the same on any machine.

Source: arXiv 1602.02830. How it treats 8-bit inputs was read in a secondary description, which does not say whether the
planes are of 0 and 1 or of +-1: here of 0 and 1, for then the sum over them is the product itself, which a test holds.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..kernels import threads, xnor
from ..operands import as_array
from .packing import PackedMatrix, pack, pack_bits

_MATRIX = "a matrix, or a PackedMatrix"
_COST = 0.002  # nanoseconds of a product of bits
_LONGEST_BYTES = 1 << 22  # K * 255 stays in int32, and so does every partial sum over planes


def xnor_matmul(a: Any, b: Any) -> NDArray[np.int32]:
    """The product of matrices of +-1: a [M, K], b [K, N] of any float or integer dtype -> int32 [M, N], exact.

    Either may be a `PackedMatrix`, to be packed once and multiplied often: a of its rows, `pack(a)`, b of its columns,
    `pack(b.T)`. K - 2 count(a XOR b), for any K below 2**28.
    Errors: ValueError for values other than +-1 (the first is named), shapes that do not fit, bits of 0/1; TypeError for
    other dtypes. Source: arXiv 1602.02830, run-time kernels.
    """
    left, right = _operands(a, b, signed=True)
    # count(a XOR b) = count(a) + count(b) - 2 count(a AND b)
    return _counts(left, right, 4, -2 * _ones(left), left.length - 2 * _ones(right))


def matmul_bits(a: Any, b: Any) -> NDArray[np.int32]:
    """The product of matrices of 0 and 1: a [M, K], b [K, N] -> int32 [M, N], exact: count(a AND b).

    Either may be a `PackedMatrix` of `pack_bits`, as in `xnor_matmul`. Errors likewise.
    Source: derived, as `xnor_matmul`.
    """
    left, right = _operands(a, b, signed=False)
    return _counts(left, right, 1, np.zeros(left.rows, np.int64), np.zeros(right.rows, np.int64))


def byte_matmul(x: Any, w: Any) -> NDArray[np.int32]:
    """A first layer: bytes times +-1, x uint8 or int8 [M, K], w [K, N] or packed columns -> int32 [M, N], exact.

    sum over n of 2**(n-1) (x^n . w), x^n the n-th lowest bit of x as 0 or 1, n = 1 ... 8; int8 is two's complement, so its
    eighth plane counts -2**7. Products of one plane are 2 count(x^n AND w) - count(x^n).
    Errors: TypeError for x of another dtype; ValueError as in `xnor_matmul`, and for K above 2**22.
    Source: arXiv 1602.02830, first layer, by a secondary description.
    """
    array = as_array(x, "x", "a matrix of bytes")
    if array.dtype not in (np.uint8, np.int8):
        raise TypeError(f"x of dtype {array.dtype}: give uint8 or int8, which say what the eighth bit counts")
    if array.ndim != 2:
        raise ValueError(f"x of shape {array.shape}: give a matrix [M, K], a vector as x[None]")
    if array.shape[1] > _LONGEST_BYTES:
        raise ValueError(f"K = {array.shape[1]}: sums of more than 2**22 bytes may leave int32; split them")
    right = w if isinstance(w, PackedMatrix) else pack(as_array(w, "w", _MATRIX).T)
    total: NDArray[np.int32] | None = None
    for n in range(8):
        weight = -128 if n == 7 and array.dtype == np.int8 else 1 << n
        left = pack_bits((array.view(np.uint8) >> n) & 1)
        _check_pair(left, right, signed=(False, True))
        plane = _counts(left, right, 2 * weight, -weight * _ones(left), np.zeros(right.rows, np.int64))
        total = plane if total is None else np.add(total, plane, out=total)
    assert total is not None
    return total


def _operands(a: Any, b: Any, *, signed: bool) -> tuple[PackedMatrix, PackedMatrix]:
    packed = pack if signed else pack_bits
    left = a if isinstance(a, PackedMatrix) else packed(a)
    right = b if isinstance(b, PackedMatrix) else packed(as_array(b, "b", _MATRIX).T)
    _check_pair(left, right, signed=(signed, signed))
    return left, right


def _check_pair(left: PackedMatrix, right: PackedMatrix, *, signed: tuple[bool, bool]) -> None:
    if left.length != right.length:
        raise ValueError(
            f"a has {left.length} columns and b {right.length} rows: give the same K (packed: pack(a) and pack(b.T))"
        )
    for name, operand, wanted in (("a", left, signed[0]), ("b", right, signed[1])):
        if operand.signed != wanted:
            kind, remedy = ("0/1", "pack") if wanted else ("+-1", "pack_bits")
            raise ValueError(f"{name} is packed as {kind}: use {remedy}, or the product for {kind}")


def _ones(packed: PackedMatrix) -> NDArray[np.int64]:
    """How many ones each row has."""
    counted: NDArray[np.int64] = np.bitwise_count(packed.words).sum(axis=1, dtype=np.int64)
    return counted


class Terms(NamedTuple):
    """out[i, j] = scale * count(a[i] AND b[j]) + rows[i] + columns[j]."""

    scale: int
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    out: NDArray[np.int32]


Part = Callable[[int, int], None]  # the rows of the result from the first to before the last


def _counts(
    left: PackedMatrix, right: PackedMatrix, scale: int, row_terms: NDArray[np.int64], column_terms: NDArray[np.int64]
) -> NDArray[np.int32]:
    """scale * count(a AND b) + row_terms + column_terms, by the faster route of this machine."""
    out = np.zeros((left.rows, right.rows), np.int32)
    if out.size == 0 or left.length == 0:
        return out
    route = by_nibbles if xnor.looks_up_bytes() else by_words
    part = route(left, right, Terms(scale, row_terms, column_terms, out))
    panels = -(-left.rows // xnor.ROWS)
    work = xnor.ROWS * right.rows * left.length
    threads.run(lambda start, stop: part(xnor.ROWS * start, min(xnor.ROWS * stop, left.rows)), panels, _COST * work)
    return out


def by_words(left: PackedMatrix, right: PackedMatrix, terms: Terms) -> Part:
    """The plain route, that of any processor."""
    depth = -(-left.words.shape[1] // xnor.STEP) * xnor.STEP
    transposed = np.zeros((depth, right.rows), np.uint64)
    transposed[: right.words.shape[1]] = right.words.T
    rows = np.ascontiguousarray(left.words)
    scale, row_terms, column_terms, out = terms
    return lambda start, stop: xnor.count_words(rows, transposed, scale, row_terms, column_terms, out, start, stop)


def by_nibbles(left: PackedMatrix, right: PackedMatrix, terms: Terms) -> Part:
    """The route by tables of 16, where `xnor.looks_up_bytes` says that there is one."""
    rows, columns = (np.ascontiguousarray(p.words).view(np.uint8) for p in (left, right))
    tiles = np.empty((-(-right.rows // xnor.COLUMNS), columns.shape[1], xnor.COLUMNS), np.uint8)
    xnor.byte_tiles(columns, tiles)
    table = xnor.NIBBLE_TABLE
    scale, row_terms, column_terms, out = terms
    return lambda start, stop: xnor.count_nibbles(rows, tiles, table, scale, row_terms, column_terms, out, start, stop)
