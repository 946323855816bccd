"""A dot product as stages of roundings: products, chains, trees, sums of chunks."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from ..accumulator import Accumulator
from ..formats import FixedFormat, FloatFormat, Subnormals
from ..formats.integers import whole
from ..formats.naming import made_from, named
from .roundoff import Step, exactly, lowest_bit, step_of


@dataclass(frozen=True)
class Stage:
    """Sums, each of which is rounded; what comes out is added in the next stage.

    kind: "each", every number by itself; "chain", numbers added one by one to a member of the format; "tree", sums of
    sums; "kahan". depth: how many roundings a number passes at most. roundings: how many there are in all, for one
    output. underflows: whether the error of small sums counts. start: whether the first step of a chain may be inexact.
    """

    step: Step
    kind: str
    depth: int
    roundings: int
    underflows: bool
    start: bool = False


def check_sum(accumulator: Any, k: Any) -> int:
    """The number of products, of what is an accumulator. Errors: TypeError, ValueError."""
    if not isinstance(accumulator, Accumulator):
        raise TypeError(
            f"accumulator {named(accumulator)}: errors are bounded of {made_from(accumulator, 'Accumulator')}"
        )
    number = whole(k)
    if number is None or number < 0:
        raise ValueError(f"k = {k!r}: give the number of products, an integer of at least 0")
    if number >> 36:
        raise ValueError(f"k = {str(number)[:40]}: give a number of products below 2**36; longer bounds say nothing")
    return number


def check_quantum(quantum: Any) -> Fraction | None:
    """The number of which all are multiples, exactly. Errors: TypeError, ValueError for what is none above zero."""
    number = None if quantum is None else exactly("quantum", quantum)
    if number is not None and number <= 0:
        raise ValueError(f"quantum = {quantum!r}: give a positive number, or None where nothing is known")
    return number


def stages(accumulator: Accumulator, k: int, *, c: bool = False, quantum: Fraction | None = None) -> tuple[Stage, ...]:
    """The stages of c + a sum of k products; c enters in the last one. quantum: all products and c are multiples of it.

    Errors: as `check_sum` and `check_quantum`, and TypeError for a c that is neither True nor False.
    """
    k = check_sum(accumulator, k)
    quantum = check_quantum(quantum)
    if not isinstance(c, bool | np.bool):
        raise TypeError(f"c = {named(c)}: say whether there is an addend, True or False")
    last = accumulator.combining
    if k == 0:
        return (_each(step_of(last.format, last.rounding, last.random_bits), 1),) if c else ()
    found: tuple[Stage, ...] = ()
    addends: FloatFormat | FixedFormat | None = None
    known = quantum
    if accumulator.product is not None:
        product, addends = accumulator.product, accumulator.product_format
        assert addends is not None
        first = step_of(addends, product.rounding, product.random_bits)
        found = (_each(first, k, _falls_under(first, quantum)),)
        known = lowest_bit(addends)
    if accumulator.chunk is None:
        return found + _sums(accumulator, k, addends, known, c, quantum)
    inner = accumulator.inner
    n, count = min(accumulator.chunk, k), -(-k // accumulator.chunk)
    parts = _sums(inner, n, addends, known, False, None)
    # Each chunk has the roundings of a full one, at most.
    found += tuple(Stage(s.step, s.kind, s.depth, s.roundings * count, s.underflows, s.start) for s in parts)
    return found + _sums(last, count, inner.format, lowest_bit(inner.format), c, quantum)


def _each(step: Step, count: int, underflows: bool = True) -> Stage:
    return Stage(step, "each", 1, count, underflows)


def _sums(
    accumulator: Accumulator,
    count: int,
    addends: FloatFormat | FixedFormat | None,
    known: Fraction | None,
    c: bool,
    quantum: Fraction | None,
) -> tuple[Stage, ...]:
    """The stages of a sum of `count` numbers, all members of `addends` or multiples of `known`; c: of `quantum`."""
    step = step_of(accumulator.format, accumulator.rounding, accumulator.random_bits)
    members = addends is not None and holds(accumulator.format, addends)
    small = _falls_under(step, known)
    last_small = small or (c and _falls_under(step, quantum))
    if accumulator.order == "exact":
        return (Stage(step, "each", 1, 1, last_small),)
    if accumulator.order == "kahan":
        return (Stage(step, "kahan", count, count, last_small, c),)
    if accumulator.order == "sequential":
        return (_chain(step, count, not members or c, last_small),)
    found: tuple[Stage, ...] = ()
    if accumulator.block is not None:
        n, leaves = min(accumulator.block, count), -(-count // accumulator.block)
        chain = _chain(step, n, not members, small)
        found = (Stage(step, "chain", chain.depth, chain.roundings * leaves, small, chain.start),)
        count, members, small = leaves, True, not step.smooth
    levels = (count - 1).bit_length()
    if levels:
        found += (Stage(step, "tree", levels, count - 1, small),)
    if c or (not levels and not members):
        found += (_each(step, 1, last_small),)
    return found


def _chain(step: Step, count: int, start: bool, underflows: bool) -> Stage:
    """start False: the first number is a member and is added to +0, which is exact."""
    depth = count if start else count - 1
    return Stage(step, "chain", depth, depth, underflows, start)


def _falls_under(step: Step, quantum: Fraction | None) -> bool:
    """Whether sums may have bits below the lowest of the format; a flushed format loses small sums in any case."""
    return not step.smooth or quantum is None or (quantum / step.quantum).denominator != 1


def holds(outer: FloatFormat | FixedFormat, inner: FloatFormat | FixedFormat) -> bool:
    """Whether every value of `inner` is one of `outer`, where it does not overflow."""
    if lowest_bit(inner) < lowest_bit(outer) and not _starts_above(outer, inner):
        return False
    if isinstance(outer, FixedFormat):
        return lowest_bit(inner) >= lowest_bit(outer)
    return inner.precision <= outer.precision and (
        outer.subnormals is Subnormals.GRADUAL or _starts_above(outer, inner)
    )


def _starts_above(outer: FloatFormat | FixedFormat, inner: FloatFormat | FixedFormat) -> bool:
    smallest = inner.smallest_subnormal if isinstance(inner, FloatFormat) else inner.quantum
    return isinstance(outer, FloatFormat) and Fraction(smallest) >= Fraction(outer.smallest_normal)
