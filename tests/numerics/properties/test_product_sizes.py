"""Accumulators that are wrong for operands or sums of one size alone, of one sign, or for one long chain."""

import numpy as np
import pytest

from numerics import Accumulator, FixedFormat, FloatFormat, matmul
from numerics.properties import ClaimError, as_accumulator, checks

FP16 = FloatFormat(5, 10)
CLAIMS = {
    "in sequence": Accumulator(FP16),
    "as a tree": Accumulator(FP16, order="pairwise"),
    "compensated": Accumulator(FP16, order="kahan"),
    "exact": Accumulator(FP16, order="exact"),
    "in chunks": Accumulator(FP16, chunk=16, outer=Accumulator(FloatFormat(8, 23))),
}


def binade(x, exponent):
    return (np.abs(x) >= 2.0**exponent) & (np.abs(x) < 2.0 ** (exponent + 1))


def under_test(claim, spoil_a=lambda a: a, spoil_b=lambda b: b, spoil=lambda out, a, b: out):
    def fn(a, b):
        return np.asarray(spoil(matmul(spoil_a(a), spoil_b(b), claim), a, b)).astype(a.dtype)

    return as_accumulator(fn, claim)


@pytest.mark.sampled
@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
@pytest.mark.parametrize("exponent", [-12, 8, 12])
def test_operands_of_one_binade_and_sign(claim, exponent):
    def turned(x):
        return np.where(binade(x, exponent) & (x < 0), -x, x).astype(x.dtype)

    for sides in ({"spoil_a": turned}, {"spoil_b": turned}):
        with pytest.raises(ClaimError, match="steps: "):
            checks.steps(under_test(claim, **sides))


@pytest.mark.sampled
@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
@pytest.mark.parametrize("exponent", [-14, -8, 9, 14])
@pytest.mark.parametrize("negative", [False, True])
def test_sums_of_one_binade_and_sign(claim, exponent, negative):
    def spoil(out, a, b):
        return np.where(binade(out, exponent) & ((out < 0) == negative), out / 2, out)

    with pytest.raises(ClaimError, match="steps: "):
        checks.steps(under_test(claim, spoil=spoil))


@pytest.mark.sampled
@pytest.mark.parametrize("k", [512, 1000, 1024, 1025])
@pytest.mark.parametrize("claim", [CLAIMS["in sequence"], Accumulator(FixedFormat(16, 4))], ids=["floats", "fixed"])
def test_chains_of_one_length(claim, k):
    with pytest.raises(ClaimError, match="steps: "):
        checks.steps(under_test(claim, spoil=lambda out, a, b: out * (a.shape[-1] != k) + (a.shape[-1] == k)))


@pytest.mark.parametrize(
    "claim", [CLAIMS["as a tree"], CLAIMS["exact"], Accumulator(FixedFormat(12, 2, signed=False))], ids=str
)
def test_right_ones_are_not_accused(claim):
    checks.steps(under_test(claim))
    checks.steps(as_accumulator(claim, takes_c=True))
