"""Exact sums for the tests: operands of every kind, and every route and its events against the oracle."""

import numpy as np

from numerics import (
    FixedFormat,
    FloatFormat,
    Overflow,
    Rounding,
    catalog,
    parse_format,
    reference,
)
from numerics.exact_products import exact_product, exact_route, exact_routes
from numerics.problem import Problem, Words, facts
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
