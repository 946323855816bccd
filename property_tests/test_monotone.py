"""x <= y gives q(x) <= q(y): for every mode, and for the stochastic ones with the same word."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numerics import Overflow, Quantizer
from numerics.properties.strategies import CASE_NAMES, CASES, arrays_of_values, formats, randomness


@pytest.mark.parametrize(("mode", "dtype"), CASES, ids=CASE_NAMES)
@given(data=st.data())
def test_monotone(mode, dtype, data):
    fmt = data.draw(formats())
    x = np.sort(data.draw(arrays_of_values(fmt, dtype)))
    x = np.append(x, np.nextafter(x, dtype(np.inf))) if data.draw(st.booleans()) else x
    x = np.sort(x[np.isfinite(x) & (fmt.signed | (x >= 0))])
    random_bits, given_words = data.draw(randomness(mode, 1))
    if given_words:
        given_words = {"words": np.repeat(given_words["words"], x.size)}
    rules = [Overflow.SATURATE, Overflow.PROPAGATE] + [Overflow.IEEE] * fmt.infinities
    rounded = Quantizer(fmt, mode, data.draw(st.sampled_from(rules)), random_bits).quantize(x, **given_words)
    assert (rounded[:-1] <= rounded[1:]).all(), (x.tolist(), rounded.tolist())
