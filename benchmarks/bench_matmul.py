"""Products with emulated accumulators, as ratios to numpy's float32 product and to a naive scalar loop, in one run.

One thread each; then two against one at the larger size, where waking a thread no longer counts. Every kernel proves its
bits on a corner of the problem before it is timed, against the oracle or a peer whose semantics are the same.
"""

import math
from typing import NamedTuple

import numba
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from benchmarks.naive import same_job
from benchmarks.peers import product_peers
from benchmarks.timing import best, gain_of_two, ratio
from numerics import (
    Accumulator,
    FixedFormat,
    FloatFormat,
    Overflow,
    Quantizer,
    Rounding,
    catalog,
    matmul,
    plan,
    random_words,
    reference,
    set_num_threads,
)

SIZE, LARGE = 256, 512
CORNER = 3, 4
BINARY16 = catalog.BINARY16
R = Rounding


class Case(NamedTuple):
    """An accumulator, the format of its operands, and the part of sgemm's speed that is aimed at."""

    accumulator: object
    operands: object
    target: float = 0.0
    options: dict = {}  # noqa: RUF012


SR12 = Accumulator(BINARY16, R.SR, random_bits=12)
SR32 = Accumulator(FloatFormat(8, 11), R.SR, random_bits=32)
CASES = {
    "binary32, its own step": Case(Accumulator(catalog.BINARY32, R.RNE, Overflow.IEEE), catalog.E4M3),
    "fp8 x fp8 into binary16": Case(Accumulator(BINARY16), catalog.E4M3, 1 / 9),
    "binary16 into binary16": Case(Accumulator(BINARY16), BINARY16, 1 / 18),
    "binary16 into binary16, RTZ": Case(Accumulator(BINARY16, R.RTZ), BINARY16, 1 / 18),
    "p = 40": Case(Accumulator(FloatFormat(11, 39)), BINARY16, 1 / 38),
    "LBA FMAq, chunk 16": Case(
        Accumulator(
            catalog.lba(7, 4, 10, paper=True),
            R.RTZ,
            product=Quantizer(catalog.lba(7, 4, 12, paper=True), R.RTZ),
            chunk=16,
        ),
        catalog.E4M3,
        1 / 22,
    ),
    "H100, k = 16": Case(catalog.MATRIX_UNITS["h100.f16.f32"], BINARY16, 1 / 9),
    "A100, k = 8": Case(catalog.MATRIX_UNITS["a100.f16.f32"], BINARY16, 1 / 9),
    "MI300, k = 8, c late": Case(catalog.MATRIX_UNITS["mi300.f16.f32"], BINARY16, 1 / 9),
    "MI300, k = 16, even and odd": Case(catalog.MATRIX_UNITS["mi300.e4m3fnuz.f32"], catalog.E4M3FNUZ, 1 / 9),
    "MI100, exact, k = 4": Case(catalog.MATRIX_UNITS["mi100.exact.f16.f32"], BINARY16),
    "MXFP8, k = 32": Case(catalog.MATRIX_UNITS["b200.tcgen05.mxf8_e4m3.f32"], catalog.E4M3, 1 / 9),
    "NVFP4, k = 64": Case(catalog.MATRIX_UNITS["b200.tcgen05.nvf4.f32"], catalog.E2M1, 1 / 9),
    "AMX, chains of 16": Case(catalog.MATRIX_UNITS["amx.bf16.f32"], catalog.BFLOAT16),
    "int8 into s20, saturating": Case(Accumulator(FixedFormat(20)), catalog.INT8, 1 / 7),
    "int8 into s16, wrapping": Case(Accumulator(FixedFormat(16), overflow=Overflow.WRAP), catalog.INT8, 1 / 2),
    "SR, p = 11, r = 12": Case(SR12, catalog.E4M3, 1 / 42, {"seed": 1}),
    "SR, p = 12, r = 32": Case(SR32, BINARY16, 1 / 80, {"seed": 1}),
    "pairwise": Case(Accumulator(BINARY16, order="pairwise"), catalog.E4M3),
    "kahan": Case(Accumulator(BINARY16, order="kahan"), catalog.E4M3),
    "exact": Case(Accumulator(BINARY16, order="exact"), BINARY16),
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


def operands(fmt, size):
    draw = np.random.default_rng(0)
    scale = 30.0 if isinstance(fmt, FixedFormat) else 1.0
    return tuple(Quantizer(fmt).quantize((scale * draw.normal(size=(size, size))).astype(np.float32)) for _ in range(2))


def operands_of(case, size):
    """The operands of a case, float64 where the sums need it."""
    precise = getattr(getattr(case.accumulator, "format", None), "precision", 0) > 24
    return tuple(x.astype(np.float64) if precise else x for x in operands(case.operands, size))


def options_of(case, size):
    """The keyword arguments of a call: a seed, the scales of a unit that has them."""
    block = getattr(case.accumulator, "scale_block", None)
    if block is None:
        return case.options
    draw, shape = np.random.default_rng(1), (size, size // block)
    scales = [np.exp2(draw.integers(-4, 3, shape)).astype(np.float32) for _ in range(2)]
    if case.accumulator.scale.mantissa_bits:
        scales = [scale * draw.choice(np.float32([1.0, 1.125, 1.5]), shape) for scale in scales]
    return {"scale_a": scales[0], "scale_b": np.ascontiguousarray(scales[1].T)}


def sgemm_seconds(size):
    a, b = operands(catalog.E4M3, size)
    with threadpool_limits(1):
        return best(lambda: a @ b, 20)


@pytest.fixture(scope="module")
def sgemm():
    return {size: sgemm_seconds(size) for size in (SIZE, LARGE)}


@pytest.fixture(scope="module")
def sgemm_gain():
    """What a second thread gains numpy's own product: how much of a processor it is."""
    a, b = operands(catalog.E4M3, 2 * LARGE)
    return gain_of_two(lambda: a @ b)


@pytest.fixture(scope="module")
def naive_seconds():
    a, b = operands(catalog.E4M3, SIZE)
    return best(lambda: naive(a, b, np.empty((SIZE, SIZE), np.float32)), 2)


def wanted_corner(case, a, b, given, **more):
    """What the oracle says of the first outputs."""
    m, n = CORNER
    words = None
    if isinstance(case.accumulator, Accumulator) and case.accumulator.stochastic:
        span, r = case.accumulator.roundings(SIZE), case.accumulator.random_bits
        rows = random_words(m * SIZE * span, r, **case.options).reshape(m, SIZE, span)
        words = rows[:, :n]
    oracle = reference.matmul if isinstance(case.accumulator, Accumulator) else reference.matrix_unit.unit_matmul
    options = {} if words is None else {"words": words}
    if "scale_a" in given:
        options = {"scale_a": given["scale_a"][:m], "scale_b": given["scale_b"][:, :n]}
    return oracle(a[:m], b[:, :n], case.accumulator, **options, **more)


def times_the_same_job(case, a, b, found, seconds, given):
    """How many times as long a scalar loop of the same job takes, its bits asserted on some rows; None without one."""
    scales = {name: x for name, x in given.items() if name.startswith("scale")}
    loop = same_job(case.accumulator, SIZE, given.get("seed"), **scales)
    if loop is None:
        return None
    rows = np.empty((8, SIZE), found.dtype)
    loop(a[:8], b, rows)
    assert np.array_equal(rows, found[:8])
    return round(best(lambda: loop(a[:8], b, rows), 3) * SIZE / 8 / seconds)


@pytest.mark.parametrize("name", CASES)
def test_matmul(name, sgemm, sgemm_gain, naive_seconds, benchmark):
    with threadpool_limits(1):
        measure(name, sgemm, sgemm_gain, naive_seconds, benchmark)


def measure(name, sgemm, sgemm_gain, naive_seconds, benchmark):
    case = CASES[name]
    rates = {}
    for size in (LARGE, SIZE):
        a, b = operands_of(case, size)
        set_num_threads(1)

        options = options_of(case, size)

        def call(a=a, b=b, options=options):
            return matmul(a, b, case.accumulator, **options)

        if size == SIZE:
            found = call()
            corner = found[: CORNER[0], : CORNER[1]]
            assert corner.tobytes() == wanted_corner(case, a, b, options).tobytes()
            benchmark.pedantic(call, rounds=7, warmup_rounds=1)
            seconds = benchmark.stats.stats.min
            same = times_the_same_job(case, a, b, found, seconds, options)
        else:
            seconds = best(call, 2)
            two = gain_of_two(call)
        rates[size] = seconds
    kernel = plan(a, b, case.accumulator, **{name: x for name, x in options.items() if name.startswith("scale")}).kernel
    benchmark.extra_info |= {
        "kernel": kernel,
        "GMAC/s": round(SIZE**3 / rates[SIZE] / 1e9, 2),
        "at 512": round(LARGE**3 / rates[LARGE] / 1e9, 2),
        "times naive": round(naive_seconds / rates[SIZE]),
        "times the same job": "-" if same is None else same,
        "part of sgemm": f"1/{rates[SIZE] / sgemm[SIZE]:.1f}",
        "target": f"1/{1 / case.target:.0f}" if case.target else "-",
        "two threads": round(two, 2),
        "of sgemm": round(sgemm_gain, 2),
    }
    print(f"\n{name}: {benchmark.extra_info}")


@pytest.mark.parametrize("name", CASES)
def test_events(name, benchmark):
    """How many times as long a product takes that counts its events; at most twice is aimed at."""
    case = CASES[name]
    a, b = operands_of(case, SIZE)
    options = options_of(case, SIZE)
    set_num_threads(1)
    with threadpool_limits(1):
        _, events = matmul(a, b, case.accumulator, events=True, **options)
        _, counts = wanted_corner(case, a, b, options, events=True)
        for event, count in counts.items():
            assert (getattr(events, event)[: CORNER[0], : CORNER[1]] == count).all(), event
        call = lambda: matmul(a, b, case.accumulator, events=True, **options)  # noqa: E731
        times, seconds = ratio(call, lambda: matmul(a, b, case.accumulator, **options), 15)
        benchmark.pedantic(call, rounds=1)
    figures = {"times as long": round(times, 2), "target": 2.0, "GMAC/s": round(SIZE**3 / seconds / 1e9, 2)}
    benchmark.extra_info |= figures
    print(f"\n{name}, events: {figures}")


@pytest.mark.parametrize("peer", product_peers(), ids=lambda peer: peer.name)
def test_peer(peer, benchmark):
    """The job that a peer does too: binary16 products rounded, then binary16 sums, k ascending."""
    accumulator = Accumulator(BINARY16, R.RNE, Overflow.IEEE, product=Quantizer(BINARY16, overflow=Overflow.IEEE))
    a, b = operands(catalog.E4M3, SIZE)
    assert peer.multiply(a[:7], b[:, :5]).tobytes() == matmul(a[:7], b[:, :5], accumulator).tobytes()
    set_num_threads(1)
    mine = best(lambda: matmul(a, b, accumulator), 5)
    benchmark.pedantic(peer.multiply, (a, b), rounds=2, warmup_rounds=0)
    theirs = benchmark.stats.stats.min
    print(f"\n{peer.name} {peer.version}: {SIZE**3 / theirs / 1e9:.3f} GMAC/s, {theirs / mine:.0f} times our time")
