"""A rounded value is one of the two neighbours of the exact one, and the one that the mode promises; in rationals."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from numerics import Quantizer, Rounding, Subnormals
from numerics.properties.strategies import CASE_NAMES, CASES, formats, randomness, values


def neighbours(magnitude, fmt):
    """(lower, upper) on the grid of the format, from its fields alone; the grid has no top and, flushed, no bottom."""
    exponent = math.frexp(float(magnitude))[1] - 1  # magnitude is a float64
    if fmt.subnormals is Subnormals.GRADUAL:
        exponent = max(exponent, fmt.emin)
    step = Fraction(2) ** (exponent - fmt.mantissa_bits)
    lower = magnitude // step * step
    return lower, lower if lower == magnitude else lower + step


@pytest.mark.parametrize(("mode", "dtype"), CASES, ids=CASE_NAMES)
@given(data=st.data())
def test_faithful(mode, dtype, data):
    fmt = data.draw(formats())
    x = data.draw(values(fmt, dtype))
    random_bits, given_words = data.draw(randomness(mode, 1))
    rounded = float(Quantizer(fmt, mode, random_bits=random_bits).quantize(np.array([x]), **given_words)[0])
    magnitude, result = Fraction(abs(float(x))), Fraction(abs(rounded))
    lower, upper = neighbours(magnitude, fmt) if magnitude else (magnitude, magnitude)
    flushed = fmt.subnormals is not Subnormals.GRADUAL

    def landed(neighbour):
        if flushed and neighbour < Fraction(fmt.smallest_normal):
            return Fraction(0) if fmt.has_zero else Fraction(fmt.smallest_normal)
        return min(neighbour, Fraction(fmt.max))

    assert result in (landed(lower), landed(upper))
    if result and magnitude:
        assert np.signbit(rounded) == np.signbit(x)
    assume(lower != upper)
    outward = mode is (Rounding.RTN if np.signbit(x) else Rounding.RTP)
    if mode is Rounding.RTZ or (mode in (Rounding.RTP, Rounding.RTN) and not outward):
        assert result == landed(lower)
    elif outward:
        assert result == landed(upper)
    elif mode in (Rounding.RNE, Rounding.RNA) and magnitude - lower != upper - magnitude:
        assert result == landed(lower if magnitude - lower < upper - magnitude else upper)
    elif mode is Rounding.RNA:
        assert result == landed(upper)


@pytest.mark.parametrize("mode", [Rounding.RTP, Rounding.RTN, Rounding.RTZ], ids=lambda mode: mode.name)
@given(data=st.data())
def test_directed_modes_keep_their_side(mode, data):
    fmt = data.draw(formats(subnormals=(Subnormals.GRADUAL,)))
    x = float(data.draw(values(fmt)))
    rounded = float(Quantizer(fmt, mode).quantize(np.array([x]))[0])
    assume(abs(x) <= fmt.max)
    if mode is Rounding.RTZ:
        assert abs(rounded) <= abs(x)
    else:
        assert rounded >= x if mode is Rounding.RTP else rounded <= x
