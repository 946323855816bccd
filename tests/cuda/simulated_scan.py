"""The facts of an operand by the CUDA kernel, run in the simulator: the CPU's, for drawn arrays."""

import time
from types import SimpleNamespace

import numpy as np
import pytest
from numba import cuda

from numerics.kernels import scan as cpu
from numerics.kernels.cuda import _simulator, scan
from numerics.kernels.cuda._jit import SIMULATED
from tests.sampling import but_at_night

assert SIMULATED


def found_by_the_kernel(x, blocks):
    bits = x.view(np.dtype(f"u{x.itemsize}"))
    found = np.array(cpu.scan(bits[:0]), bits.dtype)
    scan.make_scan(int(x.itemsize == 8))[blocks, scan.THREADS](bits, found)
    return tuple(found.tolist()), tuple(int(v) for v in cpu.scan(bits))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("count", but_at_night([1, 7, 8, 9, 200], [1, 7, 8, 9]))
def test_drawn_arrays(dtype, count):
    rng = np.random.default_rng(count)
    whole = np.ldexp(rng.integers(-999, 999, count).astype(dtype), rng.integers(-30, 30, count)).astype(dtype)
    tiny = (rng.integers(0, 1 << 20, count) * np.finfo(dtype).smallest_subnormal).astype(dtype)
    some = np.where(rng.random(count) < 0.3, dtype(-0.0), whole).astype(dtype)
    seen = set()
    for x in (whole, tiny, some, np.zeros(count, dtype), -np.zeros(count, dtype)):
        found, wanted = found_by_the_kernel(x, 3)
        assert found == wanted
        seen.add(found)
    assert len(seen) >= 4


@pytest.mark.parametrize("place", but_at_night([0, 63, 99], [0, 63]))
def test_one_element_among_many(place):
    """The largest, the lowest bit, the only -0 and the only infinity, wherever they are."""
    plain, _ = found_by_the_kernel(np.ones(100, np.float32), 2)
    for value in (2.0**100, 2.0**-140, -0.0, np.inf, np.nan):
        x = np.ones(100, np.float32)
        x[place] = value
        found, wanted = found_by_the_kernel(x, 2)
        assert found == wanted != plain


def test_threads_that_ask_for_an_array_at_once_share_it(monkeypatch):
    def slowly(shape, dtype):
        time.sleep(0.02)
        return np.full(shape, 77, dtype)

    monkeypatch.setattr(_simulator, "np", SimpleNamespace(empty=slowly, ndindex=np.ndindex))
    found, wanted = found_by_the_kernel(np.array([0, 1, 3], np.float32), 2)
    assert found == wanted


def in_turns(out, leaver, failing):
    """Each thread writes what another one wrote before it waited, but for one that has ended or failed by then."""
    shared = cuda.shared.array(64, np.int32)
    i = cuda.threadIdx.x
    if i == failing:
        raise IndexError("planted")
    if i == leaver:
        return
    for turn in range(3):
        shared[i] = i + turn
        cuda.syncthreads()
        out[turn, i] = shared[(i + 2) % 64]
        cuda.syncthreads()


def test_threads_wait_for_those_that_have_not_ended():
    out = np.zeros((3, 64), np.int32)
    cuda.jit(in_turns)[1, 64](out, 1, -1)
    i = np.delete(np.arange(64), [1, 63])  # 63 reads the place of the one that left
    assert (out[:, i] == (i + 2) % 64 + np.arange(3)[:, None]).all() and not out[:, 1].any()


def test_a_thread_that_fails_ends_its_block():
    with pytest.raises(IndexError, match=r"tid=\[5, 0, 0\] ctaid=\[0, 0, 0\]: planted"):
        cuda.jit(in_turns)[1, 64](np.zeros((3, 64), np.int32), -1, 5)
