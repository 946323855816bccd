"""Blocks under a shared scale: equal to the oracle for formats of any kind, and the laws of power-of-two scales."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from numerics import FixedFormat, Overflow, Quantizer, Rounding, ScaleRule, Subnormals, catalog, reference
from numerics.parameters import FLOAT32, carrier_of
from numerics.properties.strategies import arrays_of_values, block_formats, words
from tests.sampling import few

POWERS = [rule for rule in ScaleRule if rule is not ScaleRule.RATIO]
# Each combination of mode and array type is compiled, for either kind of scale.
CASES = [
    (Rounding.RNE, np.float32),
    pytest.param(Rounding.SR, np.float32, marks=pytest.mark.nightly),
    pytest.param(Rounding.RTP, np.float32, marks=pytest.mark.nightly),
    pytest.param(Rounding.RNE, np.float64, marks=pytest.mark.nightly),
]
TYPES = [np.float32, pytest.param(np.float64, marks=pytest.mark.nightly)]


@st.composite
def block_arrays(draw, fmt, dtype):
    """A flat array of a few blocks: values near those of the elements under scales near each other."""
    element = fmt.element if not isinstance(fmt.element, FixedFormat) else catalog.E5M2
    x = draw(arrays_of_values(element, np.float64, max_size=20))
    exponents = draw(st.lists(st.integers(-12, 12), min_size=x.size, max_size=x.size))
    shift = draw(st.sampled_from([0, 0, 20, -20, 80, -80]))
    with np.errstate(over="ignore", under="ignore"):
        x = np.ldexp(x, np.array(exponents) + shift).astype(dtype)
    x = x[np.isfinite(x)]
    assume(x.size)
    return x if fmt.signed else np.abs(x)


@pytest.mark.parametrize(("mode", "dtype"), CASES)
@few
@given(data=st.data())
def test_equal_to_the_oracle(mode, dtype, data):
    fmt = data.draw(block_formats())
    assume(carrier_of(np.dtype(dtype)).holds(fmt))
    x = data.draw(block_arrays(fmt, dtype))
    random_bits = data.draw(st.integers(1, 32)) if mode.stochastic else None
    given_words = [data.draw(words(random_bits)) for _ in range(x.size)] if random_bits else None
    quantizer = Quantizer(fmt, mode, Overflow.SATURATE, random_bits)
    found = quantizer.quantize(x, words=given_words)
    assert found.tobytes() == reference.quantize(x, quantizer, words=given_words).tobytes(), x.tolist()
    codes = quantizer.encode(x, words=given_words)
    assert quantizer.decode(codes, dtype=dtype).tobytes() == found.tobytes()


@pytest.mark.parametrize("dtype", TYPES)
@few
@given(data=st.data())
def test_power_of_two_scales_commute_with_powers_of_two(dtype, data):
    fmt = data.draw(block_formats(rules=POWERS, scales=[catalog.E8M0]))
    assume(carrier_of(np.dtype(dtype)).holds(fmt))
    quantizer = Quantizer(fmt)
    x = data.draw(block_arrays(fmt, dtype))
    x[np.abs(x) < 2.0**-100] = 0  # a float32 that small is no longer what ldexp makes of it
    shift = data.draw(st.integers(-10, 10))
    scales = quantizer.encode(x).scales.astype(int)
    lowest = 16 if dtype is np.float64 else 64  # so that what lies below a scale is normal
    near_an_end = np.repeat((scales < lowest) | (scales > 238), fmt.block)[: x.size]  # blocks of zeros among them
    x = np.where(near_an_end, dtype(fmt.largest_element), x)
    exponents = [quantizer.encode(v).scales.astype(int) for v in (x, np.ldexp(x, shift))]
    assert (exponents[1] - exponents[0] == shift).all()
    assert quantizer.quantize(np.ldexp(x, shift)).tobytes() == np.ldexp(quantizer.quantize(x), shift).tobytes()


@given(data=st.data())
def test_members_never_move(data):
    """What has been rounded to a block stays: its maximum asks for the same scale or a finer one, and both hold it."""
    fmt = data.draw(block_formats(rules=POWERS))
    assume(FLOAT32.holds(fmt))
    quantizer = Quantizer(fmt)
    once = quantizer.quantize(data.draw(block_arrays(fmt, np.float32)))
    again = quantizer.quantize(once)
    element = fmt.element
    gradual = isinstance(element, FixedFormat) or element.subnormals is Subnormals.GRADUAL
    if gradual and (not isinstance(element, FixedFormat) or element.symmetric or not element.signed):
        assert (again == once).all()


@given(data=st.data())
def test_the_order_within_a_block_is_of_no_matter(data):
    fmt = data.draw(block_formats())
    assume(FLOAT32.holds(fmt))
    x = data.draw(block_arrays(fmt, np.float32))[: fmt.block]
    order = np.array(data.draw(st.permutations(range(x.size))))
    quantizer = Quantizer(fmt)
    assert quantizer.quantize(x[order]).tobytes() == quantizer.quantize(x)[order].tobytes()


@pytest.mark.parametrize("dtype", TYPES)
@given(data=st.data())
def test_never_clip_never_overflows_and_is_the_finest_such_scale(dtype, data):
    fmt = data.draw(block_formats(rules=[ScaleRule.NEVER_CLIP], scales=[catalog.E8M0]))
    assume(carrier_of(np.dtype(dtype)).holds(fmt))
    x = data.draw(block_arrays(fmt, dtype)).astype(np.float64)
    codes = Quantizer(fmt).encode(x.astype(dtype))
    scales = np.repeat(np.exp2(codes.scales.astype(float) - 127), fmt.block)[: x.size]
    assert (np.abs(x) <= fmt.element.max * scales).all() or (codes.scales == 254).any()
    starts = np.arange(0, x.size, fmt.block)
    amax = np.maximum.reduceat(np.abs(x), starts)
    smallest = codes.scales == 0
    assert ((amax > fmt.element.max * np.exp2(codes.scales.astype(float) - 128)) | smallest).all()
