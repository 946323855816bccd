"""Chunks whose sums have more bits than float64: against integers of Python, step by step."""

import numpy as np
import pytest

from numerics import Accumulator, FixedFormat, Overflow, matmul, plan
from tests.sampling import but_at_night

RULES = [Overflow.SATURATE, Overflow.WRAP]


def limited(x, fmt, rule):
    low, high = fmt.lowest_integer, fmt.largest_code
    if rule is Overflow.WRAP:
        return (x - low) % (1 << fmt.bits) + low
    return min(max(x, low), high)


def by_hand(a, b, acc, c=None):
    """(codes, overflows) of a product of whole numbers: chunks from zero, then their sums one after the other."""
    inner, outer = acc.format, acc.combining
    codes, overflows = np.zeros((len(a), len(b[0])), object), np.zeros((len(a), len(b[0])), int)
    for i in range(len(a)):
        for j in range(len(b[0])):
            total = 0 if c is None else int(c[i][j])
            for k0 in range(0, len(b), acc.chunk):
                part = 0
                for k in range(k0, min(k0 + acc.chunk, len(b))):
                    exact = part + int(a[i][k]) * int(b[k][j])
                    part = limited(exact, inner, acc.overflow)
                    overflows[i, j] += part != exact
                exact = total + part
                total = limited(exact, outer.format, outer.overflow)
                overflows[i, j] += total != exact
            codes[i, j] = total % (1 << outer.format.bits)
    return codes, overflows


def operands(bits, signed=True):
    rng = np.random.default_rng(bits)
    half = bits // 2
    a = rng.integers(-(2 ** min(half, 50)) if signed else 0, 2 ** min(half, 50), (3, 9)).astype(float)
    b = rng.integers(-(2**half) if signed else 0, 2**half, (9, 4)).astype(float)
    a[0], b[:, 0] = 2.0 ** (half - 1), 2.0**half  # which overflow
    return a, b


@pytest.mark.sampled
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("bits", but_at_night([54, 62, 63, 64], [62, 63]))
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("order", ["sequential", "pairwise"])
def test_wide_chunks(order, signed, bits, rule):
    a, b = operands(bits, signed)
    fmt = FixedFormat(bits, signed=signed)
    if order == "pairwise":
        a, b = a % 2**20, b % 2**20  # no order matters where nothing overflows inside a chunk
    acc = Accumulator(fmt, overflow=rule, chunk=2, order=order, outer=Accumulator(fmt, overflow=rule))
    wanted, overflows = by_hand(a, b, acc)
    codes = matmul(a, b, acc, encode=True)
    assert codes.astype(object).tolist() == wanted.tolist()
    found, events = matmul(a, b, acc, encode=True, events=True)
    assert found.tobytes() == codes.tobytes()
    assert events.overflow.tolist() == overflows.tolist() == events.inexact.tolist()
    if order == "sequential":
        assert overflows.any()
    assert "as integers" in plan(a, b, acc).reason or "chunk by chunk" in plan(a, b, acc).reason


def test_a_start_value_and_another_width():
    a, b = operands(60)
    c = np.array([[2.0**62, -(2.0**61), 0.0, 5.0]] * 3)
    acc = Accumulator(FixedFormat(60), chunk=4, outer=Accumulator(FixedFormat(64)))
    assert matmul(a, b, acc, c=c, encode=True).astype(object).tolist() == by_hand(a, b, acc, c)[0].tolist()


def test_swamped_sums_of_chunks():
    fmt = FixedFormat(60)
    acc = Accumulator(fmt, chunk=1)
    a, b = np.array([[2.0**30, 2.0**30, 1.0, 0.0]]), np.array([[2.0**29], [2.0**29], [3.0], [1.0]])
    # Two products of 2**59 saturate, and their sum; then 3 changes nothing, and 0 is no addend.
    _, events = matmul(a, b, acc, events=True, encode=True)
    assert events.swamped.tolist() == [[2]] and events.overflow.tolist() == [[4]]


def test_the_first_overflow_is_named():
    acc = Accumulator(FixedFormat(60), chunk=2, outer=Accumulator(FixedFormat(60), overflow=Overflow.ERROR))
    a, b = np.zeros((2, 8)), np.zeros((8, 3))
    a[1], b[:, 2] = 2.0**28, 2.0**28
    b[:, 1] = 1.0
    with pytest.raises(
        OverflowError, match=r"the sum at chunk 3 of output \(1, 2\) is outside of -576460752303423488 to"
    ):
        matmul(a, b, acc, encode=True)


def test_refusals():
    x = np.ones((1, 4))
    for outer in (FixedFormat(60, 3), FixedFormat(60)):
        order = "sequential" if outer.fraction_bits else "pairwise"
        acc = Accumulator(FixedFormat(60), chunk=2, outer=Accumulator(outer, order=order))
        with pytest.raises(
            ValueError, match=rf"sums of chunks in s60.0 added in {order} order in .*: float64 does not hold"
        ):
            matmul(x, x.T, acc, encode=True)
        with pytest.raises(ValueError, match=r"sums of chunks in s60\.0"):
            plan(x, x.T, acc)
    with pytest.raises(ValueError, match=r"c\[0, 0\] is 0.5, no multiple of 2\*\*0: quantize c to s60.0"):
        matmul(x, x.T, Accumulator(FixedFormat(60), chunk=2), c=np.array([[0.5]]), encode=True)


@pytest.mark.parametrize(("point", "c"), [(-900, 2.0**-200), (-800, 5e-324)])
def test_a_start_value_far_below_the_grid_is_refused(point, c):
    fmt = FixedFormat(60, point)
    with pytest.raises(ValueError, match=r"^c\[0, 0\] is .*, no multiple of 2\*\*[89]00: quantize c"):
        matmul(np.full((1, 3), 2.0**-point), np.ones((3, 1)), Accumulator(fmt, chunk=2), c=np.array([[c]]), encode=True)


def test_a_start_value_of_more_steps_than_float64_holds_saturates():
    fmt = FixedFormat(60, 900)
    acc = Accumulator(fmt, chunk=2)
    codes = matmul(np.full((1, 3), 2.0**-900), np.ones((3, 1)), acc, c=np.array([[1e300]]), encode=True)
    assert codes.tolist() == [[2**59 - 1]]


@pytest.mark.parametrize("bits", [40, 60])
def test_what_is_negative_is_refused_by_an_unsigned_sum_of_any_width(bits):
    inner = FixedFormat(60 if bits == 60 else 30)
    acc = Accumulator(inner, chunk=1, outer=Accumulator(FixedFormat(bits, signed=False)))
    x, ones = np.array([[3.0, -2.0, 1.0]]), np.ones((3, 2))
    c = np.array([[4.0, -5.0]])
    with pytest.raises(
        ValueError, match=rf"c\[0, 1\] is -5.0: u{bits}.0 is unsigned and takes nonnegative operands only"
    ):
        matmul(abs(x), ones, acc, c=c, encode=True)
    with pytest.raises(ValueError, match=rf"the sum of chunk 1 of output \(0, 0\) is .*: u{bits}.0 is unsigned"):
        matmul(x, ones, acc, encode=True)
    assert matmul(abs(x), ones, acc, c=abs(c), encode=True).tolist() == [[10, 11]]
