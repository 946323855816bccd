"""Products to try accumulators on: operands around the members of a format, and the comparison with the oracle."""

import numpy as np
from hypothesis import strategies as st

from numerics import Events, FloatFormat, NanEncoding, Overflow, Subnormals, matmul, reference

# With NaNs: where infinities of both signs meet in a format without, or a product is NaN, the result is refused.
WITH_NAN = (NanEncoding.IEEE, NanEncoding.TOP_CODE, NanEncoding.NEGATIVE_ZERO)
FEW_BITS = st.sampled_from([1, 3, 8, 12])
WIDE = FloatFormat(7, 6)  # holds a start value far above what the others clamp to
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
def around(draw, shape, fmt, bits):
    """Operands whose products lie around the members of fmt; sometimes b takes back what it gave before."""
    m, k, n = shape
    a = draw(entries((m, k), fmt, draw(bits)))
    b = draw(entries((k, n), fmt, draw(bits)))
    if k > 1 and draw(st.integers(0, 3)) == 0:
        a[:, 1], b[1] = a[:, 0], -b[0]
    return a, b, draw(st.none() | entries((m, n), fmt, draw(bits)))


@st.composite
def small(draw, shape):
    """Integers of two bits."""
    size = int(np.prod(shape))
    drawn = draw(st.lists(st.sampled_from([1, -1, 0, 2, 3, -3]), min_size=size, max_size=size))
    return np.array(drawn, float).reshape(shape)


@st.composite
def scaled(draw, shape, exponents):
    """Operands whose products are small integers times 2**exponents[k]."""
    m, k, n = shape
    low = np.array(exponents) // 2
    a, b = draw(small((m, k))), draw(small((k, n)))
    return a * 2.0**low, b * 2.0 ** (np.array(exponents) - low)[:, None]


@st.composite
def half_quanta(draw, shape, fmt):
    """Products and start values half a quantum off the grid, and products too small for a float32 beside them.

    To nearest in float32 such a sum is a tie, and it was none.
    """
    half = fmt.emin - fmt.mantissa_bits - 1
    down = st.sampled_from([0, 0, 24, 30, 40])
    exponents = draw(st.lists(down.map(lambda d: half - d), min_size=shape[1], max_size=shape[1]))
    a, b = draw(scaled(shape, exponents))
    return a, b, draw(st.none() | small((shape[0], shape[2])).map(lambda c: c * 2.0**half))


@st.composite
def lowest_binade(draw, shape, fmt):
    """Small multiples of 2**emin, which itself is zero's code in a NORMAL_BINADE."""
    a, b = draw(scaled(shape, [fmt.emin] * shape[1]))
    return a, b, draw(st.none() | small((shape[0], shape[2])).map(lambda c: c * 2.0**fmt.emin))


@st.composite
def clamped_sums(draw, shape, clamped):
    """Products beyond the largest value of a format, and start values beside which that one is nothing in float32.

    Products and start values themselves lie so near that float32 would hold all their sums.
    """
    start = clamped.emax + 26 + draw(st.integers(0, 3))
    beyond = start - draw(st.integers(0, 20))
    a, b = draw(scaled(shape, [beyond] * shape[1]))
    return a, b, draw(small((shape[0], shape[2]))) * 2.0**start


@st.composite
def problems(draw, fmt, bits=FEW_BITS, depth=7, clamped=None):
    """(a [M, K], b [K, N], c or None) with few rows and columns, of any of the kinds above that suit the format.

    clamped: a format that products or sums of chunks are rounded to first. Each is float32 or float64; float32 holds
    all their values.
    """
    shape = draw(st.integers(1, 3)), draw(st.integers(1, depth)), draw(st.integers(1, 3))
    kinds = [around(shape, fmt, bits)]
    if fmt.subnormals is Subnormals.GRADUAL and fmt.emin > -80:
        kinds.append(half_quanta(shape, fmt))
    if fmt.subnormals is Subnormals.NORMAL_BINADE:
        kinds.append(lowest_binade(shape, fmt))
    if clamped is not None:
        kinds.append(clamped_sums(shape, clamped))
    a, b, c = draw(st.one_of(kinds))
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
