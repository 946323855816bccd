"""Products accumulated in fixed point equal the oracle's for formats, operands, orders and words of any kind.

Each combination of modes, rules and carrier is compiled: the lanes take a few of them, the loop over single outputs,
which is compiled once, all.
"""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from numerics import Accumulator, FixedFormat, Overflow, Quantizer, Rounding
from numerics.fixed_products import fixed_product, fixed_routes
from numerics.fixed_steps import steps_of
from numerics.problem import Problem, Words, facts
from numerics.properties.strategies import MODES
from numerics.reference.events import Tally
from numerics.reference.products import Steps, accumulate_number
from tests.sampling import few

RULES = (Overflow.SATURATE, Overflow.WRAP, Overflow.ERROR)


@st.composite
def formats(draw, *, signed=None):
    width = draw(st.integers(2, 64))
    signs = draw(st.booleans()) if signed is None else signed
    return FixedFormat(width, draw(st.sampled_from([0, 0, 1, 3, width // 2, width, -2])), signed=signs)


@st.composite
def operands(draw, shape, top, significant_bits, spread):
    """Numbers below 2**top with few or many bits, of one size or of several; zeros and powers of two among them."""
    size, end = int(np.prod(shape)), 1 << significant_bits
    ends = st.sampled_from([0, 1, end - 1, 1 - end, end >> 1])
    wholes = draw(st.lists(st.integers(1 - end, end - 1) | ends, min_size=size, max_size=size))
    down = draw(st.lists(st.integers(0, spread), min_size=size, max_size=size))
    return np.ldexp(np.array(wholes, float), top - significant_bits - np.array(down)).reshape(shape)


@st.composite
def problems(draw, accumulator):
    """Products whose sums lie around the grid's steps and the format's limits, off the grid by a little or a lot."""
    fmt = accumulator.format
    m, k, n = draw(st.integers(1, 3)), draw(st.integers(1, 9)), draw(st.integers(1, 3))
    top = draw(st.integers(-3, fmt.precision + 2)) - fmt.fraction_bits
    half = top // 2 + draw(st.integers(-3, 3))
    bits, spread = st.sampled_from([1, 2, 4, 8, 12, 24, 30, 53]), draw(st.sampled_from([0, 0, 2, 30]))
    a = draw(operands((m, k), half, draw(bits), spread))
    b = draw(operands((k, n), top - half, draw(bits), spread))
    if draw(st.booleans()):  # on the grid, as operands of integers are
        a, b = np.rint(np.ldexp(a, 3 - half)), np.rint(np.ldexp(b, half - 3 + fmt.fraction_bits))
        b = np.ldexp(b, -fmt.fraction_bits)
    c = draw(st.none() | operands((m, n), top + 1, draw(bits), spread))
    product = accumulator.product
    if not fmt.signed or (product is not None and not product.fmt.signed):
        a, b, c = abs(a), abs(b), None if c is None else abs(c)
    assume(all(x is None or np.isfinite(x).all() for x in (a, b, c)))
    words = None
    if accumulator.stochastic:
        rng = np.random.default_rng(draw(st.integers(0, 1000)))
        words = np.zeros((m * n, accumulator.roundings(k)), np.uint32)
        for part, steps in steps_of(accumulator, k):
            if part.random_bits is not None:
                shape, end = words[:, steps].shape, 1 << part.random_bits
                words[:, steps] = np.where(rng.random(shape) < 0.2, end - 1, rng.integers(0, end, shape))
    known = facts(a, "a"), facts(b, "b"), None if c is None else facts(c, "c")
    given_words = None if words is None else Words(0, 0, words.shape[1], 0, words)
    return Problem(a[None], b[None], None if c is None else c[None], known, given_words)


def oracle(problem, acc):
    """(integers as objects, counts, the first output that overflows under Overflow.ERROR or None)."""
    out, failed = np.zeros(problem.shape, object), None
    counts = {name: np.zeros(problem.shape, np.int64) for name in Tally.NAMES}
    for number, (n, i, j) in enumerate(np.ndindex(problem.shape)):
        tally = Tally()
        steps = Steps(None if problem.words is None else problem.words.given[number], tally)
        start = None if problem.c is None else float(problem.c[n, i, j])
        try:
            total = accumulate_number(problem.a[0, i], problem.b[0, :, j], acc, start, steps)
        except OverflowError:
            failed = failed or (n, i, j)
            continue
        out[n, i, j] = int(total.value * Fraction(2) ** acc.format.fraction_bits)
        for name in counts:
            counts[name][n, i, j] = tally.counts[name]
    return out, counts, failed


def assert_equals(problem, acc, wanted, route, events):
    integers, counts, failed = wanted
    try:
        found, seen = fixed_product(problem, acc, events=events, route=route.name)
    except OverflowError as error:
        named = "none" if failed is None else f"output {failed[1:]}"
        assert named in str(error), route  # noqa: PT017
        return
    assert failed is None, route
    held = found.astype(np.int64)  # of any type that holds them
    assert (held == found).all()
    unsigned = held.view(np.int64 if acc.format.signed else np.uint64)
    assert (unsigned.astype(object) == integers).all(), (route, found, integers)
    assert not events or all((seen[name] == counts[name]).all() for name in counts), (route, seen, counts)


def check(given_problem, accumulator, events=False):
    """All routes; those that two addends off the grid leave none are refused with a sentence."""
    try:
        routes = fixed_routes(given_problem, accumulator, events=events)
    except ValueError as error:
        assert "two numbers that are added" in str(error)  # noqa: PT017
        return
    wanted = oracle(given_problem, accumulator)
    for route in routes:
        assert_equals(given_problem, accumulator, wanted, route, events)


@few
@given(data=st.data())
def test_saturating(data):
    acc = Accumulator(data.draw(formats()))
    check(data.draw(problems(acc)), acc)


@given(data=st.data())
def test_wrapping(data):
    acc = Accumulator(data.draw(formats()), overflow=Overflow.WRAP)
    check(data.draw(problems(acc)), acc)


@pytest.mark.nightly
@given(data=st.data())
def test_stochastic_sums_of_truncated_products(data):
    bits = data.draw(st.sampled_from([1, 4, 20, 23, 24, 32]))
    mode = data.draw(st.sampled_from([Rounding.SR, Rounding.SR_B, Rounding.SR_C]))
    product = Quantizer(data.draw(formats(signed=True)), Rounding.RTZ)
    acc = Accumulator(data.draw(formats(signed=True)), mode, random_bits=bits, product=product)
    check(data.draw(problems(acc)), acc)


@given(data=st.data())
def test_pairwise(data):
    acc = Accumulator(data.draw(formats()), order="pairwise", block=data.draw(st.sampled_from([None, 1, 2, 3])))
    check(data.draw(problems(acc)), acc)


@given(data=st.data())
def test_events(data):
    acc = Accumulator(data.draw(formats()))
    check(data.draw(problems(acc)), acc, events=True)


@given(data=st.data())
def test_everything_on_integers_of_128_bits(data):
    def part():
        mode = data.draw(st.sampled_from(MODES))
        return mode, data.draw(st.sampled_from(RULES)), data.draw(st.integers(1, 32)) if mode.stochastic else None

    fmt, product = data.draw(formats()), None
    if data.draw(st.booleans()):
        product = Quantizer(data.draw(formats()), *part())
        assume(fmt.signed or not product.fmt.signed or product.overflow is not Overflow.WRAP)
    mode, rule, bits = part()
    order, block = data.draw(
        st.sampled_from([("sequential", None), ("pairwise", None), ("pairwise", 1), ("pairwise", 3)])
    )
    acc = Accumulator(fmt, mode, rule, random_bits=bits, product=product, order=order, block=block)
    given_problem = data.draw(problems(acc))
    names = {}
    for events in (False, True):
        try:
            names = {route.name: route for route in fixed_routes(given_problem, acc, events=events)}
        except ValueError as error:
            assert "two numbers that are added" in str(error)  # noqa: PT017
        if "exact" in names:
            assert_equals(given_problem, acc, oracle(given_problem, acc), names["exact"], events)
