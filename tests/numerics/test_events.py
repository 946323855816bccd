"""Events of accumulators: the counts of every way to count are the oracle's, and each way is taken where it should be."""

import numpy as np
import pytest

from numerics import Accumulator, FloatFormat, Overflow, Quantizer, Rounding, Subnormals, catalog, matmul, plan
from numerics.events import Events
from numerics.kernels import finite_tallies
from numerics.operands import stack
from numerics.problem import Problem, facts
from numerics.reference import matmul as oracle
from numerics.tallies import _counting, _known
from tests.sampling import but_at_night

R = Rounding
HALF, FLUSHED = catalog.BINARY16, FloatFormat(5, 6, subnormals=Subnormals.FLUSH)
FITTING, TAME, ANY = finite_tallies.FITTING, finite_tallies.TAME, finite_tallies.ANY
DEPTH = 70  # more roundings than a packed count holds

# An accumulator, the formats of a and b, what they are scaled by, what is known of the sums, and whether float32's own
# sum tells all.
CASES = {
    "fp8, no overflow": (Accumulator(HALF), catalog.E4M3, 0.5, FITTING, True),
    "fp8, overflows": (Accumulator(HALF), catalog.E4M3, 8, TAME, True),
    "fp8, products overflow": (Accumulator(HALF), catalog.E5M2, 512, ANY, False),
    "binary16, no overflow": (Accumulator(HALF), HALF, 0.5, FITTING, False),
    "binary16, overflows": (Accumulator(HALF), HALF, 8, TAME, False),
    "binary16, toward zero": (Accumulator(HALF, R.RTZ), HALF, 8, TAME, False),
    "binary16, up": (Accumulator(HALF, R.RTP), HALF, 8, TAME, False),
    "binary16, stochastic": (Accumulator(HALF, R.SR, random_bits=8), HALF, 8, TAME, False),
    "bfloat16": (Accumulator(catalog.BFLOAT16), catalog.E4M3, 1, FITTING, False),
    "flushed": (Accumulator(FLUSHED), catalog.E4M3, 0.5, FITTING, False),
    "flushed, toward zero": (Accumulator(FLUSHED, R.RTZ), HALF, 8, TAME, False),
    "float64": (Accumulator(FloatFormat(8, 30)), HALF, 1, FITTING, False),
    "chunks": (Accumulator(HALF, chunk=8, outer=Accumulator(catalog.BFLOAT16)), HALF, 8, TAME, False),
    "products rounded": (Accumulator(HALF, product=Quantizer(catalog.E5M2)), catalog.E4M3, 8, TAME, True),
}
ORDINARY = {"fp8, no overflow", "fp8, overflows", "binary16, overflows"}  # each is compiled for itself


def operands(fmt, scale):
    """Products of all sizes: zeros, sums taken back, addends far below the sum and sums far below the addend."""
    rng = np.random.default_rng(3)
    sizes = np.exp2(rng.integers(-7, 3, (2, DEPTH)))
    a, b = rng.standard_normal((3, DEPTH)) * sizes[0], rng.standard_normal((DEPTH, 21)) * sizes[1][:, None]
    a[rng.random(a.shape) < 0.1], b[rng.random(b.shape) < 0.1] = 0.0, 0.0
    a[:, 20:40:2], b[20:40:2] = -a[:, 21:41:2], b[21:41:2]
    a[0, 40:], b[40:, 0], a[2, 5], b[5, 2] = 12, 12, 2.0**-20, 2.0**-20
    a[2, 50:58], b[50:58, 2], a[2, 58:61], b[58:61, 2] = 12, 12, 2.0**-8, 2.0**-8  # beyond float32's own last place
    return tuple(Quantizer(fmt).quantize(x * scale) for x in (a, b))


def as_problem(a, b, c=None):
    """The problem as matmul sees it."""
    known = facts(a, "a"), facts(b, "b"), None if c is None else facts(c, "c")
    return Problem(stack(a, ()), stack(b, ()), None if c is None else stack(c, ()), known, None)


def check(acc, a, b):
    """The events of a product, after they and the result were found equal to the oracle's."""
    words = None
    if acc.stochastic:
        shape = (*a.shape[:-1], b.shape[-1], acc.roundings(a.shape[-1]))
        words = np.random.default_rng(1).integers(0, 1 << acc.random_bits, shape)
    found, events = matmul(a, b, acc, words=words, events=True)
    wanted, counts = oracle(a, b, acc, words=words, events=True)
    assert found.tobytes() == wanted.tobytes()
    for name, count in counts.items():
        assert np.array_equal(getattr(events, name), count), name
    assert isinstance(events, Events)
    return events


@pytest.mark.parametrize("name", but_at_night(CASES, set(CASES) - ORDINARY))
def test_counts_are_the_oracles(name):
    acc, fmt, scale, known, at_once = CASES[name]
    a, b = (x.astype(np.float64 if name == "float64" else np.float32) for x in operands(fmt, scale))
    problem = as_problem(a, b)
    assert _known(problem, acc) == known
    counting = _counting(problem, plan(a, b, acc), known)
    assert (counting.mode in finite_tallies.AT_ONCE) == at_once
    events = check(acc, a, b)
    assert events.inexact.any() and events.swamped.any() and events.absorbed.any()
    assert events.overflow.any() == (known != FITTING)


@pytest.mark.parametrize("scale", [1.0, 2.0**-60, 2.0**-66])  # beside 2**-126 the carrier is float64
def test_sums_of_float32_itself(scale):
    rng, native = np.random.default_rng(6), Accumulator(catalog.BINARY32, R.RNE, Overflow.IEEE)
    chunks = Accumulator(catalog.BFLOAT16, chunk=8, outer=native)
    for columns in (5, 35, 64):
        sizes = scale * np.exp2(rng.integers(-20, 7, (40, columns)))
        a = Quantizer(catalog.BFLOAT16).quantize((scale * rng.standard_normal((2, 40))).astype(np.float32))
        b = Quantizer(catalog.BFLOAT16).quantize((sizes * rng.standard_normal((40, columns))).astype(np.float32))
        a[0, ::2], b[::2, ::3] = -a[0, 1::2], b[1::2, ::3]
        for acc in (native, chunks):
            events = check(acc, a, b)
            assert events.inexact.any()
            assert columns == 5 or (events.swamped.any() and events.absorbed.any())


def test_an_addend_beyond_the_largest_value_is_known():
    x, far = np.full((1, 4), 8.0), np.full((1, 1), 2.0**17)
    small, wide = Accumulator(catalog.E4M3), Accumulator(HALF)
    assert _known(as_problem(x, x.T, far / 4), wide) == _known(as_problem(16 * x, 4 * x.T), wide) == TAME
    assert _known(as_problem(x, x.T, far), wide) == ANY
    assert _known(as_problem(256 * x, 64 * x.T), wide) == ANY
    into = Accumulator(catalog.E4M3, chunk=4, outer=wide)
    assert _known(as_problem(x / 2, x.T / 2), into) == FITTING
    assert _known(as_problem(0.75 * x, 0.75 * x.T), into) == TAME
    assert _known(as_problem(x / 2, x.T / 2, far), into) == ANY
    assert _known(as_problem(x, x.T), Accumulator(HALF, chunk=2, outer=small)) == ANY


@pytest.mark.parametrize("mode", [R.RNE, R.RTP, R.RNA])
@pytest.mark.parametrize("fmt", [catalog.E4M3, catalog.E5M2, FloatFormat(4, 1)], ids=str)
def test_sums_that_are_said_to_fit_never_overflow(fmt, mode):
    """All products alike and rounded up as often as can be, which is the worst, as far as sums are known to fit."""
    depths = range(1, 60)
    fitting = []
    for value in (0.4375, 1.0, 1.75, 2.0, 3.5):
        for depth in depths:
            x, c = np.full((1, depth), value), np.full((1, 1), fmt.smallest_normal * 1.5)
            acc = Accumulator(fmt, mode, Overflow.IEEE)
            problem = as_problem(x, x.T, c)
            if _known(problem, acc) == FITTING:
                fitting.append((value, depth))
                _, counts = oracle(x, x.T, acc, c=c, events=True)
                assert not counts["overflow"].any()
    assert 10 < len(fitting) < 5 * len(depths)


def test_sums_fit_by_what_the_operands_are():
    """One large value in each row, which no two products have both: the largest ones alone would not fit."""
    x = np.full((3, 60), 0.5)
    x[:, 0], y = 200.0, np.full((60, 4), 0.5)
    y[1] = 200.0
    assert _known(as_problem(x, y), Accumulator(HALF)) == FITTING
    assert not check(Accumulator(HALF), x.astype(np.float32), y.astype(np.float32)).overflow.any()
    x[:, 1], y[0] = 200.0, 200.0
    assert _known(as_problem(x, y), Accumulator(HALF)) != FITTING
    assert check(Accumulator(HALF), x.astype(np.float32), y.astype(np.float32)).overflow.all()


def test_the_sum_that_ends_the_exact_range_absorbs():
    """BLAS adds eight ones exactly in three bits: 7 + 1 is a power of two, whose ulp is 2."""
    acc, ones = Accumulator(FloatFormat(4, 2)), np.ones((1, 8), np.float32)
    assert plan(ones, ones.T, acc).kernel == "sgemm"
    for depth, absorbed in ((8, 1), (7, 0)):
        assert check(acc, ones[:, :depth], ones.T[:depth]).absorbed.tolist() == [[absorbed]]


def test_more_sums_and_steps_than_are_counted_at_once():
    """Columns apart, in tiles of another width, have the same counts; two of them the oracle's."""
    rng = np.random.default_rng(8)
    q = Quantizer(catalog.E4M3)
    a, b = (
        q.quantize(rng.standard_normal((2, 600)).astype("f4")),
        q.quantize(rng.standard_normal((600, 533)).astype("f4")),
    )
    acc = Accumulator(HALF)
    found = matmul(a, b, acc, events=True)[1]
    for j in (slice(0, 16), slice(500, 533), slice(3, 300)):
        apart = matmul(a, np.ascontiguousarray(b[:, j]), acc, events=True)[1]
        for name in Events.__dataclass_fields__:
            assert (getattr(apart, name) == getattr(found, name)[:, j]).all(), (name, j)
    columns = [7, 530]  # counted in masks, and one by one
    wanted = oracle(a[:1], b[:, columns], acc, events=True)[1]
    for name in Events.__dataclass_fields__:
        assert (getattr(found, name)[:1, columns] == wanted[name]).all(), name
    assert (found.inexact > 255).any() and found.swamped.any() and found.absorbed.any()


def test_products_leave_masks_and_what_fills_none_is_counted_too():
    """Products that overflow, that underflow and that fit, in numbers of their own; more steps than are added up at once."""
    rng = np.random.default_rng(12)
    acc = Accumulator(HALF, product=Quantizer(catalog.E5M2, R.RTZ))  # steps in lanes know this mode in every form
    a = np.exp2(rng.integers(-12, 10, (2, 12))).astype(np.float32)
    b = (1.75 * np.exp2(rng.integers(-12, 10, (12, 35)))).astype(np.float32)
    a[0, ::2], b[:, 3] = 1.5, 1.75 * 2.0**-15
    events = check(acc, a, b)
    met = events.product_overflow, events.product_underflow, events.product_inexact
    assert all(count.any() and (count != other).any() for count in met for other in met if other is not count)
