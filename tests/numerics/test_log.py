"""Roundings to logarithmic formats, all of them against the oracle, and what a quantizer of one refuses."""

import math
from fractions import Fraction

import numpy as np
import pytest

from numerics import Accumulator, LogFormat, Overflow, Quantizer, Rounding, catalog, random_words, reference
from numerics.kernels import elementwise
from numerics.log_rows import log_row
from numerics.parameters import FLOAT32, FLOAT64
from numerics.reference import log as oracle
from tests.numerics import logs
from tests.numerics.grids import assert_same_bits
from tests.numerics.logs import (
    AT_THE_ENDS,
    AT_THE_ENDS_64,
    DETERMINISTIC,
    FORMATS,
    NARROW,
    PRECISION,
    STOCHASTIC,
    TYPES,
)
from tests.sampling import but_at_night, one_in

NO_WORDS, ZERO = np.zeros(0, np.uint32), np.uint64(0)
ENDS = [(fmt, np.float32) for fmt in AT_THE_ENDS.values()] + [(fmt, np.float64) for fmt in AT_THE_ENDS_64.values()]
MODES = pytest.mark.parametrize("mode", DETERMINISTIC, ids=lambda mode: mode.name)


def assert_codes(quantizer, x, wanted, **words):
    """Values and codes of x are those of `wanted`, codes without sign that go on beyond the largest."""
    fmt, dtype = quantizer.fmt, x.dtype.type
    values = logs.values_of(wanted, x < 0, fmt, dtype)
    assert_same_bits(quantizer.quantize(x, **words), values, x)
    if quantizer.rounding in (Rounding.RTO, Rounding.SR_B, Rounding.SR_C) or (words and fmt.bits > 8):
        return  # each would be compiled; the loops of the other modes are one and the same
    codes = quantizer.encode(x, **words)
    clamped = np.minimum(wanted, fmt.largest_code)
    sign = np.where((x < 0) & (clamped != 0), fmt.largest_code + 1, 0)
    assert (codes == clamped | sign).all()
    assert_same_bits(quantizer.decode(codes, dtype=dtype), values)


def check_deterministic(fmt, dtype, mode, limit=1 << 9):
    assert_codes(Quantizer(fmt, mode), logs.points(fmt, dtype, limit), logs.rounded(fmt, dtype, mode, limit))


@pytest.mark.sampled
@pytest.mark.parametrize("mode", one_in(2, DETERMINISTIC), ids=lambda mode: mode.name)
@TYPES
@FORMATS
def test_deterministic_modes_exhaustively(fmt, dtype, mode):
    check_deterministic(fmt, dtype, mode)


@pytest.mark.sampled
@MODES
@pytest.mark.parametrize(("fmt", "dtype"), ENDS, ids=lambda value: getattr(value, "__name__", str(value)))
def test_deterministic_modes_at_the_ends_of_the_carrier(fmt, dtype, mode):
    check_deterministic(fmt, dtype, mode)


@pytest.mark.sampled
@TYPES
@pytest.mark.parametrize("fmt", but_at_night(logs.drawn_formats(2), logs.drawn_formats(2)[9:]), ids=str)
def test_deterministic_modes_on_drawn_formats(fmt, dtype):
    for mode in DETERMINISTIC:
        check_deterministic(fmt, dtype, mode, limit=8)


def check_stochastic(fmt, dtype, mode, random_bits, limit=1 << 9):
    """Words 0, 1, the last, one anywhere, and those on either side of the decision."""
    x, places = logs.points(fmt, dtype, limit), logs.places(fmt, dtype, limit)
    rng, last = np.random.default_rng(random_bits), (1 << random_bits) - 1
    code = np.array([place for place, _ in places])
    threshold = np.array([reference.stochastic_threshold(nu, mode, random_bits) for _, nu in places])
    drawn = rng.integers(last + 1, size=x.size)
    quantizer = Quantizer(fmt, mode, random_bits=random_bits)
    for words in (0 * drawn, 0 * drawn + 1, 0 * drawn + last, drawn, last - threshold, last + 1 - threshold):
        kept = np.clip(words, 0, last)
        up = threshold + kept >= 1 << random_bits
        assert_codes(quantizer, x, code + up, words=kept)


@pytest.mark.sampled
@pytest.mark.parametrize("random_bits", [1, 8, 32])
@pytest.mark.parametrize("mode", STOCHASTIC, ids=lambda mode: mode.name)
@TYPES
@FORMATS
def test_stochastic_modes_exhaustively(fmt, dtype, mode, random_bits):
    check_stochastic(fmt, dtype, mode, random_bits)


@pytest.mark.sampled
@pytest.mark.parametrize("mode", STOCHASTIC, ids=lambda mode: mode.name)
@pytest.mark.parametrize(("fmt", "dtype"), ENDS, ids=lambda value: getattr(value, "__name__", str(value)))
def test_stochastic_modes_at_the_ends_of_the_carrier(fmt, dtype, mode):
    check_stochastic(fmt, dtype, mode, 32)


@TYPES
@pytest.mark.parametrize("fmt", logs.drawn_formats(2, seed=1), ids=str)
def test_stochastic_modes_on_drawn_formats(fmt, dtype):
    rng = np.random.default_rng(fmt.bits)
    for mode in STOCHASTIC:
        check_stochastic(fmt, dtype, mode, int(rng.integers(1, 33)), limit=8)


@TYPES
@pytest.mark.parametrize("random_bits", [1, 5, 8])
@pytest.mark.parametrize("name", ["luq", "eighths", "one_octave"])
def test_the_mean_over_all_words_is_exact(name, random_bits, dtype):
    fmt, count = NARROW[name], 1 << random_bits
    x = np.random.default_rng(random_bits).choice(logs.points(fmt, dtype), 60, replace=False)
    x = x[np.abs(x) <= fmt.decode(fmt.largest_code)]
    for mode in STOCHASTIC:
        words = np.broadcast_to(np.arange(count), (x.size, count))
        found = Quantizer(fmt, mode, random_bits=random_bits).quantize(np.repeat(x[:, None], count, 1), words=words)
        for value, results in zip(x, found, strict=True):
            _, low, high = oracle.neighbours(abs(Fraction(float(value))), fmt, PRECISION[dtype])
            nu = (abs(Fraction(float(value))) - low) / (high - low)
            k = reference.stochastic_threshold(nu, mode, random_bits)
            mean = sum(abs(Fraction(float(result))) for result in results) / count
            assert mean == low + (high - low) * Fraction(k, count)
            if mode is Rounding.SR:
                assert 0 <= abs(Fraction(float(value))) - mean < (high - low) / count


def test_stochastic_underflow_is_that_of_luq():
    # T_alpha of arXiv 2112.10769 with alpha = 1: |x| < 1 becomes 1 with probability |x|, exactly so for dyadic x.
    x = np.array([0.25, 0.75, -0.5, 1.5, 3.0, 40.0], np.float32)
    every = np.broadcast_to(np.arange(256), (x.size, 256))
    quantizer = Quantizer(LogFormat(3, 0, bias=1), Rounding.SR, random_bits=8)
    found = quantizer.quantize(np.repeat(x[:, None], 256, 1), words=every)
    assert (found.astype(np.float64).mean(1) == x).all()
    assert [sorted(set(row.tolist())) for row in found] == [[0, 1], [0, 1], [-1, 0], [1, 2], [2, 4], [32, 64]]


@pytest.mark.parametrize(("dtype", "random_bits"), [(np.float32, 5), (np.float32, 12), (np.float64, 32)])
def test_drawn_words_are_those_of_random_words(dtype, random_bits):
    rng = np.random.default_rng(7)
    fmt, x = LogFormat(5, 3, bias=16), (rng.normal(size=10_000) * 8).astype(dtype)
    quantizer = Quantizer(fmt, Rounding.SR, random_bits=random_bits)
    words = random_words(x.size, random_bits, seed=3, stream=4, offset=5)
    assert_same_bits(quantizer.quantize(x, seed=3, stream=4, offset=5), quantizer.quantize(x, words=words))


@pytest.mark.parametrize(
    ("mode", "carrier"),
    [(Rounding.RNE, FLOAT64), (Rounding.RNA, FLOAT32), (Rounding.RTN, FLOAT64)],
    ids=lambda value: value.name,
)
def test_turning_points_and_the_general_way_agree(mode, carrier):
    # The rows of RTO have neighbours, not turning points: with them a loop of any mode asks the rounder for each value.
    loop = elementwise.make_quantize(int(mode), 0, elementwise.DETERMINISTIC, 1)
    dtype = carrier.dtype.type
    for fmt in (NARROW["luq"], NARROW["eighths"], NARROW["unsigned"], *logs.drawn_formats(1, seed=2)):
        x = np.concatenate([logs.points(fmt, dtype, 8), [dtype(np.inf)]])
        found = np.empty_like(x)
        loop(x, found, log_row(fmt, Rounding.RTO, None, carrier), NO_WORDS, ZERO, ZERO, ZERO, 0, x.size)
        assert_same_bits(found, Quantizer(fmt, mode).quantize(x), x)


def test_nearest_in_the_two_domains_differ_where_they_should():
    fmt = LogFormat(3, 0, bias=1)
    x = np.array([1.4, 1.42, 1.49, 1.5, 1.51, 2.82, 2.83, 3.0, 0.5, 0.70, 0.71])
    assert Quantizer(fmt, Rounding.RNE).quantize(x).tolist() == [1, 1, 1, 2, 2, 2, 2, 2, 0, 1, 1]
    assert Quantizer(fmt, Rounding.RNA).quantize(x).tolist() == [1, 1, 1, 2, 2, 2, 2, 4, 1, 1, 1]
    # AP2 of arXiv 1602.02830 turns at sqrt(2); below the smallest value the grid of logarithms goes on, and is zero.
    assert Quantizer(fmt, Rounding.RNL).quantize(x).tolist() == [1, 2, 2, 2, 2, 2, 4, 4, 0, 0, 1]


# Overflow and refusals.


@TYPES
def test_overflow(dtype):
    fmt = LogFormat(4, 3, bias=8)
    top = logs.table_of(fmt, dtype)[-1]
    beyond = np.array([top * dtype(1.01), top * dtype(1.2), 1e9, np.inf, -np.inf], dtype)
    for rule in (Overflow.SATURATE, Overflow.PROPAGATE):
        for mode in (Rounding.RNE, Rounding.RNL, Rounding.RTP, Rounding.RTO):
            found = Quantizer(fmt, mode, rule).quantize(beyond)
            assert_same_bits(found, np.array([top, top, top, top, -top], dtype))
            assert_same_bits(reference.quantize(beyond, Quantizer(fmt, mode, rule)), found)
    for mode in (Rounding.RNE, Rounding.RNL, Rounding.RTZ):
        strict = Quantizer(fmt, mode, Overflow.ERROR)
        assert (strict.quantize(beyond[:1]) == top).all()  # rounds to the largest, so it is none
        for x in beyond[2:]:
            with pytest.raises(OverflowError, match="at element 2 is beyond"):
                strict.quantize(np.array([0, top, x], dtype))
            with pytest.raises(OverflowError):
                oracle.round_infinite(float(x), fmt, Overflow.ERROR) if math.isinf(x) else oracle.round_exact(
                    Fraction(float(x)), fmt, mode, Overflow.ERROR
                )


@pytest.mark.parametrize("rule", [Overflow.IEEE, Overflow.WRAP])
def test_rules_that_need_what_the_format_lacks_are_refused(rule):
    with pytest.raises(ValueError, match=r"log3\.0b1 (has neither infinity nor NaN|is a log format)"):
        Quantizer(LogFormat(3, 0, bias=1), Rounding.RNE, rule)


@pytest.mark.parametrize("mode", [Rounding.RNE, Rounding.RNL, Rounding.RTO])
def test_a_nan_is_refused(mode):
    for dtype in (np.float32, np.float64):
        with pytest.raises(ValueError, match=r"NaN at element 2: log3\.0b1 has no NaN"):
            Quantizer(LogFormat(3, 0, bias=1), mode).quantize(np.array([1, np.inf, np.nan, np.nan], dtype))


def test_a_negative_in_an_unsigned_format_is_refused():
    quantizer = Quantizer(LogFormat(3, 0, bias=1, signed=False))
    with pytest.raises(ValueError, match=r"-3.0 at element 1: ulog3\.0b1 is unsigned"):
        quantizer.encode(np.array([1.0, -3.0]))
    assert quantizer.encode(np.array([-0.0, 3.1])).tolist() == [0, 3]


@pytest.mark.parametrize(
    "fmt", [LogFormat(3, 1, bias=127), LogFormat(3, 0, bias=127 + 1), LogFormat(3, 0, bias=-121)], ids=str
)
def test_float32_arrays_need_normal_float32_values(fmt):
    quantizer = Quantizer(fmt)
    with pytest.raises(ValueError, match="has values that float32 does not hold: use float64 arrays"):
        quantizer.quantize(np.ones(3, np.float32))
    with pytest.raises(ValueError, match="float32 does not hold"):
        quantizer.decode([1], dtype=np.float32)
    assert quantizer.quantize(np.ones(3)).dtype == np.float64


def test_nearest_logarithm_is_for_logarithmic_formats():
    for fmt in (catalog.E4M3, catalog.INT8, catalog.E3M0):
        with pytest.raises(ValueError, match=r"Rounding\.RNL is nearest in the log domain, for a LogFormat"):
            Quantizer(fmt, Rounding.RNL)
    with pytest.raises(ValueError, match=r"Rounding\.RNL is nearest in the log domain"):
        Accumulator(catalog.BINARY32, Rounding.RNL)
    with pytest.raises(ValueError, match="random_bits = 8 with RNL"):
        Quantizer(LogFormat(3, 0), Rounding.RNL, random_bits=8)
