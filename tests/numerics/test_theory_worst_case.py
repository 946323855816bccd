"""Worst-case bounds against exact rationals: each holds, and is attained or comes as near as stated."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from numerics import Accumulator, FixedFormat, FloatFormat, Quantizer, Rounding, catalog, matmul, theory
from numerics.reference import fixed, floats
from numerics.theory.stages import holds
from tests.numerics import grids
from tests.numerics.error_bounds import (
    BINARY16,
    BINARY32,
    E4M3,
    ORDERS,
    P6,
    between,
    error,
    limit,
    magnitude,
    top_words,
)


@pytest.mark.sampled
@pytest.mark.parametrize("mode", grids.DETERMINISTIC, ids=lambda mode: mode.name)
@pytest.mark.parametrize("name", ["e4m3fn", "flush", "normal_binade", "full_binade", "no_mantissa", "no_exponent"])
def test_one_rounding_keeps_unit_roundoff_and_underflow_unit(name, mode):
    fmt = grids.SMALL[name]
    u, eta = theory.unit_roundoff(fmt, mode), theory.underflow_unit(fmt, mode)
    normal, small = Fraction(0), Fraction(0)
    for x in between(fmt, 32):
        err = abs(Fraction(floats.round_exact(x, fmt, mode)) - x)
        assert err <= max(u * x, eta)
        if x < Fraction(fmt.smallest_normal):
            small = max(small, err)
        else:
            normal = max(normal, err / x)
    nearest = mode in (Rounding.RNE, Rounding.RNA)
    if fmt.exponent_bits:
        sharp = u / (1 + u) if nearest or mode in (Rounding.RTZ, Rounding.RTN) else u
        assert normal <= sharp
        assert normal == sharp if nearest and fmt.mantissa_bits else normal > sharp * Fraction(9, 10)
    if mode is not Rounding.RTP or not name.endswith("binade"):
        assert small == eta if nearest and fmt.subnormals.value == "gradual" else small > eta * Fraction(4, 10)


def test_fixed_point_errs_by_half_a_step_or_a_step():
    fmt = FixedFormat(6, 2)
    for mode, eta in ((Rounding.RNE, Fraction(1, 8)), (Rounding.RTZ, Fraction(1, 4))):
        assert theory.unit_roundoff(fmt, mode) == 0
        assert theory.underflow_unit(fmt, mode) == eta
        worst = max(abs(fixed.round_exact(Fraction(i, 64), fmt, mode) - Fraction(i, 64)) for i in range(64))
        assert eta * Fraction(9, 10) < worst <= eta


def test_gamma_and_growth():
    u = Fraction(1, 1 << 11)
    assert theory.gamma(100, u) == 100 * u / (1 - 100 * u)
    for n in (0, 1, 2, 3, 64, 1000):
        exact = (1 + u) ** n
        assert exact <= theory.growth(n, u) <= exact * (1 + Fraction(n, 1 << 126))
        assert theory.growth(n, u) - 1 <= theory.gamma(n, u)
    assert theory.growth(10**6, u) > 1
    with pytest.raises(ValueError, match=r"n u = 1 is not below 1; growth"):
        theory.gamma(1 << 11, u)
    with pytest.raises(ValueError, match="RNL rounds logarithms"):
        theory.unit_roundoff(BINARY16, Rounding.RNL)


@pytest.mark.parametrize(("n", "place"), [(1 << 30, 24), ((1 << 36) - 1, 36), ((1 << 20) - 1, 53)])
def test_long_powers_are_rounded_up_by_no_more_than_is_said(n, place, monkeypatch):
    u = Fraction(1, 1 << place)
    found = theory.growth(n, u)
    monkeypatch.setattr("numerics.theory.roundoff._KEPT_BITS", 400)
    finer = theory.growth(n, u)
    assert finer <= found <= finer * (1 + Fraction(n, 1 << 126))
    assert found > finer * (1 + Fraction(n, 1 << 130))  # not a part in 2**100 whatever n


@pytest.mark.parametrize("mode", grids.DETERMINISTIC, ids=lambda mode: mode.name)
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("k", [1, 2, 13])
def test_random_sums_keep_the_bound(order, mode, k):
    accumulator = Accumulator(P6, mode, **ORDERS[order])
    rng = np.random.default_rng(k)
    for trial in range(12):
        a = (rng.integers(-63, 64, k) * 2.0 ** rng.integers(-3, 4, k)).tolist()
        b = (np.abs(rng.integers(-63, 64, k)) if trial % 2 else rng.integers(-63, 64, k)).astype(float).tolist()
        c = float(rng.integers(-500, 500)) if trial % 3 == 0 else None
        assert error(a, b, accumulator, c) <= limit(theory.error_bound(accumulator, k, c=c is not None), a, b, c)


# What is lost at each step by 1 + x: a little less than, or exactly, the most that a rounding may lose.
U6 = {Rounding.RNE: Fraction(1, 64), Rounding.RTZ: Fraction(1, 32) - Fraction(1, 1 << 20)}


@pytest.mark.parametrize("mode", U6, ids=lambda mode: mode.name)
@pytest.mark.parametrize("k", [8, 16])
def test_chains_and_trees_come_near_their_bounds(mode, k):
    x, u = U6[mode], theory.unit_roundoff(P6, mode)
    ones = [1.0] * k
    # A chain: 1 and then k - 1 numbers that are lost. The bound has one rounding more, that of the first product.
    chain = [1.0] + [float(x)] * (k - 1)
    accumulator = Accumulator(P6, mode)
    ratio = error(chain, ones, accumulator) / limit(theory.error_bound(accumulator, k), chain, ones)
    assert Fraction(k - 1, k) / (1 + 2 * k * u) < ratio <= 1
    # A tree: at every level the neighbour of 1 is as much as is lost at once.
    tree = [1.0] + [float(x) / 2 ** (i.bit_length() - 1) for i in range(1, k)]
    accumulator = Accumulator(P6, mode, order="pairwise")
    ratio = error(tree, ones, accumulator) / limit(theory.error_bound(accumulator, k), tree, ones)
    assert Fraction(8, 10) < ratio <= 1
    # One more: the whole tree is carried up beside a single number.
    odd = [*tree, float(x)]
    ratio = error(odd, [*ones, 1.0], accumulator) / limit(theory.error_bound(accumulator, k + 1), odd, [*ones, 1.0])
    assert Fraction(8, 10) < ratio <= 1
    # Chunks of 4, each lost as a whole.
    parts = [1.0] + [float(x)] * 3 + [float(x) / 4] * (k - 4)
    accumulator = Accumulator(P6, mode, chunk=4)
    ratio = error(parts, ones, accumulator) / limit(theory.error_bound(accumulator, k), parts, ones)
    assert Fraction(3 + k // 4 - 1, 4 + k // 4) * Fraction(8, 10) < ratio <= 1
    # All at once.
    accumulator = Accumulator(P6, mode, order="exact")
    assert error([1.0, float(x)], [1.0, 1.0], accumulator) / (1 + x) > theory.error_bound(
        accumulator, 2
    ).products * Fraction(98, 100)


def test_upward_sums_grow_as_the_bound_says():
    k = 40
    a, ones = [1.0] + [2.0**-20] * (k - 1), [1.0] * k
    accumulator = Accumulator(P6, Rounding.RTP)
    bound = theory.error_bound(accumulator, k)
    assert bound.products == theory.growth(k, Fraction(1, 32)) - 1
    # Steps of one ulp add up where the bound compounds: a factor of at most (e^x - 1)/x of k u = x apart, and 2 in ulp.
    assert limit(bound, a, ones) / 3 < error(a, ones, accumulator) <= limit(bound, a, ones)


@pytest.mark.parametrize("mode", [Rounding.SR, Rounding.SR_B], ids=lambda mode: mode.name)
def test_no_words_pass_the_worst_case(mode):
    accumulator = Accumulator(P6, mode, random_bits=3)
    a, ones = [1.0] + [float(Fraction(1, 256))] * 30, [1.0] * 31
    bound = theory.error_bound(accumulator, 31)
    up = error(a, ones, accumulator, words=top_words(accumulator, 31))
    assert limit(bound, a, ones) / 3 < up <= limit(bound, a, ones)


def test_underflow_counts_once_per_rounding():
    fmt = FloatFormat(4, 3)
    quantum = Fraction(fmt.smallest_subnormal)
    accumulator = Accumulator(fmt, Rounding.RTZ)
    k = 7
    a, ones = [float(quantum) * 0.999] * k, [1.0] * k
    bound = theory.error_bound(accumulator, k)
    assert bound.underflow == k * quantum
    assert bound.underflow * Fraction(99, 100) < error(a, ones, accumulator) <= limit(bound, a, ones)
    # Multiples of the lowest bit do not underflow: sums of members are exact there.
    assert theory.error_bound(accumulator, k, quantum=quantum).underflow == 0
    flushing = Accumulator(FloatFormat(4, 3, subnormals=False), Rounding.RNE)
    a = [float(flushing.format.smallest_normal) * 0.9] * k
    bound = theory.error_bound(flushing, k, quantum=quantum)
    assert bound.underflow / 2 < error(a, ones, flushing) <= limit(bound, a, ones)


def test_kahan_keeps_its_bound_and_passes_two_units():
    rng = np.random.default_rng(5)
    for mode in (Rounding.RNE, Rounding.RTZ, Rounding.RTP, Rounding.RTO):
        for subnormals in (True, False):
            fmt = FloatFormat(5, 10, subnormals=subnormals)
            accumulator = Accumulator(fmt, mode, order="kahan")
            for k in (1, 2, 6, 40):
                a = (rng.standard_normal(k) * 2.0 ** rng.integers(-12, 4, k)).tolist()
                b = rng.integers(-1023, 1024, k).astype(float) / 256
                c = float(rng.standard_normal()) if k % 2 else None
                bound = theory.error_bound(accumulator, k, c=c is not None)
                assert error(a, b.tolist(), accumulator, c) <= limit(bound, a, b.tolist(), c)
    # Exact products: more than 2u + O(n u^2), to nearest. Found by search.
    terms = [-1478332479 / 2**35, -71098101759 / 2**35, -37097469 / 2**35]
    accumulator = Accumulator(BINARY32, order="kahan")
    bound = theory.error_bound(accumulator, 3)
    u = Fraction(1, 1 << 24)
    assert bound.products < 3 * u * (1 + 10 * u)
    ratio = error(terms, [1.0] * 3, accumulator) / magnitude(terms, [1.0] * 3) / u
    assert Fraction(285, 100) < ratio < 3
    assert ratio * u <= bound.products
    with pytest.raises(ValueError, match=r"a Kahan sum of 1000 numbers with u = 0\.125: the bound needs"):
        theory.error_bound(Accumulator(E4M3, Rounding.RTZ, order="kahan"), 1000)


def test_the_bound_of_a_matrix_product():
    rng = np.random.default_rng(1)
    a = np.float64(rng.integers(-63, 64, (4, 30))) / 16
    b = np.float64(rng.integers(-63, 64, (30, 5))) / 16
    c = rng.standard_normal((4, 5))
    accumulator = Accumulator(BINARY16, Rounding.RTZ, chunk=8)
    bound = theory.error_bound(accumulator, 30, c=True)
    limits = theory.evaluate(bound, a, b, c)
    exact = a @ b + c  # float64 errs by far less than binary16
    assert limits.shape == (4, 5)
    assert (np.abs(matmul(a, b, accumulator, c=c) - exact) <= limits).all()
    by_hand = limit(bound, a[1].tolist(), b[:, 2].tolist(), float(c[1, 2]))
    assert by_hand <= Fraction(float(limits[1, 2])) < by_hand * (1 + Fraction(1, 1 << 40))
    assert "sum|a b|" in str(bound) and bound.failure_probability == 0


def test_trivial_sums_have_no_error():
    assert theory.error_bound(Accumulator(P6), 0).products == 0
    assert theory.error_bound(Accumulator(P6), 0, c=True).addend > 0
    one = Accumulator(P6, product=Quantizer(P6))
    assert theory.error_bound(one, 1).products == theory.error_bound(Accumulator(P6), 1).products
    for k in (-1, 2.5, True, "3"):
        with pytest.raises(ValueError, match=f"k = {k!r}: give the number of products"):
            theory.error_bound(one, k)
    with pytest.raises(TypeError, match="accumulator 'binary16': errors are bounded of Accumulator"):
        theory.error_bound("binary16", 3)
    with pytest.raises(TypeError, match="errors are bounded of an Accumulator"):
        theory.probabilistic_error_bound(catalog.MATRIX_UNITS["h100.f16.f32"], 3, failure_probability=0.1)


def test_members_of_another_format_are_known():
    kinds = {name: fmt for name, fmt in grids.SMALL.items() if fmt.signed}
    members = {name: set(fmt.decode(np.arange(1 << fmt.bits)).tolist()) for name, fmt in kinds.items()}
    found = 0
    for (outer, fmt), (inner, narrow) in itertools.product(kinds.items(), kinds.items()):
        if holds(fmt, narrow):
            reachable = {v for v in members[inner] if abs(v) <= fmt.max}
            # The one value without a code counts as a member.
            assert reachable <= members[outer] | {fmt.smallest_normal, -fmt.smallest_normal}, (outer, inner)
            found += outer != inner
    assert found > 50
    assert holds(FixedFormat(8, 4), FixedFormat(6, 2)) and not holds(FixedFormat(8, 2), FixedFormat(6, 4))
    assert holds(P6, FixedFormat(7, 2)) and not holds(P6, FixedFormat(8, 2))
    assert holds(FixedFormat(40, 9), E4M3) and not holds(FixedFormat(40, 8), E4M3)
