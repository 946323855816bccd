"""Products with emulated accumulators, as ratios to numpy's float32 product and to a naive scalar loop, in one run.

One thread each. Every kernel proves its bits on a corner of the problem before it is timed.
"""

import math

import numba
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from benchmarks.timing import best
from numerics import (
    Accumulator,
    FloatFormat,
    Overflow,
    Quantizer,
    Rounding,
    catalog,
    matmul,
    reference,
    set_num_threads,
)

SIZE = 256
E4M3 = Quantizer(catalog.E4M3)
ACCUMULATORS = {
    "binary32 RNE, native step": Accumulator(catalog.BINARY32, Rounding.RNE, Overflow.IEEE),
    "binary16 RNE, fused": Accumulator(catalog.BINARY16),
    "binary16 RTO, fused": Accumulator(catalog.BINARY16, Rounding.RTO),
    "12-bit LBA, chunk 16": Accumulator(
        catalog.lba(7, 4, 10, paper=True),
        Rounding.RTZ,
        product=Quantizer(catalog.lba(7, 4, 12, paper=True), Rounding.RTZ),
        chunk=16,
    ),
    "p = 40, RTZ, float64 carrier": Accumulator(FloatFormat(11, 39), Rounding.RTZ),
}


@numba.njit
def naive_step(total, product):
    """A scalar step as one writes it first: the sum in float64, frexp, rint, ldexp, clamp (binary16, not exact)."""
    s = total + product
    if s == 0.0:
        return s
    _, exponent = math.frexp(s)
    scale = max(exponent - 11, -24)
    return min(max(math.ldexp(np.rint(math.ldexp(s, -scale)), scale), -65504.0), 65504.0)


@numba.njit
def naive(a, b, out):
    for i in range(a.shape[0]):
        for j in range(b.shape[1]):
            total = 0.0
            for k in range(a.shape[1]):
                total = naive_step(total, float(a[i, k]) * float(b[k, j]))
            out[i, j] = total


@pytest.fixture(scope="module")
def problem():
    draw = np.random.default_rng(0)
    a, b = (E4M3.quantize(draw.normal(size=(SIZE, SIZE)).astype(np.float32)) for _ in range(2))
    return a, b


@pytest.fixture(scope="module")
def sgemm_seconds(problem):
    a, b = problem
    with threadpool_limits(1):
        return best(lambda: a @ b, 20)


@pytest.fixture(scope="module")
def naive_seconds(problem):
    a, b = problem
    out = np.empty((SIZE, SIZE), np.float32)
    return best(lambda: naive(a, b, out), 2)


@pytest.mark.parametrize("name", ACCUMULATORS)
def test_matmul(name, problem, sgemm_seconds, naive_seconds, benchmark):
    accumulator = ACCUMULATORS[name]
    a, b = problem
    wide = a.astype(np.float64) if accumulator.format.precision > 24 else a
    corner = matmul(wide, b.astype(wide.dtype), accumulator)[:3, :4]
    assert corner.tobytes() == reference.matmul(wide[:3], b[:, :4].astype(wide.dtype), accumulator).tobytes()
    set_num_threads(1)
    benchmark.pedantic(matmul, (wide, b.astype(wide.dtype), accumulator), rounds=7, warmup_rounds=1)
    seconds = benchmark.stats.stats.min
    benchmark.extra_info |= {
        "GMAC/s": round(SIZE**3 / seconds / 1e9, 2),
        "times naive": round(naive_seconds / seconds, 1),
        "part of sgemm": round(sgemm_seconds / seconds, 3),
    }
    print(f"\n{name}: {benchmark.extra_info}")
