"""The accumulator kernels equal the oracle: drawn formats, rules, shapes, types, chunks, start values, extreme values.

Each combination of modes, forms and carrier is compiled, so formats, rules and shapes are drawn and modes are listed.
"""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from numerics import Accumulator, NanEncoding, Overflow, Quantizer, Rounding, catalog
from numerics.properties.strategies import float_formats as formats
from property_tests.products import BINADES, WIDE, WITH_NAN, assert_equals_the_oracle, problems, rules
from tests.sampling import but_at_night, few

# Products of 16 bits live in float32, of 38 in float64. Nearest in both, each other mode in one of them.
FUSED = [(mode, 8) for mode in (Rounding.RNE, Rounding.RNA, Rounding.RTZ, Rounding.RTP)]
FUSED += [(mode, 30) for mode in (Rounding.RNE, Rounding.RTN, Rounding.RTO)]
# What other tests of this folder have by day.
LATE = [(Rounding.RNA, 8), (Rounding.RTZ, 8), (Rounding.RNE, 30), (Rounding.RTN, 30)]
MARKED = [pytest.param(*case, marks=pytest.mark.nightly) if case in LATE else case for case in FUSED]
FUSED_NAMES = [f"{mode.name}-{'float32' if bits == 8 else 'float64'}" for mode, bits in FUSED]


@pytest.mark.parametrize(("mode", "bits"), MARKED, ids=FUSED_NAMES)
@few
@given(data=st.data())
def test_fused(mode, bits, data):
    fmt = data.draw(formats(signed=True))
    a, b, c = data.draw(problems(fmt, st.just(8)))
    if bits == 30:
        a = np.float64(a)
        a[0, 0] = (1 + 2.0**-29) * 2.0 ** (fmt.emin // 2)
    assert_equals_the_oracle(Accumulator(fmt, mode, data.draw(rules(fmt))), a, b, c)


@pytest.mark.parametrize("mode", but_at_night([Rounding.RNE, Rounding.RTZ], [Rounding.RTZ]), ids=lambda mode: mode.name)
@few
@given(data=st.data())
def test_rounded_products(mode, data):
    # A rule besides SATURATE keeps all parts in the general form.
    fmt = data.draw(formats(nans=WITH_NAN, signed=True) | st.just(WIDE))
    product = data.draw(formats(signed=True))
    rule = data.draw(rules(fmt).filter(lambda rule: rule is not Overflow.SATURATE))
    acc = Accumulator(fmt, mode, rule, product=Quantizer(product, Rounding.RNE, data.draw(rules(product))))
    assert_equals_the_oracle(acc, *data.draw(problems(data.draw(st.sampled_from([fmt, product])), clamped=product)))


@given(data=st.data())
def test_truncated_chunks_without_gradual_underflow(data):
    # Both quantizers of a fused multiply-add that truncates, and the combination of the chunks: LBA's hardware.
    kind = formats(min_mantissa_bits=1, subnormals=BINADES, nans=(NanEncoding.NONE, NanEncoding.TOP_CODE), signed=True)
    fmt, product, outer = (data.draw(kind) for _ in range(3))
    acc = Accumulator(
        fmt,
        Rounding.RTZ,
        product=Quantizer(product, Rounding.RTZ),
        chunk=data.draw(st.integers(1, 8)),
        outer=data.draw(st.sampled_from([None, Accumulator(outer, Rounding.RTZ)])),
    )
    assert_equals_the_oracle(acc, *data.draw(problems(fmt, depth=20)))


@pytest.mark.nightly
@given(data=st.data())
def test_chunks_into_another_format(data):
    kind = formats(nans=WITH_NAN, signed=True)
    fmt, outer = data.draw(kind), data.draw(kind | st.just(WIDE))
    rule = data.draw(rules(fmt).filter(lambda rule: rule is not Overflow.SATURATE))
    combining = Accumulator(outer, Rounding.RTN, data.draw(rules(outer)))
    acc = Accumulator(fmt, Rounding.RTP, rule, chunk=data.draw(st.integers(1, 8)), outer=combining)
    assert_equals_the_oracle(acc, *data.draw(problems(fmt, depth=20, clamped=fmt)))


@given(data=st.data())
def test_binary32(data):
    # float32's own fused step, at any exponents.
    fmt = catalog.BINARY32
    a, b, c = data.draw(problems(data.draw(formats(signed=True)), st.sampled_from([3, 24])))
    acc = Accumulator(fmt, Rounding.RNE, data.draw(st.sampled_from([Overflow.SATURATE, Overflow.IEEE])))
    scale = np.float32(2.0 ** data.draw(st.sampled_from([0, 0, -60, 60])))
    with np.errstate(over="ignore", under="ignore"):
        a, b = (np.float32(x) * scale for x in (a, b))
        start = None if c is None else np.float32(c)
    assume(np.isfinite(a).all() and np.isfinite(b).all() and (start is None or np.isfinite(start).all()))
    assert_equals_the_oracle(acc, a, b, start)


@given(data=st.data())
def test_where_the_target_goes_on_below_the_carrier(data):
    # Subnormals of float32 taken at their own exponents.
    bias = data.draw(st.integers(128, 140))
    fmt = data.draw(formats(signed=True, max_mantissa_bits=5))
    fmt = type(fmt)(5, fmt.mantissa_bits, bias, subnormals=fmt.subnormals, infinities=False, nan=NanEncoding.TOP_CODE)
    a, b, c = data.draw(problems(fmt, st.sampled_from([1, 3, 5])))
    lowest = np.abs(np.outer(a[a != 0], b[b != 0])).min() if a.any() and b.any() else 1
    assume(lowest >= 2.0**-137)
    acc = Accumulator(fmt, Rounding.RNE, data.draw(st.sampled_from([Overflow.PROPAGATE, Overflow.IEEE])))
    assert_equals_the_oracle(acc, a, b, c)
