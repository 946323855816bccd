"""Arrays for the kernels begin at a cache line, and what is there already is not copied."""

import numpy as np
import pytest

from numerics import Accumulator, catalog, matmul
from numerics.aligned import aligned_array, aligned_copy, aligned_empty, aligned_zeros
from numerics.kernels.scratch import LINE, lined_row

SHAPES = [(), (0,), (3,), (2, 0, 5), (4, 7, 3)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_they_begin_at_a_line(shape, dtype):
    x = np.random.default_rng(0).normal(size=shape)
    for made in (
        aligned_empty(shape, np.dtype(dtype)),
        aligned_zeros(shape, np.dtype(dtype)),
        aligned_copy(x, np.dtype(dtype)),
    ):
        assert made.shape == shape and made.dtype == dtype
        assert made.size == 0 or made.ctypes.data % LINE == 0
        assert made.flags.c_contiguous and made.flags.writeable
    assert (aligned_zeros(shape, np.dtype(dtype)) == 0).all()
    assert (aligned_copy(x, np.dtype(dtype)) == x.astype(dtype)).all()


def test_what_is_aligned_is_not_copied():
    there = aligned_zeros((4, 32), np.dtype(np.float32))
    assert aligned_array(there, there.dtype) is there
    for other in (there[:, 1:], there.T, there[1:, :].astype(np.float64), there.reshape(-1)[1:]):
        made = aligned_array(other, there.dtype)
        assert made.ctypes.data % LINE == 0 and made.flags.c_contiguous and (made == other).all()
    assert aligned_array(there[1:], there.dtype).base is there.base  # 32 floats are two lines


@pytest.mark.parametrize("width", [0, 1, 16, 33])
def test_rows_of_scratch_begin_at_a_line(width):
    row = lined_row(width, np.zeros(1, np.float32))
    assert row.size == width and row.ctypes.data % LINE == 0


def test_results_do_not_depend_on_where_operands_lie():
    rng = np.random.default_rng(1)
    room = np.empty(2 * 40 * 40, np.float32)
    a = rng.integers(-8, 8, (40, 40)).astype(np.float32)
    wanted = matmul(a, a, Accumulator(catalog.BINARY16), events=True)
    for skip in (0, 1, 4, 9):
        b = room[skip : skip + a.size].reshape(a.shape)
        b[...] = a
        found = matmul(a, b, Accumulator(catalog.BINARY16), events=True)
        assert found[0].tobytes() == wanted[0].tobytes()
        assert (found[1].inexact == wanted[1].inexact).all() and (found[1].swamped == wanted[1].swamped).all()
