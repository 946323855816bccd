"""The pairwise tree and Kahan's sum by the CUDA kernels, run in the simulator: the oracle's bits."""

import numpy as np
import pytest

from numerics import Accumulator, Quantizer, Rounding, catalog
from numerics.kernels import gemm as cpu
from numerics.kernels.cuda import gemm, orders
from numerics.kernels.cuda._jit import SIMULATED
from numerics.stepping import rows_of
from numerics.steps import random_bits_of
from tests.cuda.products import members, problem_of, stepping_plans, wanted_of

assert SIMULATED
NO_WORDS = np.zeros((0, 0), np.uint32)
NO_FIRSTS = np.zeros((1, 1, 1), np.int32)
PRODUCT = Quantizer(catalog.E5M2)
SR_PRODUCT = Quantizer(catalog.E5M2, Rounding.SR, random_bits=8)
SEEDED = {"seed": 3 + (1 << 40), "stream": 9 + (1 << 35)}


def launch(a, b, c, accumulator, plan, source, *, seed=0, stream=0, words=NO_WORDS):
    """total [B, M, N] of the kernel for this plan."""
    dtype = plan.carrier.dtype
    batches, (rows, depth), columns = max(a.shape[0], b.shape[0]), a.shape[1:], b.shape[2]
    total = np.zeros((batches, rows, columns), dtype)
    if c is not None:
        total[...] = c
    numbers = tuple(np.uint64(n) for n in (seed, stream, accumulator.roundings(depth), 0, columns, 1))
    constants = plan.mode, plan.product_mode, int(plan.normalise), source, int(dtype == np.float64)
    how = (-(-columns // orders.SIDE), -(-rows // orders.SIDE), batches), (orders.SIDE, orders.SIDE)
    arguments = a.astype(dtype), b.astype(dtype), total, rows_of(accumulator, plan.carrier)
    if accumulator.order == "pairwise":
        kernel = orders.make_tree(*constants)
        kernel[how](*arguments, accumulator.block or 0, c is not None, words, numbers, NO_FIRSTS)
    else:
        orders.make_kahan(*constants)[how](*arguments, words, numbers, NO_FIRSTS)
    return total


def check(accumulator, shape, *, batches=(1, 1), addend=False, **options):
    a, b, c = members(shape, batches, addend)
    wanted = wanted_of(a, b, accumulator, c=c, **options)
    words, source = options.pop("words", None), gemm.SINGLY if accumulator.stochastic else cpu.DETERMINISTIC
    if words is not None:
        source, options["words"] = cpu.GIVEN, np.ascontiguousarray(words.reshape(-1, words.shape[-1]))
    plan = stepping_plans(problem_of(a, b, c), accumulator)[0]
    total = launch(a, b, c, accumulator, plan, source, **options).astype(wanted.dtype)
    assert total.tobytes() == wanted.tobytes(), (plan.reason, total, wanted)


@pytest.mark.sampled
@pytest.mark.parametrize("depth", [1, 2, 3, 7, 8, 13])
@pytest.mark.parametrize("block", [None, 3])
def test_trees_of_any_size(depth, block):
    accumulator = Accumulator(catalog.E5M2, order="pairwise", block=block)
    check(accumulator, (3, depth, 3), addend=depth % 2 == 0)


def test_trees():
    check(Accumulator(catalog.BINARY16, Rounding.RTN, product=PRODUCT, order="pairwise"), (2, 5, 3), batches=(2, 1))


def test_trees_of_other_constants():
    check(Accumulator(catalog.BINARY16, product=PRODUCT, order="pairwise", block=2), (2, 7, 3), batches=(1, 2))
    check(Accumulator(catalog.BINARY32, Rounding.RTZ, order="pairwise"), (2, 5, 3))


def test_kahan():
    check(Accumulator(catalog.E5M2, order="kahan"), (3, 9, 3), addend=True)
    check(Accumulator(catalog.BINARY16, Rounding.RTZ, product=PRODUCT, order="kahan"), (2, 5, 3), batches=(2, 2))
    check(Accumulator(catalog.E5M2, order="kahan"), (2, 1, 3))


STOCHASTIC = {
    "tree": Accumulator(catalog.BINARY16, Rounding.SR, random_bits=9, product=SR_PRODUCT, order="pairwise"),
    "leaves": Accumulator(catalog.BINARY16, Rounding.SR, random_bits=9, product=SR_PRODUCT, order="pairwise", block=2),
    "kahan": Accumulator(catalog.BINARY16, Rounding.SR, random_bits=9, product=SR_PRODUCT, order="kahan"),
}


@pytest.mark.parametrize("name", STOCHASTIC)
def test_random_words(name):
    accumulator, shape = STOCHASTIC[name], (2, 7, 3)
    check(accumulator, shape, batches=(2, 1), addend=True, **SEEDED)
    bits = random_bits_of(accumulator, shape[1]).astype(np.uint64)
    words = np.random.default_rng(0).integers(0, np.uint64(1) << bits, (2, 2, 3, bits.size)).astype(np.uint32)
    check(accumulator, shape, batches=(2, 1), words=words)
