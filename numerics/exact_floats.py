"""Exact sums that float64 holds, or holds rounded to odd: the elementwise rounder takes them from there.

Rounding a number that was rounded to odd in 53 bits to p bits is rounding the number itself, in every mode, if
p + 2 <= 53 (Boldo and Melquiond, IEEE TC 57(4), 2008), and with r random bits if p + r + 2 <= 53.
"""

import numpy as np
from numpy.typing import NDArray

from .accumulator import Accumulator
from .exact_slices import Cut, Sliced, flat_rows, over_rows
from .formats import FixedFormat
from .kernels import elementwise, exact, modes, slices, threads
from .loops import elementwise_loop
from .parameters import FLOAT64
from .problem import Problem
from .rounding import Overflow, Rounding

_NONE: NDArray[np.float64] = np.zeros((0, 0))
_NO_MET: NDArray[np.uint8] = np.zeros((0, 0), np.uint8)
_NO_WORDS: NDArray[np.uint32] = np.zeros(0, np.uint32)
_COST = 1.0  # nanoseconds of the rounding of a number
_PIECE = 1 << 14  # products that are rounded at a time
_FAR = 900  # exponents that leave every sum of slices normal in float64


def float_sum(problem: Problem, accumulator: Accumulator, name: str, cut: Cut | None) -> NDArray[np.float64] | None:
    """The exact sums [B*M, N], or sums rounded to odd whose one rounding is the same; None where there are none.

    name, cut: the route. Zeros have their sign.
    """
    fmt = accumulator.format
    wraps = isinstance(fmt, FixedFormat) and accumulator.overflow is Overflow.WRAP  # its low bits count at any size
    odd_fits = not wraps and fmt.precision + (accumulator.random_bits or 0) + 2 <= FLOAT64.precision
    if not FLOAT64.holds(fmt):
        return None
    if name in ("sgemm", "dgemm"):
        total = _one_product(problem, np.float32 if name == "sgemm" else np.float64, odd_fits)
    elif name == "rounded products in float64":
        total = _with_start(problem, *_sum_of_rounded(problem, accumulator), odd_fits)
    elif cut is not None and (odd_fits or len(cut.offsets) == 1):
        total = _odd_sum(problem, cut)
    else:
        return None
    if (
        total is not None
        and accumulator.product is None
        and (accumulator.rounding is Rounding.RTN or problem.c is not None)
    ):
        sign_zeros(problem, accumulator, _NO_MET, total)
    return total


def matrix_product(problem: Problem, dtype: type[np.float32] | type[np.float64]) -> NDArray[np.float64]:
    """a @ b [B*M, N] by one product in a type in which it is exact."""
    with np.errstate(all="ignore"):
        found = np.matmul(problem.a.astype(dtype, copy=False), problem.b.astype(dtype, copy=False))
    total: NDArray[np.float64] = found.astype(np.float64, copy=False).reshape(-1, found.shape[2])
    return total


def _one_product(
    problem: Problem, dtype: type[np.float32] | type[np.float64], odd_fits: bool
) -> NDArray[np.float64] | None:
    a, b, _ = problem.facts
    total = matrix_product(problem, dtype)
    return _with_start(problem, total, a.lowest + b.lowest, a.highest + b.highest + 2, odd_fits)


def _sum_of_rounded(problem: Problem, accumulator: Accumulator) -> tuple[NDArray[np.float64], int, int]:
    """(the sums of rounded products [B*M, N], the exponent of their unit, that of a bound on one product)."""
    quantizer, fmt = accumulator.product, accumulator.product_format
    assert quantizer is not None and fmt is not None
    batches, rows, columns = problem.shape
    source = elementwise.GIVEN if quantizer.random_bits else elementwise.DETERMINISTIC
    loop, row, _ = elementwise_loop(
        fmt, quantizer.rounding, quantizer.overflow, quantizer.random_bits, FLOAT64, source, False
    )
    a, b = flat_rows(problem.a).reshape(problem.a.shape), np.ascontiguousarray(problem.b, dtype=np.float64)
    total = np.zeros((batches * rows, columns))
    depth, zero = problem.depth, np.uint64(0)
    block = max(1, _PIECE // columns)

    def part(start: int, stop: int) -> None:
        room = np.empty((2, min(block, depth), columns))
        for r in range(start, stop):
            batch, i = divmod(r, rows)
            left, right = a[batch if len(a) > 1 else 0, i], b[batch if len(b) > 1 else 0]
            words = _NO_WORDS
            if problem.words is not None and quantizer.random_bits:
                outputs = slice(r * columns, (r + 1) * columns)
                words = np.ascontiguousarray(problem.words.of(outputs, slice(0, depth), quantizer.random_bits).T)
            for k in range(0, depth, block):
                count = min(block, depth - k)
                exact, rounded = room[0, :count], room[1, :count]
                np.multiply(left[k : k + count, None], right[k : k + count], out=exact)
                own = words[k : k + count].reshape(-1) if words.size else words
                flat = exact.reshape(-1), rounded.reshape(-1)
                loop(*flat, row, own, zero, zero, zero, 0, count * columns)
                total[r] += rounded.sum(axis=0)

    threads.run(part, len(total), _COST * depth * columns)
    if isinstance(fmt, FixedFormat):
        return total, -fmt.fraction_bits, fmt.precision - fmt.fraction_bits
    return total, fmt.emin - fmt.mantissa_bits, fmt.emax + 1


def _with_start(
    problem: Problem, total: NDArray[np.float64], unit: int, top: int, odd_fits: bool
) -> NDArray[np.float64] | None:
    """total + c exactly, or rounded to odd where that fits; None where neither is so.

    total: exact sums of products of at most 2**top in units of 2**unit. A sum of zero is +0, but of c = -0.
    """
    c = problem.facts[2]
    if problem.c is None or c is None:
        total += 0.0  # -0 becomes +0
        return total
    unit = min(unit, c.lowest)
    if unit < FLOAT64.emin or max(top + problem.depth.bit_length(), c.highest + 1) >= FLOAT64.emax:
        return None
    units = (problem.depth << (top - unit)) + (1 << max(0, c.highest + 1 - unit))
    if units <= 1 << FLOAT64.precision:
        total += flat_rows(problem.c)
        return total
    if not odd_fits:
        return None
    planes = np.stack([flat_rows(problem.c), total])
    left, right = np.ones(total.shape[0]), np.ones(total.shape[1])
    offsets = np.zeros(2, np.int64)
    over_rows(lambda i, j: slices.combine(planes, offsets, left, right, total, i, j), *total.shape)
    return total


def _odd_sum(problem: Problem, cut: Cut) -> NDArray[np.float64] | None:
    if problem.c is not None or cut.offsets[-1] > FLOAT64.precision - 1:
        return None
    sliced = Sliced(problem, cut)
    exponents = [sliced.lowest, sliced.highest, *sliced.units_a, *sliced.units_b]
    if max(map(abs, exponents)) > _FAR:
        return None
    batches, rows, columns = problem.shape
    total = np.empty((batches * rows, columns))

    def panel(batch: int, first: int, last: int, planes: NDArray[np.float64]) -> None:
        out = total[batch * rows + first : batch * rows + last]
        left, right = (np.ldexp(1.0, units) for units in sliced.units(batch, first, last))

        def part(start: int, stop: int) -> None:
            slices.settle_planes(planes, sliced.offsets, 1, start, stop)
            slices.combine(planes, sliced.offsets, left, right, out, start, stop)

        over_rows(part, *out.shape)

    sliced.each_panel(panel)
    return total


def sign_zeros(problem: Problem, accumulator: Accumulator, met: NDArray[np.uint8], values: NDArray[np.float64]) -> None:
    """Give zeros among values [B*M, N] the sign of their sum: all of them, or those that `met` says were exact."""
    a, b = (np.ascontiguousarray(x, dtype=np.float64) for x in (problem.a, problem.b))
    c = _NONE if problem.c is None else flat_rows(problem.c)
    down = accumulator.rounding is Rounding.RTN
    over_rows(lambda i, j: exact.sign_zeros(a, b, c, down, met, values, i, j), *values.shape)


def last_words(problem: Problem, accumulator: Accumulator, start: int, stop: int) -> NDArray[np.uint32]:
    """Words of the last rounding of outputs in [start, stop), or none."""
    if problem.words is None or accumulator.random_bits is None:
        return _NO_WORDS
    step = 0 if accumulator.product is None else problem.depth
    words = problem.words.of(slice(start, stop), slice(step, step + 1), accumulator.random_bits)
    return np.ascontiguousarray(words[:, 0])


def round_floats(
    problem: Problem, accumulator: Accumulator, total: NDArray[np.float64]
) -> tuple[NDArray[np.float64], int | None]:
    """(total rounded once, the first output that overflowed where that is an error)."""
    source = elementwise.GIVEN if accumulator.random_bits else elementwise.DETERMINISTIC
    fmt, bits = accumulator.format, accumulator.random_bits
    loop, row, _ = elementwise_loop(fmt, accumulator.rounding, accumulator.overflow, bits, FLOAT64, source, False)
    flat, zero = total.reshape(-1), np.uint64(0)
    result = np.empty_like(flat) if accumulator.overflow is Overflow.ERROR else flat  # an error is looked up in total

    def part(start: int, stop: int) -> int:
        words = last_words(problem, accumulator, start, stop)
        return int(loop(flat[start:stop], result[start:stop], row, words, zero, zero, zero, 0, stop - start))

    met = threads.run_flags(part, flat.size, _COST)
    over = accumulator.overflow is Overflow.ERROR and met & modes.SAW_OVERFLOW
    first = threads.first_with(part, flat.size, modes.SAW_OVERFLOW) if over else None
    return result.reshape(total.shape), first
