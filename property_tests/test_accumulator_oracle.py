"""The accumulator kernels equal the oracle: drawn formats, rules, shapes, types, chunks, start values, extreme values.

Each combination of modes, forms and carrier is compiled, so formats, rules and shapes are drawn and modes are listed.
"""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from numerics import Accumulator, NanEncoding, Overflow, Quantizer, Rounding, Subnormals, catalog, matmul, reference
from property_tests.strategies import formats

# With NaNs: where infinities of both signs meet in a format without, or a product is NaN, the result is refused.
WITH_NAN = (NanEncoding.IEEE, NanEncoding.TOP_CODE, NanEncoding.NEGATIVE_ZERO)
FEW_BITS = st.sampled_from([1, 3, 8, 12])
BINADES = (Subnormals.FLUSH, Subnormals.NORMAL_BINADE, Subnormals.FULL_BINADE)
# Products of 16 bits live in float32, of 38 in float64. Nearest in both, each other mode in one of them.
FUSED = [(mode, 8) for mode in (Rounding.RNE, Rounding.RNA, Rounding.RTZ, Rounding.RTP)]
FUSED += [(mode, 30) for mode in (Rounding.RNE, Rounding.RTN, Rounding.RTO)]
FUSED_NAMES = [f"{mode.name}-{'float32' if bits == 8 else 'float64'}" for mode, bits in FUSED]


def rules(fmt):
    plain = fmt.nan is NanEncoding.NONE and not fmt.infinities
    return st.sampled_from([Overflow.SATURATE, Overflow.PROPAGATE] + [Overflow.IEEE] * (not plain))


@st.composite
def entries(draw, shape, fmt, significant_bits):
    """Operands whose products lie around the members of fmt: of one size or of all sizes, ties, zeros of both signs."""
    size = int(np.prod(shape))
    middle = draw(st.integers(fmt.emin - 4, fmt.emax + 2)) // 2
    spread = draw(st.sampled_from([0, 2, 20]))
    integers = st.integers(-(1 << significant_bits) + 1, (1 << significant_bits) - 1)
    items = draw(st.lists(st.tuples(integers, st.integers(-spread, spread)), min_size=size, max_size=size))
    scaled = [integer * 2.0 ** (exponent + middle - significant_bits) for integer, exponent in items]
    zeros = draw(st.lists(st.integers(0, 9), min_size=size, max_size=size))
    return np.array([-0.0 if zero == 0 else v for v, zero in zip(scaled, zeros, strict=True)]).reshape(shape)


@st.composite
def problems(draw, fmt, bits=FEW_BITS, depth=7):
    """(a [M, K], b [K, N], c or None) with few rows and columns; sometimes b takes back what it gave before.

    Each is float32 or float64; float32 holds all their values.
    """
    m, k, n = draw(st.integers(1, 3)), draw(st.integers(1, depth)), draw(st.integers(1, 3))
    a = draw(entries((m, k), fmt, draw(bits)))
    b = draw(entries((k, n), fmt, draw(bits)))
    if k > 1 and draw(st.integers(0, 3)) == 0:
        a[:, 1], b[1] = a[:, 0], -b[0]
    c = draw(st.none() | entries((m, n), fmt, draw(bits)))
    types = draw(st.lists(st.sampled_from([np.float32, np.float64]), min_size=3, max_size=3))
    typed = [None if x is None else x.astype(dtype) for x, dtype in zip((a, b, c), types, strict=True)]
    assert all(x is None or np.array_equal(x, y) for x, y in zip(typed, (a, b, c), strict=True))
    return typed


def assert_equals_the_oracle(acc, a, b, c):
    found = matmul(a, b, acc, c=c)
    wanted = reference.matmul(a, b, acc, c=c)
    assert found.dtype == wanted.dtype == np.result_type(a, b)
    assert found.tobytes() == wanted.tobytes(), (found.tolist(), wanted.tolist())


@pytest.mark.parametrize(("mode", "bits"), FUSED, ids=FUSED_NAMES)
@given(data=st.data())
def test_fused(mode, bits, data):
    fmt = data.draw(formats(signed=True))
    a, b, c = data.draw(problems(fmt, st.just(8)))
    if bits == 30:
        a = np.float64(a)
        a[0, 0] = (1 + 2.0**-29) * 2.0 ** (fmt.emin // 2)
    assert_equals_the_oracle(Accumulator(fmt, mode, data.draw(rules(fmt))), a, b, c)


@given(data=st.data())
def test_rounded_products(data):
    # A rule besides SATURATE keeps all parts in the general form.
    fmt, product = data.draw(formats(nans=WITH_NAN, signed=True)), data.draw(formats(signed=True))
    rule = data.draw(rules(fmt).filter(lambda rule: rule is not Overflow.SATURATE))
    acc = Accumulator(fmt, Rounding.RNE, rule, product=Quantizer(product, Rounding.RNE, data.draw(rules(product))))
    assert_equals_the_oracle(acc, *data.draw(problems(data.draw(st.sampled_from([fmt, product])))))


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


@given(data=st.data())
def test_chunks_into_another_format(data):
    kind = formats(nans=WITH_NAN, signed=True)
    fmt, outer = data.draw(kind), data.draw(kind)
    rule = data.draw(rules(fmt).filter(lambda rule: rule is not Overflow.SATURATE))
    combining = Accumulator(outer, Rounding.RTN, data.draw(rules(outer)))
    acc = Accumulator(fmt, Rounding.RTP, rule, chunk=data.draw(st.integers(1, 8)), outer=combining)
    assert_equals_the_oracle(acc, *data.draw(problems(fmt, depth=20)))


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
