"""The points that are tried lie where bugs live, and the law that results are held to is the oracle's."""

from fractions import Fraction

import numpy as np
import pytest

from numerics import Overflow, Quantizer, Rounding, catalog, parse_format, reference, theory
from numerics.properties import as_quantizer, points
from numerics.properties.law import law_of
from numerics.properties.points import members
from tests.sampling import one_in

FORMATS = [*catalog.FORMATS.values(), parse_format("log4.3b8"), parse_format("ulog3.2b2"), parse_format("s40.20")]


@pytest.mark.parametrize("fmt", one_in(2, FORMATS), ids=str)
def test_edges_ties_and_their_neighbours_are_among_the_points(fmt):
    kind = np.float64
    tried = set(points(fmt, kind, 2048).tolist())
    own = members(fmt, kind, 512)
    assert {0.0, fmt.max, float(own[own > 0][0])} <= {abs(x) for x in tried}
    assert any(abs(x) > 1.5 * fmt.max for x in tried) or fmt.max > 1e300
    assert any(0 < abs(x) < own[own > 0][0] for x in tried) or own[own > 0][0] < 1e-320
    if fmt.signed:
        assert {-x for x in tried} == tried
    if fmt is catalog.BINARY64:  # nothing lies between
        return
    ties = [x for x in tried if x > 0 and law_part(fmt, x) == Fraction(1, 2)]
    assert len(ties) > 3 or len(own) < 8
    assert any(np.nextafter(t, np.inf) in tried and np.nextafter(t, 0) in tried for t in ties)


def law_part(fmt, x):
    return law_of(as_quantizer(Quantizer(fmt), dtype=np.float64), np.array([x])).parts[0]


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_no_more_points_than_asked_for(fmt):
    for limit in (64, 512, 2048):
        found = points(fmt, np.float64, limit)
        assert len(found) <= limit + 128
        assert np.isfinite(found).all()
        assert (np.diff(found) >= 0).all()
        assert not found.flags.writeable


@pytest.mark.parametrize("overflow", [Overflow.SATURATE, Overflow.IEEE])
@pytest.mark.parametrize("fmt", [catalog.E4M3, catalog.E5M2, catalog.lba(4, 3, 5), catalog.INT8], ids=str)
def test_counts_are_those_of_the_oracle_and_of_the_closed_form(fmt, overflow):
    if overflow is Overflow.IEEE and not fmt.has_nan:
        overflow = Overflow.WRAP if fmt is catalog.INT8 else Overflow.PROPAGATE
    q = as_quantizer(Quantizer(fmt, Rounding.SR, overflow, random_bits=3))
    x = points(fmt, np.float32, 128)
    law = law_of(q, x)
    counts = law.counts(Rounding.SR, 3)
    for i, value in enumerate(x.tolist()):
        results = [reference.round_value(value, fmt, Rounding.SR, overflow, word=w, random_bits=3) for w in range(8)]
        wanted = [law.high[i] if counts[i] + w >= 8 else law.low[i] for w in range(8)]
        assert np.array_equal(results, wanted, equal_nan=True)
        if abs(value) <= fmt.max and overflow is Overflow.SATURATE:
            moments = theory.rounding_moments(value, fmt, Rounding.SR, 3)
            mean = sum(map(Fraction, results)) / 8
            assert moments.mean == mean
            assert moments.variance == sum((Fraction(v) - mean) ** 2 for v in results) / 8
