"""Products of whole numbers: nothing is rounded, and a sum is limited at every step, or taken modulo 2**64 at the end.

Four rows of the output share what is loaded of b, and two k what is loaded and stored of the sums; panels of b stay in
the second cache. The order in k is the declared one in every lane.
"""

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload
from numpy.typing import NDArray

from ._jit import SCALAR, core, loop
from .primitives import fma, widest_vectors

COLUMNS, DEPTH = 512, 128  # of a panel of b: a quarter of a megabyte of float32
I32, I64, U64 = np.int32, np.int64, np.uint64


def stepped(total, x, y, lowest, highest):
    """total + x * y within the limits; of uint64, modulo 2**64 without limits.

    Floats: a sum beyond their exact integers is beyond the limits, which are among them. int32: sums fit. int64: the
    product fits, a sum need not.
    """
    raise NotImplementedError("compiled code only")


def _make_clamped(add):
    def clamped(total, x, y, lowest, highest):
        s = add(total, x, y)
        s = s if s > lowest else lowest
        return s if s < highest else highest

    return clamped


_float_step = _make_clamped(core(lambda total, x, y: fma(x, y, total)))
_int32_step = _make_clamped(core(lambda total, x, y: I32(total + I32(x * y))))


@core
def _add_int64(total, x, y):
    """total + x * y, or the end of int64 that it is beyond."""
    product = I64(x) * I64(y)
    s = total + product
    beyond = ((total ^ s) & (product ^ s)) < 0
    return (total >> I64(63)) ^ I64(0x7FFFFFFFFFFFFFFF) if beyond else s


_int64_step = _make_clamped(_add_int64)


@overload(stepped, jit_options=SCALAR)
def _stepped(total, x, y, lowest, highest):
    if total == types.uint64:
        return lambda total, x, y, lowest, highest: U64(total + U64(x * y))
    if isinstance(total, types.Float):
        return _float_step
    return _int32_step if total == types.int32 else _int64_step


@core
def four_rows(left, right, sums, i, k0, k1, j0, j1, lowest, highest):
    """Steps k0 <= k < k1 of rows i to i + 3, columns j0 <= j < j1."""
    s0, s1, s2, s3 = sums[i, j0:j1], sums[i + 1, j0:j1], sums[i + 2, j0:j1], sums[i + 3, j0:j1]
    even = k0 + (k1 - k0) // 2 * 2
    for k in range(k0, even, 2):
        b0, b1 = right[k, j0:j1], right[k + 1, j0:j1]
        x00, x10, x20, x30 = left[i, k], left[i + 1, k], left[i + 2, k], left[i + 3, k]
        x01, x11, x21, x31 = left[i, k + 1], left[i + 1, k + 1], left[i + 2, k + 1], left[i + 3, k + 1]
        for j in range(s0.size):
            y0, y1 = b0[j], b1[j]
            s0[j] = stepped(stepped(s0[j], x00, y0, lowest, highest), x01, y1, lowest, highest)
            s1[j] = stepped(stepped(s1[j], x10, y0, lowest, highest), x11, y1, lowest, highest)
            s2[j] = stepped(stepped(s2[j], x20, y0, lowest, highest), x21, y1, lowest, highest)
            s3[j] = stepped(stepped(s3[j], x30, y0, lowest, highest), x31, y1, lowest, highest)
    for row in range(i, i + 4):
        one_row(left, right, sums, row, even, k1, j0, j1, lowest, highest)


@core
def one_row(left, right, sums, i, k0, k1, j0, j1, lowest, highest):
    """Steps k0 <= k < k1 of row i, columns j0 <= j < j1."""
    own = sums[i, j0:j1]
    for k in range(k0, k1):
        x, panel = left[i, k], right[k, j0:j1]
        for j in range(own.size):
            own[j] = stepped(own[j], x, panel[j], lowest, highest)


@loop
def whole_product(
    a: NDArray[Any], b: NDArray[Any], total: NDArray[Any], lowest: Any, highest: Any, start: int, stop: int
) -> None:
    """total[n, i] = the chain from total's own values, limited at every step as `stepped` says.

    a [Ba, M, K], b [Bb, K, N], total [B, M, N], contiguous, Ba and Bb either B or 1; rows start <= n*M + i < stop. All
    of one type, but that int64 totals may have int32 operands; limits of the type of the totals.
    """
    widest_vectors()
    rows, depth, columns = a.shape[1], a.shape[2], b.shape[2]
    for j0 in range(0, columns, COLUMNS):
        j1 = min(j0 + COLUMNS, columns)
        for k0 in range(0, depth, DEPTH):
            k1 = min(k0 + DEPTH, depth)
            index = start
            while index < stop:
                batch, i = index // rows, index % rows
                left = a[batch if a.shape[0] > 1 else 0]
                right = b[batch if b.shape[0] > 1 else 0]
                end = min(i + stop - index, rows)
                index += end - i
                while i + 4 <= end:
                    four_rows(left, right, total[batch], i, k0, k1, j0, j1, lowest, highest)
                    i += 4
                while i < end:
                    one_row(left, right, total[batch], i, k0, k1, j0, j1, lowest, highest)
                    i += 1


@loop
def fold(whole: NDArray[Any], out: NDArray[np.int64], shift: int, unused: int, signed: int) -> None:
    """out += whole * 2**shift modulo 2**64, then the low 64 - unused bits of it as two's complement or unsigned.

    whole: integers [n] of any type, at most 2**63 in magnitude; 0 <= shift < 64.
    """
    widest_vectors()
    up, keep = I64(shift), I64(unused)
    for i in range(out.size):
        low = (out[i] + (I64(whole[i]) << up)) << keep
        out[i] = low >> keep if signed else I64(U64(low) >> U64(keep))


@loop
def wrap(whole: NDArray[Any], shift: int, unused: int, signed: int) -> None:
    """`fold` of whole numbers in floats [n] of at most 2**63 in magnitude, in place; the type holds the result too."""
    widest_vectors()
    up, keep = I64(shift + unused), I64(unused)
    for i in range(whole.size):
        low = I64(whole[i]) << up
        whole[i] = low >> keep if signed else I64(U64(low) >> U64(keep))
