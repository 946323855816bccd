"""Laws of logarithmic formats: of rounding to one, and of arithmetic on its codes."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numerics import LogFormat, Quantizer, Rounding, logscale, reference
from numerics.logscale import SumTable, Underflow
from numerics.properties.strategies import randomness
from numerics.reference import log as oracle
from tests.sampling import but_at_night, one_in

R = Rounding
MODES = pytest.mark.parametrize(
    "mode",
    but_at_night([R.RNE, R.RTP, R.RTO, R.RNL, R.SR, R.SR_C], [R.RTO, R.SR_C]),
    ids=lambda mode: mode.name,
)
DETERMINISTIC = [mode for mode in Rounding if not mode.stochastic]
MIRROR = {Rounding.RTP: Rounding.RTN, Rounding.RTN: Rounding.RTP}


@st.composite
def log_formats(draw, *, signed=None):
    """Any whose values are normal float32, with up to 16 bits."""
    f = draw(st.integers(0, 8))
    integer_bits = draw(st.integers(int(f == 0), 7))
    bias = draw(st.integers(2**integer_bits - 126, 126))
    is_signed = draw(st.booleans()) if signed is None else signed
    return LogFormat(integer_bits, f, bias=bias, signed=is_signed)


@st.composite
def values(draw, fmt, dtype):
    """A finite value: near a member, near either mean of neighbours, below the smallest, beyond the largest."""
    code = draw(st.integers(0, fmt.largest_code + 1))
    low, high = (oracle.magnitude_of(c, fmt, 53) for c in (code, code + 1))
    part = draw(
        st.sampled_from([Fraction(0), Fraction(1, 2), Fraction(1)]) | st.fractions(0, 1, max_denominator=1 << 12)
    )
    value = float(low + (high - low) * part)
    if draw(st.integers(0, 3)) == 0:
        value = 2.0 ** ((code - (fmt.bias << fmt.fraction_bits) + 0.5) / (1 << fmt.fraction_bits))
    value = dtype(value)
    ulps = draw(st.integers(-2, 2))
    for _ in range(abs(ulps)):
        value = np.nextafter(value, dtype(math.inf if ulps > 0 else 0))
    return dtype(-value) if fmt.signed and draw(st.booleans()) else value


def arrays(fmt, dtype):
    return st.lists(values(fmt, dtype), min_size=1, max_size=8).map(lambda items: np.array(items, dtype))


TYPES = st.sampled_from([np.float32, np.float64])


@MODES
@given(data=st.data())
def test_rounding_is_that_of_the_oracle_and_a_projection(mode, data):
    fmt, dtype = data.draw(log_formats()), data.draw(TYPES)
    x = data.draw(arrays(fmt, dtype))
    random_bits, words = data.draw(randomness(mode, x.size))
    quantizer = Quantizer(fmt, mode, random_bits=random_bits)
    once = quantizer.quantize(x, **words)
    assert once.tobytes() == reference.quantize(x, quantizer, **words).tobytes()
    assert quantizer.quantize(once, **words).tobytes() == once.tobytes()
    codes = Quantizer(fmt, Rounding.RNE).encode(once)
    assert Quantizer(fmt).decode(codes, dtype=dtype).tobytes() == once.tobytes()


@MODES
@given(data=st.data())
def test_rounding_is_monotone_and_odd(mode, data):
    fmt, dtype = data.draw(log_formats(signed=True)), data.draw(TYPES)
    x = np.sort(data.draw(arrays(fmt, dtype)))
    random_bits, words = data.draw(randomness(mode, 1))
    words = {"words": np.repeat(words["words"], x.size)} if words else {}
    rounded = Quantizer(fmt, mode, random_bits=random_bits).quantize(x, **words)
    assert (rounded[:-1] <= rounded[1:]).all()
    opposite = Quantizer(fmt, MIRROR.get(mode, mode), random_bits=random_bits).quantize(-x, **words)
    assert (opposite == -rounded).all()


@st.composite
def codes(draw, fmt, size):
    """Codes that lie together often enough for sums to matter."""
    middle = draw(st.integers(0, fmt.largest_code))
    reach = draw(st.sampled_from([1, 3, 2 << fmt.fraction_bits, fmt.largest_code]))
    near = st.integers(max(0, middle - reach), min(fmt.largest_code, middle + reach))
    sign = st.sampled_from([0, fmt.largest_code + 1] if fmt.signed else [0])
    return np.array([draw(near) | draw(sign) for _ in range(size)])


def key(array, fmt):
    """Integers in the order of the numbers that codes stand for."""
    magnitude = array.astype(np.int64) & fmt.largest_code
    return np.where(array > fmt.largest_code, -magnitude, magnitude)


@pytest.mark.parametrize("mode", one_in(2, DETERMINISTIC), ids=lambda mode: mode.name)
@given(data=st.data())
def test_sums(mode, data):
    fmt = data.draw(log_formats(signed=True))
    a, b, c = data.draw(codes(fmt, 8)), data.draw(codes(fmt, 8)), data.draw(codes(fmt, 8))
    options = {"rounding": mode, "underflow": data.draw(st.sampled_from(Underflow))}
    total = logscale.add(a, b, fmt, **options)
    wanted = [
        reference.logscale.add(int(x), int(y), fmt, mode, underflow=options["underflow"])
        for x, y in zip(a, b, strict=True)
    ]
    assert total.tolist() == wanted
    assert (logscale.add(b, a, fmt, **options) == total).all()
    assert not logscale.subtract(a, a, fmt, **options).any()
    assert (key(logscale.add(a, a * 0, fmt, **options), fmt) == key(a, fmt)).all()
    if options["underflow"] is Underflow.ZERO:
        smaller, larger = (np.where(less, b, c) for less in (key(b, fmt) <= key(c, fmt), key(b, fmt) > key(c, fmt)))
        low, high = (key(logscale.add(a, x, fmt, **options), fmt) for x in (smaller, larger))
        assert (low <= high).all()


@given(data=st.data())
def test_products_scale_sums(data):
    # Where nothing leaves the range, moving both operands by the same power moves the sum by it: RNL sees no parity.
    fmt = LogFormat(7, data.draw(st.integers(0, 8)), bias=64)
    a, b = data.draw(codes(fmt, 8)), data.draw(codes(fmt, 8))
    shift = data.draw(st.integers(-fmt.largest_code, fmt.largest_code))
    power = np.clip(shift + (fmt.bias << fmt.fraction_bits), 1, fmt.largest_code)
    table = data.draw(st.sampled_from([None, SumTable(fmt.fraction_bits, 2, 4)]))
    total = logscale.add(a, b, fmt, table=table)
    moved = logscale.add(logscale.multiply(a, power, fmt), logscale.multiply(b, power, fmt), fmt, table=table)
    move = int(power) - (fmt.bias << fmt.fraction_bits)
    inside = np.ones(8, bool)
    for x in (a, b, total):
        place = x.astype(np.int64) & fmt.largest_code
        inside &= (place > 1) & (place + move > 1) & (np.maximum(place, place + move) < fmt.largest_code)
    assert (moved[inside] == logscale.multiply(total, power, fmt)[inside]).all()
    back = logscale.divide(logscale.multiply(a, power, fmt), power, fmt)
    assert (back[inside] == a[inside]).all()
