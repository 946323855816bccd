"""Power iteration against eigenvalues that are known, scalar nets against exact rationals, laws in emulated arithmetic."""

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from numerics import FixedFormat, FloatFormat, Overflow, Quantizer, Rounding, catalog, diagnostics
from numerics.diagnostics import (
    depth_two_run,
    depth_two_sharpness,
    emulated_step,
    flow_limit,
    flow_sharpness,
    flow_shift,
    gfs_sharpness,
    gradient_flow,
    hessian_vector,
    invariant,
    invariant_after,
    invariant_bound,
    residual,
    roundings,
    sharpness,
    sharpness_at_minimum,
)
from numerics.reference import arithmetic

BFLOAT = Quantizer(catalog.BFLOAT16)
RANDOM = np.random.default_rng(7)
NETS = [
    (3.0, 0.1),
    (1.5, -0.7, 0.3),
    (30.0, 0.5, 2.0, -0.125),
    (1.0, 1.0, 1.0),
    (0.0, 2.0, 5.0),
    (1e6, 1e-6),
    (1e40, 3.0),
]


def symmetric(eigenvalues):
    q, _ = np.linalg.qr(RANDOM.standard_normal((len(eigenvalues), len(eigenvalues))))
    return q @ np.diag(eigenvalues) @ q.T


@pytest.mark.parametrize(
    ("eigenvalues", "largest"),
    [
        ((5, 1, 0.5), 5),
        ((3, -7, 2, 0), 3),
        ((-1, -2, -9), -1),
        ((4, 4, 1), 4),
        ((0, 0), 0),
        ((0, -3), 0),
        ((3, -3, 1), 3),
    ],
)
def test_the_largest_eigenvalue(eigenvalues, largest):
    matrix = symmetric(eigenvalues)
    found = sharpness(lambda v: matrix @ v, len(eigenvalues), tolerance=1e-8)
    assert found.converged
    assert found.value == pytest.approx(largest, abs=1e-12)
    assert found.residual <= 2e-8 * max(map(abs, eigenvalues))
    assert np.linalg.norm(matrix @ found.vector - found.value * found.vector) <= 2.1e-8 * max(map(abs, eigenvalues))
    assert np.linalg.norm(found.vector) == pytest.approx(1)


def test_sharpness_is_the_same_every_time_and_says_when_it_did_not_converge():
    matrix = np.diag([1.0, 0.999, 0.5])
    first, again = (sharpness(lambda v: matrix @ v, (3,), iterations=20) for _ in range(2))
    assert first.value == again.value and (first.vector == again.vector).all()
    assert (first.converged, first.products) == (False, 40)
    # An eigenvalue is within the residual, converged or not.
    assert min(abs(first.value - one) for one in np.diag(matrix)) <= first.residual
    assert sharpness(lambda v: matrix @ v, 3, seed=1, iterations=20).value != first.value
    assert sharpness(lambda v: 0 * v, (2, 3)) == (0.0, pytest.approx(np.zeros((2, 3)), abs=1), 0.0, 1, True)


def test_hessian_by_central_difference():
    matrix = symmetric((3, 1, -1, 0.25))
    product = hessian_vector(lambda w: matrix @ w, np.ones(4, np.float32))
    for v in (np.eye(4)[1], 1e-9 * np.ones(4), np.array([3.0, -2, 1e5, 7])):
        assert product(v) == pytest.approx(matrix @ v, rel=1e-9, abs=1e-9 * np.abs(v).max())
    assert not product(np.zeros(4)).any()
    cubic = hessian_vector(lambda w: w**3, np.array([2.0, 1.0]), step=0.5)
    # (g(w + h) - g(w - h)) / 2h = 3 w**2 + h**2.
    assert cubic(np.array([1.0, 0])) == pytest.approx([12.25, 0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sharpness(lambda v: v, 0), "shape = 0: give at least one"),
        (lambda: sharpness(lambda v: v, 2, tolerance=0.0), "tolerance = 0.0"),
        (lambda: sharpness(lambda v: v, 2, iterations=0), "iterations = 0"),
        (lambda: sharpness(lambda v: v * math.nan, 2), "hv gave nan at element 0: it has to be finite"),
        (lambda: sharpness(lambda v: v[:1], 2), "hv gave an array of shape \\(1,\\) for \\(2,\\)"),
        (lambda: hessian_vector(lambda w: w, np.ones(2), step=0.0), "step = 0.0"),
        (lambda: hessian_vector(lambda w: w, np.array([math.inf])), "w has inf at element 0"),
        (lambda: hessian_vector(lambda w: w, np.ones(2))(np.ones(3)), "v of shape \\(3,\\)"),
        (lambda: hessian_vector(lambda w: w / 0 * 0, np.ones(2))(np.ones(2)), "the gradient gave nan at element 0"),
        (lambda: gradient_flow(lambda w: w, np.ones(2), step=0.0), "step = 0.0"),
        (lambda: gradient_flow(lambda w: w * math.inf, np.ones(2), step=0.1), "the gradient gave inf"),
        (lambda: residual([1.0]), "1 weights: a net has at least two"),
        (lambda: residual([1.0, math.nan]), "give finite numbers"),
        (lambda: sharpness_at_minimum([1, 2]), "residual 1.0: give a minimum"),
        (lambda: flow_shift([1, -1]), "\\[1, -1\\]: the flow ends at a saddle"),
        (lambda: flow_shift([0.0, 0.0, 3.0]), "the flow ends at a saddle"),
        (lambda: flow_shift([1e200, 1.0]), "beyond the range of float64"),
        (lambda: flow_shift([1e140, 0.5, 1e140]), "beyond the range of float64"),
        (lambda: invariant([1, 2, 3]), "3 weights: this is a fact of nets of depth 2"),
        (lambda: emulated_step(np.ones(1), 0.5, BFLOAT), "w of shape \\(1,\\)"),
        (lambda: emulated_step(np.ones(2), 0.5, Quantizer(catalog.E4M3, Rounding.SR)), "SR needs random words"),
        (
            lambda: emulated_step(np.ones(2), 0.5, Quantizer(catalog.E4M3, Rounding.SR), words=np.zeros(7, int)),
            "words of shape \\(7,\\) for nets \\(2,\\): give \\(8,\\)",
        ),
        (
            lambda: emulated_step(np.ones(2), 0.5, BFLOAT, words="junk"),
            "words given with RNE: random words belong to SR",
        ),
        (lambda: emulated_step(np.ones(2), 0.5, BFLOAT, stream=-1), "stream = -1"),
        (lambda: depth_two_run(np.ones(2), 0.5, -1, BFLOAT), "steps = -1"),
        (lambda: depth_two_run(np.ones(2), 0.5, 2.5, BFLOAT), "steps = 2.5: give an integer of at least 0"),
        (lambda: depth_two_run(np.ones(2, np.float32), 0.1, 1, BFLOAT), "rate = 0.1 is no number of float32"),
    ],
)
def test_refusals(call, message):
    with np.errstate(all="ignore"), pytest.raises(ValueError, match=message):
        call()


def test_refused_types():
    with pytest.raises(TypeError, match="no FloatFormat"):
        invariant_bound([1.0, 2.0], 0.5, Quantizer(FixedFormat(8, 4)))
    with pytest.raises(TypeError, match="w of dtype int64"):
        hessian_vector(lambda w: w, np.ones(2, int))


def exact_hessian(w):
    weights, n = [Fraction(x) for x in w], len(w)
    without = [math.prod(weights[:i] + weights[i + 1 :], start=Fraction(1)) for i in range(n)]
    both = [
        [math.prod((x for k, x in enumerate(weights) if k not in (i, j)), start=Fraction(1)) for j in range(n)]
        for i in range(n)
    ]
    e = residual(w)
    return [[without[i] * without[j] + (e * both[i][j] if i != j else 0) for j in range(n)] for i in range(n)]


def test_gradient_and_hessian_of_scalar_nets():
    for w in ([2, Fraction(1, 3)], [0.5, -1.25, 3.0], [1, 2, 3, 0]):
        h = Fraction(1, 10**6)
        hessian = exact_hessian(w)
        for i in range(len(w)):
            moved = [[Fraction(x) + (s * h if k == i else 0) for k, x in enumerate(w)] for s in (1, -1)]
            losses = [residual(one) ** 2 / 2 for one in moved]
            # The loss is a quadratic in each weight, so that the central difference is exact.
            assert (losses[0] - losses[1]) / (2 * h) == diagnostics.gradient(w)[i]
            assert (losses[0] + losses[1] - residual(w) ** 2) / h**2 == hessian[i][i]
    at = [2.0, 0.25, -2.0, -1.0]
    values = np.linalg.eigvalsh(np.array(exact_hessian(at), float))
    assert values[-1] == pytest.approx(float(sharpness_at_minimum(at)), rel=1e-14)
    assert values[:-1] == pytest.approx(0, abs=1e-13)


@pytest.mark.parametrize("w", NETS, ids=str)
def test_the_root_is_bracketed(w):
    excess, u = flow_shift(w)
    assert excess == tuple(Fraction(x) ** 2 - min(Fraction(x) ** 2 for x in w) for x in w)
    below, above = (
        math.prod((a + Fraction(math.nextafter(u, end)) for a in excess), start=Fraction(1)) for end in (0, 2)
    )
    assert below < 1 < above
    limit = flow_limit(w)
    assert math.prod(limit) == pytest.approx(1, rel=1e-12)
    for one, two in ((0, 1), (1, -1)):
        conserved = Fraction(w[one]) ** 2 - Fraction(w[two]) ** 2
        assert limit[one] ** 2 - limit[two] ** 2 == pytest.approx(float(conserved), rel=1e-12, abs=1e-12)
    assert gfs_sharpness(w) == pytest.approx(math.fsum(x**-2 for x in limit), rel=1e-12)


def test_depth_two_closed_form_is_the_root():
    for w in ((3.0, 0.1), (-2.0, 0.5), (1e3, 7.0), (1e-9, 2e-9), (0.0, 4.0), (5.0, 5.0)):
        assert depth_two_sharpness(w) == pytest.approx(gfs_sharpness(w), rel=4e-16 * 2)
    assert depth_two_sharpness([2, 1]) == math.sqrt(13)


@pytest.mark.parametrize("w", [(1.5, 0.7, 0.3), (2.0, 0.4), (-0.3, 1.2, 0.8)])
def test_closed_forms_against_the_flow_itself(w):
    def gradient(at):
        without = [np.prod(np.delete(at, i)) for i in range(at.size)]
        return (np.prod(at) - 1) * np.array(without)

    found, end = flow_sharpness(gradient, np.array(w), step=0.02)
    assert end.converged and found.converged
    assert end.w == pytest.approx(flow_limit(w), rel=1e-7)
    assert found.value == pytest.approx(gfs_sharpness(w), rel=1e-6)
    assert not gradient_flow(gradient, np.array(w), step=0.02, steps=3).converged


def test_the_identity_of_depth_two():
    for w, rate in (((3, Fraction(1, 7)), Fraction(1, 5)), ((0.1, -2.5), 0.3), ((2, 2), 1), ((1e9, 1e-3), 1e-5)):
        assert invariant(diagnostics.step(w, rate)) == invariant_after(w, rate)


def test_sharpness_after_the_flow_falls_iff_the_step_is_short():
    for w in ((3, Fraction(1, 7)), (2, 1), (Fraction(5, 2), -1)):
        for rate in (Fraction(1, 100), Fraction(1, 2), Fraction(7, 5), Fraction(3, 2), 4):
            grows = abs(invariant(diagnostics.step(w, rate))) > abs(invariant(w))
            assert grows == ((Fraction(rate) * residual(w)) ** 2 > 2)
    # At rate e = sqrt(2), exactly: e = 1 and a rate beside it.
    near = Fraction(math.sqrt(2))
    assert near**2 > 2 and abs(invariant(diagnostics.step((2, 1), near))) > 3
    assert abs(invariant(diagnostics.step((2, 1), near - Fraction(1, 2**52)))) < 3


def test_deeper_nets_at_the_edge_of_stability():
    w = (Fraction(5, 2), Fraction(9, 10), Fraction(1, 5))
    path = [gfs_sharpness(w)]
    losses = [residual(w) ** 2]
    for _ in range(12):
        # Rounded so that the rationals stay short; 2**-60 is nothing beside the fall.
        w = tuple(Fraction(round(x * 2**60), 2**60) for x in diagnostics.step(w, Fraction(3, 10)))
        path.append(gfs_sharpness(w))
        losses.append(residual(w) ** 2)
    assert path[0] > 2 / 0.3  # beyond the edge of stability
    assert all(b < a * (1 + 1e-12) for a, b in pairwise(path))
    assert any(b > a for a, b in pairwise(losses))


def oracle_step(w, rate, quantizer, words=None):
    """The same operations by the oracle, one by one."""
    queue = iter(words if words is not None else [None] * roundings(len(w)))
    op = lambda name, a, b: arithmetic.apply(name, (a, b), quantizer, word=next(queue))  # noqa: E731
    whole = w[0]
    for other in w[1:]:
        whole = op("mul", whole, other)
    off = op("sub", whole, 1.0)
    result = []
    for i, one in enumerate(w):
        partial, *rest = w[:i] + w[i + 1 :]
        for other in rest:
            partial = op("mul", partial, other)
        result.append(op("sub", one, op("mul", rate, op("mul", off, partial))))
    return result


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_emulated_steps_against_the_oracle(depth):
    nets = RANDOM.standard_normal((6, depth)) * 2
    wanted = [oracle_step(list(map(float, net)), 0.25, BFLOAT) for net in nets]
    assert (emulated_step(nets, 0.25, BFLOAT) == wanted).all()
    assert roundings(depth) == (depth - 1) + 1 + depth * (depth - 2 + 3)
    q = Quantizer(catalog.E4M3, Rounding.SR, random_bits=6)
    words = RANDOM.integers(0, 64, (6, roundings(depth)))
    wanted = [oracle_step(list(map(float, net)), 0.25, q, map(int, row)) for net, row in zip(nets, words, strict=True)]
    assert (emulated_step(nets, 0.25, q, words=words) == wanted).all()
    again = emulated_step(nets, 0.25, q, seed=3, stream=5)
    # A net draws the same words alone and among others.
    assert (emulated_step(nets[2:], 0.25, q, seed=3, stream=5, offset=2 * roundings(depth)) == again[2:]).all()
    assert not (again == emulated_step(nets, 0.25, q, seed=4, stream=5)).all()


@pytest.mark.parametrize(
    "quantizer",
    [
        BFLOAT,
        Quantizer(catalog.E4M3),
        Quantizer(catalog.E5M2, Rounding.RTZ, Overflow.IEEE),
        Quantizer(catalog.BFLOAT16, Rounding.SR),
        Quantizer(catalog.E4M3, Rounding.SR, random_bits=8),
        Quantizer(FloatFormat(4, 3, subnormals=False)),
    ],
    ids=["bfloat16", "e4m3", "e5m2-rtz", "bfloat16-sr", "e4m3-sr8", "e4m3-flushed"],
)
def test_the_identity_in_emulated_arithmetic(quantizer):
    start = np.array([2.0, 0.3125])
    run = depth_two_run(start, 0.25, 24, quantizer, seed=11 if quantizer.stochastic else None)
    assert run.w.shape == (25, 2) and run.sharpness.shape == (25,)
    assert run.beyond == 0
    # Even where nothing is random, some steps do not keep the identity: rounding is seen in the diagnosis.
    assert run.inexact > 0
    assert run.sharpness[0] == depth_two_sharpness(start)


def test_float64_keeps_the_laws_to_rounding_and_low_precision_breaks_them():
    start = np.array([2.0, 0.3125])
    fine = depth_two_run(start, 0.25, 24, Quantizer(catalog.BINARY64))
    coarse = depth_two_run(start, 0.25, 24, Quantizer(catalog.E4M3, Rounding.SR), seed=2)
    assert fine.beyond == coarse.beyond == 0
    exact = depth_two_sharpness(start)
    assert (np.diff(fine.sharpness) < 1e-14).all() and fine.sharpness[0] == exact
    # The noise floor: the sharpness at the end of the flow goes up and down for ever.
    noisy = [depth_two_run(start, 0.25, 24, Quantizer(catalog.E4M3, Rounding.SR), seed=s).increases for s in range(4)]
    assert sum(noisy) > 0


@pytest.mark.parametrize("rate", [0.5, 16.0])
def test_the_bound_is_within_reach(rate):
    """The largest error found is over a quarter of the bound. At a rate of 16 the first rounding counts."""
    worst = Fraction(0)
    grid = [1 + k / 8 for k in range(8)] + [k / 16 for k in range(8, 16)]
    q = Quantizer(catalog.E4M3)
    nets = np.array([(a, b) for a in grid for b in grid])
    for w, following in zip(nets, emulated_step(nets, rate, q), strict=True):
        off = abs(invariant(following) - invariant_after(w, rate))
        bound = invariant_bound(w, rate, q)
        assert off <= bound
        worst = max(worst, off / bound)
    assert worst > Fraction(1, 4)
