"""Posits against the oracle: every code and every midpoint of the narrow ones, drawn ones of the wide."""

import math
from fractions import Fraction
from functools import cache

import numba
import numpy as np
import pytest

from numerics import (
    Accumulator,
    Overflow,
    PositFormat,
    Quantizer,
    Rounding,
    catalog,
    parse_format,
    random_words,
    reference,
    spec,
)
from numerics.kernels.posit import divide32, divide64
from numerics.reference import posit as oracle
from tests.numerics.grids import assert_same_bits

DETERMINISTIC = [Rounding.RNE, Rounding.RNA, Rounding.RTZ, Rounding.RTP, Rounding.RTN, Rounding.RTO]
STOCHASTIC = [Rounding.SR, Rounding.SR_B, Rounding.SR_C]
NARROW = range(3, 11)
MIRROR = {Rounding.RTP: Rounding.RTN, Rounding.RTN: Rounding.RTP}


def name_of(mode):
    return mode.name


def codes_of(bits, limit=300):
    """Positive codes: all, or those around the ends of regimes and a draw of the rest."""
    last = (1 << (bits - 1)) - 1
    if last <= 1 << 9:
        return range(1, last + 1)
    rng = np.random.default_rng(bits)
    edges = {(1 << k) + d for k in range(bits) for d in (-2, -1, 0, 1)}
    edges |= {last + 1 - edge for edge in edges}
    return sorted({c for c in edges | set(rng.integers(1, last, limit).tolist()) if 1 <= c <= last})


@cache
def points(bits, dtype=np.float64, limit=300):
    """Members, ties, means, points between, the ends and beyond, each with its neighbours; both signs; ascending."""
    last = (1 << (bits - 1)) - 1
    rng = np.random.default_rng(bits + 100)
    exact = [oracle.value_of(last, bits) * Fraction(n, 4) for n in (4, 5, 8, 64)]
    exact += [oracle.value_of(1, bits) * Fraction(n, 4) for n in (1, 2, 3, 4, 5)]
    for code in codes_of(bits, limit):
        lo = oracle.value_of(code, bits)
        exact.append(lo)
        if code < last:
            hi = oracle.value_of(code + 1, bits)
            exact += [
                oracle.tie(code, bits),
                (lo + hi) / 2,
                lo + (hi - lo) * Fraction(int(rng.integers(1, 1 << 30)), 1 << 30),
            ]
    near = np.array([float(v) for v in exact]).astype(dtype)
    limits = np.finfo(dtype)
    with np.errstate(over="ignore"):
        around = np.concatenate([near, np.nextafter(near, dtype(np.inf)), np.nextafter(near, dtype(0))])
    around = np.concatenate([around, np.array([limits.smallest_subnormal, limits.tiny, limits.max], dtype)])
    around = np.unique(around[np.isfinite(around) & (around > 0)])
    return np.concatenate([-around[::-1], np.zeros(1, dtype), around])


def neighbours(x, bits):
    """(lo, hi) in rationals for a magnitude between the ends."""
    lo = oracle.lower_code(Fraction(abs(x)), bits)
    return oracle.value_of(lo, bits), oracle.value_of(lo + 1, bits)


def deciding_words(x, bits, rounding, random_bits):
    """One word per element, in turn 0, the largest, and those on either side of the element's decision."""
    end = 1 << random_bits
    words = []
    for i, value in enumerate(x.tolist()):
        k = 0
        if 2.0 ** (8 - 4 * bits) <= abs(value) < 2.0 ** (4 * bits - 8):
            lo, hi = neighbours(value, bits)
            k = reference.stochastic_threshold((Fraction(abs(value)) - lo) / (hi - lo), rounding, random_bits)
        words.append(min(max((end - k, end - k - 1, 0, end - k, end - k - 1, end - 1)[i % 6], 0), end - 1))
    return np.array(words)


# --- codes and values


@pytest.mark.parametrize("bits", [2, *NARROW, 16])
def test_every_code_round_trips(bits):
    fmt = PositFormat(bits)
    codes = np.arange(1 << bits)
    values = fmt.decode(codes)
    assert_same_bits(values, np.array([reference.decode_code(code, fmt) for code in codes.tolist()]))
    assert np.flatnonzero(np.isnan(values)).tolist() == [fmt.nan_code]
    assert not np.signbit(values[0])
    assert Quantizer(fmt).encode(values).tolist() == codes.tolist()
    assert_same_bits(Quantizer(fmt).quantize(values), values)
    assert_same_bits(Quantizer(fmt).decode(codes), values)
    # The order of codes as two's complement integers is the order of values, and negation is negation.
    signed = np.roll(values, 1 << (bits - 1))[1:]
    assert (np.diff(signed) > 0).all()
    assert_same_bits(signed + 0.0, -signed[::-1] + 0.0)


def test_drawn_codes_of_the_widest_round_trip():
    fmt = PositFormat(32)
    positive = np.array(codes_of(32, 3000))
    codes = np.concatenate([[0], positive, [fmt.nan_code], (1 << 32) - positive]).astype(np.uint32)
    values = fmt.decode(codes)
    assert_same_bits(values, np.array([reference.decode_code(code, fmt) for code in codes.tolist()]))
    assert_same_bits(Quantizer(fmt).encode(values), codes)
    assert_same_bits(Quantizer(fmt).quantize(values), values)


@pytest.mark.parametrize(("bits", "exponent", "fraction_bits"), [(8, 24, 3), (16, 56, 11), (32, 120, 27)])
def test_published_values(bits, exponent, fraction_bits):
    # 2022 standard, section 3: minPos, maxPos, the fraction bits around 1; pIntMax, up to which integers are exact.
    fmt = catalog.FORMATS[f"posit{bits}"]
    assert (fmt.minpos, fmt.max) == (2.0**-exponent, 2.0**exponent)
    assert (fmt.emin, fmt.emax, fmt.precision) == (-exponent, exponent, fraction_bits + 1)
    one = 1 << (bits - 2)
    codes = np.array([0, 1, fmt.largest_code, one, one + 1, one - 1, (1 << bits) - one, (1 << bits) - 1])
    wanted = [0.0, 2.0**-exponent, 2.0**exponent, 1, 1 + 2.0**-fraction_bits, 1 - 2.0 ** -(fraction_bits + 1), -1]
    assert fmt.decode(codes).tolist() == [*wanted, -(2.0**-exponent)]
    assert math.isnan(fmt.decode(1 << (bits - 1)))
    last = 1 << (4 * (bits - 3) // 5)
    integers = np.arange(max(last - 2000, 0), last + 1, dtype=np.float64)
    assert_same_bits(Quantizer(fmt).quantize(integers), integers)
    assert Quantizer(fmt).quantize(last + 1.0) != last + 1


def test_codes_by_hand():
    # sign, regime, exponent, fraction: 0 10 01 000 is 2; 0 110 00 00 is 16; 0 01 11 000 is 1/2; 0 10 00 100 is 1.5.
    values = np.array([1, 2, 4, 8, 16, 0.5, 1.5, 2.0**20, -1, -2, -0.5, np.nan])
    codes = [0x40, 0x48, 0x50, 0x58, 0x60, 0x38, 0x44, 0x7E, 0xC0, 0xB8, 0xC8, 0x80]
    assert Quantizer(PositFormat(8)).encode(values).tolist() == codes
    # Ties of bit strings where exponent bits are cut off: the geometric mean, and the even code.
    x = np.array([2.0**22, np.nextafter(2.0**22, 2.0**24), 2.0**-22, np.nextafter(2.0**-22, 0), 2.0**19, 2.0**17])
    assert Quantizer(PositFormat(8)).encode(x).tolist() == [0x7E, 0x7F, 0x02, 0x01, 0x7E, 0x7C]


# --- rounding


@pytest.mark.parametrize("mode", DETERMINISTIC, ids=name_of)
def test_every_midpoint_of_the_narrow_posits(mode):
    for bits in NARROW:
        x = points(bits)
        quantizer = Quantizer(PositFormat(bits), mode)
        assert_same_bits(quantizer.quantize(x), reference.quantize(x, quantizer), x)


@pytest.mark.parametrize("mode", DETERMINISTIC, ids=name_of)
@pytest.mark.parametrize("bits", [2, 16, 28, 32])
def test_midpoints_of_wide_posits(bits, mode):
    x = points(bits, limit=100)
    quantizer = Quantizer(PositFormat(bits), mode)
    assert_same_bits(quantizer.quantize(x), reference.quantize(x, quantizer), x)


@pytest.mark.parametrize("mode", [Rounding.RNE, Rounding.RTO], ids=name_of)
@pytest.mark.parametrize("bits", [2, 3, 4, 5, 8, 16, 27, 28])
def test_float32_midpoints(bits, mode):
    x = points(bits, np.float32, 60)
    quantizer = Quantizer(PositFormat(bits), mode)
    assert_same_bits(quantizer.quantize(x), reference.quantize(x, quantizer), x)


@pytest.mark.parametrize("mode", STOCHASTIC, ids=name_of)
@pytest.mark.parametrize("random_bits", [1, 31, 32])
def test_stochastic_at_the_deciding_words(random_bits, mode):
    for bits in (3, 4, 5, 6, 8, 16, 32):
        x = points(bits, limit=20)[random_bits % 3 :: 3]
        words = deciding_words(x, bits, mode, random_bits)
        quantizer = Quantizer(PositFormat(bits), mode, random_bits=random_bits)
        assert_same_bits(quantizer.quantize(x, words=words), reference.quantize(x, quantizer, words=words), x)


@pytest.mark.parametrize("random_bits", [3, 32])
def test_stochastic_float32_at_the_deciding_words(random_bits):
    for bits in (3, 4, 5, 6, 8, 16, 28):
        x = points(bits, np.float32, 20)[random_bits % 2 :: 2]
        words = deciding_words(x, bits, Rounding.SR_C, random_bits)
        quantizer = Quantizer(PositFormat(bits), Rounding.SR_C, random_bits=random_bits)
        assert_same_bits(quantizer.quantize(x, words=words), reference.quantize(x, quantizer, words=words), x)


@pytest.mark.parametrize("mode", STOCHASTIC, ids=name_of)
@pytest.mark.parametrize("random_bits", [1, 2, 4, 8])
def test_means_over_all_words_are_exact(random_bits, mode):
    # posit5 has steps of 2^1, 2^2 and 2^4, posit7 also fractions: denominators 1, 3 and 15.
    end = 1 << random_bits
    met = set()
    for bits in (3, 5, 7):
        fmt = PositFormat(bits)
        rng = np.random.default_rng(random_bits)
        exponents = rng.uniform(fmt.emin, fmt.emax, 40)
        x = np.concatenate([2.0**exponents, fmt.decode(np.arange(1, fmt.largest_code)) * 1.25])
        x *= rng.choice([-1, 1], x.size)
        words = np.tile(np.arange(end), (x.size, 1))
        found = Quantizer(fmt, mode, random_bits=random_bits).quantize(np.repeat(x[:, None], end, 1), words=words)
        for value, results in zip(x.tolist(), found.tolist(), strict=True):
            lo, hi = neighbours(value, bits)
            nu = (Fraction(abs(value)) - lo) / (hi - lo)
            k = reference.stochastic_threshold(nu, mode, random_bits)
            mean = sum(Fraction(abs(r)) for r in results) / end
            assert mean == lo + (hi - lo) * Fraction(k, end)
            assert {math.copysign(1.0, r) for r in results} == {math.copysign(1.0, value)}
            bias = (mean - Fraction(abs(value))) / (hi - lo)
            assert abs(bias) * end < 1 if mode is Rounding.SR else abs(bias) * end * 2 <= 1
            if (nu * end).denominator == 1:
                assert mean == abs(Fraction(value))
            met.add((hi / lo, nu.denominator & (nu.denominator - 1) == 0))
    # Steps of 2, 4 and 16 were met, with distances that are dyadic and (but for the first) such that are not.
    assert {(2, True), (4, False), (16, False)} <= met


@numba.njit
def quotients(n, three, q32, r32, q64, r64):
    for i in range(n.size):
        q32[i], r32[i] = divide32(np.uint32(n[i] >> np.uint64(29)), three)
        q64[i], r64[i] = divide64(n[i], three)


@pytest.mark.parametrize("divisor", [3, 15])
def test_division_by_reciprocals_is_exact(divisor):
    end = divisor << 52
    rng = np.random.default_rng(divisor)
    multiples = (rng.integers(1 << 52, size=3000, dtype=np.uint64) * np.uint64(divisor))[:, None]
    near = (multiples + np.arange(divisor, dtype=np.uint64)).ravel()
    n = np.unique(np.concatenate([near, end - 1 - np.arange(1000, dtype=np.uint64), np.arange(1000, dtype=np.uint64)]))
    n = np.concatenate(
        [n[n < end], np.arange(divisor << 10, dtype=np.uint64) << np.uint64(42) | np.uint64((1 << 42) - 1)]
    )
    found = [np.empty(n.size, np.uint64) for _ in range(4)]
    quotients(n, divisor == 3, *found)
    narrow = n >> np.uint64(29)
    for result, wanted in zip(
        found, (*divmod(narrow, np.uint64(divisor)), *divmod(n, np.uint64(divisor))), strict=True
    ):
        assert (result == wanted).all()


# --- laws


@pytest.mark.parametrize("mode", DETERMINISTIC + STOCHASTIC, ids=name_of)
def test_monotone_and_symmetric_under_negation(mode):
    for bits in (3, 6, 9, 16, 32):
        x = points(bits, limit=20)
        for word in (0, 77, (1 << 32) - 1) if mode.stochastic else (None,):
            given = {} if word is None else {"words": np.full(x.size, word)}
            y = Quantizer(PositFormat(bits), mode).quantize(x, **given)
            mirrored = Quantizer(PositFormat(bits), MIRROR.get(mode, mode)).quantize(-x, **given)
            assert_same_bits(mirrored + 0.0, -y + 0.0, x)
            assert (np.diff(y) >= 0).all() or mode is Rounding.RTO
            inside = (np.abs(x) >= PositFormat(bits).minpos) & (np.abs(x) <= PositFormat(bits).max)
            if mode is Rounding.RTP:
                assert (y >= x)[inside].all()
            if mode is Rounding.RTN:
                assert (y <= x)[inside].all()
            if mode is Rounding.RTZ:
                assert (np.abs(y) <= np.abs(x))[inside].all()


@pytest.mark.parametrize("mode", DETERMINISTIC + STOCHASTIC, ids=name_of)
@pytest.mark.parametrize("bits", [2, 3, 8, 16, 32])
def test_beyond_the_ends_every_mode_saturates(bits, mode):
    fmt = PositFormat(bits)
    small = np.concatenate([fmt.minpos * np.array([1, 0.999, 0.5, 0.25, 1e-30]), [5e-324, 2.0**-1022]])
    large = np.concatenate([fmt.max * np.array([1, 1.001, 4.0, 1e30]), [np.finfo(np.float64).max]])
    for sign in (1.0, -1.0):
        for word in (0, (1 << 32) - 1) if mode.stochastic else (None,):
            for x, end in ((small, fmt.minpos), (large, fmt.max)):
                given = {} if word is None else {"words": np.full(x.size, word)}
                assert (Quantizer(fmt, mode).quantize(sign * x, **given) == sign * end).all()


@pytest.mark.parametrize(
    ("bits", "dtype"),
    [*((n, np.float64) for n in (3, 8, 11, 16, 20, 32)), *((n, np.float32) for n in (3, 8, 17, 28))],
)
def test_decoding_what_was_encoded_is_quantizing(bits, dtype):
    x = points(bits, dtype, 60)
    quantizer = Quantizer(PositFormat(bits))
    codes = quantizer.encode(x)
    assert codes.dtype == (np.uint8 if bits <= 8 else np.uint16 if bits <= 16 else np.uint32)
    assert codes.tolist() == reference.encode(x, quantizer).tolist()
    assert_same_bits(quantizer.decode(codes, dtype=dtype), quantizer.quantize(x), x)


def test_seeds_give_what_their_words_give():
    x, random_bits = points(16), 21
    quantizer = Quantizer(PositFormat(16), Rounding.SR, random_bits=random_bits)
    words = random_words(x.size, random_bits, seed=5, stream=6, offset=7)
    assert_same_bits(quantizer.quantize(x, seed=5, stream=6, offset=7), quantizer.quantize(x, words=words))


# --- specials and overflow


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rule", [Overflow.SATURATE, Overflow.PROPAGATE, Overflow.IEEE], ids=name_of)
def test_specials(rule, dtype):
    quantizer = Quantizer(catalog.posit(8), Rounding.RNE, rule)
    x = np.array([np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 1e30, -1e30], dtype)
    nar = np.array(np.nan, dtype)
    wanted = np.array([nar, nar, nar, nar, 0, 0, 2.0**24, -(2.0**24)], dtype)
    assert_same_bits(quantizer.quantize(x), wanted)
    assert_same_bits(reference.quantize(x, quantizer), wanted)
    assert quantizer.encode(x).tolist() == [128, 128, 128, 128, 0, 0, 127, 129]
    assert reference.encode(x, quantizer).tolist() == [128, 128, 128, 128, 0, 0, 127, 129]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_overflow_as_an_error(dtype):
    fmt = PositFormat(8)
    quantizer = Quantizer(fmt, overflow=Overflow.ERROR)
    x = np.array([fmt.max, -fmt.max, 1e-30, np.nan], dtype)
    assert_same_bits(quantizer.quantize(x), np.array([fmt.max, -fmt.max, fmt.minpos, np.nan], dtype))
    for beyond in (np.nextafter(dtype(fmt.max), dtype(np.inf)), dtype(-np.inf)):
        with pytest.raises(OverflowError, match=r"at element 1 is beyond 16777216\.0, the largest value of posit8"):
            quantizer.quantize(np.array([1, beyond], dtype))
        with pytest.raises(OverflowError):
            reference.round_value(float(beyond), fmt, overflow=Overflow.ERROR)


# --- records and refusals


def test_names_and_text():
    assert [str(fmt) for fmt in catalog.FORMATS.values() if isinstance(fmt, PositFormat)] == [
        "posit8",
        "posit16",
        "posit32",
    ]
    assert parse_format("posit16") is catalog.FORMATS["posit16"]
    fmt = parse_format("Posit13")
    assert fmt == PositFormat(13)
    assert hash(fmt) == hash(PositFormat(13))
    assert (fmt.name, str(PositFormat(13)), fmt.source) == (
        "posit13",
        "posit13",
        "Standard for Posit Arithmetic (2022)",
    )
    assert list(PositFormat(4).codepoints()) == list(range(16))
    for record in (fmt, Quantizer(fmt, Rounding.SR_B, random_bits=9)):
        assert spec.loads(spec.dumps(record)) == record


@pytest.mark.parametrize("bits", [1, 0, -3, 33, 64, 8.0, True, "8", None])
def test_impossible_posits_are_refused(bits):
    with pytest.raises(ValueError, match=r"a posit has 2 to 32 bits"):
        PositFormat(bits)


def test_refusals():
    with pytest.raises(ValueError, match=r"Overflow\.WRAP is for fixed point: posit8 is a posit"):
        Quantizer(PositFormat(8), overflow=Overflow.WRAP)
    with pytest.raises(ValueError, match=r"random_bits = 8 with RNE"):
        Quantizer(PositFormat(8), random_bits=8)
    with pytest.raises(ValueError, match=r"2 to 32 bits"):
        parse_format("posit64")
    with pytest.raises(TypeError, match=r"accumulated in a FloatFormat"):
        Accumulator(PositFormat(8))
    with pytest.raises(ValueError, match=r"code 256 is outside the 8 bits of posit8"):
        PositFormat(8).decode(256)
    with pytest.raises(TypeError, match=r"codes of dtype float64"):
        PositFormat(8).decode(np.ones(1))
    # posit29 has 25 significant bits around 1; the format decides, not the data.
    assert Quantizer(PositFormat(28)).quantize(np.ones(1, np.float32)).dtype == np.float32
    for bits in (29, 32):
        for method in (Quantizer(PositFormat(bits)).quantize, Quantizer(PositFormat(bits)).encode):
            with pytest.raises(ValueError, match=rf"posit{bits} has values that float32 does not hold: use float64"):
                method(np.ones(1, np.float32))
        with pytest.raises(ValueError, match=r"use float64 arrays"):
            Quantizer(PositFormat(bits)).decode(np.zeros(1, np.uint32), dtype=np.float32)
