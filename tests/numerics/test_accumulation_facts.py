"""What is known about low-precision sums: where peers go wrong, stagnation, the errors of published accumulators."""

import numpy as np
import pytest

from numerics import Accumulator, FixedFormat, FloatFormat, Overflow, Quantizer, Rounding, catalog, dot, matmul
from tests.sampling import but_at_night

R = Rounding
BINARY16 = catalog.BINARY16


@pytest.mark.parametrize(("rule", "total"), [(Overflow.WRAP, -15536.0), (Overflow.SATURATE, 32767.0)])
def test_a_fixed_point_accumulator_overflows_as_it_says(rule, total):
    # A peer gives 50000 in 16 bits under both rules.
    hundred = np.full(5, 100.0)
    assert dot(hundred, hundred, Accumulator(FixedFormat(16), R.RNE, rule)) == total


def test_a_fused_step_is_rounded_once():
    # A peer rounds to float32 first, and then to binary16: 1.001953125.
    a = np.array([1 + 2.0**-10]) * 2.0**-6
    b = np.array([1 - 2.0**-10]) * 2.0**-5
    acc = Accumulator(BINARY16)
    assert dot(a, b, acc, c=np.float64(1 + 2.0**-10)) == 1.0009765625


def test_compensation_belongs_to_each_output():
    # A peer carries one compensation across columns, and Kahan's sum is worse than the plain one.
    rng = np.random.default_rng(0)
    a, b = (rng.uniform(0, 1, shape).astype(np.float16).astype(np.float64) for shape in ((4, 256), (256, 8)))
    exact = a @ b
    plain, kahan = (
        np.abs(matmul(a, b, Accumulator(BINARY16, order=order)) - exact).max() for order in ("sequential", "kahan")
    )
    assert kahan < plain / 4
    alone = np.stack([matmul(a, b[:, j : j + 1], Accumulator(BINARY16, order="kahan"))[:, 0] for j in range(8)], axis=1)
    assert np.array_equal(alone, matmul(a, b, Accumulator(BINARY16, order="kahan")))


def test_stochastic_sums_are_the_same_every_time():
    # Peers seed their generators from the clock or a device.
    ones = np.full((3, 700), 0.01), np.ones((700, 5))
    acc = Accumulator(catalog.E4M3, R.SR, random_bits=8)
    first = matmul(*ones, acc, seed=3)
    assert np.array_equal(first, matmul(*ones, acc, seed=3))
    assert not np.array_equal(first, matmul(*ones, acc, seed=4))


@pytest.mark.parametrize("mantissa_bits", but_at_night([3, 7, 10], [3, 10]))
def test_truncation_stagnates_at_two_to_the_precision(mantissa_bits):
    fmt = FloatFormat(8, mantissa_bits)
    count = 2 ** (mantissa_bits + 2)
    ones = np.ones(count, np.float32)
    assert dot(ones, ones, Accumulator(fmt, R.RTZ)) == 2.0 ** (mantissa_bits + 1)
    assert dot(ones, ones, Accumulator(fmt, R.RNE)) == 2.0 ** (mantissa_bits + 1)
    # Chunks, a tree and compensation pass it.
    assert dot(ones, ones, Accumulator(fmt, R.RTZ, chunk=16)) > 2.0 ** (mantissa_bits + 1)
    assert dot(ones, ones, Accumulator(fmt, order="pairwise")) == count
    assert dot(ones, ones, Accumulator(fmt, order="kahan")) > 2.0 ** (mantissa_bits + 1)


def relative_error(rounding, chunk, rows=5000, depth=1024):
    """RMS error of M7E4 sums of N(0, 1)*N(0, 1)/32, biases 12 of products and 10 of sums, over that of the sums."""
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((rows, 1, depth)), rng.standard_normal((rows, depth, 1))
    # Operands of 24 bits: products are exact in float64.
    a, b = a.astype(np.float32).astype(np.float64) / 32, b.astype(np.float32).astype(np.float64)
    acc = Accumulator(
        catalog.lba(7, 4, 10, paper=True),
        rounding,
        product=Quantizer(catalog.lba(7, 4, 12, paper=True), rounding),
        chunk=chunk,
    )
    exact = (a @ b).ravel()
    found = matmul(a, b, acc).ravel()
    return np.sqrt(np.mean((found - exact) ** 2) / np.mean(exact**2)), np.mean(np.abs(found) - np.abs(exact))


@pytest.mark.parametrize(
    ("rounding", "chunk", "published"),
    [(R.RTZ, None, 0.71), (R.RTZ, 16, 0.109), (R.RNE, None, 0.037), (R.RNE, 16, 0.011)],
)
def test_the_errors_of_twelve_bit_accumulators(rounding, chunk, published):
    found, bias = relative_error(rounding, chunk)
    assert found == pytest.approx(published, rel=0.1)
    if rounding is R.RTZ:
        assert bias == pytest.approx(-0.47 if chunk is None else -0.079, rel=0.1)  # truncation is no noise of mean zero
    else:
        assert abs(bias) < 3e-3
