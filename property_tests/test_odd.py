"""q(-x) = -q(x) where the mode does not look at the sign; toward positive is the mirror of toward negative."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numerics import NanEncoding, Overflow, Quantizer, Rounding
from numerics.properties.strategies import CASE_NAMES, CASES, arrays_of_values, formats, randomness

MIRROR = {Rounding.RTP: Rounding.RTN, Rounding.RTN: Rounding.RTP}
PAIRS = [(mode, dtype) for mode, dtype in CASES if not (mode is Rounding.RTP and dtype is np.float32)]
NAMES = [name for name in CASE_NAMES if name != "RTP-float32"]  # its mirror is compiled for float64 alone


@pytest.mark.parametrize(("mode", "dtype"), PAIRS, ids=NAMES)
@given(data=st.data())
def test_odd(mode, dtype, data):
    fmt = data.draw(formats(signed=True))
    x = data.draw(arrays_of_values(fmt, dtype))
    random_bits, given_words = data.draw(randomness(mode, x.size))
    rules = [Overflow.SATURATE, Overflow.PROPAGATE]
    if fmt.infinities or fmt.nan is not NanEncoding.NONE:
        rules.append(Overflow.IEEE)
    rule = data.draw(st.sampled_from(rules))
    there = Quantizer(fmt, mode, rule, random_bits).quantize(x, **given_words)
    back = Quantizer(fmt, MIRROR.get(mode, mode), rule, random_bits).quantize(-x, **given_words)
    assert np.array_equal(back, -there, equal_nan=True), (x.tolist(), there.tolist(), back.tolist())
    signed = ~np.isnan(there) & (fmt.has_negative_zero | (there != 0))
    assert (np.signbit(back) != np.signbit(there))[signed].all()
    assert not np.signbit(np.concatenate([back, there])[np.tile(~signed, 2)]).any()
