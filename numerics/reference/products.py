"""Accumulation, step by step, by the definition."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..formats import FixedFormat
from ..formats.naming import made_from, named
from ..rounding import Rounding
from . import fixed, floats
from .events import Tally
from .numbers import Exact, Number, as_float, number
from .values import floating

if TYPE_CHECKING:
    from ..accumulator import Accumulator
    from ..quantizer import Quantizer


class Steps:
    """The roundings of one output, in order of execution: their words and what happened in them."""

    def __init__(self, words: Sequence[int] | None = None, tally: Tally | None = None) -> None:
        self._words: Iterator[int] | None = None if words is None else iter(words)
        self.tally = tally

    def word(self) -> int | None:
        """The word of the next rounding, drawn whether or not its mode needs it."""
        return None if self._words is None else int(next(self._words))


def rounded(
    x: Exact, part: Accumulator | Quantizer, fmt: Any, steps: Steps, word: int | None, label: str = ""
) -> Number:
    """One rounding of an exact number to a part's format; label: the prefix of its events."""
    r = part.random_bits
    result: Number
    if isinstance(fmt, FixedFormat):
        found = fixed.round_exact(x.value, fmt, part.rounding, part.overflow, word=word, random_bits=r)
        result = Exact(found, False)
    else:
        result = number(
            floats.round_exact(
                x.value, fmt, part.rounding, part.overflow, negative=x.negative, word=word, random_bits=r
            )
        )
    if steps.tally is not None:
        steps.tally.rounding(x.value, result, _overflows(x, part, fmt, word), fmt, label)
    return result


def _overflows(x: Exact, part: Accumulator | Quantizer, fmt: Any, word: int | None) -> bool:
    """Whether a number is rounded to what lies beyond the largest value."""
    r = part.random_bits
    if isinstance(fmt, FixedFormat):
        whole = fixed.round_unbounded(x.value, fmt, part.rounding, word=word, random_bits=r)
        return not fmt.lowest_integer <= whole <= fmt.largest_code
    sign = x.value < 0 if x.value else x.negative
    magnitude = floats.round_unbounded(x.value, fmt, part.rounding, negative=sign, word=word, random_bits=r)
    return magnitude > Fraction(fmt.max)


def add_numbers(x: Number, y: Number, accumulator: Accumulator, steps: Steps) -> Number:
    """One step: x + y exactly, rounded once; an exact zero has IEEE 754's sign."""
    word = steps.word()
    if not (isinstance(x, Exact) and isinstance(y, Exact)):
        return _passed_on(sum(z for z in (x, y) if not isinstance(z, Exact)), accumulator)
    down = accumulator.rounding is Rounding.RTN
    negative = (x.negative or y.negative) if down else (x.negative and y.negative)
    total = Exact(x.value + y.value, negative)
    result = rounded(total, accumulator, accumulator.format, steps, word)
    if steps.tally is not None:
        steps.tally.sum(x.value, y.value, result, accumulator.format)
    return result


def _passed_on(total: float, accumulator: Accumulator) -> Number:
    if math.isnan(total) or isinstance(accumulator.format, FixedFormat):
        return math.nan
    return number(floats.round_infinite(total, accumulator.format, accumulator.overflow))


def multiply(a: float, b: float, accumulator: Accumulator, steps: Steps) -> Number:
    """a * b exactly, or rounded by the product quantizer."""
    exact = Exact(Fraction(a) * Fraction(b), (math.copysign(1.0, a) < 0) != (math.copysign(1.0, b) < 0))
    quantizer = accumulator.product
    if quantizer is None:
        return exact
    return rounded(exact, quantizer, quantizer.fmt, steps, steps.word(), "product_")


def add(x: float, y: float, accumulator: Accumulator) -> float:
    """One step on floats: x + y exactly, rounded once."""
    return as_float(add_numbers(number(x), number(y), accumulator, Steps()))


def multiply_add(total: float, a: float, b: float, accumulator: Accumulator) -> float:
    """One step of a chain: total + a*b with the product exact, or rounded first by the product quantizer."""
    steps = Steps()
    return as_float(add_numbers(number(total), multiply(a, b, accumulator, steps), accumulator, steps))


def _chain(total: Number, a: Any, b: Any, accumulator: Accumulator, steps: Steps) -> Number:
    for x, y in zip(a, b, strict=True):
        total = add_numbers(total, multiply(float(x), float(y), accumulator, steps), accumulator, steps)
    return total


def _tree(c: Number | None, a: Any, b: Any, accumulator: Accumulator, steps: Steps) -> Number:
    if accumulator.block is None:
        leaves = [multiply(float(x), float(y), accumulator, steps) for x, y in zip(a, b, strict=True)]
    else:
        n = accumulator.block
        starts = range(0, len(a), n)
        leaves = [_chain(number(0.0), a[s : s + n], b[s : s + n], accumulator, steps) for s in starts]
    while len(leaves) > 1:
        pairs = zip(leaves[0::2], leaves[1::2], strict=False)
        sums = [add_numbers(x, y, accumulator, steps) for x, y in pairs]
        leaves = sums + leaves[2 * len(sums) :]
    return add_numbers(_neutral(accumulator) if c is None else c, leaves[0], accumulator, steps)


def _neutral(accumulator: Accumulator) -> Number:
    """The zero to which a number is added unchanged: a lone leaf is rounded, what was rounded stays what it is."""
    return number(0.0 if accumulator.rounding is Rounding.RTN else -0.0)


def _minus(x: Number) -> Number:
    return Exact(-x.value, not x.negative) if isinstance(x, Exact) else -x


def _kahan(total: Number, a: Any, b: Any, accumulator: Accumulator, steps: Steps) -> Number:
    rest = number(0.0)
    for x, y in zip(a, b, strict=True):
        product = multiply(float(x), float(y), accumulator, steps)
        corrected = add_numbers(product, _minus(rest), accumulator, steps)
        larger = add_numbers(total, corrected, accumulator, steps)
        moved = add_numbers(larger, _minus(total), accumulator, steps)
        rest = add_numbers(moved, _minus(corrected), accumulator, steps)
        total = larger
    return total


def _exact(total: Number, a: Any, b: Any, accumulator: Accumulator, steps: Steps) -> Number:
    """The sum of all terms, rounded once; a zero has the sign that all its terms have, else +0 (-0 for RTN)."""
    terms = [total] + [multiply(float(x), float(y), accumulator, steps) for x, y in zip(a, b, strict=True)]
    infinite = [x for x in terms if not isinstance(x, Exact)]
    if infinite:
        steps.word()
        return _passed_on(math.fsum(infinite) if len(set(infinite)) == 1 else math.nan, accumulator)
    values = [x.value for x in terms if isinstance(x, Exact)]
    signs = [x.negative for x in terms if isinstance(x, Exact)]
    zeros = all(v == 0 for v in values)
    negative = accumulator.rounding is Rounding.RTN
    if zeros:
        negative = any(signs) if negative else all(signs)
    total = Exact(sum(values, Fraction(0)), negative)
    return rounded(total, accumulator, accumulator.format, steps, steps.word())


def accumulate_number(a: Any, b: Any, accumulator: Accumulator, c: float | None, steps: Steps) -> Number:
    """c + sum of a[k]*b[k] as the accumulator says; c None: nothing is added."""
    start = number(0.0 if c is None else c)
    outer = accumulator.combining
    if len(a) == 0:
        word = steps.word()
        return (
            rounded(start, outer, outer.format, steps, word) if isinstance(start, Exact) else _passed_on(start, outer)
        )
    if accumulator.chunk is not None:
        n, inner = accumulator.chunk, accumulator.inner
        parts = [accumulate_number(a[s : s + n], b[s : s + n], inner, None, steps) for s in range(0, len(a), n)]
        return _combine(start, c is None, parts, outer, steps)
    match accumulator.order:
        case "pairwise":
            return _tree(None if c is None else start, a, b, accumulator, steps)
        case "kahan":
            return _kahan(start, a, b, accumulator, steps)
        case "exact":
            return _exact(start, a, b, accumulator, steps)
    return _chain(start, a, b, accumulator, steps)


def _combine(start: Number, alone: bool, parts: list[Number], outer: Accumulator, steps: Steps) -> Number:
    """The sums of chunks, combined as `outer` says: as the sum of their products with one."""
    if outer.order == "sequential":
        for part in parts:
            start = add_numbers(start, part, outer, steps)
        return start
    if not all(isinstance(part, Exact) for part in parts):
        raise NotImplementedError("sums of chunks that are not finite, in another order than sequential")
    return accumulate_number(
        [as_float(part) for part in parts], [1.0] * len(parts), outer, None if alone else as_float(start), steps
    )


def accumulate(a: Any, b: Any, accumulator: Accumulator, c: float | None = None, **options: Any) -> float:
    """c + sum of a[k]*b[k] as a float, as the accumulator says. words, tally: see `Steps`."""
    return as_float(accumulate_number(a, b, accumulator, c, Steps(**options)))


def _check(left: NDArray[Any], right: NDArray[Any], accumulator: Any) -> None:
    if not hasattr(accumulator, "combining"):
        raise TypeError(
            f"accumulator {named(accumulator)}: give {made_from(accumulator, 'Accumulator')}; of matrix units the oracle is"
            " reference.matrix_unit.unit_matmul"
        )
    if left.ndim < 2 or right.ndim < 2 or left.shape[-1] != right.shape[-2]:
        raise ValueError(f"a {left.shape} and b {right.shape} do not match: give [..., M, K] and [..., K, N]")


def matmul(
    a: Any,
    b: Any,
    accumulator: Accumulator,
    *,
    c: Any = None,
    words: Any = None,
    seed: int | None = None,
    stream: int = 0,
    events: bool = False,
) -> Any:
    """`numerics.matmul` by the definition: a [..., M, K], b [..., K, N], c broadcast to [..., M, N], words [..., M, N, S].

    events=True: (result, {name: counts [..., M, N]}). seed, stream: for calls that are written for either; nothing is
    drawn here. Errors: TypeError for what is no Accumulator and for other than float32 and float64; ValueError for
    shapes that do not match, and where random words are needed and none given.
    """
    left, right = floating(a, "a"), floating(b, "b")
    _check(left, right, accumulator)
    batch = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    shape, depth = (*batch, left.shape[-2], right.shape[-1]), left.shape[-1]
    left = np.broadcast_to(left, (*batch, *left.shape[-2:]))
    right = np.broadcast_to(right, (*batch, *right.shape[-2:]))
    start = None if c is None else np.broadcast_to(np.asarray(c), shape)
    if words is None and accumulator.stochastic:
        given = "" if seed is None else f"seed = {seed}, stream = {stream}: "
        raise ValueError(
            f"{given}the oracle draws no random words: give words= of shape {(*shape, accumulator.roundings(depth))}, the"
            " word of each rounding of each output; numerics.random_words has those of a seed"
        )
    drawn = None if words is None else np.broadcast_to(words, (*shape, accumulator.roundings(depth)))
    out = np.empty(shape, np.result_type(left, right))
    counts: dict[str, NDArray[np.int64]] = {name: np.zeros(shape, np.int64) for name in Tally.NAMES}
    for index in np.ndindex(*shape):
        *outer, i, j = index
        row, column = left[(*outer, i)], right[(*outer, slice(None), j)]
        tally = Tally() if events else None  # counts take as long as the sums
        out[index] = accumulate(
            row,
            column,
            accumulator,
            None if start is None else float(start[index]),
            words=None if drawn is None else drawn[index],
            tally=tally,
        )
        if tally is not None:
            for name in counts:
                counts[name][index] = tally.counts[name]
    return (out, counts) if events else out
