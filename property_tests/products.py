"""Products to try accumulators on: operands around the members of a format, and the comparison with the oracle."""

import numpy as np
from hypothesis import strategies as st

from numerics import Events, NanEncoding, Overflow, Subnormals, matmul, reference

# With NaNs: where infinities of both signs meet in a format without, or a product is NaN, the result is refused.
WITH_NAN = (NanEncoding.IEEE, NanEncoding.TOP_CODE, NanEncoding.NEGATIVE_ZERO)
FEW_BITS = st.sampled_from([1, 3, 8, 12])
BINADES = (Subnormals.FLUSH, Subnormals.NORMAL_BINADE, Subnormals.FULL_BINADE)


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


def assert_equals_the_oracle(acc, a, b, c, words=None):
    """`matmul` gives the oracle's bits."""
    found = matmul(a, b, acc, c=c, words=words)
    wanted = reference.matmul(a, b, acc, c=c, words=words)
    assert found.dtype == wanted.dtype == np.result_type(a, b)
    assert found.tobytes() == wanted.tobytes(), (found.tolist(), wanted.tolist())


def assert_same_events(acc, a, b, c, words=None):
    """The counts of `matmul` are those of the oracle, and counting changes no bit."""
    found, events = matmul(a, b, acc, c=c, words=words, events=True)
    wanted, counts = reference.matmul(a, b, acc, c=c, words=words, events=True)
    assert found.tobytes() == wanted.tobytes(), (found.tolist(), wanted.tolist())
    assert isinstance(events, Events)
    for name, count in counts.items():
        assert np.array_equal(getattr(events, name), count), (name, getattr(events, name).tolist(), count.tolist())
