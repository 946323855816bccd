"""The strategies draw what they say, and shrink to cases that can be read."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st

from numerics import BlockFormat, FixedFormat, FloatFormat, LogFormat, PositFormat, Quantizer, catalog
from numerics.properties import strategies

QUIET = settings(
    max_examples=400, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
)

LENGTHS = [
    (3, 10.0),
    (9, 1.0),
    *(pytest.param(*late, marks=pytest.mark.nightly) for late in [(6, 1000.0), (12, 100.0)]),
]


@pytest.mark.parametrize("family", [FloatFormat, FixedFormat, LogFormat, PositFormat, BlockFormat])
def test_every_family_is_drawn(family):
    assert isinstance(
        find(strategies.formats(blocks=True), lambda fmt: isinstance(fmt, family), settings=QUIET), family
    )


@settings(QUIET, max_examples=60)
@given(data=st.data())
def test_codepoints_values_and_words_are_in_range(data):
    fmt = data.draw(strategies.formats())
    code = data.draw(strategies.codepoints(fmt))
    assert 0 <= code < 1 << fmt.bits
    assert math.isfinite(data.draw(strategies.members(fmt)))
    x = data.draw(strategies.arrays_of_values(fmt, np.float64))
    assert np.isfinite(x).all()
    assert fmt.signed or (x >= 0).all()
    drawn = data.draw(strategies.word_arrays(5, (2, 3)))
    assert drawn.shape == (2, 3)
    assert drawn.max() < 32


def test_values_shrink_to_ones_that_can_be_read():
    fmt = catalog.E4M3
    moved = find(strategies.values(fmt), lambda x: Quantizer(fmt).quantize(np.array([x]))[0] != x, settings=QUIET)
    assert moved in (fmt.smallest_subnormal / 2, 1.5 * fmt.smallest_subnormal)  # a tie, the lowest ones
    word = find(strategies.words(16), lambda w: w > 0, settings=QUIET)
    assert word == 1


@pytest.mark.parametrize(("k", "condition"), LENGTHS)
def test_dot_problems_have_the_length_and_the_condition(k, condition):
    @settings(QUIET, max_examples=40)
    @given(strategies.dot_problems(k, condition=condition, fmt=catalog.E5M2))
    def run(problem):
        a, b = problem
        assert a.shape == b.shape == (k,)
        products = [Fraction(x) * Fraction(y) for x, y in zip(a.tolist(), b.tolist(), strict=True)]
        assert sum(map(abs, products)) >= Fraction(condition) * abs(sum(products)) > 0
        for side in (a, b):
            assert np.array_equal(Quantizer(catalog.E5M2).quantize(side), side)

    run()


def test_dot_problems_that_cannot_be():
    for options, sentence in (((2, 9.0), "at least three"), ((5, 0.5), "at least the magnitude of the sum")):
        with pytest.raises(ValueError, match=sentence):
            find(strategies.dot_problems(options[0], condition=options[1]), lambda _: True, settings=QUIET)


@settings(QUIET, max_examples=60)
@given(strategies.nm_blocks(4))
def test_blocks_to_prune(blocks):
    assert blocks.ndim == 2
    assert blocks.shape[1] == 4
    assert np.isfinite(blocks).all()


def test_blocks_to_prune_are_of_every_sort():
    for wanted in (
        lambda x: (x == 0).all(axis=1).any(),
        lambda x: (np.sort(np.abs(x), axis=1)[:, -1] > np.abs(x).sum(axis=1) / 2).any(),
        lambda x: ((np.abs(x) == np.abs(x[:, :1])).all(axis=1) & (x[:, 0] != 0)).any(),
    ):
        assert wanted(find(strategies.nm_blocks(4), wanted, settings=QUIET)) is not None
