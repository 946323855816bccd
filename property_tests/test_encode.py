"""Codes: decode(encode(x)) is quantize(x), in the smallest unsigned type, and codes are ordered as magnitudes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numerics import NanEncoding, Overflow, Quantizer, Rounding, Subnormals, reference
from numerics.properties.strategies import arrays_of_values, randomness
from numerics.properties.strategies import float_formats as formats
from tests.sampling import but_at_night, few

CODED = (Subnormals.GRADUAL, Subnormals.FLUSH, Subnormals.NORMAL_BINADE)
MODES = (Rounding.RNE, Rounding.SR_C)


def rules(fmt):
    plain = fmt.nan is NanEncoding.NONE and not fmt.infinities
    return st.sampled_from([Overflow.SATURATE, Overflow.PROPAGATE] + [Overflow.IEEE] * (not plain))


@pytest.mark.parametrize("mode", but_at_night(MODES, [Rounding.SR_C]), ids=lambda mode: mode.name)
@few
@given(data=st.data())
def test_decoding_a_code_gives_the_quantized_value(mode, data):
    fmt = data.draw(formats(subnormals=CODED))
    x = data.draw(arrays_of_values(fmt))
    random_bits, given_words = data.draw(randomness(mode, x.size))
    quantizer = Quantizer(fmt, mode, data.draw(rules(fmt)), random_bits)
    codes = quantizer.encode(x, **given_words)
    assert codes.dtype == (np.uint8 if fmt.bits <= 8 else np.uint16)
    assert int(codes.max()) < 1 << fmt.bits
    values = quantizer.quantize(x, **given_words)
    assert quantizer.decode(codes).tobytes() == values.tobytes()
    assert [reference.encode_value(v, fmt) for v in values.tolist()] == codes.tolist()


@given(data=st.data())
def test_codes_of_magnitudes_are_ordered(data):
    fmt = data.draw(formats(subnormals=CODED))
    x = np.sort(np.abs(data.draw(arrays_of_values(fmt))))
    codes = Quantizer(fmt).encode(x)
    assert (codes[:-1] <= codes[1:]).all()


@given(data=st.data())
def test_every_code_of_a_number_comes_back(data):
    fmt = data.draw(formats(subnormals=CODED))
    codes = np.array(data.draw(st.lists(st.integers(0, fmt.largest_code), min_size=1, max_size=20)))
    if fmt.subnormals is Subnormals.FLUSH:  # the lowest exponent code holds zero alone
        codes[codes < 1 << fmt.mantissa_bits] = 0
    signs = (1 << (fmt.bits - 1)) * fmt.signed
    for both in (codes, (codes | signs)[(codes > 0) | fmt.has_negative_zero]):
        if both.size:
            assert (Quantizer(fmt).encode(fmt.decode(both)) == both).all()
