"""Means and variances of one rounding, and where sums stop growing: equal to those over all words."""

import math
from fractions import Fraction

import numpy as np
import pytest

from numerics import Accumulator, FixedFormat, FloatFormat, Quantizer, Rounding, catalog, matmul, theory
from numerics.reference import fixed, floats
from tests.numerics import grids
from tests.numerics.error_bounds import BINARY16, E4M3, between


@pytest.mark.parametrize("mode", grids.STOCHASTIC, ids=lambda mode: mode.name)
@pytest.mark.parametrize("name", ["e4m3fn", "flush", "normal_binade", "no_mantissa", "fixed"])
def test_moments_equal_those_over_all_words(name, mode):
    fmt = FixedFormat(5, 2) if name == "fixed" else grids.SMALL[name]
    bits = 3
    words = np.arange(1 << bits, dtype=np.uint32)
    quantizer = Quantizer(fmt, mode, random_bits=bits)
    top = fmt.max
    points = [x for x in list(between(fmt, 16))[:: 7 if name != "fixed" else 1] if x <= Fraction(top)]
    for x in points + [-x for x in points]:
        values = [Fraction(v) for v in quantizer.quantize(np.full(1 << bits, float(x)), words=words).tolist()]
        mean = sum(values) / len(values)
        variance = sum((v - mean) ** 2 for v in values) / len(values)
        assert theory.rounding_moments(x, fmt, mode, bits) == (mean, variance)


def test_ideal_moments():
    x = Fraction(1) + Fraction(1, 30)
    mean, variance = theory.rounding_moments(x, E4M3, random_bits=math.inf)
    assert (mean, variance) == (x, (x - 1) * (Fraction(9, 8) - x))
    assert abs(theory.rounding_moments(x, E4M3).mean - x) < Fraction(1, 1 << 35)
    with pytest.raises(ValueError, match="moments of RNE: it is deterministic"):
        theory.rounding_moments(1.0, E4M3, Rounding.RNE)
    with pytest.raises(ValueError, match=r"449.0 is beyond the values of e4m3fn"):
        theory.rounding_moments(449.0, E4M3)


def where_it_stops(fmt, mode, addend, bits):
    """By stepping with the word that moves most; None where the largest value is reached."""
    total, word = 0.0, None if bits is None else (1 << bits) - 1
    rounder = fixed.round_exact if isinstance(fmt, FixedFormat) else floats.round_exact
    while total < fmt.max:
        moved = float(rounder(Fraction(total) + addend, fmt, mode, word=word, random_bits=bits))
        if moved == total:
            return total
        total = moved
    return None


STOPPING = [catalog.lba(3, 4, 5), grids.KINDS["no_mantissa"], grids.KINDS["no_mantissa_even_bias"], FixedFormat(6, 2)]
STOPPING += [grids.KINDS["no_mantissa_normal_binade"], grids.KINDS["no_exponent"], FloatFormat(6, 2, 15), E4M3]


@pytest.mark.parametrize("mode", grids.MODES, ids=lambda mode: mode.name)
@pytest.mark.parametrize("fmt", STOPPING, ids=str)
def test_stagnation_is_where_sums_stop(fmt, mode):
    bits = 2 if mode.stochastic else None
    for numerator in (1, 2, 3, 5, 7, 8, 11, 13, 16, 24, 33):
        addend = Fraction(numerator, 8) * Fraction(fmt.quantum if isinstance(fmt, FixedFormat) else fmt.smallest_normal)
        if (
            isinstance(fmt, FloatFormat)
            and fmt.subnormals.value != "gradual"
            and addend < Fraction(fmt.smallest_normal)
        ):
            with pytest.raises(ValueError, match="which flushes it"):
                theory.stagnation_point(fmt, mode, addend, bits)
            continue
        assert theory.stagnation_point(fmt, mode, addend, bits) == where_it_stops(fmt, mode, addend, bits)


def test_products_of_ones_stop_where_they_should():
    ones = np.ones((1, 5000), np.float32)
    for fmt, mode, point in (
        (BINARY16, Rounding.RNE, 2048.0),
        (BINARY16, Rounding.RTZ, 2048.0),
        (BINARY16, Rounding.RNA, 4096.0),
        (catalog.lba(7, 4, 5), Rounding.RTZ, 256.0),
        (catalog.BFLOAT16, Rounding.RNE, 256.0),
    ):
        assert matmul(ones, ones.T, Accumulator(fmt, mode))[0, 0] == theory.stagnation_point(fmt, mode) == point
    assert theory.stagnation_point(BINARY16, Rounding.RTP) is None
    assert theory.stagnation_point(catalog.BFLOAT16, Rounding.SR, random_bits=8) == 65536.0
    with pytest.raises(ValueError, match="addend = 0: give a positive number"):
        theory.stagnation_point(BINARY16, addend=0)
