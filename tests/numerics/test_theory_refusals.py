"""What bounds are asked with: numbers of any library count, what is none is refused, and long sums have a text."""

import re
from fractions import Fraction

import numpy as np
import pytest

from numerics import Accumulator, Rounding, catalog, size_accumulator, theory

ACC, E4M3 = Accumulator(catalog.BINARY16), catalog.E4M3
STOCHASTIC = Accumulator(catalog.BINARY16, Rounding.SR)
SPARE = {"failure_probability": 0.1}


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: theory.growth(-1, Fraction(1, 8)), ValueError, "n = -1: give an integer of at least 0"),
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
        (
            lambda: size_accumulator(E4M3, E4M3, 4, l1_b=0),
            ValueError,
            "l1_b = 0: give the largest sum of |b|, or None;",
        ),
        (lambda: size_accumulator(E4M3, E4M3, 4, l1_b=2.0**-10), ValueError, "l1_b = 0.0009765625: give the largest"),
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


def test_an_empty_sum_errs_by_nothing():
    assert theory.probabilistic_error_bound(STOCHASTIC, 0, **SPARE).products == 0


def test_bounds_beyond_float64_have_a_text_and_are_infinite():
    bound = theory.probabilistic_error_bound(STOCHASTIC, 1 << 22, **SPARE)
    assert str(bound).startswith("2**59") and bound.products < Fraction(2) ** int(str(bound)[3:].split()[0])
    assert theory.evaluate(bound, np.ones(1), np.ones(1)) == np.inf
