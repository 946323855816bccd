"""Means and norms of rows against exact rationals, over the whole range of float64."""

import math
from fractions import Fraction

import numpy as np
import pytest

from numerics.means import deviations, means, norms, root_mean_squares

RNG = np.random.default_rng(0)
EXPONENTS = {"wide": (-1070, 1000), "subnormal": (-1074, -1040), "near": (-3, 3), "huge": (1020, 1023)}


@pytest.mark.parametrize("exponents", EXPONENTS.values(), ids=EXPONENTS)
def test_means_are_correctly_rounded(exponents):
    rows = np.ldexp(RNG.uniform(-1, 1, (60, 7)), RNG.integers(*exponents, (60, 7)))
    rows[::2, 3] = -rows[::2, 4]  # what cancels leaves the rest exact
    for row, mean, norm, root in zip(rows.tolist(), means(rows), norms(rows / 8), root_mean_squares(rows), strict=True):
        assert mean == float(sum(map(Fraction, row)) / 7)
        squares = sum(Fraction(v) ** 2 for v in row)
        for found, wanted in ((norm * 8, squares), (root, squares / 7)):
            if wanted > Fraction(1, 2**1900):  # a normal number with room below
                assert abs(Fraction(float(found)) ** 2 / wanted - 1) < Fraction(1, 2**50)


def test_means_of_equal_numbers_are_those():
    for value in (0.1, -1 / 3, 5e-324, 1.7e308):
        for n in (1, 3, 49, 1000):
            row = np.full((1, n), value)
            assert means(row).tolist() == [value]
            assert not deviations(row).any()


def test_rows_that_are_empty_or_zero():
    assert means(np.zeros((2, 0))).tolist() == norms(np.zeros((2, 0))).tolist() == [0.0, 0.0]
    assert means(np.zeros((0, 2))).shape == root_mean_squares(np.zeros((0, 2))).shape == (0,)
    assert math.copysign(1, means(np.full((1, 3), -0.0))[0]) == 1


def test_deviations_that_overflow_are_refused():
    with pytest.raises(ValueError, match="multiply them by 2"):
        deviations(np.array([[1.7e308, 1.7e308, -1.7e308]]))
