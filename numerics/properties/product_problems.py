"""Products where accumulators go wrong: long chains, ties, cancellation, overflow, underflow, stagnation, signed zeros."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..formats import FixedFormat, FloatFormat
from ..matrix_unit import MatrixUnit
from ..quantizer import Quantizer
from ..rounding import Overflow, Rounding
from ..words import random_words
from .accumulators import AccumulatorUnderTest, Extra
from .points import members
from .product_limits import SHORT, limit_of, steps_to_limit

DEPTHS = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100)
ROWS, COLUMNS = 2, 3


class Problem(NamedTuple):
    """Operands a [M, K], b [K, N], an addend [M, N] or None, and what they are there for."""

    name: str
    a: NDArray[Any]
    b: NDArray[Any]
    c: NDArray[Any] | None


def problems(subject: AccumulatorUnderTest, *, seed: int = 0, deep: bool = True) -> Iterator[Problem]:
    """The telling problems, all of members of the operands' formats; deep: with long chains too."""
    first, second = subject.operands
    for k in (0, *DEPTHS) if deep else (0, *DEPTHS[:8]):
        yield drawn(subject, f"{k} products of one size", k, seed, 0)
        if k > 1:
            yield drawn(subject, f"{k} products of many sizes", k, seed + 1, 6)
    one_a, one_b = _near(subject, 0, 1.0), _near(subject, 1, 1.0)
    big_a, big_b = _top(first), _top(second)
    low_a, low_b = _bottom(first), _bottom(second)
    for name, row, column in (
        (
            "a large product between small ones",
            [one_a, big_a, one_a, -big_a, one_a],
            [one_b, one_b, one_b, one_b, one_b],
        ),
        ("cancellation", [big_a, one_a, -big_a], [big_b, one_b, big_b]),
        ("a small product first", [low_a, one_a, big_a], [low_b, one_b, big_b]),
        ("a small product last", [big_a, one_a, low_a], [big_b, one_b, low_b]),
        ("the largest products, one sign", [big_a] * 5, [big_b] * 5),
        ("overflow and back", [big_a] * 3 + [-big_a] * 3, [big_b] * 6),
        ("the smallest products", [low_a] * 5, [low_b] * 5),
        ("half a step each", [one_a] + [low_a] * 8, [one_b] + [one_b] * 8),
        ("zeros", [0.0, -0.0, 0.0] if _signed(first) else [0.0] * 3, [one_b] * 3),
        ("minus zero alone", [-0.0 if _signed(first) else 0.0], [one_b]),
    ):
        yield _laid(subject, name, row, column)
    yield from _past_limits(subject, deep)
    yield from _beside_ties(subject)
    if isinstance(subject.claim, MatrixUnit) and not subject.scaled:
        yield from _not_finite(subject)
    if deep:
        yield _laid(subject, "stagnation", [one_a] * 300, [one_b] * 300)
        yield drawn(subject, "260 products of one size", 260, seed, 0)
        yield many_outputs(subject)
        yield _ties(subject)


def extras(subject: AccumulatorUnderTest, problem: Problem, *, seed: int = 5) -> Iterator[Extra]:
    """What a problem is tried with besides: words drawn, all zero and all ones; scales, one or of many sizes; or nothing."""
    rows, k, columns = problem.a.shape[-2], problem.a.shape[-1], problem.b.shape[-1]
    if subject.scaled:
        yield from _scales(subject, rows, k, columns)
        return
    s = subject.roundings(k)
    if not s:
        yield ()
        return
    bits, shape = word_bits(subject), (rows, columns, s)
    yield (random_words(math.prod(shape), bits, seed=seed).reshape(shape),)
    yield (np.zeros(shape, np.uint32),)
    yield (np.full(shape, (1 << bits) - 1, np.uint32),)


def _scales(subject: AccumulatorUnderTest, rows: int, k: int, columns: int) -> Iterator[Extra]:
    unit: Any = subject.claim
    blocks = -(-k // unit.scale_block)
    for spread in (0, 5):
        drawn = random_words((rows + columns) * blocks, 32, seed=blocks, stream=spread).astype(np.int64)
        exponents = np.clip(drawn % (2 * spread + 1) - spread, unit.scale.emin, unit.scale.emax)
        values = (2.0**exponents).astype(subject.dtype)
        yield values[: rows * blocks].reshape(rows, blocks), values[rows * blocks :].reshape(blocks, columns)


def one_output(subject: AccumulatorUnderTest, extra: Extra, i: int, j: int) -> Extra:
    """The words, or the scales, of one output."""
    if subject.scaled:
        return extra[0][i : i + 1], extra[1][:, j : j + 1]
    return tuple(words[i : i + 1, j : j + 1] for words in extra)


def word_bits(subject: AccumulatorUnderTest) -> int:
    """The fewest random bits of its parts: words that all of them take."""
    claim: Any = subject.claim
    parts = [part for part in (claim, claim.product, claim.outer) if part is not None and part.rounding.stochastic]
    return min(int(part.random_bits or 32) for part in parts)


def _signed(fmt: FloatFormat | FixedFormat) -> bool:
    return fmt.has_negative_zero


def nearest_members(fmt: FloatFormat | FixedFormat, x: Any, dtype: Any) -> NDArray[Any]:
    """The members of a format nearest to x [...], in its shape; the largest for what is beyond."""
    given = np.asarray(x, np.float64)
    given = given if fmt.signed else np.abs(given)
    rounded = Quantizer(fmt, Rounding.RNE, Overflow.SATURATE).quantize(given)
    return np.asarray(rounded).astype(dtype)


def _near(subject: AccumulatorUnderTest, side: int, x: float) -> float:
    fmt = subject.operands[side]
    return float(nearest_members(fmt, [min(x, fmt.max)], np.float64)[0]) or _bottom(fmt)


def _top(fmt: FloatFormat | FixedFormat) -> float:
    return float(min(fmt.max, 2.0**60))


def _bottom(fmt: FloatFormat | FixedFormat) -> float:
    return fmt.quantum if isinstance(fmt, FixedFormat) else float(max(fmt.smallest_subnormal, 2.0**-70))


def _scale(subject: AccumulatorUnderTest, side: int) -> float:
    fmt = subject.operands[side]
    return max(1.0, fmt.max / 4) * fmt.quantum**0 if isinstance(fmt, FixedFormat) else 1.0


def _addend(subject: AccumulatorUnderTest, x: Any) -> NDArray[Any] | None:
    return nearest_members(subject.output, x, subject.dtype) if subject.takes_c else None


def drawn(subject: AccumulatorUnderTest, name: str, k: int, seed: int, spread: int) -> Problem:
    """Operands drawn from a fixed stream, of one size or of many, a sixteenth of them zeros."""
    sides: list[NDArray[Any]] = []
    for side, shape in ((0, (ROWS, k)), (1, (k, COLUMNS))):
        fmt = subject.operands[side]
        size = int(np.prod(shape))
        some = random_words(3 * size, 32, seed=seed, stream=side * 256 + k).astype(np.int64).reshape(3, size)
        uniform = some[0] / 2.0**31 - 1
        sized = uniform * 2.0 ** (some[1] % (2 * spread + 1) - spread) if spread else uniform
        peak = _peak(subject, side, k, spread) if isinstance(fmt, FixedFormat) else 1.0
        sides.append(nearest_members(fmt, np.where(some[2] % 16 == 0, 0.0, sized * peak), subject.dtype).reshape(shape))
    c = (random_words(ROWS * COLUMNS, 32, seed=seed, stream=999) / 2.0**31 - 1).reshape(ROWS, COLUMNS)
    return Problem(name, sides[0], sides[1], _addend(subject, c if k % 2 == 0 else 0 * c))


def _peak(subject: AccumulatorUnderTest, side: int, k: int, spread: int) -> float:
    """The largest draw of a fixed-point operand: the first few problems are of small ones, easy to read."""
    fmt, parts = subject.operands[side], subject.operands
    assert isinstance(fmt, FixedFormat)
    exact = all(
        isinstance(own, FixedFormat) and own.fraction_bits >= sum(getattr(o, "fraction_bits", 0) for o in parts)
        for own in (subject.output, getattr(subject.claim, "product_format", None) or subject.output)
    )
    return min(fmt.max / 2, 8 * fmt.quantum) if exact and k <= 4 and not spread else fmt.max / 2


def nearest_member(fmt: FloatFormat | FixedFormat, x: float) -> float:
    """The member of a format nearest to x, which is within its range."""
    return float(nearest_members(fmt, [x], np.float64)[0])


def _past_limits(subject: AccumulatorUnderTest, deep: bool) -> Iterator[Problem]:
    """Sums beyond the limits at their end, and in their middle alone, from which they come back.

    Of what wraps around, what saturates at each step and what saturates once at the end, no two agree on all of them.
    """
    found = steps_to_limit(subject, nearest_member)
    if found is not None and (deep or found.number <= SHORT):
        a, b, count = found
        yield _both_ways(subject, "sums past the limit", [a] * count, [b] * count)
        down = -1 if subject.operands[0].signed else 1, 1 if subject.operands[0].signed else -1
        if any(fmt.signed for fmt in subject.operands):
            up = 1 << (count - 1).bit_length()  # in a tree, one branch of its own
            row, column = [a] * up + [down[0] * a] * (up // 2), [b] * up + [down[1] * b] * (up // 2)
            yield _both_ways(subject, "past the limit and back", row, column)
    if subject.takes_c:
        yield _from_limit(subject)


def _both_ways(subject: AccumulatorUnderTest, name: str, row: list[float], column: list[float]) -> Problem:
    """A chain of products, and the same with its sign turned where an operand has signs."""
    first, second = (np.array(x, subject.dtype) for x in (row, column))
    own = [x.signed for x in subject.operands]
    rows = np.stack([first, -first] if own[0] else [first])
    columns = np.stack([second, -second] if own[1] and not own[0] else [second], axis=1)
    return Problem(name, rows, columns, _addend(subject, np.zeros((len(rows), columns.shape[1]))))


def _from_limit(subject: AccumulatorUnderTest) -> Problem:
    """An addend at either limit, with products that go beyond it and come back, or stay beyond it."""
    limit = limit_of(subject)
    with np.errstate(over="ignore"):
        top = np.array(limit, np.float64).astype(subject.dtype)
    if top > limit:  # not a value of the dtype: the one below it
        top = np.nextafter(top, subject.dtype.type(0))
    tops = [_top(fmt) for fmt in subject.operands]
    sides = [
        nearest_members(fmt, [x, x, last * x], subject.dtype)
        for fmt, x, last in zip(subject.operands, tops, (-1, 1), strict=True)
    ]
    turned = -sides[0] if subject.operands[0].signed else sides[0]
    c = _addend(subject, np.array([[float(top)], [-float(top)]]))
    return Problem("an addend at the limit", np.stack([sides[0], turned]), sides[1][:, None], c)


def _not_finite(subject: AccumulatorUnderTest) -> Iterator[Problem]:
    """Infinities and NaNs, which matrix units take; an Accumulator refuses them."""
    first = subject.operands[0]
    one_a, one_b = _near(subject, 0, 1.0), _near(subject, 1, 1.0)
    rows = []
    if getattr(first, "infinities", False):
        rows += [[one_a, math.inf, one_a], [math.inf, one_a, -math.inf], [0.0, -math.inf, one_a]]
    if first.has_nan:
        rows.append([one_a, math.nan, one_a])
    if rows:
        columns = np.array([[one_b] * 3, [one_b, 0.0, one_b], [-one_b, one_b, one_b]]).T
        c = _addend(subject, np.zeros((len(rows), 3)))
        yield Problem("operands that are not finite", np.array(rows, subject.dtype), columns.astype(subject.dtype), c)


def many_outputs(subject: AccumulatorUnderTest) -> Problem:
    """More rows and columns than a tile has."""
    a = np.concatenate([drawn(subject, "", 3, seed, 2).a for seed in range(18)])
    b = np.concatenate([drawn(subject, "", 3, seed, 2).b for seed in range(12)], axis=1)
    return Problem("many outputs", a, b, _addend(subject, np.zeros((len(a), b.shape[1]))))


def _laid(subject: AccumulatorUnderTest, name: str, row: list[float], column: list[float]) -> Problem:
    """One chain of products, and the same with its sign turned and from the other end."""
    first, second = (
        nearest_members(fmt, x, subject.dtype) for fmt, x in zip(subject.operands, (row, column), strict=True)
    )
    turned = -first if getattr(subject.operands[0], "signed", True) else first
    return Problem(
        name, np.stack([first, turned]), np.stack([second, second[::-1]], axis=1), _addend(subject, np.zeros((2, 2)))
    )


def lone_products(subject: AccumulatorUnderTest) -> Problem:
    """Every product of telling operands, one for each output."""
    sides = []
    for fmt in subject.operands:
        own = members(fmt, np.float64, 64)
        some = own[np.unique(np.linspace(0, len(own) - 1, 12).astype(int))]
        some = np.minimum(some, 2.0**60)
        sides.append((np.concatenate([some, -some[1:8:3]]) if fmt.signed else some).astype(subject.dtype))
    shape = len(sides[0]), len(sides[1])
    return Problem("one product", sides[0][:, None], sides[1][None, :], _addend(subject, np.zeros(shape)))


def _beside_ties(subject: AccumulatorUnderTest) -> Iterator[Problem]:
    """A sum that is just not half-way: (1 + u)(1 - u) and (1 + u)**2 times half a step of 1, added to 1 and to 1 + step.

    What rounds it to an intermediate format first, float32 or float64 among them, sees a tie.
    """
    p = subject.output.precision
    first, second = subject.operands
    for fmt in subject.operands:
        if isinstance(fmt, FixedFormat) or min(fmt.mantissa_bits, 60 + fmt.emin - p) < 1:
            return
    u = 2.0 ** -min(fmt.mantissa_bits for fmt in (first, second) if isinstance(fmt, FloatFormat))
    half, rest = 2.0 ** -(p // 2), 2.0 ** -(p - p // 2)
    for name, other in (("just under a tie", 1 - u / 2), ("just over a tie", 1 + u)):
        yield _laid(subject, name, [1.0, half, (1 + u) * half], [1.0, 2 * rest, other * rest])
        yield _laid(subject, name, [1.0, (1 + u) * half], [1.0, other * rest])


def _ties(subject: AccumulatorUnderTest) -> Problem:
    """Sums half-way between two values of the output: 2**p and ones, p its precision."""
    p = min(subject.output.precision, 40)
    sides = []
    for fmt in subject.operands:
        power = min(2.0 ** (p // 2 + 1), 2.0 ** np.floor(np.log2(_top(fmt))))
        sides.append([power, 1.0, power, -1.0, power, 3.0, power / 2, 1.0])
    return _laid(subject, "ties", *sides)
