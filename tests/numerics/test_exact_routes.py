"""Order "exact" at the limits of its routes: depths in blocks, grids of rows, stacks, words, and the bounds they name."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from numerics import (
    Accumulator,
    FloatFormat,
    Quantizer,
    reference,
)
from numerics.exact_products import exact_product, exact_route, exact_routes
from numerics.problem import Problem, Words, facts
from tests.numerics.exact_problems import (
    BINARY32,
    BINARY64,
    E4M3,
    E5M2,
    SHARED,
    R,
    any_bits,
    check,
    doubles,
    far_apart,
    operands,
    problem,
    singles,
    spread,
    ties,
)
from tests.numerics.grids import assert_same_bits


def test_many_products_of_one_sign():
    # Carries are moved on every so many products: what is gathered before then fills its words.
    for kind, k in ((singles, 5000), (doubles, 1200)):
        x = np.abs(kind(np.random.default_rng(6), (1, 1)))
        x = np.nextafter(np.exp2(np.ceil(np.log2(x))).astype(x.dtype), x.dtype.type(0))  # all bits are ones
        for sign, fmt in itertools.product((1, -1), (BINARY32, BINARY64)):
            a, b = np.full((1, k), sign * x), np.full((k, 1), x)
            a[0, 0] /= 8  # three places below: the others are shifted as far as they can be
            check(Accumulator(fmt, order="exact"), a, b)
    wide = np.where(np.arange(1100) % 2, 2.0**300, 1.0) * (1 - 2.0**-53)  # too far apart to be gathered
    check(Accumulator(BINARY64, order="exact"), wide[None], wide[::-1][:, None])


@pytest.mark.parametrize("span", [38, 42])
def test_depths_that_are_taken_in_blocks(span):
    rng = np.random.default_rng(7)
    k = 9000
    a, b = (rng.integers(-(1 << span), 1 << span, shape).astype(np.float64) for shape in ((1, k), (k, 2)))
    b[:, 1] = np.sign(a[0]) * abs(b[:, 1])  # all of one sign
    most = (
        (1 << span) - 1 if span == 38 else sum(1 << i for i in range(span) if i % 2)
    )  # as large as sums and slices get
    a, b = np.vstack([a, np.full((1, k), most)]), np.column_stack([b, np.full(k, most)])
    p, acc = problem(a, b), Accumulator(BINARY64, order="exact")
    (sliced,) = (route for route in exact_routes(p, acc) if route.name == "slices")
    assert sliced.cut.block < k
    exact = [sum(int(x) * int(y) for x, y in zip(a[i], b[:, j], strict=True)) for i, j in np.ndindex(2, 3)]
    for fmt in (BINARY64, FloatFormat(11, 40), BINARY32):
        wanted = [reference.floats.round_exact(Fraction(total), fmt) for total in exact]
        for route in exact_routes(p, acc):
            assert exact_product(p, Accumulator(fmt, order="exact"), route=route)[0].ravel().tolist() == wanted
    # Less what float64 tells of the sum, every bit of the sum is seen.
    told = [float(total) for total in exact]
    p = problem(a, b, -np.array(told).reshape(2, 3))
    left = [total - int(value) for total, value in zip(exact, told, strict=True)]
    for route in exact_routes(p, acc):
        assert exact_product(p, acc, route=route)[0].ravel().tolist() == left


def test_rows_and_columns_may_have_grids_of_their_own():
    rng = np.random.default_rng(8)
    a, b = singles(rng, (4, 6)) * np.exp2(rng.integers(-60, 60, (4, 1))), singles(rng, (6, 5))
    b = b * np.exp2(rng.integers(-60, 60, 5))
    a[2] = 0.0
    for fmt in (BINARY32, BINARY64, E4M3):
        acc = Accumulator(fmt, order="exact")
        p = problem(a, b)
        cut = next(route.cut for route in exact_routes(p, acc) if route.name == "slices")
        assert len(cut.units_a) == 4 and len(cut.units_b) == 5
        check(acc, a, b)
        check(acc, a, b, singles(rng, (4, 5)))


@pytest.mark.parametrize(("left", "right"), [(1, 1), (3, 1), (1, 3), (3, 3)])
def test_stacks_and_threads(left, right, on_threads):
    rng = np.random.default_rng(9)
    for kind in (ties, singles, far_apart):
        a, b = kind(rng, (left, 40, 5)), kind(rng, (right, 5, 70))
        shape = (max(left, right), 40, 70)
        for mode in SHARED:
            acc = Accumulator(E4M3, mode, order="exact", random_bits=5 if mode.stochastic else None)
            words = rng.integers(0, 32, (shape[0] * 40 * 70, 1), dtype=np.uint32) if mode.stochastic else None
            given = None if words is None else Words(0, 0, 1, 0, words)
            for c in (None, kind(rng, shape)):
                known = facts(a, "a"), facts(b, "b"), None if c is None else facts(c, "c")
                p = Problem(a, b, c, known, given)
                results = []
                for count, route in itertools.product((1, 3), exact_routes(p, acc)):
                    on_threads(count)
                    results.append(exact_product(p, acc, route=route)[0])
                    results.append(exact_product(p, acc, route=route, events=True)[0])
                for found in results[1:]:
                    assert_same_bits(found, results[0])
                i, j = 17, 33
                for batch in range(shape[0]):
                    one = a[batch % left, i], b[batch % right, :, j]
                    start = None if c is None else float(c[batch, i, j])
                    word = None if words is None else words[(batch * 40 + i) * 70 + j]
                    wanted = reference.accumulate(*one, acc, start, words=word)
                    assert_same_bits(results[0][batch, i, j], np.float64(wanted))


def test_drawn_words_are_those_of_the_stream():
    rng = np.random.default_rng(10)
    a, b, _ = operands(spread, rng)
    product = Quantizer(E5M2, R.SR, random_bits=7)
    for acc in (
        Accumulator(E4M3, R.SR, order="exact", random_bits=7),
        Accumulator(E4M3, R.SR, order="exact", random_bits=7, product=product),
    ):
        span = acc.roundings(7)
        drawn = problem(a, b)._replace(words=Words(5, 2, span))
        given = drawn.words.of(slice(0, 6), slice(0, span), 7)
        for route in exact_routes(drawn, acc):
            found = exact_product(drawn, acc, route=route)[0]
            assert_same_bits(found, reference.matmul(drawn.a, drawn.b, acc, words=given.reshape(1, 2, 3, span)))


def test_every_word_is_counted():
    # The mean over all words of a sum's rounding: 5 of 8 words take 1 + 5/8 ulp up.
    a, b = np.array([[1.0, 5 * 2.0**-6]]), np.ones((2, 1))
    acc = Accumulator(FloatFormat(5, 3), R.SR, order="exact", random_bits=3)
    for words in np.arange(8, dtype=np.uint32).reshape(8, 1, 1, 1, 1):
        check(acc, a, b, None, words[0])
    found = [exact_product(problem(a, b, None, np.full((1, 1, 1, 1), w, np.uint32)), acc)[0].item() for w in range(8)]
    assert np.mean(found) == 1 + 5 * 2.0**-6


@pytest.mark.parametrize("mode", [R.SR, R.SR_B, R.SR_C], ids=lambda mode: mode.name)
def test_random_bits_below_the_53rd(mode):
    # 41 bits of precision and 32 random ones: 2**-60 is 2**12 of their units, more is what float64 would make of it.
    acc = Accumulator(FloatFormat(11, 40), mode, order="exact")
    for below in (2.0**-60, 2.0**-72, 2.0**-73, 3 * 2.0**-74):
        k = int(below * 2.0**72)
        for missing in (k - 1, k, k + 1, 1 << 15):
            words = np.array([(1 << 32) - max(missing, 1)], np.uint32).reshape(1, 1, 1, 1)
            check(acc, np.array([[1.0, below]]), np.ones((2, 1)), None, words)
            check(acc, np.ones((1, 1)), np.ones((1, 1)), np.array([[below]]), words)


def test_routes_say_why():
    rng = np.random.default_rng(11)
    acc = Accumulator(BINARY32, order="exact")
    fp8 = Quantizer(E4M3)
    few = problem(fp8.quantize(rng.standard_normal((4, 32))), fp8.quantize(rng.standard_normal((32, 4))))
    assert exact_route(few, acc).name == "dgemm"
    assert "<= 2**53 units" in exact_route(few, acc).reason
    small = problem(np.ones((4, 32)), np.ones((32, 4)))
    name, reason, _ = exact_route(small, acc)
    assert (name, reason) == (
        "sgemm",
        "32 products below 2**2 in units of 2**0 sum to at most 32 * 2**2 <= 2**24 units: no partial sum rounds in"
        " float32, in any order",
    )
    assert exact_route(problem(singles(rng, (4, 32)), singles(rng, (32, 4))), acc).name == "slices"
    assert exact_route(problem(any_bits(rng, (4, 32)), any_bits(rng, (32, 4))), acc).name == "superaccumulator"
    rounded = Accumulator(BINARY32, order="exact", product=Quantizer(E4M3))
    assert exact_route(few, rounded).name == "rounded products in float64"
    assert exact_route(few, Accumulator(BINARY32, R.RTN, order="exact", product=Quantizer(E4M3))).name == (
        "rounded products"
    )


@pytest.mark.parametrize(("exponent", "name"), [(10, "sgemm"), (11, "dgemm"), (24, "dgemm"), (25, "slices")])
def test_the_bounds_of_one_matrix_product_are_attained(exponent, name):
    # 2**n - 1 is below 2**n: K = 16 products below 2**(2 n) stay within 2**24 or 2**53 up to n = 10 and 24.
    x = 2.0**exponent - 1
    a, b = np.full((2, 16), x), np.full((16, 2), x)
    p, acc = problem(a, b), Accumulator(BINARY64, order="exact")
    assert exact_route(p, acc).name == name
    assert exact_product(p, acc)[0].ravel().tolist() == [float(16 * int(x) ** 2)] * 4
