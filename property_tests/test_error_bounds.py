"""No drawn sum errs by more than `theory.error_bound`, in any order, mode, format, with any words."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from numerics import Accumulator, FixedFormat, FloatFormat, Quantizer, Rounding, theory
from numerics.properties.strategies import MODES, STOCHASTIC
from numerics.properties.strategies import float_formats as formats
from numerics.reference.products import accumulate

KINDS = ("sequential", "chunk", "pairwise", "block", "kahan", "exact", "chunked_pairwise")


@st.composite
def roundings(draw, bits):
    """(mode, random bits or None)."""
    mode = draw(st.sampled_from(MODES))
    return mode, bits if mode.stochastic else None


@st.composite
def wide(draw, fixed=False):
    """A signed format that sums of the drawn operands do not overflow, coarse enough to round them."""
    if fixed:
        return FixedFormat(52, draw(st.integers(-6, 12)))
    fmt = draw(formats(signed=True, min_mantissa_bits=1, max_mantissa_bits=8).filter(lambda fmt: fmt.exponent_bits))
    # The same bottom, exponents up to far above.
    return replace(fmt, exponent_bits=8, bias=draw(st.integers(-6, 40)), name="")


@st.composite
def accumulators(draw, kind):
    fixed = kind != "kahan" and draw(st.integers(0, 3)) == 0
    all_bits = draw(st.integers(1, 5))
    mode, bits = draw(roundings(all_bits))
    options = {"random_bits": bits}
    if draw(st.booleans()):
        product_mode, product_bits = draw(roundings(all_bits))
        options["product"] = Quantizer(draw(wide(fixed)), product_mode, random_bits=product_bits)
    if kind in ("pairwise", "block", "chunked_pairwise"):
        options["order"] = "pairwise"
    elif kind in ("kahan", "exact"):
        options["order"] = kind
    if kind == "block":
        options["block"] = draw(st.integers(1, 5))
    if kind.startswith("chunk"):
        options["chunk"] = draw(st.integers(1, 5))
        if draw(st.booleans()):
            outer_mode, outer_bits = draw(roundings(all_bits))
            options["outer"] = Accumulator(draw(wide(fixed)), outer_mode, random_bits=outer_bits)
    return Accumulator(draw(wide(fixed)), mode, **options)


@st.composite
def operands(draw, k):
    """Numbers of many sizes, or of one; sometimes all positive, or taking back what they gave."""
    spread = draw(st.sampled_from([0, 3, 6]))
    drawn = st.tuples(st.integers(-255, 255), st.integers(-spread, spread))
    a = [n * 2.0**e for n, e in draw(st.lists(drawn, min_size=k, max_size=k))]
    b = [n * 2.0**e for n, e in draw(st.lists(drawn, min_size=k, max_size=k))]
    shape = draw(st.sampled_from(["any", "positive", "cancelling"]))
    if shape == "positive":
        a, b = [abs(x) for x in a], [abs(x) for x in b]
    if shape == "cancelling" and k > 1:
        a[k // 2 :], b[k // 2 :] = [-x for x in a[: k - k // 2]], b[: k - k // 2]
    return a, b


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_errors_stay_within_the_bound(kind, data):
    accumulator = data.draw(accumulators(kind))
    k = data.draw(st.integers(1, 14))
    a, b = data.draw(operands(k))
    c = data.draw(st.none() | st.integers(-1000, 1000).map(lambda n: n / 8))
    words = None
    if accumulator.stochastic:
        count = accumulator.roundings(k)
        parts = [part for part in (accumulator, accumulator.product, accumulator.outer) if part is not None]
        top = max((1 << part.random_bits) - 1 for part in parts if part.random_bits)
        word = data.draw(st.sampled_from([st.just(top), st.integers(0, top)]))
        words = data.draw(st.lists(word, min_size=count, max_size=count))
    u = float(theory.unit_roundoff(accumulator.format, accumulator.rounding))
    assume(kind != "kahan" or 6 * k * u * u < 0.5)  # else the bound is refused
    bound = theory.error_bound(accumulator, k, c=c is not None)
    exact = sum((Fraction(x) * Fraction(y) for x, y in zip(a, b, strict=True)), Fraction(c or 0))
    size = sum((abs(Fraction(x) * Fraction(y)) for x, y in zip(a, b, strict=True)), Fraction(0))
    found = Fraction(accumulate(a, b, accumulator, c, words=words))
    allowed = bound.products * size + bound.addend * abs(Fraction(c or 0)) + bound.underflow
    assert abs(found - exact) <= allowed
    quantum = Fraction(1, 1 << 12)
    tighter = theory.error_bound(accumulator, k, c=c is not None, quantum=quantum)
    assert tighter.underflow <= bound.underflow
    assert abs(found - exact) <= tighter.products * size + tighter.addend * abs(Fraction(c or 0)) + tighter.underflow


@given(
    fmt=formats(signed=True),
    mode=st.sampled_from(STOCHASTIC),
    bits=st.integers(1, 6),
    place=st.fractions(0, 1, max_denominator=1 << 12),
)
def test_moments_of_any_format_lie_where_the_mode_says(fmt, mode, bits, place):
    x = place * Fraction(fmt.max)
    mean, variance = theory.rounding_moments(x, fmt, mode, bits)
    ideal = theory.rounding_moments(x, fmt, mode, float("inf"))
    step = max(theory.unit_roundoff(fmt, mode) * x, theory.underflow_unit(fmt, mode))
    if fmt.subnormals.value == "gradual":
        assert ideal.mean == x
        bias = mean - x
        shift = step / (1 << bits)
        assert (-shift < bias <= 0) if mode is Rounding.SR else abs(bias) <= shift / 2
    assert 0 <= variance <= step * step / 4 or fmt.subnormals.value != "gradual"


@given(fmt=formats(signed=True, min_mantissa_bits=1), k=st.integers(1, 5000), seed=st.integers(0, 99))
def test_probable_bounds_are_never_above_the_worst_case(fmt, k, seed):
    orders = ({}, {"chunk": 1 + seed}, {"order": "pairwise"}, {"order": "exact"})
    accumulator = Accumulator(fmt, Rounding.SR, random_bits=1 + seed % 32, **orders[seed % 4])
    worst = theory.error_bound(accumulator, k)
    found = theory.probabilistic_error_bound(accumulator, k, failure_probability=1e-3)
    assert found.products <= worst.products
    assert found == worst or found.failure_probability == 1e-3
    assert isinstance(fmt, FloatFormat)
