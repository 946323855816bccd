"""Laws of correctly rounded operators, over drawn formats, modes and operands."""

import math
import sys
from fractions import Fraction

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from numerics import FloatFormat, NanEncoding, Overflow, Quantizer, Rounding, Subnormals, arithmetic, catalog, reference

DETERMINISTIC = (Rounding.RNE, Rounding.RNA, Rounding.RTZ, Rounding.RTP, Rounding.RTN, Rounding.RTO)
STOCHASTIC = (Rounding.SR, Rounding.SR_B, Rounding.SR_C)
MIRRORED = {Rounding.RTP: Rounding.RTN, Rounding.RTN: Rounding.RTP}
ARITY = {"add": 2, "sub": 2, "mul": 2, "div": 2, "sqrt": 1, "fma": 3}

operations = st.sampled_from(sorted(ARITY))
deterministic = st.sampled_from(DETERMINISTIC)
# Any float64, and neighbours of short ones, where decisions lie.
floats = st.one_of(
    st.floats(width=64),
    st.floats(width=16).map(float),
    st.builds(lambda x, away: math.nextafter(x, away), st.floats(width=16).map(float), st.floats(allow_nan=False)),
)
triples = st.tuples(floats, floats, floats)


@st.composite
def formats(draw, kinds=tuple(s for s in Subnormals if s is not Subnormals.NO_ZERO), most=52):
    """Signed float formats up to binary64, with NaN and infinities; most: of mantissa bits."""
    exponent_bits, mantissa_bits = draw(st.integers(2, 11)), draw(st.integers(1, most))
    if exponent_bits == 11:
        return FloatFormat(11, mantissa_bits, subnormals=draw(st.sampled_from([s for s in kinds if s in NARROWER])))
    bias = draw(st.integers((1 << exponent_bits) - 1023, 1074 - 52))
    return FloatFormat(exponent_bits, mantissa_bits, bias, subnormals=draw(st.sampled_from(kinds)))


@st.composite
def other_formats(draw):
    """Formats with one NaN, in place of -0 or at the top, mantissa bits or not, infinities or not."""
    exponent_bits, mantissa_bits = draw(st.integers(3, 10)), draw(st.integers(0, 52))
    return FloatFormat(
        exponent_bits,
        mantissa_bits,
        draw(st.integers((1 << exponent_bits) - 1023, 1074 - 52)),
        subnormals=draw(st.sampled_from([Subnormals.GRADUAL, Subnormals.FLUSH, Subnormals.NORMAL_BINADE])),
        infinities=draw(st.booleans()),
        nan=draw(st.sampled_from([NanEncoding.TOP_CODE, NanEncoding.NEGATIVE_ZERO])),
    )


NARROWER = (Subnormals.GRADUAL, Subnormals.FLUSH)  # one binade more would leave float64
GRADUAL = (Subnormals.GRADUAL,)
any_format = st.one_of(formats(), other_formats())


def operate(operation, operands, quantizer, **options):
    arrays = [np.array([x]) for x in operands[: ARITY[operation]]]
    return float(getattr(arithmetic, operation)(*arrays, quantizer, **options)[0])


def rounded(x, fmt, mode, rule=Overflow.IEEE):
    return reference.round_value(x, fmt, mode, rule)


def same(found, wanted):
    return np.float64(found).view(np.uint64) == np.float64(wanted).view(np.uint64)


def exact(operation, operands, mode):
    return reference.arithmetic.exact_result(operation, operands[: ARITY[operation]], mode)


@settings(max_examples=300, deadline=None)
@given(
    operations,
    triples,
    any_format,
    deterministic,
    st.sampled_from([Overflow.IEEE, Overflow.SATURATE, Overflow.PROPAGATE]),
)
def test_equal_to_the_oracle(operation, operands, fmt, mode, rule):
    quantizer = Quantizer(fmt, mode, rule)
    wanted = reference.arithmetic.apply(operation, operands[: ARITY[operation]], quantizer)
    assert same(operate(operation, operands, quantizer), wanted)


@settings(max_examples=300, deadline=None)
@given(operations, triples, any_format, st.sampled_from(STOCHASTIC), st.integers(1, 32), st.data())
def test_stochastic_modes_equal_the_oracle(operation, operands, fmt, mode, random_bits, data):
    value, _ = exact(operation, operands, mode)
    k = 0
    if isinstance(value, Fraction):
        lo, ulp = reference.lower_neighbour(abs(value), fmt)
        k = reference.stochastic_threshold((abs(value) - lo) / ulp, mode, random_bits)
    last = (1 << random_bits) - 1
    edges = [word for word in (last - k, last + 1 - k) if 0 <= word <= last]
    word = data.draw(st.one_of(st.sampled_from(edges), st.integers(0, last)), label="word")
    quantizer = Quantizer(fmt, mode, Overflow.IEEE, random_bits)
    wanted = reference.arithmetic.apply(operation, operands[: ARITY[operation]], quantizer, word=word)
    assert same(operate(operation, operands, quantizer, words=np.array([word])), wanted)


@settings(max_examples=100, deadline=None)
@given(operations, triples, formats(GRADUAL))
def test_directed_modes_enclose_the_exact_result(operation, operands, fmt):
    # (A format without subnormals flushes what it has rounded.)
    value, _ = exact(operation, operands, Rounding.RTN)
    below, above, nearest = (
        operate(operation, operands, Quantizer(fmt, mode, Overflow.IEEE))
        for mode in (Rounding.RTN, Rounding.RTP, Rounding.RNE)
    )
    if value != value:
        assert all(math.isnan(x) for x in (below, above, nearest))
        return
    assert below <= value <= above
    assert nearest in (below, above)
    if below < above:  # nothing of the format lies between them
        middle = max(min(above, sys.float_info.max) / 2 + max(below, -sys.float_info.max) / 2, below)
        assert rounded(middle, fmt, Rounding.RTZ) in (below, above)


@settings(max_examples=100, deadline=None)
@given(operations, triples, formats(GRADUAL, most=50), deterministic)
def test_rounding_to_odd_first_changes_nothing(operation, operands, fmt, mode):
    # Boldo and Melquiond: a format with two bits more, rounded to odd, decides every later rounding.
    assume(exact(operation, operands, mode)[0] != 0)
    wider = FloatFormat(fmt.exponent_bits, fmt.mantissa_bits + 2, fmt.bias)
    middle = operate(operation, operands, Quantizer(wider, Rounding.RTO, Overflow.IEEE))
    assert same(rounded(middle, fmt, mode), operate(operation, operands, Quantizer(fmt, mode, Overflow.IEEE)))


@settings(max_examples=100, deadline=None)
@given(triples, any_format, deterministic)
def test_mirror_and_commutation(operands, fmt, mode):
    x, y, z = operands
    quantizer = Quantizer(fmt, mode, Overflow.SATURATE)
    mirror = Quantizer(fmt, MIRRORED.get(mode, mode), Overflow.SATURATE)
    for operation in ("add", "mul"):
        assert same(operate(operation, (x, y), quantizer), operate(operation, (y, x), quantizer))
    assert same(operate("sub", (x, y), quantizer), operate("add", (x, -y), quantizer))
    for operation, negated in (("mul", (-x, y)), ("div", (x, -y)), ("add", (-x, -y)), ("fma", (-x, y, -z))):
        value = -operate(operation, negated, mirror)
        found = operate(operation, (x, y, z), quantizer)
        # Zero sums of unlike terms have the sign that the mode gives them, and some formats have one zero only.
        assert same(found, value) or found == value == 0 or (math.isnan(found) and math.isnan(value))


@settings(max_examples=100, deadline=None)
@given(triples, any_format, deterministic)
def test_fma_contains_the_others(operands, fmt, mode):
    x, y, _ = operands
    quantizer = Quantizer(fmt, mode, Overflow.SATURATE)
    assert same(operate("fma", (x, 1.0, y), quantizer), operate("add", (x, y), quantizer))
    if math.isfinite(x) and math.isfinite(y):
        zero = 0.0 if math.copysign(1, x) * math.copysign(1, y) > 0 else -0.0
        assert same(operate("fma", (x, y, zero), quantizer), operate("mul", (x, y), quantizer))


@settings(max_examples=100, deadline=None)
@given(st.integers(1, (1 << 26) - 1), st.integers(-500, 400), deterministic)
def test_roots_of_squares_are_exact(significand, exponent, mode):
    x, quantizer = math.ldexp(significand, exponent), Quantizer(catalog.BINARY64, mode)
    assert operate("sqrt", (operate("mul", (-x, -x), quantizer),), quantizer) == x


@settings(max_examples=100, deadline=None)
@given(floats, st.integers(1, 31), formats(), deterministic)
def test_an_exact_quotient_is_found(x, divisor, fmt, mode):
    # quotient * divisor is exact in float64, so that x / y is the quotient in every mode.
    quotient = rounded(x if math.isfinite(x) else 1.0, fmt, Rounding.RTZ, Overflow.SATURATE)
    product = Fraction(quotient) * divisor
    assume(abs(product) <= Fraction(sys.float_info.max) and Fraction(float(product)) == product)
    assert operate("div", (float(product), float(divisor)), Quantizer(fmt, mode)) == quotient
