"""Affine codes against exact rationals, bit for bit, ties and their neighbours included; the exact zero."""

from fractions import Fraction

import numpy as np
import pytest

from numerics import Rounding, random_words
from numerics.clipping import affine, dequantize
from numerics.reference import affine as oracle

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def wanted(x, lo, hi, bits, **options):
    """Codes by the oracle, the range widened to hold 0."""
    lo, hi = min(lo, 0.0), max(hi, 0.0)
    return [oracle.code(v, lo, hi, bits, **options) for v in np.ravel(x).tolist()]


def near_ties(lo, hi, bits):
    """Float64 numbers nearest to (k + 1/2) scale, and their neighbours."""
    scale = oracle.parameters(lo, hi, bits)[0]
    ties = (np.arange(-3, 2**bits) + 0.5) * scale
    return np.concatenate([np.nextafter(ties, -np.inf), ties, np.nextafter(ties, np.inf)])


@DTYPES
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 13, 20])
def test_codes_are_those_of_the_oracle(bits, dtype):
    rng = np.random.default_rng(bits)
    for spread in (1.0, 1e-30, 3e30):
        x = (spread * (rng.standard_normal((6, 10)) + rng.uniform(-2, 2))).astype(dtype)
        codes, scale, zero_point = affine(x, bits)
        lo, hi = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
        assert (scale, zero_point) == oracle.parameters(lo, hi, bits)
        assert codes.ravel().tolist() == wanted(x, lo, hi, bits)
        assert codes.dtype == (np.uint8 if bits <= 8 else np.uint16 if bits <= 16 else np.uint32)
        assert codes.shape == x.shape


@pytest.mark.parametrize("hi", [1.0, 0.7, 3.1415, 1e-290, 0.1, 255 / 256])
def test_ties_are_those_of_the_exact_quotient(hi):
    for bits in (3, 8):
        x = near_ties(0.0, hi, bits)
        codes, scale, _ = affine(x, bits, lo=0.0, hi=hi)
        assert codes.tolist() == wanted(x, 0.0, hi, bits)
    if hi == 0.7:
        naive = np.clip(np.rint(x / scale), 0, 255)
        assert (naive != codes).any()  # a float quotient that is a tie, of numbers that are none


def test_numbers_beyond_the_range_take_its_ends():
    x = np.array([-1e308, -2.0, -0.9, 0.0, 3.1, 1e308])
    codes, scale, zero_point = affine(x, 8, lo=-1.0, hi=3.0)
    assert codes.tolist() == wanted(x, -1.0, 3.0, 8)
    assert (codes[0], codes[-1]) == (0, 255)
    assert codes[3] == zero_point == 64
    assert dequantize(codes, scale, zero_point)[3] == 0.0


@DTYPES
@pytest.mark.parametrize("bits", [1, 2, 3, 8])
def test_zero_is_a_code_and_errors_are_half_a_step(bits, dtype):
    rng = np.random.default_rng(7)
    for low, high in rng.uniform(-1, 1, (60, 2)):
        x = np.sort(np.concatenate([np.linspace(min(low, high), max(low, high), 17), [0.0, -0.0]])).astype(dtype)
        codes, scale, zero_point = affine(x, bits)
        back = dequantize(codes, scale, zero_point)
        assert (codes[x == 0] == zero_point).all()
        assert (back[x == 0] == 0).all()
        assert (np.diff(codes.astype(int)) >= 0).all()
        # At both ends too, since the zero point is rounded to nearest.
        assert np.abs(back - x).max() <= scale / 2 * (1 + 2.0**-30)


def test_a_truncated_zero_point_clips_up_to_a_step():
    # A published variant truncates -lo / scale: zero stays exact, but a whole step can be missing at the low end.
    lo, hi, bits = -0.999, 254.001, 8
    scale, zero_point = oracle.parameters(lo, hi, bits)
    truncated = int(-lo / scale)
    assert (truncated, zero_point) == (0, 1)
    error = abs(Fraction(lo) - Fraction(scale) * (0 - truncated))
    assert error > Fraction(scale) * Fraction(99, 100)
    assert abs(Fraction(lo) - Fraction(scale) * (0 - zero_point)) <= Fraction(scale) / 2
    # Not rounded at all, no code is zero.
    assert (-lo / scale) % 1 != 0


def test_a_fused_relu_spends_no_code_on_negatives():
    x = np.array([-5.0, -0.1, 0.0, 0.1, 2.0], np.float32)
    codes, scale, zero_point = affine(x, 4, half_range=True)
    assert zero_point == 0
    assert scale == 2.0 / 15
    assert codes.tolist() == [0, 0, 0, 1, 15]
    assert affine(x, 4, hi=1.0, half_range=True)[0].tolist() == [0, 0, 0, 2, 15]
    assert affine(-np.abs(x), 4, half_range=True)[1:] == (0.0, 0)


def test_ranges_of_width_zero_and_empty_arrays():
    for x in (np.zeros((2, 3), np.float32), np.zeros((0, 2))):
        codes, scale, zero_point = affine(x, 8)
        assert codes.shape == x.shape
        assert not codes.any()
        assert (scale, zero_point) == (0.0, 0)
        assert not dequantize(codes, scale, zero_point).any()
    # A range that is given is widened to hold 0, on either side.
    assert affine(np.array([5.0]), 2, lo=3.0, hi=6.0)[0].tolist() == [2]
    assert affine(np.array([-5.0]), 2, lo=-6.0, hi=-3.0)[2] == 3


@DTYPES
def test_layouts_do_not_matter(dtype):
    x = np.random.default_rng(8).standard_normal((4, 5, 6)).astype(dtype)
    codes = affine(x, 8)[0]
    turned = np.asfortranarray(x)
    assert (affine(turned, 8)[0] == codes).all()
    assert (affine(x[::-1, ::2], 8, lo=-3.0, hi=3.0)[0] == affine(x, 8, lo=-3.0, hi=3.0)[0][::-1, ::2]).all()
    options = {"rounding": Rounding.SR, "seed": 3, "stream": 1}
    drawn = affine(x, 8, **options)[0]
    assert (affine(turned, 8, **options)[0] == drawn).all()
    assert (drawn != codes).any()
    words = random_words(x.size, seed=3, stream=1).reshape(x.shape)
    assert (affine(x, 8, rounding=Rounding.SR, words=words)[0] == drawn).all()
    # The second half alone, by its offset.
    half = affine(x[2:], 8, lo=float(x.min()), hi=float(x.max()), offset=60, **options)[0]
    assert (half == drawn[2:]).all()


@pytest.mark.parametrize("random_bits", [1, 3, 8, 32])
def test_stochastic_codes_are_those_of_the_oracle(random_bits):
    rng = np.random.default_rng(random_bits)
    lo, hi = -1.3, 2.2
    scale = oracle.parameters(lo, hi, 8)[0]
    # Numbers near the thresholds of words, where a float quotient times 2**r may have the wrong floor.
    k = rng.integers(-80 * 2**random_bits, 150 * 2**random_bits, 150)
    at = k * 2.0**-random_bits * scale
    x = np.concatenate([np.nextafter(at, -9), at, np.nextafter(at, 9), [lo, hi, -4.0, 4.0, 0.0]])
    words = rng.integers(0, 2**random_bits, x.size)
    last = (-np.floor(np.ldexp(np.abs(x / scale), random_bits)).astype(np.int64)) % 2**random_bits
    for chosen in (words, np.minimum(last, 2**random_bits - 1), np.maximum(last - 1, 0)):
        codes = affine(x, 8, lo=lo, hi=hi, rounding=Rounding.SR, random_bits=random_bits, words=chosen)[0]
        each = zip(x.tolist(), chosen.tolist(), strict=True)
        assert codes.tolist() == [oracle.code(v, lo, hi, 8, word=w, random_bits=random_bits) for v, w in each]


def test_over_all_words_the_mean_is_x_to_the_last_random_bit():
    r, lo, hi = 6, -1.0, 2.0
    words = np.arange(2**r)
    for x in (-0.83, -1e-9, 0.0, 0.3, 1.2345):
        codes, scale, zero_point = affine(
            np.full(2**r, x), 4, lo=lo, hi=hi, rounding=Rounding.SR, random_bits=r, words=words
        )
        mean = sum(Fraction(scale) * (int(c) - zero_point) for c in codes) / 2**r
        short = abs(Fraction(x)) - abs(mean)
        assert 0 <= short < Fraction(scale) / 2**r
        if x == 0:
            assert (codes == zero_point).all()


def test_dequantize():
    codes = np.array([[0, 3], [255, 7]], np.uint8)
    assert dequantize(codes, 0.5, 3).tolist() == [[-1.5, 0.0], [126.0, 2.0]]
    single = dequantize(codes, 0.1, 3, dtype=np.float32)
    assert single.dtype == np.float32
    assert (single == dequantize(codes, 0.1, 3).astype(np.float32)).all()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: affine(np.ones(2), 21), ValueError, "bits = 21: give 1 to 20"),
        (lambda: affine(np.ones(2), 8, lo=2.0, hi=1.0), ValueError, r"lo = 2\.0, hi = 1\.0: give the lower end first"),
        (lambda: affine(np.ones(2), 8, lo=-1.0, half_range=True), ValueError, "leave lo out"),
        (lambda: affine(np.ones(2), 8, hi=np.inf), ValueError, "hi = inf: give a finite number"),
        (lambda: affine(np.array([np.nan]), 8), ValueError, "x has nan at element 0"),
        (lambda: affine(np.array([1]), 8), TypeError, "x of dtype int64"),
        (lambda: affine(np.array([1e-308]), 8), ValueError, "multiply x by a power of two first"),
        (lambda: affine(np.array([1.7e308, -1.7e308]), 8), ValueError, "multiply x by a power of two first"),
        (lambda: affine(np.ones(2), 8, rounding=Rounding.RTZ), ValueError, "affine rounds to nearest even"),
        (lambda: affine(np.ones(2), 8, rounding=Rounding.SR), ValueError, "SR needs random words: give seed="),
        (lambda: affine(np.ones(2), 8, words=np.zeros(2, int)), ValueError, "random words belong to SR"),
        (lambda: affine(np.ones(2), 8, random_bits=4), ValueError, "random_bits = 4 with RNE"),
        (lambda: dequantize(np.ones(2), 1.0, 0), TypeError, "codes of dtype float64"),
        (lambda: dequantize(np.ones(2, int), 1.0, 0, dtype=np.float16), TypeError, "dtype float16"),
    ],
)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_the_seed_is_not_used_beside_words():
    x = np.linspace(-1, 1, 9)
    words = np.arange(9) << 28
    given = affine(x, 4, rounding=Rounding.SR, seed=1, words=words)[0]
    np.testing.assert_array_equal(given, affine(x, 4, rounding=Rounding.SR, words=words)[0])
    assert not np.array_equal(given, affine(x, 4, rounding=Rounding.SR, seed=1)[0])
