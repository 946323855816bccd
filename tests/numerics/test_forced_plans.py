"""Every kernel that the plan allows for a case gives the same bits, and they are the oracle's."""

import numpy as np
import pytest

from numerics import (
    Accumulator,
    FixedFormat,
    FloatFormat,
    Overflow,
    Quantizer,
    Rounding,
    catalog,
    matmul,
    parse_format,
    plan,
    plans,
    random_words,
    reference,
)
from numerics.execution import run
from numerics.operands import stack
from numerics.problem import Problem, Words, facts
from tests.numerics import grids
from tests.sampling import but_at_night

R = Rounding
LBA = Accumulator(
    parse_format("lba_m7e4_b10_paper"),
    R.RTZ,
    product=Quantizer(parse_format("lba_m7e4_b12_paper"), R.RTZ),
    chunk=4,
)
INTEGERS, FP8, WIDE = "integers", "fp8", "wide"
CASES = {
    "binary16 of integers": (
        Accumulator(catalog.BINARY16),
        INTEGERS,
        {"sgemm", "dgemm", "float32 once", "float64 once"},
    ),
    "binary16 of fp8": (
        Accumulator(catalog.BINARY16),
        FP8,
        {"float32 once", "float32 odd", "float64 once", "float64 odd"},
    ),
    "binary16 of binary16": (Accumulator(catalog.BINARY16), WIDE, {"float32 odd", "float64 odd"}),
    "LBA": (LBA, FP8, {"float32 odd", "float64 odd"}),
    "SR": (Accumulator(catalog.E5M2, R.SR, random_bits=9), FP8, {"float32 odd", "float64 odd"}),
    "tree": (Accumulator(catalog.BINARY16, order="pairwise"), FP8, {"float32 odd", "float64 odd"}),
    "binary32": (Accumulator(catalog.BINARY32, R.RNE, Overflow.IEEE), FP8, {"float32 native", "float64 odd"}),
    "saturating": (Accumulator(FixedFormat(12)), INTEGERS, {"float32", "int32", "float64", "int64"}),
    "wrapping": (Accumulator(FixedFormat(9), overflow=Overflow.WRAP), INTEGERS, {"sgemm", "dgemm", "modulo"}),
    "fixed, rounded": (Accumulator(FixedFormat(16, 4)), FP8, set()),
    "exact": (Accumulator(catalog.E4M3, order="exact"), FP8, {"dgemm", "superaccumulator"}),
}


def operands(kind, shape):
    rng = np.random.default_rng(5)
    if kind == INTEGERS:
        return rng.integers(-6, 7, shape).astype(np.float64)
    spread = np.exp2(rng.integers(-6, 5, shape))
    return Quantizer(catalog.E5M2 if kind == FP8 else catalog.BINARY16).quantize(rng.standard_normal(shape) * spread)


@pytest.mark.parametrize(
    "name",
    but_at_night(
        CASES, ["binary16 of integers", "binary16 of binary16", "LBA", "tree", "binary32", "fixed, rounded", "exact"]
    ),
)
def test_all_allowed_kernels_give_the_same_bits(name):
    acc, kind, expected = CASES[name]
    a, b = operands(kind, (5, 37)), operands(kind, (37, 70))
    words = None
    span = acc.roundings(37)
    if acc.stochastic:
        words = random_words(5 * 70 * span, acc.random_bits, seed=1).reshape(5, 70, span)
    known = facts(a, "a"), facts(b, "b"), None
    given = None if words is None else Words(0, 0, span, 0, words.reshape(-1, span))
    problem = Problem(stack(a, ()), stack(b, ()), None, known, given)
    allowed = plans(a, b, acc)
    assert expected <= {p.kernel for p in allowed}
    assert len(allowed) > 1
    assert plan(a, b, acc) == allowed[0]
    results = [run(problem, acc, plan=p).values.astype(np.float64) for p in allowed]
    for found, p in zip(results, allowed, strict=True):
        assert np.array_equal(found, results[0]), p.kernel
        grids.assert_same_bits(found, results[0])
    whole = matmul(a, b, acc, words=words)
    few = None if words is None else words[:2, :5]
    grids.assert_same_bits(whole[:2, :5], reference.matmul(a[:2], b[:, :5], acc, words=few))
    assert len(np.unique(whole)) > 20


def test_the_reason_is_a_sentence_with_the_inequality():
    a, b = operands(FP8, (5, 37)), operands(FP8, (37, 70))
    for acc, part in (
        (Accumulator(catalog.BINARY16), "24 >= 2p + 1 = 23"),
        (Accumulator(catalog.BINARY16, R.RTZ), "24 >= p + 2"),
        (Accumulator(FloatFormat(8, 30)), "sums are exact in float64"),
        (Accumulator(catalog.E5M2, R.SR, random_bits=9), "24 >= p + r + 1"),
    ):
        result, chosen = matmul(a, b, acc, seed=1, explain=True)
        assert chosen == plan(a, b, acc)
        assert part in chosen.reason
        assert np.array_equal(result, matmul(a, b, acc, seed=1))
