"""Matrix products of codes into a logarithmic, fixed-point or floating-point accumulator."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..accumulator import Accumulator
from ..execution import all_plans, run
from ..formats import FixedFormat, LogFormat, code_dtype
from ..formats.naming import named
from ..formats.powers import power_floor, significands
from ..kernels import logcodes, logscale, threads
from ..kernels.modes import SAW_OVERFLOW
from ..operands import result_shape, stack
from ..parameters import FLOAT64
from ..problem import Caller, Facts, Problem, facts
from ..quantizer import Quantizer
from ..results import check_result
from ..rounding import Overflow, Rounding, Underflow
from .arithmetic import check_format, checked_mode, codes_of, sum_arrays
from .sums import SumTable

_COST = 1.0  # nanoseconds of a multiply-accumulate
PANEL = 1 << 18  # values of products that are held at a time
_CLAMP = 1 << 62


@dataclass(frozen=True)
class LogAccumulator:
    """A sum held in a logarithmic format: every step adds one exact product and is rounded once, as `logscale.add`.

    The product is the power with the sum of the exponents, of any size; it is not rounded to the operands' format. The
    accumulator's steps must be as fine as the operands' or finer.
    """

    format: LogFormat
    rounding: Rounding = Rounding.RNL
    overflow: Overflow = Overflow.SATURATE
    underflow: Underflow = field(default=Underflow.ZERO, kw_only=True)
    table: SumTable | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "overflow", check_format(self.format, self.overflow, self.underflow))
        object.__setattr__(self, "rounding", checked_mode(self.format, self.rounding, self.table))
        if not self.format.signed:
            raise ValueError(f"{self.format} is unsigned: sums of products may be negative; use a signed format")


def matmul(a: Any, b: Any, fmt: LogFormat, accumulator: LogAccumulator | Quantizer | Accumulator) -> NDArray[Any]:
    """Product of matrices of codes, a [..., M, K] and b [..., K, N], k ascending from zero; batch dimensions broadcast.

    LogAccumulator: codes of its format. Every sum is rounded in the log domain or to the nearest power.
    Quantizer of a FixedFormat: codes of it. Each exact product is rounded to the grid, then added in integers; its
    overflow rule limits every sum (the product alone is not limited). Without WRAP up to 62 bits.
    Accumulator, of any order and family: values, float64. The value of a product is by definition the power with the
    sum of the exponents, rounded to nearest float64; these values are then accumulated as numerics.matmul does.
    The bits do not depend on shape and threads.
    Errors: TypeError for codes that are not integers, another accumulator; ValueError for codes out of range, shapes
    that do not match, an accumulator that does not fit the format; OverflowError under Overflow.ERROR.
    """
    check_format(fmt, Overflow.SATURATE, Underflow.ZERO)
    left, right = codes_of(a, fmt, "a"), codes_of(b, fmt, "b")
    for label, array in (("a", left), ("b", right)):
        if array.ndim < 2:
            raise ValueError(f"{label} of shape {array.shape}: give a matrix")
    shape = result_shape(left, right)
    x, y = (np.ascontiguousarray(stack(array, shape[:-2])) for array in (left, right))
    if isinstance(accumulator, LogAccumulator):
        return _into_log(x, y, fmt, accumulator, shape)
    if isinstance(accumulator, Quantizer) and isinstance(accumulator.fmt, FixedFormat):
        return _into_fixed(x, y, fmt, accumulator, accumulator.fmt, shape)
    if isinstance(accumulator, Accumulator):
        return _into_values(x, y, fmt, accumulator, shape)
    raise TypeError(
        f"accumulator {named(accumulator)}: give a LogAccumulator, a Quantizer of a FixedFormat, or an Accumulator"
    )


def _over_rows(
    kernel: Callable[[int, int], int], out: NDArray[Any], depth: int, strict: bool, largest: float, name: str
) -> None:
    """Run a kernel over the rows of [B, M, N], and raise where it reports an overflow that is an error."""
    rows = out.shape[0] * out.shape[1]
    met = threads.run_flags(kernel, rows, _COST * depth * out.shape[2])
    if strict and met & SAW_OVERFLOW:
        batch, row = divmod(threads.first_with(kernel, rows, SAW_OVERFLOW), out.shape[1])
        raise OverflowError(
            f"an accumulation in row {row} of matrix {batch} overflows {name} (largest {largest});"
            " scale the operands or choose another Overflow rule"
        )


def _empty(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    return np.empty((int(np.prod(shape[:-2])), *shape[-2:]), dtype)


def _into_log(
    a: NDArray[Any], b: NDArray[Any], fmt: LogFormat, accumulator: LogAccumulator, shape: tuple[int, ...]
) -> NDArray[Any]:
    own = accumulator.format
    lift = own.fraction_bits - fmt.fraction_bits
    if lift < 0:
        raise ValueError(
            f"the accumulator {own} has coarser steps than {fmt}: give it at least {fmt.fraction_bits} fraction bits"
        )
    arrays = sum_arrays(own, accumulator.rounding, accumulator.underflow, accumulator.table)
    out = _empty(shape, np.uint32)
    mask, depth = np.int64(fmt.largest_code), a.shape[-1]
    base = np.int64((own.bias - 2 * fmt.bias) << own.fraction_bits)

    def kernel(start: int, stop: int) -> int:
        return int(logcodes.log_product(a, b, out, *arrays, mask, lift, base, start, stop))

    _over_rows(kernel, out, depth, accumulator.overflow is Overflow.ERROR, own.max, str(own))
    sign = out >> np.uint32(31) << np.uint32(own.bits - 1)
    return (out & np.uint32(own.largest_code) | sign).astype(code_dtype(own.bits)).reshape(shape)


@lru_cache(maxsize=64)
def _fixed_products(fmt: LogFormat, accumulator: Quantizer) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The integers that positive and negative products are rounded to, by the sum of the codes' magnitudes."""
    grid, f = accumulator.fmt, fmt.fraction_bits
    assert isinstance(grid, FixedFormat)
    count = 2 * fmt.largest_code + 1
    first = -(2 * fmt.bias << f) + (grid.fraction_bits + 1 << f)  # of a product of codes 0, in halves of the grid step
    bits = max(0, (first + count) >> f)
    roots = [power_floor(part, f, bits) for part in range(1 << f)]
    whole, side = np.zeros(count, np.uint64), np.zeros(count, np.uint8)
    for place in range(2, count):
        octave, part = divmod(first + place, 1 << f)
        halves = roots[part] >> (bits - octave)
        floor = halves >> 1
        whole[place] = floor % (1 << 64) if accumulator.overflow is Overflow.WRAP else min(floor, _CLAMP)
        if halves & 1:
            side[place] = logscale.PAST if part else logscale.AT
        elif part or octave < 1:
            side[place] = logscale.BEFORE
    positive, negative = np.zeros(count, np.int64), np.zeros(count, np.int64)
    logcodes.round_places(whole, side, int(accumulator.rounding), positive, negative)
    return positive, negative


def _into_fixed(
    a: NDArray[Any],
    b: NDArray[Any],
    fmt: LogFormat,
    accumulator: Quantizer,
    grid: FixedFormat,
    shape: tuple[int, ...],
) -> NDArray[Any]:
    wraps = accumulator.overflow is Overflow.WRAP
    if not grid.signed:
        raise ValueError(f"{grid} is unsigned: sums of products may be negative; use a signed format")
    if not wraps and grid.bits > 62:
        raise ValueError(f"{grid} has {grid.bits} bits: an accumulator of codes has up to 62, or wraps")
    if accumulator.stochastic:
        raise ValueError(f"{accumulator.rounding.name}: products of codes are rounded in a deterministic mode")
    positive, negative = _fixed_products(fmt, accumulator)
    out = _empty(shape, np.int64)
    mask, lowest, highest = np.int64(fmt.largest_code), np.int64(grid.lowest_integer), np.int64(grid.largest_code)
    loop = logcodes.make_fixed_product(int(wraps))

    def kernel(start: int, stop: int) -> int:
        return int(loop(a, b, out, positive, negative, mask, lowest, highest, start, stop))

    _over_rows(kernel, out, a.shape[-1], accumulator.overflow is Overflow.ERROR, grid.max, str(grid))
    unsigned = out.view(np.uint64) & np.uint64((1 << grid.bits) - 1)
    return unsigned.astype(code_dtype(grid.bits)).reshape(shape)


@lru_cache(maxsize=64)
def _float_products(fmt: LogFormat) -> NDArray[np.float64]:
    """The values of products by the sum of the codes' magnitudes; 0.0 for sums that no two nonzero codes have."""
    f = fmt.fraction_bits
    if 2 * fmt.first_step < -1022 << f or 2 * fmt.last_step >= 1024 << f:
        raise ValueError(
            f"products of {fmt} reach from 2**{2 * fmt.first_step >> f} to 2**{(2 * fmt.last_step >> f) + 1}, not all"
            " of them normal float64; use a LogAccumulator or a fixed-point one"
        )
    k = np.arange(2 * fmt.largest_code + 1) - (2 * fmt.bias << f)
    table = np.array(significands(f, 53)[:-1], np.float64)
    inside = np.arange(k.size) >= 2
    values = np.ldexp(table[k & ((1 << f) - 1)], np.where(inside, (k >> f) - 52, 0).astype(np.int32))
    values = np.where(inside, values, 0.0)
    values.setflags(write=False)
    return values


def _check_values(accumulator: Accumulator) -> None:
    """Refuse accumulators of values that products of codes cannot be put into."""
    if accumulator.stochastic:
        raise ValueError("a stochastic accumulator: products of codes are accumulated in deterministic modes")
    for part in (accumulator.format, accumulator.product_format, accumulator.combining.format):
        if part is not None and not part.signed:
            raise ValueError(f"{part} is unsigned: sums of products may be negative; use a signed format")
    output = accumulator.combining.format
    if not FLOAT64.holds(output):
        raise ValueError(f"{output} has values that float64 does not hold: give a Quantizer of it, which has codes")


def _refuse_unplanned(problem: Problem, fmt: LogFormat, accumulator: Accumulator) -> None:
    """Raise where no kernel is exact for products of this format, whatever the codes."""
    try:
        all_plans(problem, accumulator)
    except ValueError as error:
        tree = accumulator.order == "pairwise" and accumulator.product is None
        remedy = "; codes have no c, so give product=Quantizer(...)" if tree else ""
        raise ValueError(f"products of {fmt}: {error}{remedy}") from error


def _into_values(
    a: NDArray[Any], b: NDArray[Any], fmt: LogFormat, accumulator: Accumulator, shape: tuple[int, ...]
) -> NDArray[np.float64]:
    _check_values(accumulator)
    values = _float_products(fmt)
    if 0 in shape or a.shape[-1] == 0:
        return np.zeros(shape)
    # Products are there already: the kernel multiplies them by ones, which adds neither bits nor range.
    known = Facts(1, 0, 0, 1.0), facts(values, "products"), None
    swaps = shape[-1] < shape[-2]
    if swaps:
        a, b = (np.ascontiguousarray(x.swapaxes(-1, -2)) for x in (b, a))
    rows, depth, columns = a.shape[-2], a.shape[-1], b.shape[-1]
    total = np.zeros((int(np.prod(shape[:-2])), rows, 1, columns))
    ones, mask = np.ones((1, 1, depth)), np.int64(fmt.largest_code)
    held = min(rows, max(1, PANEL // (depth * columns)))
    products = np.empty((held, depth, columns), values.dtype)
    cost = _COST * depth * columns
    for n in range(total.shape[0]):
        left, right = a[n if a.shape[0] > 1 else 0], b[n if b.shape[0] > 1 else 0][None]
        for i in range(0, rows, held):
            part, filled = left[i : i + held], products[: min(held, rows - i)]

            def fill(start: int, stop: int, part: Any = part, filled: Any = filled, right: Any = right) -> None:
                logcodes.panels(part[start:stop], right, values, mask, filled[start:stop])

            threads.run(fill, filled.shape[0], cost)
            caller = Caller((), (), None, shape, first_output=(n * rows + i) * columns, turned=swaps)
            problem = Problem(ones, filled, None, known, None, caller)
            try:
                total[n, i : i + held] = run(problem, accumulator).values
            except ValueError:
                _refuse_unplanned(problem, fmt, accumulator)
                raise
    output = accumulator.combining.format
    result = total[:, :, 0]
    if isinstance(output, FixedFormat):
        result = np.ldexp(result, -output.fraction_bits)
    result = (result.swapaxes(-1, -2) if swaps else result).reshape(shape)
    check_result(result, accumulator)
    return result
