"""Stepping products by the CUDA kernel, run in the simulator: the oracle's bits."""

import numpy as np
import pytest

from numerics import Accumulator, Overflow, Quantizer, Rounding, catalog
from numerics.kernels import gemm as cpu
from numerics.kernels.cuda import gemm
from numerics.kernels.cuda._jit import SIMULATED
from numerics.stepping import rows_of
from numerics.steps import random_bits_of
from tests.cuda.products import drawn, members, problem_of, stepping_plans, wanted_of

assert SIMULATED
NO_WORDS = np.zeros((0, 0), np.uint32)
LBA_SUM, LBA_PRODUCT = catalog.lba(7, 4, 10, paper=True), catalog.lba(7, 4, 12, paper=True)
LBA = Accumulator(LBA_SUM, Rounding.RTZ, product=Quantizer(LBA_PRODUCT, Rounding.RTZ), chunk=4)
SR = Rounding.SR


def launch(a, b, c, accumulator, plan, source, *, seed=0, stream=0, words=NO_WORDS, turned=False):
    """total [B, M, N] of the kernel for this plan; turned: of arrays that lie in memory the other way round."""
    dtype = plan.carrier.dtype
    batches, (rows, depth), columns = max(a.shape[0], b.shape[0]), a.shape[1:], b.shape[2]
    a, b = a.astype(dtype), b.astype(dtype)
    total = np.zeros((batches, rows, columns), dtype)
    if c is not None:
        total[...] = c
    if turned:
        a, b, total = (np.ascontiguousarray(x.swapaxes(1, 2)).swapaxes(1, 2) for x in (a, b, total))
    span = accumulator.roundings(depth)
    numbers = tuple(np.uint64(n) for n in (seed, stream, span, 0, columns, 1))
    modes = plan.mode, plan.product_mode, plan.outer_mode
    kernel = gemm.make_chain(*modes, int(plan.normalise), source, int(dtype == np.float64))
    grid = -(-columns // gemm.TILE), -(-rows // gemm.TILE), batches
    chunk = min(accumulator.chunk or depth, depth)
    kernel[grid, (gemm.SIDE, gemm.SIDE)](a, b, total, rows_of(accumulator, plan.carrier), chunk, words, numbers)
    return total


def check(accumulator, *, shape=(3, 6, 5), batches=(1, 1), addend=False, which=slice(1), turned=False, **options):
    """The kernels of the plans `which`, words drawn in them or given."""
    a, b, c = members(shape, batches, addend)
    wanted = wanted_of(a, b, accumulator, c=c, **options)
    problem = problem_of(a, b, c)
    source = cpu.DETERMINISTIC
    words = options.get("words")
    if words is not None:
        source, words = cpu.GIVEN, np.ascontiguousarray(words.reshape(-1, words.shape[-1]))
    elif accumulator.stochastic:
        source = drawn(accumulator, shape[1])
    chosen = stepping_plans(problem, accumulator)[which]
    assert chosen
    for plan in chosen:
        own = {"words": words} if words is not None else options
        total = launch(a, b, c, accumulator, plan, source, turned=turned, **own).astype(wanted.dtype)
        assert total.tobytes() == wanted.tobytes(), (plan.reason, total, wanted)
    return source


FUSED = {
    "odd, to nearest": (Accumulator(catalog.E5M2), {"shape": (3, 6, 5)}),
    "upward": (Accumulator(catalog.E4M3, Rounding.RTP), {"batches": (2, 1), "addend": True}),
    "downward": (Accumulator(catalog.E4M3, Rounding.RTN), {"batches": (1, 2)}),
    "to odd": (Accumulator(catalog.E4M3, Rounding.RTO), {"batches": (2, 2)}),
    "ties away, overflows": (Accumulator(catalog.E5M2, Rounding.RNA, Overflow.IEEE), {"turned": True}),
    "native": (Accumulator(catalog.BINARY32, overflow=Overflow.IEEE), {"shape": (1, 9, 1)}),
    "float64": (Accumulator(catalog.BINARY32, Rounding.RTZ), {"addend": True}),
    "one product": (Accumulator(catalog.E5M2, Rounding.RTZ), {"shape": (2, 1, 3)}),
}


@pytest.mark.parametrize("name", FUSED)
def test_exact_products(name):
    accumulator, options = FUSED[name]
    check(accumulator, **options)


def test_product_quantizer_and_chunks():
    check(LBA, shape=(3, 11, 5), which=slice(2), addend=True)
    check(LBA, shape=(3, 4, 2))


def test_other_product_quantizers_and_chunks():
    check(Accumulator(catalog.BINARY16, product=Quantizer(catalog.E5M2, Rounding.RTN)), shape=(2, 5, 3))
    check(Accumulator(catalog.E5M2, chunk=3, outer=Accumulator(catalog.BINARY16, Rounding.RTO)), shape=(2, 7, 3))


SEEDED = {"seed": 3 + (1 << 40), "stream": 9 + (1 << 35)}
DRAWN = {
    "blocks of 4": (Accumulator(catalog.E5M2, SR, random_bits=18), (3, 8, 5), gemm.BLOCKS),
    "blocks of 8": (Accumulator(catalog.E5M2, SR, random_bits=12), (3, 24, 5), gemm.BLOCKS),
    "blocks of 16": (Accumulator(catalog.E5M2, SR, random_bits=6), (2, 32, 3), gemm.BLOCKS),
    "singly": (Accumulator(catalog.E5M2, Rounding.SR_B, random_bits=12), (3, 9, 5), gemm.SINGLY),
    "products too": (
        Accumulator(catalog.BINARY16, SR, random_bits=9, product=Quantizer(catalog.E5M2, SR, random_bits=8)),
        (3, 8, 2),
        gemm.SINGLY,
    ),
    "chunks": (Accumulator(catalog.E5M2, SR, random_bits=12, chunk=7), (2, 21, 3), gemm.BLOCKS),
    "rounded products": (
        Accumulator(catalog.BINARY16, SR, random_bits=9, product=Quantizer(catalog.E5M2), chunk=16),
        (2, 11, 3),
        gemm.SINGLY,
    ),
}


@pytest.mark.parametrize("name", DRAWN)
def test_drawn_words(name):
    accumulator, shape, source = DRAWN[name]
    assert check(accumulator, shape=shape, batches=(2, 1), **SEEDED) == source


def test_given_words():
    product = Quantizer(catalog.E5M2, SR, random_bits=8)
    outer = Accumulator(catalog.BINARY16, SR, random_bits=3)
    accumulator = Accumulator(catalog.BINARY16, SR, random_bits=9, product=product, chunk=4, outer=outer)
    shape = 3, 6, 2
    bits = random_bits_of(accumulator, shape[1]).astype(np.uint64)
    words = np.random.default_rng(0).integers(0, np.uint64(1) << bits, (2, 3, 2, bits.size)).astype(np.uint32)
    assert set(bits.tolist()) == {3, 8, 9}
    check(accumulator, shape=shape, batches=(1, 2), words=words)
