"""Quantizing is a projection onto the members: what it gives is one, and members never move."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numerics import Overflow, Quantizer, Subnormals, reference
from numerics.properties.strategies import CASE_NAMES, CASES, arrays_of_values, formats, randomness


@pytest.mark.parametrize(("mode", "dtype"), CASES, ids=CASE_NAMES)
@given(data=st.data())
def test_projection(mode, dtype, data):
    fmt = data.draw(formats())
    x = data.draw(arrays_of_values(fmt, dtype))
    random_bits, given_words = data.draw(randomness(mode, x.size))
    quantizer = Quantizer(fmt, mode, data.draw(st.sampled_from([Overflow.SATURATE, Overflow.PROPAGATE])), random_bits)
    once = quantizer.quantize(x, **given_words)
    assert once.dtype == dtype
    assert quantizer.quantize(once, **given_words).tobytes() == once.tobytes()
    if mode.stochastic:  # whatever the word
        last = np.full(x.size, (1 << random_bits) - 1)
        assert quantizer.quantize(once, words=last).tobytes() == once.tobytes()
    for value in once.tolist():
        lower, _ = reference.lower_neighbour(Fraction(abs(value)), fmt)
        assert lower == abs(value) <= fmt.max
        assert value == 0 or fmt.subnormals is Subnormals.GRADUAL or abs(value) >= fmt.smallest_normal
        assert fmt.signed or not np.signbit(value)
        assert value or fmt.has_negative_zero or not np.signbit(value)
