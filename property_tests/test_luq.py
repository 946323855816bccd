"""LUQ put to the proof: the claims of a quantizer where alpha is a power of two, exact rationals where it is any number."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numerics import FloatFormat, NanEncoding, Rounding, luq
from numerics.properties import ClaimError, as_quantizer, checks, quantizer_suite, strategies
from numerics.reference import luq as oracle

E3M0 = FloatFormat(3, 0, infinities=False, nan=NanEncoding.NONE, name="e3m0")
FAR = 2.0**80  # infinities saturate in the suite's formats and are refused by LUQ


def _subject(bits, quantize=luq.quantize):
    def fn(x, words):
        return quantize(np.clip(x, -FAR, FAR), alpha=E3M0.smallest_normal, words=words, random_bits=bits)

    return as_quantizer(fn, fmt=E3M0, rounding=Rounding.SR, random_bits=bits, name=quantize.__name__)


TestLuq = quantizer_suite(_subject(6))
TestLuqByLongWords = pytest.mark.nightly(quantizer_suite(_subject(30)))


@st.composite
def calls(draw, most_bits=32):
    """(x, alpha, levels, words, bits): any alpha, and x around its grid or anywhere."""
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    levels, bits = draw(st.integers(1, 12)), draw(st.integers(1, most_bits))
    limit = 100 if dtype is np.float32 else 900
    alpha = float(dtype(math.ldexp(draw(st.floats(1, 2)), draw(st.integers(-limit, limit)))))
    near = st.builds(lambda j, k: math.ldexp(alpha * (1 + j / 64), k), st.integers(0, 64), st.integers(-40, levels))
    width = 32 if dtype is np.float32 else 64
    anything = st.floats(allow_nan=False, allow_infinity=False, width=width)
    x = np.array(draw(st.lists(st.one_of(near, anything), min_size=1, max_size=8)), dtype)
    words = draw(strategies.word_arrays(bits, x.shape))
    return x, alpha, levels, words, bits


@given(calls())
def test_every_element_is_what_the_rationals_say(call):
    x, alpha, levels, words, bits = call
    found = luq.quantize(x, levels, alpha=alpha, words=words, random_bits=bits)
    pairs = zip(x.tolist(), words.tolist(), strict=True)
    wanted = np.array([oracle.quantize_value(v, alpha, levels, w, bits) for v, w in pairs], x.dtype)
    assert found.tobytes() == wanted.tobytes()
    codes = luq.encode(x, levels, alpha=alpha, words=words, random_bits=bits)
    assert luq.decode(codes, alpha, levels, dtype=x.dtype).tobytes() == wanted.tobytes()


@given(calls(most_bits=6))
def test_mean_and_variance_over_all_words_are_the_closed_forms(call):
    x, alpha, levels, _, bits = call
    words = np.repeat(np.arange(1 << bits, dtype=np.uint32)[:, None], x.size, axis=1)
    rows = luq.quantize(np.broadcast_to(x, words.shape), levels, alpha=alpha, words=words, random_bits=bits)
    for value, column in zip(x.tolist(), rows.T.tolist(), strict=True):
        results = [Fraction(v) for v in column]
        mean = sum(results) / len(results)
        variance = sum((v - mean) ** 2 for v in results) / len(results)
        assert luq.moments(value, alpha, levels, bits) == (mean, variance)
        if abs(Fraction(value)) < Fraction(alpha) * 2 ** (levels - 1):
            low, high, _ = oracle.choice(value, alpha, levels)
            assert 0 <= abs(Fraction(value)) - abs(mean) < (high - low) / (1 << bits)


@given(calls(), st.sampled_from([None, "up"]))
def test_nothing_is_clipped_with_an_alpha_from_the_array(call, power_of_two):
    x, _, levels, words, bits = call
    x = np.clip(x, -1e30, 1e30)
    alpha = luq.alpha(x, levels, power_of_two=power_of_two)
    found = luq.quantize(x, levels, power_of_two=power_of_two, words=words, random_bits=bits)
    assert Fraction(alpha) * 2 ** (levels - 1) >= Fraction(float(np.abs(x).max()))
    assert found.tobytes() == luq.quantize(x, levels, alpha=alpha, words=words, random_bits=bits).tobytes()
    if alpha > np.finfo(x.dtype).smallest_normal and power_of_two is None:
        largest = np.abs(x) == np.abs(x).max()
        assert (found == x)[largest].all()


@given(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=3))
def test_averages_of_two_samples(values):
    def average(x, words):
        return luq.smp(np.clip(x, -FAR, FAR).astype(np.float64), alpha=E3M0.smallest_normal, words=words, random_bits=3)

    checks.smp(average, _subject(3), 2, values)


@given(calls())
def test_the_sign_of_x_is_the_sign_of_all(call):
    x, alpha, levels, words, bits = call
    there = luq.quantize(x, levels, alpha=alpha, words=words, random_bits=bits)
    back = luq.quantize(-x, levels, alpha=alpha, words=words, random_bits=bits)
    assert there.tobytes() == (-back).tobytes()


@pytest.mark.parametrize("biased", [luq.biased_log_rounding, luq.biased_noise_then_round])
def test_the_biased_ones_are_caught(biased):
    with pytest.raises(ClaimError):
        checks.unbiased(_subject(6, biased))
