"""Every claim about a quantizer, on formats of any family, rules, values and words that are drawn.

Each combination of mode and array type is compiled: all modes in float64, one of each sort in float32, where SR has a
form of its own, the gradients' of FP8 training.
"""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from numerics import FixedFormat, FloatFormat, NanEncoding, Overflow, Quantizer, Rounding
from numerics.parameters import carrier_of
from numerics.properties import ClaimError, as_quantizer, checks, strategies
from numerics.properties.rounding_checks import DIRECTED, same_bits
from tests.sampling import but_at_night, few, one_in

CASES = [(mode, np.float64) for mode in strategies.MODES]
CASES += [(mode, np.float32) for mode in (Rounding.RNE, Rounding.RTP, Rounding.RTO, Rounding.SR, Rounding.SR_C)]
NAMES = [f"{mode.name}-{dtype.__name__}" for mode, dtype in CASES]
FAMILIES = {
    "float": strategies.float_formats(),
    "fixed": strategies.fixed_formats(),
    "log": strategies.log_formats(),
    "posit": strategies.posit_formats(),
}


def rules(fmt):
    """Overflow rules that the format can have and that refuse nothing."""
    allowed = [Overflow.SATURATE, Overflow.PROPAGATE]
    if isinstance(fmt, FixedFormat):
        return st.sampled_from([Overflow.SATURATE] + [Overflow.WRAP] * (not fmt.symmetric))
    if isinstance(fmt, FloatFormat) and (fmt.infinities or fmt.nan is not NanEncoding.NONE):
        allowed.append(Overflow.IEEE)
    return st.sampled_from(allowed)


@st.composite
def subjects(draw, family, mode, dtype, max_bits=32):
    fmt = draw(family)
    assume(carrier_of(np.dtype(dtype)).holds(fmt))
    bits = draw(st.sampled_from([1, 2, 3, 8, 16, 31, 32]).filter(lambda r: r <= max_bits)) if mode.stochastic else None
    return as_quantizer(Quantizer(fmt, mode, draw(rules(fmt)), bits), dtype=dtype)


@st.composite
def inputs(draw, q, max_size=24):
    """(x, words or None)."""
    x = draw(strategies.arrays_of_values(q.element, q.dtype.type, max_size=max_size))
    return x, draw(strategies.word_arrays(q.random_bits, x.shape)) if q.takes_words else None


@pytest.mark.sampled
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("mode", "dtype"), CASES, ids=NAMES)
@few  # of which each is put to ten claims
@given(data=st.data())
def test_single_roundings(mode, dtype, family, data):
    q = data.draw(subjects(FAMILIES[family], mode, dtype))
    x, words = data.draw(inputs(q))
    for check in (checks.member, checks.fixed_points, checks.projection, checks.faithful, checks.decision):
        check(q, x, words)
    if q.overflow is not Overflow.WRAP:
        checks.monotone(q, x, words)
    if q.element.signed and mode not in DIRECTED:
        checks.odd(q, x, words)
    checks.specials(q, [0.0, -0.0] if q.element.signed else [0.0])
    checks.independent(q, x)
    checks.reproducible(q, x)


@pytest.mark.sampled
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("mode", "dtype"), [case for case in CASES if case[0].stochastic], ids=[n for n in NAMES if n.startswith("SR")]
)
@given(data=st.data())
def test_mean_and_variance_over_all_words(mode, dtype, family, data):
    q = data.draw(subjects(FAMILIES[family], mode, dtype, max_bits=8))
    x, _ = data.draw(inputs(q, max_size=6))
    for check in (checks.bias, checks.unbiased, checks.variance, checks.variance_bound, checks.word_order):
        check(q, x)


@pytest.mark.parametrize("mode", one_in(2, [Rounding.SR, Rounding.SR_B, Rounding.SR_C]), ids=lambda mode: mode.name)
@given(data=st.data())
def test_the_mean_over_more_words_than_can_be_tried(mode, data):
    fmt = data.draw(strategies.float_formats())
    q = as_quantizer(Quantizer(fmt, mode, random_bits=data.draw(st.integers(17, 32))))
    x, _ = data.draw(inputs(q, max_size=6))
    assert checks.bias(q, x).kind == "exact"
    checks.unbiased(q, x)


@pytest.mark.parametrize("dtype", but_at_night([np.float32, np.float64], [np.float32]))
@given(data=st.data())
def test_toward_positive_is_the_mirror_of_toward_negative(dtype, data):
    fmt = data.draw(strategies.float_formats(signed=True))
    rule = data.draw(rules(fmt))
    x = data.draw(strategies.arrays_of_values(fmt, dtype))
    up, down = (Quantizer(fmt, mode, rule) for mode in DIRECTED)
    there, back = up.quantize(x), down.quantize(-x)
    mirrored = np.where(np.isnan(there), there, -there)
    if not fmt.has_negative_zero:
        mirrored, back = mirrored + 0.0, back + 0.0
    assert same_bits(back, mirrored).all()


@given(data=st.data())
def test_averages_of_two_samples(data):
    fmt = data.draw(strategies.float_formats(signed=True, max_mantissa_bits=5))
    mode, bits = data.draw(st.sampled_from(strategies.STOCHASTIC)), data.draw(st.integers(1, 4))
    quantizer = Quantizer(fmt, mode, random_bits=bits)
    x, _ = data.draw(inputs(as_quantizer(quantizer), max_size=3))

    def average(x, words):
        first, second = (quantizer.quantize(x, words=row).astype(np.float64) for row in words)
        return (first + second) / 2

    checks.smp(average, as_quantizer(quantizer), 2, x)


def test_samples_that_share_their_words_are_found():
    quantizer = Quantizer(FloatFormat(4, 3), Rounding.SR, random_bits=3)
    with pytest.raises(ClaimError, match="smp: the average of 2 samples has another mean or variance"):
        checks.smp(lambda x, words: quantizer.quantize(x, words=words[0]), as_quantizer(quantizer), 2, [1.0625])
