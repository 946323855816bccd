"""Products, quotients, sums and differences of codes."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..formats import LogFormat, checked_codes, code_dtype
from ..formats.naming import named
from ..kernels import logcodes, threads
from ..kernels.modes import SAW_OVERFLOW
from ..log_rows import decisions
from ..operands import as_array
from ..parameters import check_policy
from ..rounding import Overflow, Rounding, Underflow, check_members
from .sums import Entries, SumTable, exact_entries

Codes = NDArray[Any]


class SumArrays(NamedTuple):
    """See kernels.logcodes.add."""

    moves: NDArray[np.int32]
    entries: Entries
    limits: NDArray[np.int64]


_COST = 3.0  # nanoseconds of an element


def multiply(
    a: Any,
    b: Any,
    fmt: LogFormat,
    *,
    overflow: Overflow = Overflow.SATURATE,
    underflow: Underflow = Underflow.ZERO,
) -> Codes:
    """The codes of a * b: exponents are added, exactly; codes [...] of any integer type, broadcast -> unsigned [...].

    A power beyond the largest becomes the largest (Overflow.SATURATE, PROPAGATE) or raises (ERROR); one below the
    smallest becomes what `underflow` says, however near it is.
    Errors: TypeError for codes that are not integers; ValueError for codes out of range, another Overflow;
    OverflowError under Overflow.ERROR.
    """
    return _scaled(a, b, fmt, overflow, underflow, divides=False)


def divide(
    a: Any,
    b: Any,
    fmt: LogFormat,
    *,
    overflow: Overflow = Overflow.SATURATE,
    underflow: Underflow = Underflow.ZERO,
) -> Codes:
    """The codes of a / b: exponents are subtracted, exactly; else as `multiply`. Errors: also ZeroDivisionError."""
    return _scaled(a, b, fmt, overflow, underflow, divides=True)


def add(
    a: Any,
    b: Any,
    fmt: LogFormat,
    *,
    rounding: Rounding = Rounding.RNL,
    overflow: Overflow = Overflow.SATURATE,
    underflow: Underflow = Underflow.ZERO,
    table: SumTable | None = None,
) -> Codes:
    """The codes of a + b, the exact sum of the exact powers rounded once; codes [...], broadcast -> unsigned [...].

    RNL: the code whose logarithm is nearest; there are no ties. RNE, RNA: the code whose power is nearest; ties, as
    between the doubles of two neighbours, to the even code or away from zero. RTZ, RTP, RTN, RTO: by the order of
    powers. Below the smallest magnitude the neighbours are zero and it, except for RNL, which goes to the smallest from
    half a step below it on, else to zero; SMALLEST then puts the smallest in place of that zero. A sum of equal
    numbers of opposite sign is zero always.
    table: with RNL, an approximation of the logarithm in its place, within `table.error` steps of it.
    Errors: as `multiply`; ValueError for a stochastic mode, a table of other fraction bits or with a mode but RNL.
    """
    return _summed(a, b, fmt, rounding, overflow, underflow, table, subtracts=False)


def subtract(
    a: Any,
    b: Any,
    fmt: LogFormat,
    *,
    rounding: Rounding = Rounding.RNL,
    overflow: Overflow = Overflow.SATURATE,
    underflow: Underflow = Underflow.ZERO,
    table: SumTable | None = None,
) -> Codes:
    """The codes of a - b, as `add` of the opposite number. Errors: also ValueError for an unsigned format."""
    if isinstance(fmt, LogFormat) and not fmt.signed:
        raise ValueError(f"{fmt} is unsigned and a difference may be negative: use a signed format")
    return _summed(a, b, fmt, rounding, overflow, underflow, table, subtracts=True)


def limits_of(fmt: LogFormat, underflow: Underflow, mode: Rounding = Rounding.RNL) -> NDArray[np.int64]:
    """What kernels.logcodes needs to know of a format and of the rounding of sums."""
    limits = np.zeros(7, np.int64)
    limits[logcodes.LARGEST], limits[logcodes.OCTAVE] = fmt.largest_code, 1 << fmt.fraction_bits
    limits[logcodes.SIGN] = 1 << (fmt.bits - 1) if fmt.signed else 0
    limits[logcodes.LEAST], limits[logcodes.DECISIONS] = underflow.value, decisions(mode)
    logarithmic = mode is Rounding.RNL
    limits[logcodes.SIDE], limits[logcodes.ENDS] = logcodes.LOG_SHIFT if logarithmic else 0, int(not logarithmic)
    return limits


def check_format(fmt: Any, overflow: Overflow, underflow: Any) -> Overflow:
    """Refuse what is no logarithmic format and policies that it does not have; the overflow rule as a member."""
    if not isinstance(fmt, LogFormat):
        raise TypeError(f"format {named(fmt)}: arithmetic on codes of logarithms takes a LogFormat")
    if not isinstance(underflow, Underflow):
        raise TypeError(f"underflow = {underflow!r}: give Underflow.ZERO or Underflow.SMALLEST")
    check_members(Rounding.RNE, overflow)
    check_policy(fmt, overflow)
    return overflow


def checked_mode(fmt: LogFormat, mode: Rounding, table: SumTable | None) -> Rounding:
    """The mode of sums in a format, or a sentence about what does not fit."""
    check_members(mode, Overflow.SATURATE)
    if mode.stochastic:
        raise ValueError(f"{mode.name}: sums of codes are rounded in a deterministic mode, as RNL or RNE")
    if table is None:
        return mode
    if not isinstance(table, SumTable):
        raise TypeError(f"table {named(table)}: give a SumTable, or None for exact sums")
    if mode is not Rounding.RNL:
        raise ValueError(f"a table of logarithms with {mode.name}: it stands for Rounding.RNL only")
    if table.fraction_bits != fmt.fraction_bits:
        raise ValueError(
            f"a table with {table.fraction_bits} fraction bits for {fmt}: make one with {fmt.fraction_bits}"
        )
    return mode


@lru_cache(maxsize=64)
def sum_arrays(fmt: LogFormat, mode: Rounding, underflow: Underflow, table: SumTable | None) -> SumArrays:
    """The arrays by which the kernels add in a format."""
    entries = exact_entries(fmt.fraction_bits) if table is None else table.entries
    limits = limits_of(fmt, underflow, mode)
    moves = np.empty((8, entries.shape[1]), np.int32)
    logcodes.fill_moves(entries, limits, moves)
    return SumArrays(moves, entries, limits)


def codes_of(x: Any, fmt: LogFormat, label: str) -> Codes:
    """x as an array of the format's own unsigned type, or a sentence that names it."""
    array = as_array(x, label, f"an array of codes of {fmt}")
    own = code_dtype(fmt.bits)
    if array.dtype != own or fmt.bits < 8 * own.itemsize:
        checked_codes(array, fmt.bits, f"{fmt} ({label})")
    return array.astype(own, copy=False)


def _scaled(a: Any, b: Any, fmt: LogFormat, overflow: Overflow, underflow: Underflow, *, divides: bool) -> Codes:
    rule = check_format(fmt, overflow, underflow)
    kernel, limits = logcodes.make_scale(int(divides)), limits_of(fmt, underflow)
    bias = np.int64(fmt.bias << fmt.fraction_bits)
    return _run(a, b, fmt, rule, lambda x, y, out, i, j: int(kernel(x, y, out, limits, bias, i, j)))


def _summed(
    a: Any,
    b: Any,
    fmt: LogFormat,
    rounding: Rounding,
    overflow: Overflow,
    underflow: Underflow,
    table: SumTable | None,
    *,
    subtracts: bool,
) -> Codes:
    rule = check_format(fmt, overflow, underflow)
    arrays, flip = sum_arrays(fmt, checked_mode(fmt, rounding, table), underflow, table), int(subtracts)
    return _run(a, b, fmt, rule, lambda x, y, out, i, j: int(logcodes.add(x, y, out, *arrays, flip, i, j)))


def _run(a: Any, b: Any, fmt: LogFormat, rule: Overflow, kernel: Callable[..., int]) -> Codes:
    """A kernel over two arrays of codes, broadcast against one another; raises for what it noticed."""
    left, right = codes_of(a, fmt, "a"), codes_of(b, fmt, "b")
    try:
        shape = np.broadcast_shapes(left.shape, right.shape)
    except ValueError:
        raise ValueError(f"a {left.shape} and b {right.shape} do not broadcast") from None
    x, y = (np.ascontiguousarray(np.broadcast_to(array, shape)).reshape(-1) for array in (left, right))
    out = np.empty(x.size, x.dtype)

    def part(start: int, stop: int) -> int:
        return kernel(x, y, out, start, stop)

    met = threads.run_flags(part, x.size, _COST)
    if met & logcodes.SAW_ZERO_DIVISOR:
        where = threads.first_with(part, x.size, logcodes.SAW_ZERO_DIVISOR)
        raise ZeroDivisionError(f"element {where} is divided by code {y[where]}, a zero: {fmt} has no infinity")
    if rule is Overflow.ERROR and met & SAW_OVERFLOW:
        where = threads.first_with(part, x.size, SAW_OVERFLOW)
        raise OverflowError(
            f"the result of codes {x[where]} and {y[where]} at element {where} is beyond {fmt.max}, the largest value"
            f" of {fmt}; scale the operands or choose another Overflow rule"
        )
    return out.reshape(shape)
