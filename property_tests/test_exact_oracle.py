"""Order "exact" equals the oracle, by every route, for formats of every kind and operands at any distance."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numerics import (
    Accumulator,
    FixedFormat,
    FloatFormat,
    NanEncoding,
    Overflow,
    Quantizer,
    Rounding,
    Subnormals,
    reference,
)
from numerics.exact_products import exact_product, exact_routes
from numerics.problem import Problem, Words, facts
from numerics.properties.strategies import MODES, members, randomness
from numerics.properties.strategies import float_formats as formats
from tests.sampling import but_at_night, few

BY_DAY = (Rounding.RNE, Rounding.SR)
WITH_NAN = (NanEncoding.IEEE, NanEncoding.TOP_CODE, NanEncoding.NEGATIVE_ZERO)
WIDE = [FloatFormat(11, 52), FloatFormat(8, 23), FloatFormat(11, 49), FloatFormat(5, 50, subnormals=Subnormals.FLUSH)]


@st.composite
def numbers(draw, fmt):
    """A float64: a member of the format, a few bits anywhere near another, or anything finite."""
    kind = draw(st.integers(0, 5))
    if kind == 0:
        return draw(st.floats(allow_nan=False, allow_infinity=False))
    if kind == 1:
        return draw(st.integers(-(1 << 53), 1 << 53)) * 2.0 ** draw(st.integers(-80, 40))
    if kind == 2:
        return draw(st.sampled_from([0.0, -0.0, 1.0, -1.0]))
    value = draw(members(fmt)) if isinstance(fmt, FloatFormat) else draw(st.integers(0, 99)) * fmt.quantum
    return -value if draw(st.booleans()) else value


@st.composite
def problems(draw, fmt, acc):
    """A `Problem` of few rows and columns whose products often take each other back, and its words."""
    m, k, n = draw(st.integers(1, 2)), draw(st.integers(1, 8)), draw(st.integers(1, 2))
    entry = numbers(fmt)
    if draw(st.booleans()):  # all of one size, so that matrix products of slices have a chance
        entry = st.integers(-(1 << draw(st.integers(1, 53))), 1 << 20).map(float)
    a, b = (np.array(draw(st.lists(entry, min_size=s * k, max_size=s * k))) for s in (m, n))
    a, b = a.reshape(1, m, k), b.reshape(1, k, n)
    if k > 1 and draw(st.booleans()):
        a[:, :, 1], b[:, 1] = -a[:, :, 0], b[:, 0]
    c = None
    if draw(st.booleans()):
        c = np.array(draw(st.lists(entry, min_size=m * n, max_size=m * n))).reshape(1, m, n)
    steps = acc.roundings(k)
    given_words = None
    if acc.random_bits:
        last = (1 << acc.random_bits) - 1
        drawn = draw(st.lists(st.integers(0, last), min_size=m * n * steps, max_size=m * n * steps))
        given_words = Words(0, 0, steps, 0, np.array(drawn, np.uint32).reshape(m * n, steps))
    known = facts(a, "a"), facts(b, "b"), None if c is None else facts(c, "c")
    return Problem(a, b, c, known, given_words)


def rules(fmt):
    fixed = isinstance(fmt, FixedFormat)
    ieee = not fixed and (fmt.infinities or fmt.has_nan)
    other = [Overflow.WRAP] if fixed else [Overflow.PROPAGATE, *([Overflow.IEEE] if ieee else [])]
    return st.sampled_from([Overflow.SATURATE, *other])


fixed_formats = st.builds(FixedFormat, st.integers(2, 54), st.integers(-60, 90))


def assert_equals_the_oracle(acc, problem):
    shape = (*problem.shape, acc.roundings(problem.depth))
    words = None if problem.words is None else problem.words.given.reshape(shape)
    wanted, happened = reference.matmul(problem.a, problem.b, acc, c=problem.c, words=words, events=True)
    for route in exact_routes(problem, acc):
        found, _ = exact_product(problem, acc, route=route)
        assert found.tobytes() == wanted.tobytes(), (route, found.tolist(), wanted.tolist())
        found, events = exact_product(problem, acc, route=route, events=True)
        assert found.tobytes() == wanted.tobytes(), (route, found.tolist(), wanted.tolist())
        for name, counts in happened.items():
            assert np.array_equal(events[name], counts), (route, name)


@pytest.mark.parametrize("mode", but_at_night(MODES, set(MODES) - set(BY_DAY)), ids=lambda mode: mode.name)
@few
@given(data=st.data())
def test_exact_sums(mode, data):
    kind = data.draw(st.integers(0, 3))
    fmt = data.draw(formats(signed=True) if kind < 2 else st.sampled_from(WIDE) if kind == 2 else fixed_formats)
    bits, _ = data.draw(randomness(mode, 0))
    acc = Accumulator(fmt, mode, data.draw(rules(fmt)), order="exact", random_bits=bits)
    assert_equals_the_oracle(acc, data.draw(problems(fmt, acc)))


@few
@given(data=st.data())
def test_exact_sums_of_rounded_products(data):
    mode, product_mode = data.draw(st.sampled_from(MODES)), data.draw(st.sampled_from(MODES))
    kind = formats(nans=WITH_NAN, signed=True) | st.sampled_from(WIDE) if data.draw(st.booleans()) else fixed_formats
    fmt, product = data.draw(kind), data.draw(kind)
    # One number of random bits, so that every word suits every rounding.
    bits = data.draw(st.integers(1, 32)) if mode.stochastic or product_mode.stochastic else None
    quantizer = Quantizer(product, product_mode, data.draw(rules(product)), bits if product_mode.stochastic else None)
    own = bits if mode.stochastic else None
    acc = Accumulator(fmt, mode, data.draw(rules(fmt)), product=quantizer, order="exact", random_bits=own)
    problem = data.draw(problems(fmt, acc))
    if bits and problem.words is None:
        steps = acc.roundings(problem.depth)
        words = np.full((problem.shape[1] * problem.shape[2], steps), data.draw(st.integers(0, (1 << bits) - 1)))
        problem = problem._replace(words=Words(0, 0, steps, 0, words.astype(np.uint32)))
    assert_equals_the_oracle(acc, problem)
