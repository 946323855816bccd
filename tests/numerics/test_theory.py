"""Closed forms against exact rationals: each holds, and is attained or comes as near as stated."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from numerics import Accumulator, FixedFormat, FloatFormat, Quantizer, Rounding, catalog, matmul, theory
from numerics.reference import fixed, floats
from numerics.reference.products import accumulate
from numerics.theory.stages import holds
from tests.numerics import grids

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
        assert exact <= theory.growth(n, u) < exact * (1 + Fraction(1, 1 << 100))
        assert theory.growth(n, u) - 1 <= theory.gamma(n, u)
    assert theory.growth(10**6, u) > 1
    with pytest.raises(ValueError, match=r"n u = 1 is not below 1; growth"):
        theory.gamma(1 << 11, u)
    with pytest.raises(ValueError, match="RNL rounds logarithms"):
        theory.unit_roundoff(BINARY16, Rounding.RNL)


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
    with pytest.raises(ValueError, match="k = -1: give the number of products"):
        theory.error_bound(one, -1)


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


@pytest.mark.parametrize("mode", grids.STOCHASTIC, ids=lambda mode: mode.name)
@pytest.mark.parametrize("name", ["e4m3fn", "flush", "normal_binade", "no_mantissa", "fixed"])
def test_moments_equal_those_over_all_words(name, mode):
    fmt = FixedFormat(5, 2) if name == "fixed" else grids.SMALL[name]
    bits = 3
    words = np.arange(1 << bits, dtype=np.uint32)
    quantizer = Quantizer(fmt, mode, random_bits=bits)
    top = fmt.max
    points = [x for x in list(between(fmt, 16))[:: 7 if name != "fixed" else 1] if x <= Fraction(top)]
    for x in points + [-x for x in points]:
        values = [Fraction(v) for v in quantizer.quantize(np.full(1 << bits, float(x)), words=words).tolist()]
        mean = sum(values) / len(values)
        variance = sum((v - mean) ** 2 for v in values) / len(values)
        assert theory.rounding_moments(x, fmt, mode, bits) == (mean, variance)


def test_ideal_moments():
    x = Fraction(1) + Fraction(1, 30)
    mean, variance = theory.rounding_moments(x, E4M3, random_bits=math.inf)
    assert (mean, variance) == (x, (x - 1) * (Fraction(9, 8) - x))
    assert abs(theory.rounding_moments(x, E4M3).mean - x) < Fraction(1, 1 << 35)
    with pytest.raises(ValueError, match="moments of RNE: it is deterministic"):
        theory.rounding_moments(1.0, E4M3, Rounding.RNE)
    with pytest.raises(ValueError, match=r"449.0 is beyond the values of e4m3fn"):
        theory.rounding_moments(449.0, E4M3)


def where_it_stops(fmt, mode, addend, bits):
    """By stepping with the word that moves most; None where the largest value is reached."""
    total, word = 0.0, None if bits is None else (1 << bits) - 1
    rounder = fixed.round_exact if isinstance(fmt, FixedFormat) else floats.round_exact
    while total < fmt.max:
        moved = float(rounder(Fraction(total) + addend, fmt, mode, word=word, random_bits=bits))
        if moved == total:
            return total
        total = moved
    return None


STOPPING = [catalog.lba(3, 4, 5), grids.KINDS["no_mantissa"], grids.KINDS["no_mantissa_even_bias"], FixedFormat(6, 2)]
STOPPING += [grids.KINDS["no_mantissa_normal_binade"], grids.KINDS["no_exponent"], FloatFormat(6, 2, 15), E4M3]


@pytest.mark.parametrize("mode", grids.MODES, ids=lambda mode: mode.name)
@pytest.mark.parametrize("fmt", STOPPING, ids=str)
def test_stagnation_is_where_sums_stop(fmt, mode):
    bits = 2 if mode.stochastic else None
    for numerator in (1, 2, 3, 5, 7, 8, 11, 13, 16, 24, 33):
        addend = Fraction(numerator, 8) * Fraction(fmt.quantum if isinstance(fmt, FixedFormat) else fmt.smallest_normal)
        if (
            isinstance(fmt, FloatFormat)
            and fmt.subnormals.value != "gradual"
            and addend < Fraction(fmt.smallest_normal)
        ):
            with pytest.raises(ValueError, match="which flushes it"):
                theory.stagnation_point(fmt, mode, addend, bits)
            continue
        assert theory.stagnation_point(fmt, mode, addend, bits) == where_it_stops(fmt, mode, addend, bits)


def test_products_of_ones_stop_where_they_should():
    ones = np.ones((1, 5000), np.float32)
    for fmt, mode, point in (
        (BINARY16, Rounding.RNE, 2048.0),
        (BINARY16, Rounding.RTZ, 2048.0),
        (BINARY16, Rounding.RNA, 4096.0),
        (catalog.lba(7, 4, 5), Rounding.RTZ, 256.0),
        (catalog.BFLOAT16, Rounding.RNE, 256.0),
    ):
        assert matmul(ones, ones.T, Accumulator(fmt, mode))[0, 0] == theory.stagnation_point(fmt, mode) == point
    assert theory.stagnation_point(BINARY16, Rounding.RTP) is None
    assert theory.stagnation_point(catalog.BFLOAT16, Rounding.SR, random_bits=8) == 65536.0
    with pytest.raises(ValueError, match="addend = 0: give a positive number"):
        theory.stagnation_point(BINARY16, addend=0)


@pytest.mark.parametrize(
    ("options", "k"),
    [
        ({}, 6),
        ({"chunk": 2}, 4),
        ({"order": "pairwise"}, 7),
        ({"product": Quantizer(P6, Rounding.SR, random_bits=2)}, 3),
    ],
    ids=["chain", "chunks", "tree", "rounded_products"],
)
def test_all_words_exceed_the_probable_bound_as_rarely_as_stated(options, k):
    bits = 2
    accumulator = Accumulator(P6, Rounding.SR, random_bits=bits, **options)
    a, ones = [1.0] + [1 / 50] * (k - 1), [1.0 + 1 / 128] * k
    exceeded = dict.fromkeys((0.9, 0.5, 0.2), 0)
    limits = {
        f: limit(theory.probabilistic_error_bound(accumulator, k, failure_probability=f), a, ones) for f in exceeded
    }
    assert limits[0.9] < limit(theory.error_bound(accumulator, k), a, ones)
    used = accumulator.roundings(k) - (1 if options.get("order") else 0)  # the tree's last word is never needed
    spare = [0] * (accumulator.roundings(k) - used)
    for words in itertools.product(range(1 << bits), repeat=used):
        err = error(a, ones, accumulator, words=[*words, *spare])
        for f, bound in limits.items():
            exceeded[f] += err > bound
    assert all(count <= f * (1 << bits * used) for f, count in exceeded.items())


def stochastic_chain(x, precision, bits, rng):
    """Sums of x[k] with p-bit stochastic rounding, one for each column; float64 is exact for these."""
    total = np.zeros(x.shape[1])
    for row in x:
        exact = total + row
        ulp = np.ldexp(1.0, np.frexp(exact)[1] - precision)
        ulp[exact == 0] = 1.0
        lo = np.floor(np.abs(exact) / ulp)
        k = np.floor((np.abs(exact) / ulp - lo) * 2**bits)
        total = np.sign(exact) * (lo + (k + rng.integers(0, 2**bits, exact.shape) >= 2**bits)) * ulp
    return total


def test_long_chains_exceed_the_probable_bound_as_rarely_as_stated():
    k, trials, failure = 400, 20_000, 0.01
    accumulator = Accumulator(FloatFormat(8, 9), Rounding.SR, random_bits=8)
    rng = np.random.default_rng(3)
    terms = np.float64(rng.integers(-(1 << 11), 1 << 11, (k, 1))) / 2048
    found = stochastic_chain(np.broadcast_to(terms, (k, trials)), 10, 8, rng)
    error_over_x = np.abs(found - terms.sum()) / np.abs(terms).sum()
    bound = theory.probabilistic_error_bound(accumulator, k, failure_probability=failure)
    assert (error_over_x > float(bound.products)).mean() <= failure
    # Positive terms, for which the running sum is largest: the quantile is within a factor of 5 of the bound.
    found = stochastic_chain(np.broadcast_to(np.abs(terms), (k, trials)), 10, 8, rng)
    error_over_x = np.abs(found - np.abs(terms).sum()) / np.abs(terms).sum()
    assert (error_over_x > float(bound.products)).mean() <= failure
    assert np.quantile(error_over_x, 1 - failure) > float(bound.products) / 5
    assert bound.products < theory.error_bound(accumulator, k).products / 5


def test_few_random_bits_drift_as_the_bound_says():
    # Numbers just too small to move the sum with any word: the error is the drift alone, n u 2**-r.
    k, bits = 200, 4
    accumulator = Accumulator(BINARY16, Rounding.SR, random_bits=bits)
    u = Fraction(1, 1 << 10)
    x = u / 16 - Fraction(1, 1 << 30)
    a, ones = [1.0] + [float(x)] * (k - 1), [1.0] * k
    err = error(a, ones, accumulator, words=top_words(accumulator, k))
    drift = k * u / 16
    assert err > drift * Fraction(98, 100)
    bound = theory.probabilistic_error_bound(accumulator, k, failure_probability=1e-3)
    assert drift < bound.products
    more = theory.probabilistic_error_bound(
        Accumulator(BINARY16, Rounding.SR, random_bits=20), k, failure_probability=1e-3
    )
    assert drift * Fraction(9, 10) < bound.products - more.products < drift * 2
    half = theory.probabilistic_error_bound(
        Accumulator(BINARY16, Rounding.SR_B, random_bits=bits), k, failure_probability=1e-3
    )
    assert more.products < half.products < bound.products
    assert [theory.random_bits_rule(n) for n in (1, 2, 4, 5, 1024, 4097)] == [0, 1, 1, 2, 5, 7]


def test_probable_bounds_scale_as_the_square_root():
    fmt = FloatFormat(8, 19)
    u = 2.0**-19
    for k in (100, 10_000):
        bound = theory.probabilistic_error_bound(Accumulator(fmt, Rounding.SR), k, failure_probability=1e-6)
        lam = theory.deviations_for(1e-6)
        assert float(bound.products) == pytest.approx(lam / 2 * math.sqrt(k) * u, rel=0.02)
        assert theory.gamma_tilde(k, u, lam) == pytest.approx(2 * float(bound.products), rel=0.02)
    tree = theory.probabilistic_error_bound(
        Accumulator(fmt, Rounding.SR, order="pairwise"), 1 << 14, failure_probability=1e-6
    )
    assert float(tree.products) == pytest.approx(lam / 2 * math.sqrt(14) * u, rel=0.02)
    chunks = theory.probabilistic_error_bound(
        Accumulator(fmt, Rounding.SR, chunk=64), 64 * 64, failure_probability=1e-6
    )
    assert float(chunks.products) == pytest.approx(lam / 2 * math.sqrt(128) * u, rel=0.02)
    grid = Accumulator(FixedFormat(20, 4), Rounding.SR, random_bits=16)
    fixed_bound = theory.probabilistic_error_bound(grid, 400, failure_probability=1e-6)
    assert fixed_bound.products == 0
    assert float(fixed_bound.underflow) == pytest.approx((lam / 2 * 20 + 400 * 2.0**-16) / 16, rel=1e-6)
    # More outputs at once, and sums for which the worst case is smaller.
    more = theory.probabilistic_error_bound(Accumulator(fmt, Rounding.SR), k, failure_probability=1e-6, outputs=10**6)
    assert bound.products < more.products < 2 * bound.products
    single = Accumulator(fmt, Rounding.SR)
    assert theory.probabilistic_error_bound(single, 1, failure_probability=1e-6) == theory.error_bound(single, 1)
    assert theory.probabilistic_error_bound(Accumulator(fmt), 9, failure_probability=0.1).failure_probability == 0
    for options, sentence in (({"failure_probability": 0.0}, "between 0 and 1"), ({"outputs": 0}, "outputs = 0")):
        with pytest.raises(ValueError, match=sentence):
            theory.probabilistic_error_bound(single, 5, **{"failure_probability": 0.1, **options})


def test_gamma_tilde_bounds_products_of_random_factors():
    n, u = 14, 0.1
    factors = np.array(list(itertools.product((1 - u, 1 + u), repeat=n))).prod(axis=1)
    for lam in (0.5, 1.0, 2.0):
        assert (np.abs(factors - 1) > theory.gamma_tilde(n, u, lam)).mean() <= 2 * math.exp(-lam * lam / 2)
    with pytest.raises(ValueError, match="give u from 0 to below 1"):
        theory.gamma_tilde(3, 1.0, 1.0)


def test_rules_of_papers():
    assert theory.lba_accumulator_bias(12, 16) == 10  # the pair of arXiv 2401.14110
    assert theory.lba_accumulator_bias(12, 1) == 12
    assert theory.gradient_noise_threshold(1.0, 100) == pytest.approx(1 / math.sqrt(300))
    # The slope of the best step's progress in the noise s is steepest there, for a Hessian alike in all directions.
    s = np.linspace(0.01, 0.2, 200_001)
    progress = 1 / (1 + 100 * s**2)
    steepest = s[np.argmin(np.gradient(progress, s))]
    assert steepest == pytest.approx(theory.gradient_noise_threshold(1.0, 100), abs=1e-5)
    for call, sentence in (
        (lambda: theory.lba_accumulator_bias(12, 0), "chunk = 0"),
        (lambda: theory.gradient_noise_threshold(1.0, 0), "dimension = 0"),
        (lambda: theory.gradient_noise_threshold(-1.0, 2), "gradient_norm = -1.0"),
    ):
        with pytest.raises(ValueError, match=sentence):
            call()


def test_random_signs_reach_the_range_that_the_bias_rule_gives():
    rng = np.random.default_rng(2)
    sums = rng.choice([-1.0, 1.0], (100_000, 16)).sum(axis=1)
    assert sums.std() == pytest.approx(2.0 ** (12 - theory.lba_accumulator_bias(12, 16)), rel=0.01)
