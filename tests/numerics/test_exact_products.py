"""Order "exact" against the oracle, bit for bit and event for event, by every route that a case allows."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from numerics import (
    Accumulator,
    FixedFormat,
    FloatFormat,
    Quantizer,
    catalog,
    parse_format,
)
from numerics.exact_products import exact_codes, exact_product, exact_routes
from numerics.reference.products import Steps, accumulate_number
from tests.numerics import grids
from tests.numerics.exact_problems import (
    BINARY32,
    BINARY64,
    E4M3,
    E5M2,
    FORMATS,
    KINDS,
    SHARED,
    R,
    Rule,
    any_bits,
    check,
    doubles,
    operands,
    problem,
    singles,
    spread,
    ties,
    words_for,
)


@pytest.mark.sampled
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
