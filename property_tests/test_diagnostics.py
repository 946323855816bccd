"""Laws of scalar nets, in rationals and in emulated arithmetic, and of power iteration."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from numerics import Quantizer, Rounding, catalog
from numerics.diagnostics import (
    depth_two_sharpness,
    emulated_step,
    flow_limit,
    flow_shift,
    gfs_sharpness,
    invariant,
    invariant_after,
    invariant_bound,
    residual,
    roundings,
    sharpness,
    step,
)

WEIGHTS = st.fractions(-5, 5, max_denominator=64)
RATES = st.fractions(0, 3, max_denominator=64)
FLOATS = st.floats(-4, 4, width=16)
EMULATED = pytest.mark.parametrize(
    "quantizer",
    [Quantizer(catalog.BFLOAT16), Quantizer(catalog.E4M3), Quantizer(catalog.E5M2, Rounding.RTZ)],
    ids=["bfloat16", "e4m3", "e5m2-rtz"],
)


@given(WEIGHTS, WEIGHTS, RATES)
def test_the_identity_of_depth_two_is_exact(a, b, rate):
    before, after = (a, b), step((a, b), rate)
    assert invariant(after) == invariant_after(before, rate)
    shrinks = abs(invariant(after)) <= abs(invariant(before))
    assert shrinks == ((rate * residual(before)) ** 2 <= 2 or invariant(before) == 0)


@EMULATED
@given(st.tuples(FLOATS, FLOATS), st.sampled_from([2.0**-k for k in range(6)]))
def test_the_identity_under_rounding(quantizer, w, rate):
    """Any weights, members of the format or not; the largest numbers that appear, 4 * 60, are within all formats."""
    after = emulated_step(np.array(w), rate, quantizer)
    assert np.abs(after).max() < quantizer.fmt.max  # nothing overflowed
    assert abs(invariant(after) - invariant_after(w, rate)) <= invariant_bound(w, rate, quantizer)


@given(st.tuples(FLOATS, FLOATS), st.lists(st.integers(0, 255), min_size=8, max_size=8))
def test_the_identity_under_random_rounding(w, words):
    quantizer = Quantizer(catalog.E4M3, Rounding.SR, random_bits=8)
    after = emulated_step(np.array(w), 0.5, quantizer, words=np.array(words))
    assert roundings(2) == 8
    assert abs(invariant(after) - invariant_after(w, 0.5)) <= invariant_bound(w, 0.5, quantizer)


@given(st.lists(st.floats(-30, 30), min_size=2, max_size=6))
def test_the_flow_ends_where_it_should(w):
    squares = sorted(Fraction(x) ** 2 for x in w)
    assume(squares[0] != squares[1] or math.prod(map(Fraction, w)) > 0)
    excess, u = flow_shift(w)
    assert 0 < u <= 1
    exact = [a + Fraction(u) for a in excess]
    product = math.prod(exact, start=Fraction(1))
    # One ulp of u moves the product by at most D ulp.
    assert abs(product - 1) <= len(w) * Fraction(1, 2**52) * (1 + Fraction(1, 2**20))
    assert math.prod(flow_limit(w)) == pytest.approx(1, rel=1e-13)
    found = gfs_sharpness(w)
    assert found == pytest.approx(float(sum(1 / a for a in exact)), rel=2.0**-51)
    # By the inequality of the means no minimum is flatter than that of equal weights.
    assert found >= len(w) * (1 - 1e-14)
    # Two signs and the order do not matter.
    assert gfs_sharpness([*w[:1:-1], -w[1], -w[0]]) == found


@given(FLOATS, FLOATS)
def test_depth_two_has_a_closed_form(a, b):
    assume(a * b > 0 or a * a != b * b)
    assert depth_two_sharpness((a, b)) == pytest.approx(gfs_sharpness((a, b)), rel=1e-15)


@given(st.lists(st.integers(-8, 8), min_size=2, max_size=5), st.integers(0, 2**32))
def test_power_iteration_finds_the_largest(eigenvalues, seed):
    matrix = np.diag(np.array(eigenvalues, float))
    found = sharpness(lambda v: matrix @ v, len(eigenvalues), seed=seed)
    assert found.converged
    assert found.value == pytest.approx(max(eigenvalues), abs=1e-9)
    assert np.linalg.norm(matrix @ found.vector - found.value * found.vector) <= found.residual + 1e-14
