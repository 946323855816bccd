"""What bounds are asked with: numbers of any library count, what is none is refused, and long sums have a text."""

import math
import re
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from numerics import (
    Accumulator,
    FixedFormat,
    FloatFormat,
    PositFormat,
    Quantizer,
    Rounding,
    catalog,
    size_accumulator,
    theory,
)

ACC, E4M3 = Accumulator(catalog.BINARY16), catalog.E4M3
BOUND, POSIT = theory.error_bound(ACC, 3), PositFormat(8)
STOCHASTIC = Accumulator(catalog.BINARY16, Rounding.SR)
COARSE = Accumulator(catalog.E2M1, Rounding.SR)
SPARE = {"failure_probability": 0.1}


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: theory.growth(-1, Fraction(1, 8)), ValueError, "n = -1: give an integer of at least 0"),
        (
            lambda: theory.never_overflows(ACC, 10**400, 1),
            ValueError,
            f"k = {str(10**400)[:40]}: give a number of products below",
        ),
        (lambda: theory.growth(2, -0.5), ValueError, "growth(2, -1/2): give u of at least 0"),
        (lambda: theory.gamma(2.5, Fraction(1, 8)), ValueError, "n = 2.5: give an integer of at least 0"),
        (lambda: theory.gamma(2, np.nan), ValueError, "u = nan: give a finite number"),
        (lambda: theory.gamma_tilde(-1, 0.1, 2), ValueError, "n = -1: give an integer of at least 0"),
        (lambda: theory.gamma_tilde(1, 0.1, -2), ValueError, "deviations = -2: give a finite number of at least 0"),
        (lambda: theory.deviations_for(0.1, 1.5), ValueError, "outputs = 1.5: give an integer of at least 1"),
        (lambda: theory.random_bits_rule(2.5), ValueError, "k = 2.5: give an integer of at least 1"),
        (lambda: theory.error_bound(ACC, 3, quantum=0), ValueError, "quantum = 0: give a positive number"),
        (lambda: theory.never_overflows(ACC, 3, 1, quantum=-1), ValueError, "quantum = -1: give a positive number"),
        (lambda: theory.never_overflows(ACC, 3, "x"), TypeError, "product = 'x': give a finite number"),
        (lambda: theory.span_of(E4M3, "1"), TypeError, "amax = '1': give a finite number"),
        (lambda: theory.rounding_moments(np.nan, E4M3), ValueError, "x = nan: give a finite number"),
        (lambda: theory.rounding_moments("1", E4M3), TypeError, "x = '1': give a finite number"),
        (lambda: theory.rounding_moments(10**400, E4M3), ValueError, "inf is beyond the values of e4m3fn"),
        (lambda: theory.rounding_moments(1, "e4m3"), TypeError, "format 'e4m3': give a FloatFormat or a FixedFormat;"),
        (lambda: theory.rounding_moments(1, POSIT), TypeError, "format posit8: give a FloatFormat or a FixedFormat;"),
        (lambda: theory.rounding_moments(1, E4M3, 6), TypeError, "rounding = 6: give one of Rounding.RNE"),
        (lambda: theory.rounding_moments(1, E4M3, random_bits=2.5), ValueError, "random_bits = 2.5: give an integer"),
        (lambda: theory.rounding_moments(1, E4M3, random_bits=-1), ValueError, "random_bits = -1: give an integer"),
        (lambda: theory.stagnation_point("x"), TypeError, "format 'x': give a FloatFormat or a FixedFormat;"),
        (lambda: theory.stagnation_point(E4M3, "RNE"), TypeError, "rounding = 'RNE': give one of Rounding.RNE"),
        (lambda: theory.stagnation_point(E4M3, Rounding.RNL), ValueError, "RNL rounds logarithms to nearest"),
        (lambda: theory.stagnation_point(E4M3, random_bits=8), ValueError, "random_bits = 8 with RNE: random bits"),
        (lambda: theory.stagnation_point(E4M3, Rounding.SR, 1, 2.5), ValueError, "random_bits = 2.5: give an integer"),
        (lambda: theory.unit_roundoff(POSIT, Rounding.RNE), TypeError, "format posit8: give a FloatFormat"),
        (lambda: theory.underflow_unit(E4M3, Rounding.RNL), ValueError, "RNL rounds logarithms to nearest"),
        (lambda: theory.fixed_bits(E4M3), TypeError, "span e4m3fn: give a Span, as span_of(format)"),
        (lambda: theory.exact_precision(8), TypeError, "span 8: give a Span, as span_of(format)"),
        (lambda: theory.gamma_tilde(1, "x", 2), TypeError, "u = 'x': give a finite number"),
        (lambda: theory.gamma_tilde(1, 0.1, None), TypeError, "deviations = None: give a finite number"),
        (lambda: theory.deviations_for("x"), TypeError, "failure_probability = 'x': give a finite number"),
        (lambda: theory.lba_accumulator_bias(12, np.nan), ValueError, "chunk = nan: give a number of products"),
        (lambda: theory.lba_accumulator_bias(None, 16), TypeError, "product_bias = None: give a finite number"),
        (lambda: theory.gradient_noise_threshold(1, np.nan), ValueError, "dimension = nan: give the number of entries"),
        (lambda: theory.gradient_noise_threshold("x", 4), TypeError, "gradient_norm = 'x': give a finite number"),
        (lambda: theory.error_bound(ACC, 3, c=np.ones(2)), TypeError, "c = array([1., 1.]): say whether there is"),
        (lambda: theory.evaluate(3, [1.0], [1.0]), TypeError, "bound 3: give an ErrorBound, as error_bound("),
        (lambda: theory.evaluate(BOUND, 1.0, [1.0]), ValueError, "a of shape () and b of shape (1,) have no product"),
        (lambda: theory.evaluate(BOUND, [1.0], [1.0, 2.0]), ValueError, "b of shape (2,) have no product"),
        (lambda: theory.evaluate(BOUND, [1j], [1.0]), TypeError, "a of dtype complex128: give an array of real"),
        (
            lambda: size_accumulator(E4M3, E4M3, 4, l1_b=0),
            ValueError,
            "l1_b = 0: give the largest sum of |b|, or None;",
        ),
        (lambda: size_accumulator(E4M3, E4M3, 4, l1_b=2.0**-10), ValueError, "l1_b = 0.0009765625: give the largest"),
        # What was a bare error of Python's, or the end of the machine's memory.
        (lambda: theory.gamma(2, 10**400), ValueError, "gamma(2, inf): n u = inf is not below 1"),
        (lambda: theory.gamma_tilde(1, 10**400, 2), ValueError, "gamma_tilde with u = inf: give u from 0 to below 1"),
        (
            lambda: theory.error_bound(COARSE, 2**36 - 1),
            ValueError,
            "more than 2**28 binary digits, and bounds that say",
        ),
        (
            lambda: theory.evaluate(BOUND, [1.0], [1.0], [1.0, 2.0]),
            ValueError,
            "c of shape (2,): give one that broadcasts",
        ),
        (lambda: size_accumulator(E4M3, E4M3, 4, relative_error=[1]), TypeError, "relative_error = [1]: give a finite"),
        (
            lambda: size_accumulator(E4M3, E4M3, 4, failure_probability="x"),
            TypeError,
            "failure_probability = 'x': give a",
        ),
        (
            lambda: size_accumulator(E4M3, E4M3, 4, relative_error=Decimal("NaN")),
            ValueError,
            "relative_error = Decimal('NaN'): give a positive number",
        ),
    ],
)
def test_what_no_bound_is_asked_with(call, error, sentence):
    with pytest.raises(error, match=re.escape(sentence)):
        call()


def test_numbers_of_any_library_count():
    assert theory.growth(np.int64(3), 0.125) == Fraction(9, 8) ** 3
    assert theory.error_bound(ACC, 3, quantum=0.5) == theory.error_bound(ACC, 3, quantum=Fraction(1, 2))
    assert size_accumulator(E4M3, E4M3, 4, amax_a=np.float32(3)) == size_accumulator(E4M3, E4M3, 4, amax_a=3)
    assert theory.never_overflows(ACC, 3, np.float32(2)) and theory.stagnation_point(
        catalog.BINARY16, addend=np.float32(1)
    )


def test_numbers_with_more_digits_than_float64_are_taken_as_they_are():
    wide, mean = FixedFormat(64), 2**53 + 1
    for x in (np.int64(mean), Decimal(mean), np.longdouble(mean), Fraction(mean)):
        assert theory.rounding_moments(x, wide) == (mean, 0)
    third = theory.rounding_moments(Decimal("0.1"), E4M3, random_bits=math.inf)
    assert third.mean == Fraction(1, 10) != theory.rounding_moments(0.1, E4M3, random_bits=math.inf).mean


def test_an_empty_sum_errs_by_nothing():
    assert theory.probabilistic_error_bound(STOCHASTIC, 0, **SPARE).products == 0


def test_bounds_beyond_float64_have_a_text_and_are_infinite():
    bound = theory.probabilistic_error_bound(STOCHASTIC, 1 << 22, **SPARE)
    assert str(bound).startswith("2**59") and bound.products < Fraction(2) ** int(str(bound)[3:].split()[0])
    assert theory.evaluate(bound, np.ones(1), np.ones(1)) == np.inf


@pytest.mark.parametrize("wide", [FixedFormat(64, -900), FloatFormat(10, 1)], ids=str)
def test_sums_that_no_float64_format_holds_have_a_table(wide):
    # Once a sentence about a format that nobody had given, or no text for ends beyond float64.
    size = size_accumulator(wide, wide, 4, relative_error=Fraction(1, 2))
    assert size.float_format is None and "or more than float64's range" in str(size)


def test_numbers_of_products_of_numpy_go_with_any_chunk():
    long = Accumulator(catalog.BINARY16, chunk=10**30)
    assert theory.error_bound(long, np.int64(7)) == theory.error_bound(long, 7)
    assert theory.never_overflows(long, np.int64(7), 1)


def test_what_is_beyond_float64_is_infinite_without_a_warning():
    assert theory.gamma_tilde(10**6, 0.5, 3) == theory.gamma_tilde(10**400, 0.1, Decimal(1)) == math.inf
    assert theory.deviations_for(0.5, 10**400) == pytest.approx(math.sqrt(2 * math.log(4) + 800 * math.log(10)))
    assert theory.evaluate(BOUND, np.full(2, 1e300), np.full(2, 1e300), 1.0) == math.inf
    rounded = Accumulator(catalog.BINARY32, Rounding.RTP, product=Quantizer(catalog.E2M1, Rounding.SR))
    bound = theory.probabilistic_error_bound(rounded, 2**34, **SPARE)
    assert bound == theory.error_bound(rounded, 2**34)
