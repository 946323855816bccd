"""Every order of sums, stochastic steps and event counts equal the oracle: drawn formats, rules, shapes, extreme values.

Each combination of modes and order is compiled, so those are listed and all else is drawn.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numerics import Accumulator, Overflow, Quantizer, Rounding, catalog, matmul, parse_format, random_words
from numerics.properties.strategies import float_formats as formats
from property_tests.products import (
    WITH_NAN,
    assert_equals_the_oracle,
    assert_same_events,
    problems,
    rules,
)
from tests.sampling import but_at_night, few, one_in


@pytest.mark.sampled
@pytest.mark.parametrize("mode", [Rounding.RNE, Rounding.RTN], ids=lambda mode: mode.name)
@pytest.mark.parametrize("order", ["pairwise", "kahan"])
@few
@given(data=st.data())
def test_orders(order, mode, data):
    fmt = data.draw(formats(signed=True, nans=WITH_NAN))
    rule = data.draw(rules(fmt).filter(lambda rule: rule is not Overflow.SATURATE))
    acc = Accumulator(fmt, mode, rule, order=order)
    assert_equals_the_oracle(acc, *data.draw(problems(fmt, depth=20)))


@pytest.mark.nightly
@given(data=st.data())
def test_trees_over_chains_of_rounded_products(data):
    fmt, product = (data.draw(formats(signed=True, nans=WITH_NAN)) for _ in range(2))
    rule = data.draw(rules(fmt).filter(lambda rule: rule is not Overflow.SATURATE))
    acc = Accumulator(
        fmt, overflow=rule, product=Quantizer(product), order="pairwise", block=data.draw(st.integers(1, 5))
    )
    assert_equals_the_oracle(acc, *data.draw(problems(fmt, depth=20)))


@pytest.mark.nightly
@given(data=st.data())
def test_chunks_of_any_order(data):
    fmt, outer = (data.draw(formats(signed=True, nans=WITH_NAN)) for _ in range(2))
    orders = st.sampled_from(["pairwise", "kahan", "exact"])
    acc = Accumulator(
        fmt,
        order=data.draw(orders),
        chunk=data.draw(st.integers(1, 6)),
        outer=data.draw(orders.map(lambda order: Accumulator(outer, order=order)) | st.none()),
    )
    assert_equals_the_oracle(acc, *data.draw(problems(fmt, depth=14)))


def words_for(data, acc, a, b):
    """Words for every rounding of a product, each in the range of its own part, often extreme."""
    bits = data.draw(st.integers(0, 2**32 - 1))
    shape = (a.shape[0], b.shape[1], acc.roundings(a.shape[1]))
    words = random_words(int(np.prod(shape)), seed=bits).reshape(shape)
    r = min(part.random_bits for part in (acc, acc.product, acc.combining) if part is not None and part.random_bits)
    return words >> np.uint32(32 - r)


@pytest.mark.parametrize(
    "mode", but_at_night([Rounding.SR, Rounding.SR_C], [Rounding.SR_C]), ids=lambda mode: mode.name
)
@given(data=st.data())
def test_stochastic_chains(mode, data):
    fmt = data.draw(formats(signed=True, max_mantissa_bits=6))
    a, b, c = data.draw(problems(fmt))
    acc = Accumulator(fmt, mode, data.draw(rules(fmt)), random_bits=data.draw(st.integers(1, 14)))
    assert_equals_the_oracle(acc, a, b, c, words_for(data, acc, a, b))


@pytest.mark.nightly
@given(data=st.data())
def test_stochastic_products_sums_and_chunks(data):
    kind = formats(signed=True, max_mantissa_bits=6)
    fmt, product, outer = (data.draw(kind) for _ in range(3))
    a, b, c = data.draw(problems(fmt))
    acc = Accumulator(
        fmt,
        Rounding.SR,
        product=Quantizer(product, Rounding.SR, random_bits=data.draw(st.integers(1, 14))),
        chunk=data.draw(st.integers(1, 4)),
        outer=Accumulator(outer, Rounding.SR, random_bits=data.draw(st.integers(1, 14))),
        random_bits=data.draw(st.integers(1, 14)),
    )
    assert_equals_the_oracle(acc, a, b, c, words_for(data, acc, a, b))


# Each rule has forms of its own, and they are compiled.
@pytest.mark.parametrize("rule", one_in(3, [Overflow.PROPAGATE, Overflow.SATURATE, Overflow.IEEE]))
@few
@given(data=st.data())
def test_events_of_a_chain(rule, data):
    fmt = data.draw(formats(signed=True, nans=WITH_NAN))
    acc = Accumulator(fmt, Rounding.RNE, rule)
    assert_same_events(acc, *data.draw(problems(fmt)))


TREE = Accumulator(catalog.E4M3, order="pairwise")
TRUNCATED = Accumulator(
    parse_format("lba_m7e4_b10_paper"),
    Rounding.RTZ,
    product=Quantizer(parse_format("lba_m7e4_b12_paper"), Rounding.RTZ),
    chunk=4,
)


@pytest.mark.parametrize("acc", one_in(2, [TREE, TRUNCATED]), ids=["tree", "truncated products and chunks"])
@few
@given(seed=st.integers(0, 2**32 - 1))
def test_events_of_one_kernel(acc, seed):
    # These kernels take longest to compile: one form of each, by operands far apart.
    rng = np.random.default_rng(seed)
    shapes = (2, 11), (11, 3)
    a, b = (rng.integers(-15, 16, s) * np.exp2(rng.integers(-9, 2, s)) for s in shapes)
    a[0, 0], b[0, 0] = 15 * 2.0**-9, 2.0**-9
    assert_same_events(acc, a, b, None if seed % 2 else rng.standard_normal((2, 3)).astype(np.float16).astype(float))


@pytest.mark.nightly
@pytest.mark.parametrize("order", ["kahan", "exact"])
@given(data=st.data())
def test_events_of_other_orders(order, data):
    fmt = data.draw(formats(signed=True, min_mantissa_bits=1))
    assert_same_events(Accumulator(fmt, order=order), *data.draw(problems(fmt, depth=12)))


@pytest.mark.nightly
@given(data=st.data())
def test_drawn_words_are_those_of_the_stream(data):
    # Whatever the layout: the word of step s of output o is that of element o*S + s.
    fmt = data.draw(formats(signed=True, max_mantissa_bits=6))
    m, k, n = (data.draw(st.sampled_from(sizes)) for sizes in ([1, 3, 40], [3, 16, 32], [1, 5, 33]))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    a, b = (rng.integers(-9, 10, shape) * 2.0 ** (fmt.emin // 2) for shape in ((m, k), (k, n)))
    r, seed, stream = (data.draw(st.integers(low, high)) for low, high in ((1, 14), (0, 2**64 - 1), (0, 2**64 - 1)))
    acc = Accumulator(fmt, Rounding.SR, random_bits=r)
    words = random_words(m * n * acc.roundings(k), r, seed=seed, stream=stream).reshape(m, n, -1)
    drawn = matmul(a, b, acc, seed=seed, stream=stream)
    assert drawn.tobytes() == matmul(a, b, acc, words=words).tobytes()
