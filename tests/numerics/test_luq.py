"""LUQ against exact rationals, bit for bit; its moments by enumeration of all words; its algebra; what is refused."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from numerics import FloatFormat, NanEncoding, Quantizer, Rounding, Subnormals, luq, random_words
from numerics.kernels import luq as kernel
from numerics.reference import luq as oracle

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
F32 = np.float32


def hard_cases(rng, alpha, levels, bits, count, dtype):
    """Values of all sizes, and words next to the one from which on they go up."""
    octaves = rng.integers(-60 if dtype is np.float64 else -40, levels + 2, count)
    x = (rng.choice([-1, 1], count) * rng.uniform(1, 2, count) * np.ldexp(alpha, octaves)).astype(dtype)
    edges = np.ldexp(dtype(alpha), np.arange(levels + 1))
    near = np.concatenate([edges, np.nextafter(edges, dtype(0)), np.nextafter(edges, dtype(np.inf)), 1.5 * edges])
    x = np.concatenate([x, near.astype(dtype), dtype([0.0, -0.0])])
    x = x[np.isfinite(x)]
    words = rng.integers(0, 1 << bits, x.size)
    for i, value in enumerate(x.tolist()):
        k = math.floor(oracle.choice(value, float(alpha), levels).chance * (1 << bits))
        if i % 3:
            words[i] = min(max((1 << bits) - k - i % 3 + 1, 0), (1 << bits) - 1)
    return x, words.astype(np.uint32)


def wanted(x, alpha, levels, words, bits):
    pairs = zip(x.tolist(), words.tolist(), strict=True)
    return np.array([oracle.quantize_value(v, float(alpha), levels, w, bits) for v, w in pairs], x.dtype)


def same_bits(found, expected):
    assert found.dtype == expected.dtype
    different = np.flatnonzero(found.view(np.uint8) != expected.view(np.uint8)) // found.itemsize
    assert different.size == 0, (int(different[0]), found[different[0]], expected[different[0]])


@DTYPES
@pytest.mark.parametrize("bits", [1, 8, 9, 16, 24, 25, 31, 32])
def test_equals_the_oracle(dtype, bits):
    rng = np.random.default_rng(bits)
    for levels in (1, 5, 7, 9):
        alpha = dtype(rng.uniform(1, 2) * 2.0 ** rng.integers(-20, 20)) if levels != 5 else dtype(0.25)
        x, words = hard_cases(rng, alpha, levels, bits, 150, dtype)
        found = luq.quantize(x, levels, alpha=float(alpha), words=words, random_bits=bits)
        same_bits(found, wanted(x, alpha, levels, words, bits))


@DTYPES
@pytest.mark.parametrize("place", ["smallest", "tiny", "last_lifted", "first_plain", "largest"])
def test_alpha_at_the_ends_of_the_type(dtype, place):
    info, levels = np.finfo(dtype), 6
    floor = 2.0 ** (kernel.FLOOR32 if dtype is F32 else kernel.FLOOR64)
    alpha = {
        "smallest": info.smallest_subnormal,
        "tiny": 37 * info.smallest_subnormal,
        "last_lifted": np.nextafter(dtype(floor), dtype(0)),
        "first_plain": dtype(floor),
        "largest": info.max / dtype(2 ** (levels - 1)),
    }[place]
    rng = np.random.default_rng(1)
    with np.errstate(over="ignore"):
        x, words = hard_cases(rng, dtype(alpha), levels, 32, 150, dtype)
    same_bits(luq.quantize(x, levels, alpha=float(alpha), words=words), wanted(x, dtype(alpha), levels, words, 32))


@pytest.mark.parametrize("bits", [24, 25, 32])
def test_small_magnitudes_by_long_words(bits):
    """float32 below 2**-22 alpha, next to the words that decide: there the two parts of a word meet bits of x below them."""
    rng = np.random.default_rng(bits)
    for alpha in F32([1.0, 1.4142135, np.nextafter(F32(2), F32(1)), 2.0**-88 * 1.7]):
        counts = np.concatenate([np.arange(1, 20), 2 ** np.arange(5, 32), 511 + np.arange(4), 1023 + np.arange(4)])
        x = (float(alpha) * counts * 2.0**-32).astype(F32)
        x = np.concatenate([np.nextafter(x, F32(0)), x, np.nextafter(x, F32(1)), x * F32(rng.uniform(1, 1.1))])
        for side in (-1, 0, 1):
            needed = [math.floor(oracle.choice(v, float(alpha), 7).chance * (1 << bits)) for v in x.tolist()]
            words = np.clip((1 << bits) - np.array(needed) + side, 0, (1 << bits) - 1).astype(np.uint32)
            found = luq.quantize(x, alpha=float(alpha), words=words, random_bits=bits)
            same_bits(found, wanted(x, alpha, 7, words, bits))


def test_many_levels():
    x = np.array([1.0, 3e-200, 5e-324, 0.0])
    step = luq.alpha(x, 1024)
    assert step == 2.0**-1023
    words = np.full(4, 2**32 - 1, np.uint32)
    same_bits(luq.quantize(x, 1024, words=words), wanted(x, step, 1024, words, 32))


# Unbiasedness


def test_ideal_mean_and_variance_are_the_closed_forms():
    """All x = j alpha/8 from 0 to the top, an alpha that is no power of two; the two outcomes against algebra."""
    alpha, levels = Fraction(3, 7), 7
    for j in range(8 * 64 + 1):
        x = j * alpha / 8
        mean, variance = oracle.moments(x, alpha, levels)
        assert mean == x
        assert luq.moments(x, alpha, levels, math.inf) == (x, variance)
        assert luq.moments(-x, alpha, levels, math.inf).mean == -x
        low = alpha * (1 << (math.floor(x / alpha).bit_length() - 1)) if x >= alpha else None
        assert variance == (x * (alpha - x) if low is None else (x - low) * (2 * low - x))
    for k in range(levels - 1):
        low = alpha * (1 << k)
        assert luq.moments(low * Fraction(3, 2), alpha, levels, math.inf).variance == low * low / 4
    beyond = luq.moments(alpha * 64 + 1, alpha, levels)
    assert beyond == (alpha * 64, 0)


@DTYPES
@pytest.mark.parametrize("bits", [1, 3, 8])
def test_mean_and_variance_over_all_words(dtype, bits):
    alpha, words = dtype(0.7), np.arange(1 << bits, dtype=np.uint32)
    step = Fraction(float(alpha))
    for value in dtype([0.0, 1e-30, 0.3, -0.3, 0.6999, 0.7, 0.75, 1.0, -1.3999, 1.4, 5.5, 5.6, -44.0, 44.8, 50.0]):
        x = np.full(words.size, value)
        results = [Fraction(v) for v in luq.quantize(x, alpha=float(alpha), words=words, random_bits=bits).tolist()]
        mean = sum(results) / len(results)
        variance = sum((v - mean) ** 2 for v in results) / len(results)
        assert luq.moments(float(value), step, 7, bits) == (mean, variance)
        if abs(Fraction(float(value))) <= step * 64:
            gap = abs(Fraction(float(value))) - abs(mean)
            assert 0 <= gap < max(step, abs(Fraction(float(value)))) / (1 << bits)


@DTYPES
def test_variance_on_arrays(dtype):
    alpha = dtype(0.7)
    x = dtype([[0.0, 0.2, -0.35, 0.7, 1.05], [1.4, -2.1, 30.0, 44.8, 100.0]])
    found = luq.variance(x, float(alpha), 7)
    assert found.dtype == dtype
    exact = [luq.moments(float(v), Fraction(float(alpha)), 7, math.inf).variance for v in x.flat]
    np.testing.assert_allclose(found.ravel(), np.array([float(v) for v in exact]), rtol=4 * np.finfo(dtype).eps)
    assert luq.variance(x, float(alpha))[1, 4] > 0 == luq.variance(x, 0.0).max()
    assert luq.variance(dtype([np.finfo(dtype).max / 1.1]), 1.0)[0] == np.inf


def test_ends_and_grid_values_are_fixed_points():
    rng = np.random.default_rng(2)
    for dtype in (np.float32, np.float64):
        x = rng.standard_normal(500).astype(dtype)
        for levels in (1, 5, 7, 9):
            step = dtype(luq.alpha(x, levels))
            assert step * 2 ** (levels - 1) == np.abs(x).max()
            grid = np.concatenate([dtype([0.0]), np.ldexp(step, np.arange(levels))])
            grid = np.concatenate([grid, -grid])
            for word in (0, 2**32 - 1):
                words = np.full(grid.size, word, np.uint32)
                same_bits(luq.quantize(grid, levels, words=words), grid)
                assert set(np.abs(luq.quantize(x, levels, words=np.full(500, word)))) <= set(grid)


def test_power_of_two_alpha_is_a_float_format():
    """E3M0 with gradual underflow, rounded stochastically by another kernel: the same bits for the same words."""
    x = np.random.default_rng(3).standard_normal(5000).astype(F32) * F32(2.0**-3)
    fmt = FloatFormat(3, 0, 10, subnormals=Subnormals.GRADUAL, infinities=False, nan=NanEncoding.NONE)
    assert (fmt.smallest_normal, fmt.max) == (2.0**-9, 2.0**-3)
    for bits in (5, 16, 32):
        other = Quantizer(fmt, Rounding.SR, random_bits=bits)
        words = random_words(x.size, bits, seed=5)
        call = {"alpha": 2.0**-9, "words": words, "random_bits": bits}
        same_bits(luq.quantize(x, **call), other.quantize(x, words=words))
        np.testing.assert_array_equal(fmt.decode(luq.encode(x, **call)), luq.quantize(x, **call))


# Words, shapes, threads


@DTYPES
@pytest.mark.parametrize("bits", [3, 8, 12, 24, 32])
def test_words_are_those_of_the_seed_wherever_the_array_is_cut(dtype, bits):
    x = np.random.default_rng(4).standard_normal(10_001).astype(dtype)
    call = {"alpha": 0.04, "random_bits": bits}
    whole = luq.quantize(x, seed=9, stream=3, offset=5, **call)
    words = random_words(x.size, bits, seed=9, stream=3, offset=5)
    same_bits(luq.quantize(x, words=words, seed=1, **call), whole)
    parts = [
        luq.quantize(x[a:b], seed=9, stream=3, offset=5 + a, **call) for a, b in ((0, 17), (17, 4100), (4100, 10_001))
    ]
    same_bits(np.concatenate(parts), whole)


def test_threads_shapes_and_memory(on_threads):
    x = np.random.default_rng(5).standard_normal((300, 1000)).astype(F32)
    on_threads(1)
    one = luq.quantize(x, seed=1)
    on_threads(3)
    same_bits(luq.quantize(x, seed=1), one)
    turned = luq.quantize(x.T, seed=1)
    same_bits(turned, luq.quantize(np.ascontiguousarray(x.T), seed=1))
    for out in (np.empty_like(x), np.empty((1000, 300), F32).T, x.copy()):
        assert luq.quantize(x, seed=1, out=out) is out
        np.testing.assert_array_equal(out, one)
    itself = x.copy()
    same_bits(luq.quantize(itself, alpha=luq.alpha(x), seed=1, out=itself), one)
    assert luq.quantize(np.zeros((0, 3)), seed=1).shape == (0, 3)
    assert luq.quantize(F32(0.5), alpha=0.5, seed=1).shape == ()
    frozen = random_words(x.size, seed=1).reshape(x.shape)
    frozen.flags.writeable = False
    same_bits(luq.quantize(x, words=frozen), one)


def test_zero_arrays():
    zeros = F32([0.0, -0.0, 0.0])
    assert luq.alpha(zeros) == luq.alpha(np.zeros(0)) == 0.0
    for alpha in (None, 0.0, 1.0):
        same_bits(luq.quantize(zeros, alpha=alpha, seed=1), zeros)
    same_bits(luq.smp(zeros, seed=1), zeros)
    assert luq.encode(zeros, seed=1).tolist() == [0, 8, 0]
    same_bits(luq.decode(np.uint8([0, 8, 0]), 0.0, dtype=F32), zeros)
    same_bits(luq.ablation(zeros, underflow="zero", rounding="nearest", seed=1), zeros)


# The scale


def test_alpha():
    x = F32([3.0, -5.0, 0.1])
    assert [luq.alpha(x, levels) for levels in (1, 5, 7, 9)] == [5.0, 5 / 16, 5 / 64, 5 / 256]
    assert luq.alpha(x, power_of_two="up") == 8 / 64
    assert luq.alpha(x, power_of_two="down") == 4 / 64
    for direction in ("up", "down"):
        assert luq.alpha(np.array([4.0]), power_of_two=direction) == 4 / 64
    same_bits(luq.quantize(x, power_of_two="up", seed=1), luq.quantize(x, alpha=1 / 8, seed=1))
    assert luq.quantize(x, power_of_two="down", seed=1)[1] == -4.0
    strided = np.arange(20.0)[::3]
    assert luq.alpha(strided) == 18 / 64


@DTYPES
def test_alpha_of_tiny_maxima_is_rounded_up(dtype):
    tiny = float(np.finfo(dtype).smallest_subnormal)
    for units, up, power in ((1, 1, 1), (64, 1, 1), (65, 2, 2), (200, 4, 4), (320, 5, 8)):
        x = dtype([units * tiny])
        assert luq.alpha(x) == up * tiny
        assert luq.alpha(x, power_of_two="up") == power * tiny
        assert luq.alpha(x) * 64 >= float(x[0])  # nothing is clipped
    assert luq.alpha(dtype([3 * tiny]), power_of_two="down") == tiny
    x = dtype([tiny, 65 * tiny])
    words = np.arange(8, dtype=np.uint32)
    mean = np.mean([luq.quantize(x, words=[w, w], random_bits=3).astype(np.float64) / tiny for w in words], axis=0)
    assert mean.tolist() == [1.0, 64.0 + float(Fraction(64) * Fraction(0, 8))]


def test_hindsight_max():
    assert luq.hindsight_max(4.0, 8.0, 0.25) == 7.0
    assert luq.hindsight_max(4.0, 8.0, 0) == 8.0
    assert luq.hindsight_max(4.0, 8.0, 1) == 4.0
    # An alpha from it clips a maximum that has grown.
    x = np.array([8.0, 1.0])
    step = luq.hindsight_max(4.0, 8.0, 0.5) / 64
    assert luq.quantize(x, alpha=step, seed=1)[0] == 6.0 == luq.moments(8.0, step, 7).mean


# Samples


def test_two_samples_halve_the_variance():
    """Over all pairs of 4-bit words, in rationals."""
    bits, alpha = 4, 1.0
    pairs = np.array(list(itertools.product(range(16), repeat=2)), np.uint32).T
    for value in (0.3, -0.3, 1.0, 1.3, -5.7, 64.0, 70.0):
        x = np.full(256, value)
        results = [Fraction(v) for v in luq.smp(x, alpha=alpha, words=pairs, random_bits=bits).tolist()]
        mean = sum(results) / 256
        variance = sum((v - mean) ** 2 for v in results) / 256
        one = luq.moments(value, 1, 7, bits)
        assert (mean, variance) == (one.mean, one.variance / 2)


@DTYPES
def test_samples_are_independent_streams(dtype):
    x = np.random.default_rng(6).standard_normal(1000).astype(dtype)
    for samples in (1, 2, 3, 5):
        rows = [luq.quantize(x, seed=4, stream=6 + s).astype(np.float64) for s in range(samples)]
        found = luq.smp(x, samples, seed=4, stream=6)
        assert found.dtype == dtype
        np.testing.assert_allclose(found, np.mean(rows, axis=0), rtol=2 * np.finfo(dtype).eps)
    last = luq.smp(x, 2, seed=4, stream=2**64 - 1)
    rows = [luq.quantize(x, seed=4, stream=s).astype(np.float64) for s in (2**64 - 1, 0)]
    np.testing.assert_allclose(last, np.mean(rows, axis=0), rtol=2 * np.finfo(dtype).eps)


# Codes and powers


@DTYPES
@pytest.mark.parametrize("levels", [1, 5, 7, 9, 200])
def test_decoded_codes_are_the_quantized_values(dtype, levels):
    x = np.random.default_rng(7).standard_normal((40, 25)).astype(dtype)
    x.flat[:2] = 0.0, -0.0
    alpha = luq.alpha(x, 9) if levels == 200 and dtype is np.float64 else luq.alpha(x, min(levels, 9))
    if levels == 200:
        alpha = 2.0**-100
    codes = luq.encode(x, levels, alpha=alpha, seed=3)
    assert codes.dtype == (np.uint16 if levels == 200 else np.uint8)
    assert levels != 7 or codes.max() < 16
    same_bits(luq.decode(codes, alpha, levels, dtype=dtype), luq.quantize(x, levels, alpha=alpha, seed=3))
    if levels != 200:
        again = luq.alpha(x, levels)
        same_bits(
            luq.decode(luq.encode(x, levels, seed=3), again, levels, dtype=dtype), luq.quantize(x, levels, seed=3)
        )


def test_all_codes():
    values = luq.decode(np.arange(16, dtype=np.uint8), 0.5)
    positive = [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0]
    same_bits(values, np.array(positive + [-v for v in positive]))
    assert luq.encode(values, alpha=0.5, seed=1).tolist() == list(range(16))
    same_bits(luq.decode(luq.encode(F32([3e-45]), alpha=1.4e-45, seed=1), 1.4e-45, dtype=F32), F32([2.8e-45]))


def test_all_products_of_int4_and_fp4():
    integers = np.arange(-7, 8)[:, None]
    magnitudes = np.ldexp(1.0, np.arange(7))
    powers = np.concatenate([-magnitudes, [0.0, -0.0], magnitudes])
    found = luq.multiply_int4_fp4(integers, powers)
    same_bits(found, integers.astype(np.float64) * powers)
    narrow = FloatFormat(4, 2, 1, infinities=False, nan=NanEncoding.NONE)
    assert np.isin(found, narrow.decode(narrow.codepoints())).all()
    assert luq.multiply_int4_fp4(np.int8(-3), F32(4)).tolist() == -12.0


@DTYPES
def test_nearest_power(dtype):
    values = [0.7, 0.75, 0.76, 1.0, 1.49, 1.5, 1.75, 2.9, 3.0, 1e-30, 7e-39, 1.5e38]
    values += [3 * float(np.finfo(dtype).smallest_subnormal), float(np.nextafter(dtype(1.5), dtype(0)))]
    x = dtype(values)
    found = luq.rdnp(x)
    assert found.dtype == dtype
    assert [Fraction(v) for v in found.tolist()] == [oracle.nearest_power(Fraction(v)) for v in x.tolist()]
    same_bits(luq.rdnp(-x), -found)
    same_bits(luq.rdnp(dtype([0.0, -0.0])), dtype([0.0, -0.0]))
    # The paper's form by logarithms, away from the midpoints.
    inner = dtype([0.7, 0.8, 1.2, 1.6, 5.0, 7.0])
    np.testing.assert_array_equal(luq.rdnp(inner), 2.0 ** np.rint(np.log2(inner) + luq.RDNP_SHIFT))
    assert round(luq.RDNP_SHIFT, 7) == -0.0849625


# What is biased


def mean_over_words(quantizer, value, alpha, bits):
    words = np.arange(1 << bits, dtype=np.uint32)
    return float(np.mean(quantizer(np.full(words.size, value), alpha=alpha, words=words, random_bits=bits)))


def test_noise_then_round_is_biased():
    bits, alpha = 10, 0.7
    for value in alpha * np.array([0.3, 1.0, 1.1, 1.25, 1.4, 1.9, 4.0, 4.5, 63.0, 64.0, 80.0]):
        found = mean_over_words(luq.biased_noise_then_round, value, alpha, bits) - min(value, 64 * alpha)
        expected = luq.noise_then_round_bias(np.array([min(value, 63.999 * alpha)]), alpha)[0] * (value < 64 * alpha)
        assert abs(found - expected) <= max(value, alpha) * 2.0**-bits
    assert luq.noise_then_round_bias(np.array([-4.0, 4.5, 5.0, 0.5]), 1.0).tolist() == [-0.5, -0.25, 0.0, 0.0]
    assert mean_over_words(luq.biased_noise_then_round, -4.0, 1.0, bits) == -3.5


def test_rounding_of_the_logarithm_is_biased():
    bits, alpha = 12, 1.0
    worst = 2.0**0.5287663729448977
    for value in (0.3, 1.0, 1.2, worst, 8 * worst, 1.9, 32.0, 64.0, 80.0):
        found = mean_over_words(luq.biased_log_rounding, value, alpha, bits) - min(value, 64.0)
        expected = luq.log_rounding_bias(np.array([value]), alpha)[0] * (value < 64)
        assert abs(found - expected) <= max(value, alpha) * 2.0**-bits
    grid = np.linspace(1, 2, 10_001)
    bias = luq.log_rounding_bias(grid, alpha)
    assert round(bias.max(), 4) == 0.0861
    assert abs(math.log2(grid[bias.argmax()]) - 0.5288) < 1e-3
    assert round((bias / grid).max(), 3) == 0.061


def test_ablation():
    x = np.array([0.1, 0.3, 0.6, 1.4, 1.5, 2.9, 64.0, 90.0, -0.6, -3.0])
    call = {"alpha": 1.0, "seed": 2}
    plain = luq.ablation(x, underflow="zero", rounding="nearest", **call)
    assert plain.tolist() == [0, 0, 0, 1, 2, 2, 64, 64, 0, -4]
    near = luq.ablation(x, underflow="nearest", rounding="nearest", **call)
    assert near.tolist() == [0, 0, 1, 1, 2, 2, 64, 64, -1, -4]
    same_bits(luq.ablation(x, **call), luq.quantize(x, **call))
    below, result = np.abs(x) < 1, luq.quantize(x, **call)
    same_bits(luq.ablation(x, rounding="nearest", **call), np.where(below, result, plain))
    same_bits(luq.ablation(x, underflow="zero", **call), np.where(below, np.copysign(0, x), result))


# Refusals


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_infinities_and_nan_are_refused(bad):
    x = F32([1.0, bad, 2.0])
    sentence = rf"{bad} at element 1"
    for call in (
        lambda: luq.alpha(x),
        lambda: luq.quantize(x, seed=1),
        lambda: luq.quantize(x, alpha=0.1, seed=1),
        lambda: luq.quantize(x, alpha=0.1, seed=1, out=x),
        lambda: luq.quantize(x, alpha=1e-44, seed=1),
        lambda: luq.variance(x, 0.1),
        lambda: luq.rdnp(x),
    ):
        with pytest.raises(ValueError, match=sentence):
            call()
    assert x.tobytes() == F32([1.0, bad, 2.0]).tobytes()


X = np.ones(3, F32)
REFUSED = [
    (ValueError, "LUQ needs random words: give seed=, or words= of shape", lambda: luq.quantize(X)),
    (TypeError, "dtype int64: give a float32 or float64", lambda: luq.quantize(np.arange(3), seed=1)),
    (ValueError, "levels = 0: give the number", lambda: luq.quantize(X, 0, seed=1)),
    (ValueError, "levels = 1025", lambda: luq.alpha(X, 1025)),
    (TypeError, "levels = 7.0", lambda: luq.alpha(X, 7.0)),
    (ValueError, "power_of_two = 'near'", lambda: luq.alpha(X, power_of_two="near")),
    (ValueError, "beside alpha = 1.0", lambda: luq.quantize(X, alpha=1.0, power_of_two="up", seed=1)),
    (ValueError, "alpha = 0 and 1.0 at element 0", lambda: luq.quantize(X, alpha=0.0, seed=1)),
    (ValueError, "alpha = -1.0: give the smallest", lambda: luq.quantize(X, alpha=-1.0, seed=1)),
    (TypeError, "alpha = 'a': give a number", lambda: luq.quantize(X, alpha="a", seed=1)),
    (ValueError, "alpha = 1e-60 is zero in float32", lambda: luq.quantize(X, alpha=1e-60, seed=1)),
    (ValueError, r"alpha \* 2\*\*6, overflows float32", lambda: luq.quantize(X, alpha=1e38, seed=1)),
    (ValueError, "overflows float32", lambda: luq.quantize(X * 3e38, power_of_two="up", seed=1)),
    (ValueError, "alpha = 1e[+]39 is infinite in float32", lambda: luq.quantize(X, alpha=1e39, seed=1)),
    (ValueError, "with 1 levels: .* overflows float32", lambda: luq.quantize(X * 3e38, 1, power_of_two="up", seed=1)),
    (ValueError, r"magnitude, 1\.5e\+308, overflows", lambda: luq.alpha(np.array([1.5e308]), 1, power_of_two="up")),
    (ValueError, r"words of shape \(2,\)", lambda: luq.quantize(X, words=[0, 1])),
    (ValueError, r"word 8 is outside \[0, 2\*\*3\)", lambda: luq.quantize(X, words=[0, 1, 8], random_bits=3)),
    (ValueError, "random_bits = 33", lambda: luq.quantize(X, seed=1, random_bits=33)),
    (ValueError, "seed = -1", lambda: luq.quantize(X, seed=-1)),
    (ValueError, "out is float64", lambda: luq.quantize(X, seed=1, out=np.empty(3))),
    (ValueError, "samples = 0", lambda: luq.smp(X, 0, seed=1)),
    (ValueError, "one word per quantization", lambda: luq.smp(X, 2, words=[0, 1, 2])),
    (ValueError, "eta = 1.5", lambda: luq.hindsight_max(1.0, 1.0, 1.5)),
    (ValueError, "observed = nan", lambda: luq.hindsight_max(1.0, math.nan, 0.5)),
    (ValueError, "code 16 is outside the 4 bits", lambda: luq.decode([16], 1.0)),
    (ValueError, "code 6 has exponent code 6: a grid of 5", lambda: luq.decode([6], 1.0, 5)),
    (TypeError, "dtype int8: values are decoded", lambda: luq.decode([1], 1.0, dtype=np.int8)),
    (TypeError, "codes of dtype float64", lambda: luq.decode([1.5], 1.0)),
    (ValueError, "e[+]38 at element 0: its nearest power of two is beyond", lambda: luq.rdnp(F32([3e38]))),
    (ValueError, "i = 8", lambda: luq.multiply_int4_fp4([8], [1.0])),
    (TypeError, "i of dtype float64", lambda: luq.multiply_int4_fp4([1.0], [1.0])),
    (ValueError, "f = 3.0", lambda: luq.multiply_int4_fp4([1], [3.0])),
    (ValueError, "f = 128.0", lambda: luq.multiply_int4_fp4([1], [128.0])),
    (ValueError, "alpha = 0 for x = 1", lambda: luq.moments(1, 0)),
    (ValueError, "random_bits = 0", lambda: luq.moments(1, 1, random_bits=0)),
    (ValueError, "alpha = 0: give the smallest", lambda: luq.biased_log_rounding(X, alpha=0.0, seed=1)),
    (ValueError, "rounding = 'up': give one of", lambda: luq.ablation(X, rounding="up", seed=1)),
    (ValueError, "alpha = 0.0, levels = 0", lambda: oracle.choice(1.0, 0.0, 0)),
]


@pytest.mark.parametrize(("error", "sentence", "call"), REFUSED, ids=[case[1] for case in REFUSED])
def test_refused_with_a_sentence(error, sentence, call):
    with pytest.raises(error, match=sentence):
        call()
