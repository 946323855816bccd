"""Chains on a fixed-point grid by the CUDA kernel, run in the simulator: the oracle's integers, the CPU's reports."""

import numpy as np
import pytest

from numerics import Accumulator, FixedFormat, Overflow, Quantizer, Rounding
from numerics.fixed_routes import routes
from numerics.fixed_sizes import product_point, shifts, sizes_of
from numerics.fixed_steps import grid_row, merged_words, rule_of, scaled, stepped_product
from numerics.kernels import fixed_gemm, modes
from numerics.kernels import gemm as cpu
from numerics.kernels.cuda import fixed, gemm
from numerics.kernels.cuda._jit import SIMULATED
from numerics.parameters import FLOAT32, FLOAT64
from numerics.problem import Problem, Words, facts
from tests.cuda.products import wanted_of

assert SIMULATED
R, SATURATE, WRAP, ERROR = Rounding, Overflow.SATURATE, Overflow.WRAP, Overflow.ERROR
NO_WORDS = np.zeros((0, 0), np.uint32)
SUM, PRODUCT = FixedFormat(8, 3), FixedFormat(7, 4)
CARRIERS = {"float32": FLOAT32, "float64": FLOAT64}


def problem_of(accumulator, shape, batches, addend, seed=1):
    """Multiples of 1/8 up to 2 and of 1/16 up to 4: products are finer than the grids, their sums leave the limits."""
    rows, depth, columns = shape
    rng = np.random.default_rng(seed)
    a = rng.integers(-16, 17, (batches[0], rows, depth)) / 8
    b = rng.integers(-64, 65, (batches[1], depth, columns)) / 16
    c = rng.integers(-99, 99, (max(batches), rows, columns)) / 8 if addend else None
    words = Words(5, 1 << 40, accumulator.roundings(depth)) if accumulator.stochastic else None
    return Problem(a, b, c, (facts(a, "a"), facts(b, "b"), None if c is None else facts(c, "c")), words)


def launch(problem, accumulator, carrier, odd, given=False):
    """(integers, numbers of the first reported overflows) [B, M, N] of the kernel."""
    sizes, dtype, product = sizes_of(problem, accumulator), carrier.dtype, accumulator.product
    assert sizes.rounds_products == (product is not None) and not sizes.on_grid
    point = product_point(accumulator, sizes)
    a, b = (scaled(x, by, dtype) for x, by in zip((problem.a, problem.b), shifts(sizes, point), strict=True))
    total = np.zeros(problem.shape, dtype)
    if problem.c is not None:
        total[...] = scaled(problem.c, -sizes.grid, dtype)
    grid = grid_row(accumulator, accumulator.format, 0, dtype)
    parts = [accumulator, accumulator if product is None else product]
    grids = grid, grid if product is None else grid_row(product, product.fmt, point - sizes.grid, dtype)
    rows = []
    for part in parts:
        row = np.zeros(modes.ROW_LENGTH, np.uint32)
        unused = 32 - (part.random_bits or 32)
        row[modes.RANDOM_SHIFT], row[modes.RANDOM_MASK] = unused, (1 << 32) - (1 << unused)
        rows.append(row)
    words, source, numbers = NO_WORDS, cpu.DETERMINISTIC, (0,) * 6
    if problem.words is not None:
        numbers = *problem.words[:4], problem.shape[2], 1
        source = cpu.GIVEN if given else gemm.SINGLY
        words = merged_words(problem, accumulator, slice(0, total.size)) if given else NO_WORDS
    products = (modes.NO_ROUNDING, fixed_gemm.CLAMPS)
    if product is not None:
        products = int(product.rounding), rule_of(product.overflow)
    sums = int(accumulator.rounding), rule_of(accumulator.overflow)
    constants = *sums, *products, int(odd), source, int(carrier is FLOAT64)
    batches, height, width = problem.shape
    firsts = np.full(total.shape, -1, np.int32)
    how = (-(-width // fixed.SIDE), -(-height // fixed.SIDE), batches), (fixed.SIDE, fixed.SIDE)
    keys = tuple(np.uint64(n) for n in numbers)
    stride = 1 if product is None else 2
    if accumulator.order == "pairwise":
        pairs = tuple(zip(grids, rows, strict=True))
        options = accumulator.block or 0, problem.c is not None
        fixed.make_tree(*constants, stride - 1)[how](a, b, total, pairs, *options, words, keys, firsts)
    else:
        fixed.make_chain(*constants)[how](a, b, total, grids, tuple(rows), stride, words, keys, firsts)
    return total.astype(np.int64), firsts


def reports(accumulator):
    """Whether an overflow is an error, which the oracle raises."""
    product = accumulator.product
    return ERROR in (accumulator.overflow, product and product.overflow)


def check(accumulator, shape=(3, 9, 3), batches=(1, 1), addend=False, few=1, given=False):
    problem = problem_of(accumulator, shape, batches, addend)
    sizes = sizes_of(problem, accumulator)
    stepping = [route.name for route in routes(problem, accumulator, sizes) if route.name.endswith(("steps", "odd"))]
    assert stepping
    for name in stepping[:few]:
        carrier, odd = CARRIERS[name.split()[0]], name.endswith("odd")
        found, firsts = launch(problem, accumulator, carrier, odd, given)
        if reports(accumulator):
            wanted = stepped_product(problem, accumulator, sizes, carrier, odd, fixed_gemm.FIRST)
            assert (firsts == wanted.firsts).all(), (name, firsts, wanted.firsts)
            integers = wanted.integers
        else:
            drawn = {"seed": 5, "stream": 1 << 40} if accumulator.stochastic else {}
            values = wanted_of(problem.a, problem.b, accumulator, c=problem.c, **drawn)
            integers = values / accumulator.format.quantum
            assert (firsts == -1).all()
        assert (found == integers).all(), (name, found, integers)
    return firsts


@pytest.mark.parametrize("mode", [R.RNE, R.RTP, R.RNA, R.RTZ, R.RTN, R.RTO], ids=lambda m: m.name)
def test_every_mode(mode):
    check(Accumulator(SUM, mode, SATURATE), batches=(2, 1), addend=True)


def test_rules_and_products():
    check(Accumulator(SUM, R.RNE, WRAP), (2, 13, 3), batches=(1, 2), few=3)


def test_rules_of_products():
    check(Accumulator(SUM, R.RTZ, SATURATE, product=Quantizer(PRODUCT, R.RNE, WRAP)), (3, 1, 3))
    check(Accumulator(SUM, R.RTN, WRAP, product=Quantizer(PRODUCT, R.RTP, SATURATE)), addend=True)


def test_reports():
    firsts = check(Accumulator(SUM, R.RNE, ERROR), (4, 30, 4))
    assert (firsts >= 0).any() and (firsts < 0).any()
    firsts = check(Accumulator(SUM, R.RTZ, SATURATE, product=Quantizer(PRODUCT, R.RNE, ERROR)), (4, 5, 4))
    assert (firsts >= 0).any() and (firsts[firsts >= 0] % 2 == 0).all()


@pytest.mark.parametrize(("mode", "bits"), [(R.SR, 3), (R.SR_B, 2), (R.SR_C, 2), (R.SR, 32)], ids=str)
@pytest.mark.parametrize("given", [False, True])
def test_random_words(mode, bits, given):
    product = Quantizer(PRODUCT, R.SR, SATURATE, 5) if bits == 3 else None
    check(Accumulator(SUM, mode, SATURATE, product=product, random_bits=bits), batches=(2, 1), given=given)


def test_trees():
    firsts = check(Accumulator(SUM, R.RNE, ERROR, order="pairwise"), (4, 60, 4))
    assert (firsts >= 0).any() and (firsts < 0).any()
    product = Quantizer(PRODUCT, R.RTZ, ERROR)
    check(Accumulator(SUM, R.RNE, ERROR, product=product, order="pairwise", block=2), (3, 7, 3), addend=True)


def test_trees_of_random_sums():
    sr = Accumulator(SUM, R.SR, product=Quantizer(PRODUCT, R.RTZ), order="pairwise", random_bits=3)
    check(sr, (2, 6, 3), batches=(2, 1))
