"""Order "exact" against the oracle, bit for bit and event for event, by every route that a case allows."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from numerics import (
    Accumulator,
    FixedFormat,
    FloatFormat,
    Overflow,
    Quantizer,
    Rounding,
    catalog,
    get_num_threads,
    parse_format,
    reference,
    set_num_threads,
)
from numerics.exact_products import exact_codes, exact_product, exact_route, exact_routes
from numerics.problem import Problem, Words, facts
from numerics.reference.products import Steps, accumulate_number
from tests.numerics import grids
from tests.numerics.grids import assert_same_bits

R, Rule = Rounding, Overflow
E4M3, E5M2, BINARY16, BINARY32, BINARY64 = (
    catalog.E4M3,
    catalog.E5M2,
    catalog.BINARY16,
    catalog.BINARY32,
    catalog.BINARY64,
)
# The elementwise rounder is compiled for each combination of modes and forms: cases share them where they can.
SHARED = (R.RNE, R.RTN, R.SR_C)
FORMATS = {
    "gradual": E4M3,
    "binary16": BINARY16,
    "binary32": BINARY32,
    "binary64": BINARY64,
    "41_bits": FloatFormat(8, 40),
    "flush": grids.KINDS["flush"],
    "normal_binade": parse_format("lba_m4e3_b3"),
    "full_binade": parse_format("lba_m4e3_b3_paper"),
    "fnuz": catalog.E4M3FNUZ,
    "no_mantissa": grids.KINDS["no_mantissa"],
    "no_exponent": grids.KINDS["no_exponent"],
    "at_the_bottom": grids.AT_THE_ENDS_64["far_below_the_bottom"],
    "s8.2": FixedFormat(8, 2),
    "s32.10": FixedFormat(32, 10),
    "s54.30": FixedFormat(54, 30),
}


def ties(rng, shape):
    """Halves: sums on the grid of a narrow format and in the middle of it."""
    return rng.integers(-8, 9, shape) / 2


def spread(rng, shape):
    """Small integers at all sizes, zeros of both signs."""
    return rng.integers(-15, 16, shape) * np.exp2(rng.integers(-9, 5, shape)) * rng.choice([1, 1, 1, -0.0], shape)


def singles(rng, shape):
    """float32 with all of its 24 bits."""
    return rng.standard_normal(shape).astype(np.float32)


def doubles(rng, shape):
    """float64 with all of its 53 bits."""
    return rng.standard_normal(shape)


def far_apart(rng, shape):
    """float64 of exponents that no slices cover."""
    return rng.standard_normal(shape) * np.exp2(rng.integers(-500, 400, shape))


def any_bits(rng, shape):
    """Every finite float64 alike: most products leave it."""
    x = rng.integers(0, 1 << 64, shape, dtype=np.uint64).view(np.float64)
    return np.where(np.isfinite(x), x, 0.0)


KINDS = (ties, spread, singles, doubles, far_apart, any_bits)


def problem(a, b, c=None, words=None):
    """Of matrices or stacks of them."""
    a, b, c = (None if x is None else np.asarray(x).reshape(-1, *np.shape(x)[-2:]) for x in (a, b, c))
    given = None if words is None else Words(0, 0, words.shape[-1], 0, words.reshape(-1, words.shape[-1]))
    return Problem(a, b, c, (facts(a, "a"), facts(b, "b"), None if c is None else facts(c, "c")), given)


def words_for(rng, acc, m, k, n):
    """[M, N, S] words that all roundings of an accumulator accept, or None."""
    bits = [part.random_bits for part in (acc, acc.product) if part is not None and part.random_bits]
    if not bits:
        return None
    return rng.integers(0, 1 << min(bits), (1, m, n, acc.roundings(k)), dtype=np.uint32)


def check(acc, a, b, c=None, words=None):
    """All routes against the oracle, with events and without; returns the names of the routes."""
    p = problem(a, b, c, words)
    wanted, happened = reference.matmul(
        np.float64(p.a), np.float64(p.b), acc, c=p.c, words=None if words is None else words, events=True
    )
    routes = exact_routes(p, acc)
    assert exact_route(p, acc).name == routes[0].name
    for route in routes:
        found, none = exact_product(p, acc, route=route)
        assert none is None
        assert_same_bits(found, wanted)
        found, events = exact_product(p, acc, route=route, events=True)
        assert_same_bits(found, wanted)
        assert set(events) == set(happened)
        for name, counts in events.items():
            assert np.array_equal(counts, happened[name]), (route, name)
    return {route.name for route in routes}


def operands(kind, rng, m=2, k=7, n=3):
    """(a, b, None, c) whose second product takes back the first one, in some rows."""
    a, b = kind(rng, (m, k)), kind(rng, (k, n))
    a[:, 1], b[1] = -a[:, 0], b[0] * rng.integers(0, 2, n)
    return a, b, kind(rng, (m, n)) * rng.choice([1.0, -0.0, 0.0], (m, n))


@pytest.mark.parametrize("mode", SHARED, ids=lambda mode: mode.name)
@pytest.mark.parametrize("name", FORMATS)
def test_every_kind_of_format_by_every_route(name, mode):
    rng = np.random.default_rng(len(name))
    acc = Accumulator(FORMATS[name], mode, order="exact", random_bits=5 if mode.stochastic else None)
    seen = set()
    for kind in KINDS:
        a, b, c = operands(kind, rng)
        for start in (None, c):
            seen |= check(acc, a, b, start, words_for(rng, acc, 2, 7, 3))
    assert seen == {"sgemm", "dgemm", "slices", "superaccumulator"}


@pytest.mark.parametrize("mode", [m for m in grids.MODES if m not in SHARED], ids=lambda mode: mode.name)
def test_every_mode(mode):
    rng = np.random.default_rng(int(mode))
    bits = 32 if mode.stochastic else None
    for fmt in (E4M3, FORMATS["no_mantissa"], BINARY64, FixedFormat(12, 3)):
        acc = Accumulator(fmt, mode, order="exact", random_bits=bits)
        for kind in (ties, doubles):
            a, b, _ = operands(kind, rng, m=1)
            check(acc, a, b, None, words_for(rng, acc, 1, 7, 3))


@pytest.mark.parametrize("mode", [R.RNE, R.RTN], ids=lambda mode: mode.name)
def test_every_overflow_rule(mode):
    rng = np.random.default_rng(3)
    for fmt in (E5M2, E4M3, FORMATS["binary64"], grids.KINDS["p3109_extended"], FixedFormat(9, 1)):
        fixed = isinstance(fmt, FixedFormat)
        for rule in (Rule.SATURATE, Rule.WRAP) if fixed else (Rule.SATURATE, Rule.PROPAGATE, Rule.IEEE):
            for kind in (ties, spread, doubles):
                a, b, _ = operands(kind, rng)
                scale = 2.0 ** (4 if fixed else fmt.emax // 2 + 1)
                check(Accumulator(fmt, mode, rule, order="exact"), a * scale, b * scale)


def test_an_overflow_that_is_an_error_names_the_first_output():
    a, b = np.ones((2, 3)), np.array([[1.0, 200.0], [1.0, 200.0], [1.0, 200.0]])
    for fmt, product in ((E4M3, None), (FixedFormat(9), None), (E5M2, Quantizer(E4M3, overflow=Rule.ERROR))):
        scale = 1.0 if product is None else 4.0
        p = problem(a, b * scale)
        rule = Rule.ERROR if product is None else Rule.SATURATE
        acc = Accumulator(fmt, R.RNE, rule, product=product, order="exact")
        for route, events in itertools.product(exact_routes(p, acc), (False, True)):
            with pytest.raises(OverflowError, match=r"output \(0, 1\) overflows"):
                exact_product(p, acc, route=route, events=events)
    stack = problem(np.stack([a * 0, a]), b)
    with pytest.raises(OverflowError, match=r"output \(1, 0, 1\) overflows"):
        exact_product(stack, Accumulator(E4M3, R.RNE, Rule.ERROR, order="exact"))


def test_a_carry_through_the_whole_accumulator_and_a_bit_far_below():
    # 2**500 - 2**-500 + ... : every digit is borrowed from, and the last bit decides a tie at the top.
    one = np.ones((1, 1))
    for top, bottom in ((500.0, -500.0), (40.0, -60.0), (900.0, -1000.0)):
        for sign, half in itertools.product((1.0, -1.0), (0.0, 1.0)):
            terms = sign * np.array([2.0**top, 2.0 ** (top - 5) * half, -(2.0**bottom), 2.0 ** (top - 4)])
            for fmt in (FloatFormat(11, 3), FloatFormat(11, 2), BINARY64):
                for values in (terms, -terms, terms[::-1], np.append(terms, -terms[:2])):
                    check(Accumulator(fmt, order="exact"), values[None], np.repeat(one, len(values), 0))


def test_ties_are_told_from_what_is_nearly_one_in_every_digit():
    # 1 + 2**-4 is a tie of three mantissa bits; a bit at any place below is felt, from either side.
    acc = Accumulator(FloatFormat(11, 3), order="exact")
    for place in range(5, 300, 7):
        for sign in (1.0, -1.0):
            a = np.array([[1.0, 2.0**-4, sign * 2.0**-place]])
            check(acc, a, np.ones((3, 1)))
            check(acc, a[:, :2], np.ones((2, 1)), np.array([[sign * 2.0**-place]]))


@pytest.mark.parametrize("fmt", [FixedFormat(64, 3), FixedFormat(64, 70), FixedFormat(64, 0, signed=False)], ids=str)
@pytest.mark.parametrize("rule", [Rule.SATURATE, Rule.WRAP])
def test_codes_of_64_bits(fmt, rule):
    rng = np.random.default_rng(fmt.fraction_bits)
    for mode in (R.RNE, R.RTN):
        acc = Accumulator(fmt, mode, rule, order="exact")
        for kind in KINDS:
            a, b, c = operands(kind, rng)
            if not fmt.signed:
                a, b, c = abs(a), abs(b), abs(c)
            for start in (None, c):
                p = problem(a * 2.0**20, b, start)
                for route in exact_routes(p, acc):
                    codes, events = exact_codes(p, acc, route=route, events=True)
                    assert codes.dtype == (np.int64 if fmt.signed else np.uint64)
                    assert np.array_equal(codes, exact_codes(p, acc, route=route)[0])
                    for i, j in np.ndindex(2, 3):
                        first = None if start is None else float(start[i, j])
                        exact = accumulate_number(p.a[0, i], p.b[0, :, j], acc, first, Steps())
                        wanted = exact.value * Fraction(2) ** fmt.fraction_bits
                        assert int(codes[0, i, j]) == wanted, route
                        assert events["underflow"][0, i, j] == 0
    with pytest.raises(ValueError, match="exact_codes gives them"):
        exact_product(p, acc)


def test_codes_are_the_values_in_grid_steps():
    rng = np.random.default_rng(4)
    fmt = FixedFormat(20, 7)
    a, b, c = operands(singles, rng)
    p, acc = problem(a, b, c), Accumulator(fmt, order="exact")
    assert np.array_equal(exact_codes(p, acc)[0] / 2.0**7, exact_product(p, acc)[0])
    with pytest.raises(TypeError, match="not fixed point"):
        exact_codes(p, Accumulator(E4M3, order="exact"))


def test_unsigned_sums_may_not_be_negative():
    p = problem(np.array([[1.0, -1.0]]), np.array([[3.0, 1.0], [2.0, 1.125]]))
    acc = Accumulator(FixedFormat(8, 0, signed=False), order="exact")
    for route, events in itertools.product(exact_routes(p, acc), (False, True)):
        with pytest.raises(ValueError, match=r"output \(0, 1\) is negative"):
            exact_product(p, acc, route=route, events=events)
    product = Quantizer(FixedFormat(8, 0, signed=False))
    with pytest.raises(ValueError, match=r"output \(0, 0\) is negative"):
        exact_product(p, Accumulator(FixedFormat(8), product=product, order="exact"))


PRODUCTS = [
    Accumulator(E4M3, R.RNE, product=Quantizer(E5M2, R.RNE), order="exact"),
    Accumulator(E4M3, R.RTN, product=Quantizer(catalog.E4M3FNUZ, R.RTP), order="exact"),
    Accumulator(E5M2, R.RNE, Rule.IEEE, product=Quantizer(E5M2, R.RNE, Rule.IEEE), order="exact"),
    Accumulator(E5M2, R.RNE, Rule.SATURATE, product=Quantizer(E5M2, R.RNE, Rule.IEEE), order="exact"),
    Accumulator(E4M3, R.RTN, Rule.PROPAGATE, product=Quantizer(grids.KINDS["p3109_extended"], R.RTP), order="exact"),
    Accumulator(BINARY64, R.RNE, product=Quantizer(BINARY64, R.RNE), order="exact"),
    Accumulator(BINARY32, R.SR_C, product=Quantizer(grids.KINDS["flush"], R.SR_C, random_bits=9), order="exact"),
    Accumulator(FixedFormat(20, 4), R.RNE, product=Quantizer(FixedFormat(10, 6), R.RNE, Rule.WRAP), order="exact"),
    Accumulator(FixedFormat(16, -3), R.RTN, Rule.WRAP, product=Quantizer(FixedFormat(64, 3), R.RTP), order="exact"),
]


@pytest.mark.parametrize("acc", PRODUCTS, ids=lambda acc: f"{acc.product.fmt}-{acc.format}-{acc.rounding.name}")
def test_products_rounded_first(acc):
    rng = np.random.default_rng(5)
    for kind, scale in itertools.product((ties, spread, doubles, any_bits), (1.0, 2.0**6, 2.0**-6)):
        a, b, c = operands(kind, rng)
        with np.errstate(over="ignore"):
            a = np.where(np.isfinite(a * scale), a * scale, 1.0)
        for start in (None, c):
            check(acc, a, b, start, words_for(rng, acc, 2, 7, 3))


def test_infinite_products():
    infinite = Accumulator(E5M2, R.RNE, Rule.IEEE, product=Quantizer(E5M2, R.RNE, Rule.IEEE), order="exact")
    a = np.array([[1e5, 1e5, 1.0]])
    b = np.array([[1.0, -1.0, 1.0, 0.0], [1.0, -1.0, -1.0, -1.0], [1.0, 1.0, 1.0, 1.0]])
    check(infinite, a, b)
    assert str(exact_product(problem(a, b), infinite)[0].tolist()) == "[[[inf, -inf, nan, -inf]]]"
    finite = Accumulator(parse_format("lba_m4e3_b3"), product=Quantizer(E5M2, R.RNE, Rule.IEEE), order="exact")
    with pytest.raises(ValueError, match=r"output \(0, 2\) is NaN"):
        exact_product(problem(a, b), finite)


def test_zeros_have_the_sign_of_all_terms():
    plus, minus = np.array([[0.0, 0.0]]), np.array([[-0.0, -0.0]])
    one = np.ones((2, 1))
    cancel = np.array([[1.0], [-1.0]])
    for mode, fmt in itertools.product((R.RNE, R.RTN), (E4M3, BINARY64, catalog.E4M3FNUZ)):
        acc = Accumulator(fmt, mode, order="exact")
        for a, b in itertools.product((plus, minus, np.array([[0.0, -0.0]]), one.T), (one, cancel, -one)):
            for c in (None, np.array([[0.0]]), np.array([[-0.0]]), np.array([[1.0]]), np.array([[-1.0]])):
                check(acc, a, b, c)
                check(acc, a * 2.0**-600, b * 2.0**-500, c)
                check(Accumulator(fmt, mode, product=Quantizer(fmt), order="exact"), a, b, c)


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
def test_stacks_and_threads(left, right):
    rng = np.random.default_rng(9)
    threads = get_num_threads()
    try:
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
                        set_num_threads(count)
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
    finally:
        set_num_threads(threads)


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
