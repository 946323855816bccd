"""Exact sums as integers of any length, rounded once: for every format, with events, and of rounded products."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .accumulator import Accumulator
from .exact_floats import last_words, matrix_product, sign_zeros
from .exact_slices import SHORT_BITS, Cut, Sliced, flat_columns, flat_rows, over_rows
from .formats import FixedFormat, FloatFormat
from .kernels import digits, exact, fixed, threads
from .parameters import FLOAT64, fixed_row, parameter_row
from .problem import Facts, Problem
from .rounding import Overflow, Rounding

_MAC_COST, _ROUNDED_COST = 1.0, 10.0  # nanoseconds of a product that is added, and of one rounded before
_NONE: NDArray[np.float64] = np.zeros((0, 0))
_FEW = 256  # buckets that are worth it for any depth
_WIDE = 126  # bits of a sum in two words


class Sums(NamedTuple):
    """Bits of the results (of float64, or codes), what their rounding met (kernels.digits), events of products."""

    bits: NDArray[np.uint64]  # [B*M, N]
    met: NDArray[np.uint8]  # [B*M, N]
    counts: NDArray[np.int64] | None  # [B*M, N, 3]: overflowed, underflowed, inexact; None where they are exact


def rounded_bits(problem: Problem, accumulator: Accumulator, name: str, cut: Cut | None) -> Sums:
    """The sums, rounded; name, cut: the route."""
    batches, rows, columns = problem.shape
    shape = batches * rows, columns
    counts = None if accumulator.product is None else np.empty((*shape, 3), np.int64)
    sums = Sums(np.empty(shape, np.uint64), np.empty(shape, np.uint8), counts)
    fmt = accumulator.format
    row = _row(fmt, accumulator.rounding, accumulator.overflow, accumulator.random_bits)
    if counts is not None:
        _rounded_products(problem, accumulator, row, sums)
        return sums
    if name == "superaccumulator":
        _superaccumulate(problem, accumulator, row, sums)
    elif cut is not None:
        _finish_slices(problem, accumulator, cut, row, sums)
    else:
        unit = problem.facts[0].lowest + problem.facts[1].lowest
        total = matrix_product(problem, np.float32 if name == "sgemm" else np.float64)
        planes, offsets = np.ldexp(total, -unit)[None], np.zeros(1, np.int64)
        left, right = np.full(total.shape[0], unit), np.zeros(total.shape[1], np.int64)
        _finish(problem, accumulator, planes, offsets, left, right, row, sums, 0)
    if fmt.has_negative_zero and (accumulator.rounding is Rounding.RTN or problem.c is not None):
        sign_zeros(problem, accumulator, sums.met, sums.bits.view(np.float64))
    return sums


def _row(fmt: FloatFormat | FixedFormat, rounding: Rounding, overflow: Overflow, random_bits: int | None) -> Any:
    """The facts of a format for the integer rounders."""
    if isinstance(fmt, FloatFormat):
        return parameter_row(fmt, rounding, overflow, random_bits, FLOAT64)
    row = fixed_row(fmt, Overflow.WRAP, random_bits, FLOAT64)  # the general one, at any width
    assert isinstance(row, fixed.FixedRow)
    if overflow is Overflow.WRAP:
        return row
    limits = row.limits.copy()
    limits[fixed.WRAPS] = 0
    return row._replace(limits=limits)


def _window(unit: int, top: int, c: Facts | None) -> tuple[int, int]:
    """(base, number of digits) for integers in units of 2**unit whose terms other than c sum to less than 2**top."""
    base = unit if c is None else min(unit, c.lowest)
    top = top if c is None else max(top, c.highest + 1)
    return base, (top + 2 - base) // digits.DIGIT + 6  # a bit for c, one for the sign; an addition writes five digits


def _start(problem: Problem) -> NDArray[np.float64]:
    return _NONE if problem.c is None else flat_rows(problem.c)


def _superaccumulate(problem: Problem, accumulator: Accumulator, row: Any, sums: Sums) -> None:
    a, b, c = problem.facts
    unit, top = a.lowest + b.lowest, a.highest + b.highest + 2 + problem.depth.bit_length()
    base, size = _window(unit, top, c)
    width, coarse, run, places = _gathering(a, b, problem.depth)
    left = _decomposed(flat_rows(problem.a), a, problem.a.shape[0])
    right = _decomposed(flat_columns(problem.b), b, problem.b.shape[0])
    start, columns = _start(problem), problem.shape[2]

    def part(i: int, j: int) -> None:
        words = last_words(problem, accumulator, i * columns, j * columns)
        how = int(accumulator.rounding), width, coarse, run, places, unit - base
        exact.superaccumulate(*left, *right, start, words, row, *how, base, size, sums.bits, sums.met, i, j)

    threads.run(part, len(sums.bits), _MAC_COST * problem.depth * columns)


def _gathering(a: Facts, b: Facts, depth: int) -> tuple[int, int, int, int]:
    """(SHORT, LONG or FAR, log2 of the exponents in a bucket, products at a time, buckets)."""
    exponents = a.highest - a.lowest + b.highest - b.lowest + 1
    bits = a.significant_bits + b.significant_bits
    if bits <= SHORT_BITS:  # bits, the places within a bucket and the additions together stay in 63
        coarse = (SHORT_BITS + 1 - bits).bit_length() - 1
        return exact.SHORT, coarse, 1 << (62 - SHORT_BITS), (exponents >> coarse) + 1
    if exponents <= max(_FEW, depth):
        return exact.LONG, 0, 1 << 9, exponents + 53
    return exact.FAR, 0, exact.RUN, 0


def _decomposed(x: NDArray[np.float64], facts: Facts, batches: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    shape = batches, len(x) // batches, x.shape[1]
    significands, places = np.empty(shape, np.int64), np.empty(shape, np.int32)
    flat = significands.reshape(-1), places.reshape(-1)
    exact.decompose(x.reshape(-1), facts.significant_bits, facts.lowest, *flat)
    return significands, places


def _finish_slices(problem: Problem, accumulator: Accumulator, cut: Cut, row: Any, sums: Sums) -> None:
    sliced = Sliced(problem, cut)
    rows = problem.shape[1]

    def panel(batch: int, first: int, last: int, planes: NDArray[np.float64]) -> None:
        units = sliced.units(batch, first, last)
        _finish(problem, accumulator, planes, sliced.offsets, *units, row, sums, batch * rows + first)

    sliced.each_panel(panel)


def _finish(
    problem: Problem,
    accumulator: Accumulator,
    planes: NDArray[np.float64],
    offsets: NDArray[np.int64],
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    row: Any,
    sums: Sums,
    first: int,
) -> None:
    """Round rows [first, first + R) of the output from planes [W, R, N]; offsets, left, right: exponents of units."""
    c = problem.facts[2]
    above = int(offsets[-1]) + 56  # planes have less than 54 bits, and four planes one unit in four
    base, size = _window(int(left.min() + right.min()), int(left.max() + right.max()) + above, c)
    wide = above <= _WIDE if c is None else max(int(left.max() + right.max()) + above, c.highest + 2) - base <= _WIDE
    here = slice(first, first + planes.shape[1])
    columns = planes.shape[2]
    start = _start(problem)[here] if problem.c is not None else _NONE

    def part(i: int, j: int) -> None:
        words = last_words(problem, accumulator, (first + i) * columns, (first + j) * columns)
        how = int(accumulator.rounding), wide, base, size
        exact.finish(planes, offsets, left, right, start, words, row, *how, sums.bits[here], sums.met[here], i, j)

    over_rows(part, planes.shape[1], columns)


def _rounded_products(problem: Problem, accumulator: Accumulator, row: Any, sums: Sums) -> None:
    product, fmt = accumulator.product, accumulator.product_format
    assert product is not None and fmt is not None
    if isinstance(fmt, FixedFormat):
        unit, top = -fmt.fraction_bits, fmt.bits - fmt.fraction_bits
    else:
        unit, top = fmt.emin - fmt.mantissa_bits, fmt.emax + 1
    base, size = _window(unit, top + problem.depth.bit_length(), problem.facts[2])
    a = flat_rows(problem.a).reshape(problem.a.shape)
    b = flat_columns(problem.b).reshape(len(problem.b), -1, problem.depth)
    c, columns, depth = _start(problem), problem.shape[2], problem.depth
    product_row = _row(fmt, product.rounding, product.overflow, product.random_bits)

    def part(start: int, stop: int) -> None:
        for i in range(start, stop):  # a row at a time: its words are as many as its products
            outputs = i * columns, (i + 1) * columns
            words, product_words = last_words(problem, accumulator, *outputs), np.zeros((0, 0), np.uint32)
            if problem.words is not None and product.random_bits is not None:
                drawn = problem.words.of(slice(*outputs), slice(0, depth), product.random_bits)
                product_words = np.ascontiguousarray(drawn)
            how = row, product_row, int(accumulator.rounding), int(product.rounding), base, size
            exact.rounded_products(a, b, c, words, product_words, *how, *sums, i, i + 1)

    threads.run(part, len(sums.bits), _ROUNDED_COST * depth * columns)
