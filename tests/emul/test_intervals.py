"""Mean, spread and paired interval against values worked out by hand and quantiles from printed tables."""

import math
from dataclasses import replace
from fractions import Fraction

import pytest

pytest.importorskip("scipy")

from emul.intervals import paired, sign_flips, spread


def test_statistics_by_hand() -> None:
    assert spread([1.0, 2.0, 3.0]).mean == 2
    assert spread([1.0, 2.0, 3.0]).deviation == 1
    # differences 1, 2, 3, 4, 5: mean 3, deviation sqrt(2.5), t of 4 degrees of freedom at 97.5 % is 2.7764451
    interval = paired([2.0, 4.0, 6.0, 8.0, 10.0], [1.0, 2.0, 3.0, 4.0, 5.0])
    half = 2.7764451051977987 * math.sqrt(2.5 / 5)
    assert interval.mean == 3
    assert (interval.low, interval.high) == pytest.approx((3 - half, 3 + half), rel=1e-12)
    # t of 2 degrees of freedom at 95 % is 2.9199856
    narrow = paired([1.0, 2.0, 3.0], [0.0, 0.0, 0.0], confidence=0.9)
    assert narrow.high - narrow.mean == pytest.approx(2.9199855803537265 / math.sqrt(3), rel=1e-12)
    assert paired([5.0, 6.0], [4.0, 5.0]) == replace(narrow, mean=1.0, low=1.0, high=1.0)
    with pytest.raises(ValueError, match="at least 2"):
        spread([1.0])
    with pytest.raises(ValueError, match="2 values cannot be paired with 3"):
        paired([1.0, 2.0], [1.0, 2.0, 3.0])


def test_the_sign_flip_test_by_hand() -> None:
    assert sign_flips([1, 2, 3, 4, 5]) == Fraction(1, 32)
    assert sign_flips([-1.0, -2.0, -3.0]) == 1
    # of the eight sums of +-1 +-2 +-3 those of at least 4 are 6 and 4
    assert sign_flips([-1, 2, 3]) == Fraction(2, 8)
    assert sign_flips([0.0, 0.0]) == 1
    # tenths: the sum is 0, and 6, 4, 2, 0 and 0 are at least that; in float64 it is 5.6e-17, and so is not every 0
    tenths = [Fraction(1, 10), Fraction(2, 10), Fraction(-3, 10)]
    assert sign_flips(tenths) == Fraction(5, 8)
    # the exact values of the floats 0.1, 0.2 and 0.3 are no tenths: 0.1 + 0.2 - 0.3 is 2.8e-17, its mirror below it
    assert sign_flips([0.1, 0.2, -0.3]) == Fraction(4, 8)


def test_the_sign_flip_test_refuses() -> None:
    for values in ([], [1.0] * 21):
        with pytest.raises(ValueError, match=f"{len(values)} differences were given; .*give 1 to 20"):
            sign_flips(values)
    with pytest.raises(ValueError, match="a difference is nan; give finite ones"):
        sign_flips([1.0, math.nan])
