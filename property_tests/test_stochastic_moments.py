"""Stochastic rounding over all its words: mean and variance are the exact rationals, nothing is sampled.

With r bits and nu the distance to the lower neighbour in ulp, k of the 2**r words go up: floor(nu 2**r) for SR, the
nearest integer to nu 2**r for SR_B (ties up) and SR_C (ties to even). So the mean is lo + ulp k/2**r and the variance
ulp**2 (k/2**r)(1 - k/2**r).
"""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from numerics import Quantizer, Rounding, Subnormals, catalog
from numerics.properties.strategies import STOCHASTIC, values, words
from numerics.properties.strategies import float_formats as formats

CASES = [(mode, np.float64) for mode in STOCHASTIC] + [(mode, np.float32) for mode in (Rounding.SR, Rounding.SR_C)]
NAMES = [f"{mode.name}-{dtype.__name__}" for mode, dtype in CASES]


def how_many_go_up(fraction, mode, random_bits):
    scaled = fraction * 2**random_bits
    if mode is Rounding.SR:
        return math.floor(scaled)
    return math.floor(scaled + Fraction(1, 2)) if mode is Rounding.SR_B else round(scaled)


def over_all_words(x, fmt, mode, random_bits):
    """Every result, as rationals."""
    quantizer = Quantizer(fmt, mode, random_bits=random_bits)
    count = 1 << random_bits
    return [Fraction(v) for v in quantizer.quantize(np.full(count, x), words=np.arange(count)).tolist()]


def grid_around(x, fmt):
    """(lower neighbour, ulp) of a magnitude."""
    exponent = math.frexp(float(x))[1] - 1
    if fmt.subnormals is Subnormals.GRADUAL:
        exponent = max(exponent, fmt.emin)
    ulp = Fraction(2) ** (exponent - fmt.mantissa_bits)
    return Fraction(float(x)) // ulp * ulp, ulp


@pytest.mark.parametrize(("mode", "dtype"), CASES, ids=NAMES)
@given(data=st.data())
def test_mean_and_variance(mode, dtype, data):
    fmt = data.draw(formats())
    x = data.draw(values(fmt, dtype))
    random_bits = data.draw(st.integers(1, 8))
    magnitude = abs(x)
    assume(0 < magnitude <= fmt.max)
    lower, ulp = grid_around(magnitude, fmt)
    # Flushed values go to zero whatever the word: they have their own law below.
    assume(fmt.subnormals is Subnormals.GRADUAL or lower >= Fraction(fmt.smallest_normal))
    fraction = (Fraction(float(magnitude)) - lower) / ulp
    k = how_many_go_up(fraction, mode, random_bits)
    share = Fraction(k, 2**random_bits)

    results = over_all_words(x, fmt, mode, random_bits)
    mean = sum(results) / len(results)
    variance = sum((v - mean) ** 2 for v in results) / len(results)
    sign = -1 if x < 0 else 1
    assert mean == sign * (lower + ulp * share)
    assert variance == ulp**2 * share * (1 - share)

    # The bias: none where the fraction has at most r bits, else under ulp 2**-r, half of it for SR_B and SR_C.
    bias = sign * mean - Fraction(float(magnitude))
    assert (bias == 0) == ((fraction * 2**random_bits).denominator == 1)
    if mode is Rounding.SR:
        assert -ulp / 2**random_bits < bias <= 0
    else:
        assert abs(bias) <= ulp / 2 ** (random_bits + 1)
    # Ideal rounding has variance (x - lo)(hi - x); with all bits of the fraction the words give exactly that.
    if bias == 0:
        assert variance == (sign * mean - lower) * (lower + ulp - sign * mean)


@pytest.mark.parametrize(("mode", "dtype"), CASES, ids=NAMES)
@given(data=st.data())
def test_the_words_that_go_up_are_the_largest(mode, dtype, data):
    fmt = data.draw(formats())
    x = data.draw(values(fmt, dtype))
    random_bits = data.draw(st.integers(1, 8))
    results = [abs(v) for v in over_all_words(x, fmt, mode, random_bits)]
    assert results == sorted(results)
    assert len(set(results)) <= 2


@pytest.mark.parametrize(("mode", "dtype"), CASES, ids=NAMES)
@given(data=st.data())
def test_exact_values_never_move(mode, dtype, data):
    fmt = data.draw(formats())
    code = data.draw(st.integers(0, fmt.largest_code))
    x = dtype(fmt.decode(code))
    random_bits = data.draw(st.integers(1, 8))
    assert set(over_all_words(x, fmt, mode, random_bits)) == {Fraction(float(x))}


@pytest.mark.parametrize(("mode", "dtype"), CASES, ids=NAMES)
@given(data=st.data())
def test_below_the_smallest_normal_of_a_flushed_format(mode, dtype, data):
    # Rounded as if the exponent were unbounded below, then flushed: all words give zero, or, in the last step below the
    # smallest normal, the words that go up give that.
    fmt = data.draw(formats(subnormals=(Subnormals.FLUSH, Subnormals.FULL_BINADE)))
    x = dtype(fmt.smallest_normal * data.draw(st.integers(1, 4095)) / 4096)
    random_bits = data.draw(st.integers(1, 8))
    lower, ulp = grid_around(x, fmt)
    fraction = (Fraction(float(x)) - lower) / ulp
    reaches = lower + ulp == Fraction(fmt.smallest_normal)
    k = how_many_go_up(fraction, mode, random_bits) if reaches else 0
    results = over_all_words(x, fmt, mode, random_bits)
    assert results.count(Fraction(fmt.smallest_normal)) == k
    assert results.count(Fraction(0)) == len(results) - k


@pytest.mark.parametrize("mode", STOCHASTIC, ids=lambda mode: mode.name)
def test_the_bias_of_few_bits_is_attained(mode):
    # x = 1 + ulp (1/4 + 1/8): with one bit, SR never goes up (bias -3/8 ulp) and the others do for one word of two
    # (+1/8). x = 1 + ulp/4 is a tie of SR_B and SR_C: one word of two goes up for the former, none for the latter.
    ulp = Fraction(1, 8)
    for x, wanted in ((1 + 3 / 64, (0, 1, 1)), (1 + 1 / 32, (0, 1, 0)), (1 + 3 / 32, (1, 2, 2))):
        results = over_all_words(np.float64(x), catalog.E4M3, mode, 1)
        assert results.count(1 + ulp) == wanted[STOCHASTIC.index(mode)]


@pytest.mark.parametrize("fmt", [catalog.E5M2, catalog.E4M3], ids=lambda fmt: fmt.name)
@given(data=st.data())
def test_the_mean_over_all_words_of_32_bits(fmt, data):
    # Too many to enumerate. Larger words never go down again, so the two beside the threshold tell how many go up.
    x = data.draw(values(fmt, np.float32))
    assume(0 < abs(x) <= fmt.max)
    magnitude, count = Fraction(float(abs(x))), 1 << 32
    lower, ulp = grid_around(abs(x), fmt)
    fraction = (magnitude - lower) / ulp
    k = how_many_go_up(fraction, Rounding.SR, 32)
    quantizer = Quantizer(fmt, Rounding.SR)
    assert quantizer.random_bits == 32

    some = data.draw(st.lists(words(32), max_size=12))
    beside = [word for word in (count - k - 1, count - k) if 0 <= word < count]
    drawn = np.array(sorted({0, count - 1, *beside, *some}))
    results = [Fraction(v) for v in np.abs(quantizer.quantize(np.full(drawn.size, x), words=drawn)).tolist()]
    assert results == sorted(results)
    assert results == [lower + ulp if word >= count - k else lower for word in drawn.tolist()]

    mean = ((count - k) * lower + k * (lower + ulp)) / count
    assert 0 <= magnitude - mean < ulp / count
    assert (mean == magnitude) == ((fraction * count).denominator == 1)
