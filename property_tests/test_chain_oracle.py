"""The masks of chains, and the gradients through them, equal the oracle's: drawn formats, chunks, shapes and values.

Each combination of modes, event and rule is compiled, so formats and operands are drawn and those are listed. A rule
besides SATURATE keeps all parts in the general form; tests/numerics/test_chains.py has the faster ones.
"""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from numerics import Accumulator, Overflow, Quantizer, Rounding, chain_gradients, chain_masks, reference
from numerics.properties.strategies import float_formats as formats
from property_tests.products import FEW_BITS, WITH_NAN, around, rules
from tests.sampling import few

QUESTIONS = [
    {"rule": rule, "event": event, "tolerance": tolerance}
    for rule in ("immediate", "recursive")
    for event, tolerance in (("overflow", 0.0), ("diff", 0.0), ("diff", 0.125))
]
KINDS = ("fused", "products and chunks", "words")
CASES = [(kind, number) for kind in KINDS for number in range(len(QUESTIONS))]
BY_DAY = [("products and chunks", 3)]
MARKED = [case if case in BY_DAY else pytest.param(case, marks=pytest.mark.nightly) for case in CASES]


@st.composite
def accumulators(draw, kind):
    fmt = draw(formats(nans=WITH_NAN, signed=True))
    rule = draw(rules(fmt).filter(lambda rule: rule is not Overflow.SATURATE))
    if kind == "fused":
        return Accumulator(fmt, Rounding.RNE, rule)
    chunk = draw(st.integers(1, 40))
    if kind == "words":
        return Accumulator(fmt, Rounding.SR, rule, random_bits=4, chunk=chunk)
    product = Quantizer(draw(formats(signed=True, nans=WITH_NAN)), Rounding.RTZ, Overflow.PROPAGATE)
    return Accumulator(fmt, Rounding.RTZ, rule, product=product, chunk=chunk)


@pytest.mark.parametrize("case", MARKED, ids=str)
@few
@given(data=st.data())
def test_masks_and_gradients(case, data):
    kind, question = case[0], QUESTIONS[case[1]]
    accumulator = data.draw(accumulators(kind))
    shape = data.draw(st.tuples(st.integers(1, 2), st.sampled_from([1, 3, 8, 34]), st.integers(1, 2)))
    a, b, _ = data.draw(around(shape, accumulator.format, FEW_BITS))
    words = None
    if accumulator.stochastic:
        draw = np.random.default_rng(data.draw(st.integers(0, 99)))
        words = draw.integers(0, 16, (shape[0], shape[2], accumulator.roundings(shape[1])), np.uint32)
    with np.errstate(all="ignore"):
        assume(np.isfinite(a).all() and np.isfinite(b).all())
    found = chain_masks(a, b, accumulator, words=words, **question)
    wanted = reference.chains.chain_masks(a, b, accumulator, words=words, **question)
    np.testing.assert_array_equal(found, wanted)
    gradient = np.arange(1.0, 1 + shape[0] * shape[2]).reshape(shape[0], shape[2]) / 3
    pairs = zip(
        chain_gradients(a, b, gradient, accumulator, words=words, **question),
        reference.chains.chain_gradients(a, b, gradient, wanted),
        strict=True,
    )
    for own, other in pairs:
        np.testing.assert_array_equal(own, other)
