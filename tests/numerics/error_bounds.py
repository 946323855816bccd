"""Sums for the tests of error bounds: every order, their exact errors, and points between neighbours."""

import itertools
import math
from fractions import Fraction

import numpy as np

from numerics import Accumulator, FloatFormat, Quantizer, Rounding, catalog
from numerics.reference.products import accumulate

BINARY16, BINARY32, E4M3 = catalog.BINARY16, catalog.BINARY32, catalog.E4M3
P6 = FloatFormat(8, 5, name="p6")
ORDERS = {
    "sequential": {},
    "chunked": {"chunk": 5},
    "chunked_wider": {"chunk": 4, "outer": Accumulator(FloatFormat(8, 8))},
    "chunked_into_truncation": {"chunk": 6, "outer": Accumulator(FloatFormat(8, 4), Rounding.RTZ)},
    "pairwise": {"order": "pairwise"},
    "blocked": {"order": "pairwise", "block": 3},
    "exact": {"order": "exact"},
    "rounded_products": {"product": Quantizer(FloatFormat(8, 6))},
    "rounded_pairwise": {"order": "pairwise", "product": Quantizer(FloatFormat(8, 4), Rounding.RTZ)},
    "chunked_trees": {"order": "pairwise", "chunk": 7},
}


def error(a, b, accumulator, c=None, words=None):
    """|computed - exact|, a rational."""
    exact = sum((Fraction(x) * Fraction(y) for x, y in zip(a, b, strict=True)), Fraction(c or 0))
    return abs(Fraction(accumulate(a, b, accumulator, c, words=words)) - exact)


def magnitude(a, b):
    return sum((abs(Fraction(x) * Fraction(y)) for x, y in zip(a, b, strict=True)), Fraction(0))


def limit(bound, a, b, c=None):
    return bound.products * magnitude(a, b) + bound.addend * abs(Fraction(c or 0)) + bound.underflow


def top_words(accumulator, k):
    """The largest word for each rounding: every magnitude that may go up does."""
    return [(1 << accumulator.random_bits) - 1] * accumulator.roundings(k) if accumulator.stochastic else None


def between(fmt, parts=8):
    """All points at eighths between all neighbouring magnitudes of a small format."""
    values = sorted({abs(Fraction(v)) for v in fmt.decode(np.arange(1 << fmt.bits)).tolist() if math.isfinite(v)})
    for lo, hi in itertools.pairwise(values):
        yield from (lo + (hi - lo) * i / parts for i in range(parts + 1))
