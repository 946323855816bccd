"""Accumulators that are sized hold every sum, and one bit less does not."""

import itertools
import math
import re
from fractions import Fraction

import numpy as np
import pytest

from numerics import (
    Accumulator,
    FixedFormat,
    FloatFormat,
    LogFormat,
    NanEncoding,
    PositFormat,
    Quantizer,
    Rounding,
    Subnormals,
    catalog,
    theory,
)
from numerics.reference.products import accumulate
from numerics.sizing import size_accumulator

INT8, INT4, E4M3, E5M2, BINARY16 = catalog.INT8, catalog.INT4, catalog.E4M3, catalog.E5M2, catalog.BINARY16
FLUSHED = FloatFormat(4, 3, subnormals=Subnormals.FLUSH)


def values(fmt, amax=math.inf):
    return sorted(
        {
            Fraction(v)
            for v in fmt.decode(np.arange(1 << fmt.bits)).tolist()
            if max(-amax, getattr(fmt, "min", -fmt.max)) <= v <= min(amax, fmt.max)
        }
    )


def extremes(a, b, k):
    """The least and largest running sum of k products, by trying all pairs of operands."""
    products = [x * y for x, y in itertools.product(a, b)]
    return k * min(min(products), 0), k * max(max(products), 0)


@pytest.mark.parametrize(
    ("formats", "k", "bits", "fraction_bits"),
    [
        ((INT8, INT8), 1024, 26, 0),  # (-128)^2 * 1024 = 2**24 is one more than 25 bits hold
        ((INT8, INT8), 1023, 25, 0),
        ((catalog.MXINT8_ELEMENT, catalog.MXINT8_ELEMENT), 1024, 25, 12),  # without -128
        ((INT8, INT4), 16, 16, 0),
        ((FixedFormat(8, signed=False), FixedFormat(8, signed=False)), 256, 24, 0),
        ((FixedFormat(8, signed=False), INT8), 256, 24, 0),
        ((FixedFormat(8, 4), FixedFormat(6, 7)), 100, 20, 11),
        ((E4M3, E4M3), 1, 37, 18),  # 448^2 2**18 < 2**36
        ((E4M3, E4M3), 1024, 47, 18),
        ((E5M2, E5M2), 1, 65, 32),
        ((catalog.E2M1, catalog.E2M1), 16, 13, 2),  # 36 * 16 * 4 = 2304
        ((BINARY16, BINARY16), 1, 81, 48),
        (
            (PositFormat(8), PositFormat(8)),
            1,
            98,
            48,
        ),  # the quire of 128 bits, 16 for each of the 8, less its guard bits
        ((LogFormat(3, 0), LogFormat(3, 0)), 2, 15, -2),  # 2 to 128: 2 * 2**14, in steps of 4
    ],
)
def test_exact_widths(formats, k, bits, fraction_bits):
    size = size_accumulator(*formats, k)
    assert (size.exact_bits, size.fraction_bits) == (bits, fraction_bits)
    unit = Fraction(2) ** -fraction_bits
    sides = [values(fmt) for fmt in formats] if all(fmt.bits <= 8 for fmt in formats) else None
    if sides:
        low, high = extremes(*sides, k)
        assert (size.total.lowest, size.total.highest) == (low, high)
        assert all((x * y / unit).denominator == 1 for x in sides[0] for y in sides[1])
        assert any((x * y / unit) % 2 for x in sides[0] for y in sides[1])  # no coarser grid would do
    signed = int(size.total.lowest < 0)
    steps = max(size.total.highest, -size.total.lowest - unit) / unit
    assert steps < 2 ** (bits - signed)
    assert steps >= 2 ** (bits - signed - 1)  # one bit less does not hold one of the ends
    assert size.growth_bits == bits - size.product_bits


@pytest.mark.parametrize(("k", "bits"), [(3, 17), (4, 18)])
def test_one_bit_less_overflows_when_it_runs(k, bits):
    size = size_accumulator(INT8, INT8, k)
    assert size.exact_bits == bits
    a = [-128.0] * k
    assert accumulate(a, a, Accumulator(size.fixed_format)) == 128 * 128 * k
    assert accumulate(a, a, Accumulator(FixedFormat(bits - 1))) < 128 * 128 * k


def test_measured_maxima_start_values_and_weights():
    assert size_accumulator(INT8, INT8, 1024, amax_a=127, amax_b=127).exact_bits == 25
    assert size_accumulator(E4M3, E4M3, 64, amax_a=1.0, amax_b=0.9).total.largest == 64 * Fraction(7, 8)
    assert size_accumulator(LogFormat(3, 0), LogFormat(3, 0), 1, amax_a=5.0, amax_b=128).total.largest == 4 * 128
    plain = size_accumulator(INT8, INT8, 2)
    with_c = size_accumulator(INT8, INT8, 2, c_format=FixedFormat(16, 2), amax_c=100.25)
    assert with_c.total.highest == plain.total.highest + Fraction(401, 4)
    assert with_c.fraction_bits == 2
    # A2Q: the norm of a row of weights bounds the sum, whatever its length.
    unsigned = FixedFormat(8, signed=False)
    narrow = size_accumulator(unsigned, INT8, 10_000, l1_b=128)
    assert narrow == size_accumulator(unsigned, INT8, 10_000, l1_b=128.0)
    assert (narrow.total.lowest, narrow.total.highest) == (-255 * 128, 255 * 128)
    assert narrow.exact_bits == 16
    assert size_accumulator(INT8, unsigned, 99, l1_b=128).exact_bits == 15  # -128 * 128 to 127 * 128
    assert size_accumulator(INT8, INT8, 3, l1_b=10_000).total == size_accumulator(INT8, INT8, 3).total


@pytest.mark.parametrize("formats", [(catalog.E2M1, catalog.E2M1), (INT4, INT4), (catalog.E2M3, INT4)], ids=str)
def test_the_exact_float_is_exact_and_one_bit_less_is_not(formats):
    k = 5
    size = size_accumulator(*formats, k)
    fmt = size.float_format
    assert fmt.precision == size.exact_precision
    a, b = (values(fmt) for fmt in formats)
    rng = np.random.default_rng(4)
    short = FloatFormat(fmt.exponent_bits + 1, fmt.mantissa_bits - 1)
    differs = 0
    for trial in range(300):
        left = [float(rng.choice(a)) if trial % 3 else float(a[0]) for _ in range(k)]
        right = [float(rng.choice(b)) if trial % 3 else float(b[0]) for _ in range(k)]
        left[-1], right[-1] = float(rng.choice(a)), float(rng.choice(b))
        exact = sum(Fraction(x) * Fraction(y) for x, y in zip(left, right, strict=True))
        assert Fraction(accumulate(left, right, Accumulator(fmt))) == exact
        differs += Fraction(accumulate(left, right, Accumulator(short))) != exact
    assert differs > 0


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"rounding": Rounding.RTZ},
        {"chunk": 16},
        {"order": "pairwise"},
        {"order": "pairwise", "block": 8, "rounding": Rounding.RTP},
        {"order": "kahan"},
        {"order": "exact"},
        {"rounding": Rounding.SR, "random_bits": 4},
        {"c_format": E4M3},
    ],
    ids=str,
)
def test_the_float_keeps_its_error_and_never_overflows(options):
    k, relative_error = 128, 0.02
    size = size_accumulator(E4M3, E4M3, k, relative_error=relative_error, **options)
    fmt = size.float_format
    assert max(size.bound.products, size.bound.addend) <= relative_error
    design = {name: value for name, value in options.items() if name != "c_format"}
    accumulator = Accumulator(fmt, **design)
    less = Accumulator(FloatFormat(9, fmt.mantissa_bits - 1), **design)
    assert theory.error_bound(less, k, c="c_format" in options).products > relative_error
    words = [(1 << 4) - 1] * accumulator.roundings(k) if accumulator.stochastic else None
    a = [448.0] * k
    c = 448.0 if "c_format" in options else None
    exact = Fraction(448**2 * k) + Fraction(c or 0)
    found = Fraction(accumulate(a, a, accumulator, c, words=words))
    assert abs(found - exact) <= Fraction(relative_error) * exact
    assert found < Fraction(fmt.max) or words is None
    # A binade less overflows, and a product of the smallest operands is held.
    assert exact > Fraction(fmt.max) / 4
    tiny = E4M3.smallest_subnormal
    assert accumulate([tiny], [tiny], accumulator, words=words and words[: accumulator.roundings(1)]) == tiny * tiny


def test_random_bits_may_save_precision_where_a_probability_is_allowed():
    options = {"relative_error": 1e-2, "rounding": Rounding.SR}
    certain = size_accumulator(E4M3, E4M3, 4096, **options)
    probable = size_accumulator(E4M3, E4M3, 4096, failure_probability=1e-9, **options)
    assert probable.float_format.precision <= certain.float_format.precision - 4
    assert probable.bound.failure_probability == 1e-9
    few = size_accumulator(E4M3, E4M3, 4096, failure_probability=1e-9, random_bits=2, **options)
    assert few.float_format.precision > probable.float_format.precision


def test_a_given_accumulator_is_judged():
    fits = size_accumulator(INT8, INT8, 1024, target=FixedFormat(26))
    assert (fits.fits, fits.target_exact) == (True, True)
    assert not size_accumulator(INT8, INT8, 1024, target=FixedFormat(25)).fits
    assert size_accumulator(INT8, INT8, 1024, target=catalog.BINARY32).target_exact
    assert not size_accumulator(INT8, INT8, 1025, target=catalog.BINARY32).target_exact
    half = size_accumulator(E4M3, E4M3, 32, target=Accumulator(BINARY16, chunk=8))
    assert (half.fits, half.target_exact) == (False, False)
    wide = size_accumulator(E4M3, E4M3, 32, target=Accumulator(BINARY16, chunk=8), amax_a=16.0, amax_b=64.0)
    assert (wide.fits, wide.target_exact) == (True, False)
    assert wide.target_bound == theory.error_bound(
        Accumulator(BINARY16, chunk=8), 32, quantum=Fraction(E4M3.smallest_subnormal) ** 2
    )


@pytest.mark.parametrize("mode", [Rounding.RNE, Rounding.RTZ, Rounding.RTP], ids=lambda mode: mode.name)
def test_what_never_overflows_does_not(mode):
    fmt = FloatFormat(4, 3)
    for order in ({}, {"chunk": 3}, {"order": "pairwise"}, {"order": "kahan"}, {"product": Quantizer(E4M3, mode)}):
        accumulator = Accumulator(fmt, mode, **order)
        certain = reached = 0
        for k in range(1, 12):
            for top in (1.0, 3.7, 11.0, 26.0, 60.0, 111.0):
                held = theory.never_overflows(accumulator, k, top)
                above = Accumulator(FloatFormat(6, 3), mode, **order)
                actual = accumulate([1.0] * k, [top] * k, above) <= fmt.max
                assert actual or not held
                certain, reached = certain + held, reached + actual
        # With four bits of precision the bounds are coarse.
        assert certain > reached / 3
    assert theory.never_overflows(Accumulator(FixedFormat(8)), 1, 127, quantum=Fraction(1))
    narrow = Accumulator(FixedFormat(32), chunk=4, outer=Accumulator(INT8))  # whose empty sum is c in the outer format
    assert not theory.never_overflows(narrow, 0, 0, c=128, quantum=Fraction(1))
    assert theory.never_overflows(narrow, 0, 0, c=127, quantum=Fraction(1))
    assert not theory.never_overflows(Accumulator(FixedFormat(8)), 1, 128, quantum=Fraction(1))
    for numbers in ((math.nan, 0), (1, math.inf)):
        with pytest.raises(ValueError, match="give magnitudes, finite numbers"):
            theory.never_overflows(Accumulator(INT8), 1, numbers[0], c=numbers[1])
    with pytest.raises(ValueError, match=r"k = 1\.5: give the number of products"):
        theory.never_overflows(Accumulator(INT8), 1.5, 1)
    with pytest.raises(ValueError, match="give magnitudes, at least 0"):
        theory.never_overflows(Accumulator(fmt), 3, -1.0)


def test_readers_get_a_table():
    text = str(size_accumulator(E4M3, E4M3, 1024, relative_error=0.01, target=BINARY16))
    for row in (
        r"sum +1024 products of e4m3fn and e4m3fn",
        r"exact, fixed point +47 bits, 18 of them fraction",
        r"of these +37 for a product, 10 for growth",
        r"float within 0.01 +e5m16, bias 3 \(22 bits\)",
        r"binary16 +may overflow",
    ):
        assert re.search(row, text), text
    wide = size_accumulator(E5M2, E5M2, 1 << 20)
    assert wide.float_format is None
    assert wide.fixed_format is None
    assert "more than 53 bits of precision" in wide.summary()


@pytest.mark.parametrize(
    ("fmt", "amax", "step"),
    [
        (FloatFormat(3, 0, nan=NanEncoding.TOP_CODE, subnormals=Subnormals.NORMAL_BINADE), None, Fraction(1, 4)),
        (FloatFormat(1, 1, infinities=False, subnormals=Subnormals.NORMAL_BINADE), None, Fraction(1, 2)),  # 1.5 alone
        (
            FloatFormat(1, 1, infinities=False, nan=NanEncoding.TOP_CODE, subnormals=Subnormals.FLUSH),
            None,
            Fraction(2),
        ),  # 2 alone
        (FLUSHED, 2.0**-6, Fraction(1, 64)),
        (FLUSHED, 2.0**-6 * 1.125, Fraction(1, 512)),
    ],
    ids=str,
)
def test_steps_are_the_coarsest(fmt, amax, step):
    span = theory.span_of(fmt, amax)
    assert span.step == step
    found = {x / step for x in values(fmt, math.inf if amax is None else amax)}
    assert all(x.denominator == 1 for x in found) and any(x.numerator % 2 for x in found)
    assert (span.lowest, span.highest) == (min(found) * step, max(found) * step)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "sentence"),
    [
        ((INT8, INT8, 0), {}, ValueError, "k = 0: give the number of products"),
        ((INT8, INT8, 2.0), {}, ValueError, "k = 2.0"),
        ((INT8, "int8", 2), {}, TypeError, "format 'int8': give a format record"),
        ((catalog.MXFP4_E2M1, INT8, 2), {}, ValueError, "size the sum inside a block with its element e2m1"),
        ((LogFormat(3, 1), INT8, 2), {}, ValueError, "has irrational powers"),
        ((INT8, INT8, 2), {"amax_a": 0.0}, ValueError, "amax = 0.0: give a positive finite number"),
        ((INT8, INT8, 2), {"amax_a": 0.5}, ValueError, "amax = 0.5 is below the smallest value of int8"),
        ((FLUSHED, INT8, 2), {"amax_a": 2.0**-7}, ValueError, "amax = 0.0078125 is below the smallest value of e4m3"),
        ((INT8, INT8, 2), {"l1_b": -1.0}, ValueError, "l1_b = -1.0: give the largest sum"),
        ((INT8, INT8, 2), {"relative_error": 0.0}, ValueError, "relative_error = 0.0: give a positive number"),
        (
            (INT8, INT8, 2),
            {"rounding": Rounding.SR, "failure_probability": 5},
            ValueError,
            "failure_probability = 5: give",
        ),
        ((INT8, INT8, 2), {"amax_c": 5.0}, ValueError, "amax_c = 5.0 of no c: give c_format="),
        ((INT8, INT8, 2), {"rounding": "RNE"}, TypeError, "RNE"),
        ((INT8, INT8, 2), {"order": "tree"}, ValueError, "order 'tree' is not known"),
        ((INT8, INT8, 2), {"chunk": 0}, ValueError, "chunk = 0: give a number of products"),
        ((INT8, INT8, 2), {"block": 2}, ValueError, "block = 2 with order 'sequential'"),
        ((INT8, INT8, 2), {"random_bits": 4}, ValueError, "random_bits = 4 with RNE"),
        ((INT8, INT8, 2), {"failure_probability": 0.1}, ValueError, "failure_probability = 0.1 with RNE: nothing is"),
    ],
)
def test_what_cannot_be_sized(arguments, options, error, sentence):
    with pytest.raises(error, match=re.escape(sentence)):
        size_accumulator(*arguments, **options)
