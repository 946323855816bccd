"""Sums of chunks in fixed point that have more bits than float64: added as integers of any size, chunk after chunk."""

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .accumulator import Accumulator
from .formats import FixedFormat
from .parameters import FLOAT64
from .problem import Problem
from .rounding import Overflow

Counts = dict[str, NDArray[Any]]


def needs_integers(accumulator: Accumulator) -> bool:
    """Whether sums of chunks, or what they are added up to, are more than float64 holds."""
    formats = accumulator.format, accumulator.combining.format
    return any(isinstance(fmt, FixedFormat) and not FLOAT64.holds(fmt) for fmt in formats)


def check_integers(accumulator: Accumulator) -> None:
    """Refuse the combinations that integers do not serve. Errors: ValueError."""
    inner, outer = accumulator.format, accumulator.combining
    points = {fmt.fraction_bits if isinstance(fmt, FixedFormat) else None for fmt in (inner, outer.format)}
    if outer.order == "sequential" and len(points) == 1 and None not in points:
        return
    raise ValueError(
        f"sums of chunks in {inner} added in {outer.order} order in {outer.format}: float64 does not hold all of them;"
        " use at most 53 bits, or add them one after the other in fixed point with the same fraction bits"
    )


def add_integers(parts: list[NDArray[Any]], problem: Problem, accumulator: Accumulator) -> tuple[Any, Counts]:
    """(c + parts[0] + parts[1] + ..., each sum limited by the outer format; counts of its events), all [B, M, N].

    parts: the sums of the chunks in grid steps, as of `fixed_products.fixed_product`; the result likewise.
    Errors: ValueError for a c off the grid; OverflowError under Overflow.ERROR, naming the first output and chunk.
    """
    outer = accumulator.combining
    inner_format, fmt = accumulator.format, outer.format
    assert isinstance(inner_format, FixedFormat) and isinstance(fmt, FixedFormat)
    low, high = fmt.lowest_integer, fmt.largest_code
    total = start_of(problem, fmt)
    _check_signs(total, parts, problem, accumulator)
    counts = {name: np.zeros(problem.shape, np.int64) for name in ("overflow", "inexact", "swamped")}
    first_over = np.full(problem.shape, len(parts))
    for number, part in enumerate(parts):
        added = _integers(part, inner_format)
        exact = total + added
        over = (exact < low) | (exact > high)
        first_over = np.where(over & (first_over == len(parts)), number, first_over)
        kept = (exact - low) % (1 << fmt.bits) + low if outer.overflow is Overflow.WRAP else np.clip(exact, low, high)
        swap = abs(total) > abs(added)
        small, large = np.where(swap, added, total), np.where(swap, total, added)
        counts["overflow"] += over
        counts["inexact"] += kept != exact
        counts["swamped"] += (small != 0) & (kept == large)
        total = kept
    if outer.overflow is Overflow.ERROR and (first_over < len(parts)).any():
        output = int(np.argmax((first_over < len(parts)).ravel()))
        names = problem.names._replace(combines=True)
        raise OverflowError(
            f"the sum at {names.step(int(first_over.ravel()[output]))} of {names.output(output)} is outside of {low} to"
            f" {high}, the range of {fmt} in steps of its grid; scale the operands, or use SATURATE or WRAP"
        )
    patterns = np.array([int(x) % (1 << 64) for x in total.ravel()], np.uint64).view(np.int64)
    return patterns.reshape(problem.shape), counts


def _check_signs(start: NDArray[Any], parts: list[NDArray[Any]], problem: Problem, accumulator: Accumulator) -> None:
    """Refuse what is negative for an unsigned format, as the other ways do."""
    fmt = accumulator.combining.format
    if fmt.signed:
        return
    below = np.stack([start < 0, *(accumulator.format.signed & (part < 0) for part in parts)])
    if not below.any():
        return
    output = int(np.argmax(below.any(axis=0).ravel()))
    number = int(np.argmax(below.reshape(len(below), -1)[:, output])) - 1
    if number < 0:
        found = f"{problem.names.addend(output)} is {problem.c.ravel()[output]}" if problem.c is not None else ""
    else:
        found = f"the sum of chunk {number} of {problem.names.output(output)} is negative"
    raise ValueError(f"{found}: {fmt} is unsigned and takes nonnegative operands only; use a signed format")


def start_of(problem: Problem, fmt: FixedFormat) -> NDArray[Any]:
    """c in grid steps, or zeros, as integers of Python. Errors: ValueError for a c off the grid."""
    if problem.c is None:
        return np.zeros(problem.shape, object)
    step = Fraction(2) ** -fmt.fraction_bits
    steps = [Fraction(x) / step for x in problem.c.ravel().tolist()]  # float64 may not reach so far
    for number, count in enumerate(steps):
        if count.denominator != 1:
            raise ValueError(
                f"{problem.names.addend(number)} is {problem.c.ravel()[number]}, no multiple of 2**{-fmt.fraction_bits}:"
                f" quantize c to {fmt}, whose sums of chunks are added as integers"
            )
    return np.array([count.numerator for count in steps], object).reshape(problem.shape)


def _integers(part: NDArray[Any], fmt: FixedFormat) -> NDArray[Any]:
    """Grid steps as integers of Python."""
    part = part.astype(np.int64, copy=False)
    return (part if fmt.signed else part.view(np.uint64)).astype(object)
