"""What compiled loops need to know of a logarithmic format: the steps of an octave, and where each mode turns."""

from bisect import bisect_right
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .formats import FloatFormat, LogFormat, NanEncoding
from .formats.powers import geometric_means, power_floor, significands
from .kernels import logchain, logscale, modes
from .rounding import Rounding

if TYPE_CHECKING:
    from .parameters import Carrier


@lru_cache(maxsize=16)
def decisions(mode: Rounding) -> int:
    """`kernels.logscale.decisions`: the rounder's answers to a deterministic mode."""
    return logscale.decisions(int(mode))


def turns(rounding: Rounding) -> bool:
    """Whether a mode's decisions are turning points, at most one in a bucket (RTO: two at every other step)."""
    return not rounding.stochastic and rounding is not Rounding.RTO


@lru_cache(maxsize=256)
def as_float(fmt: LogFormat) -> FloatFormat | None:
    """The float format with the same values and codes: powers of two are floats without mantissa bits, else None.

    It has a NaN where it is signed, which keeps it from having a -0; a NaN that comes in is refused all the same.
    """
    if fmt.fraction_bits:
        return None
    nan = NanEncoding.NEGATIVE_ZERO if fmt.signed else NanEncoding.NONE
    return FloatFormat(fmt.integer_bits, 0, fmt.bias, signed=fmt.signed, infinities=False, nan=nan)


@lru_cache(maxsize=4096)
def log_row(
    fmt: LogFormat, rounding: Rounding, random_bits: int | None, carrier: "Carrier"
) -> logscale.LogRow | logscale.TurnsRow | logchain.ChainRow:
    """The row of a logarithmic format for the elementwise loops."""
    trailing, f = carrier.precision - 1, fmt.fraction_bits
    r = random_bits or 32
    row = [0] * modes.ROW_LENGTH
    row[modes.RANDOM_MASK] = (1 << 32) - (1 << (32 - r))
    row[modes.RANDOM_SHIFT] = 32 - r
    steps = significands(f, carrier.precision)
    limits = [0] * 6
    limits[logscale.FRACTION_BITS], limits[logscale.OCTAVE] = f, 1 - carrier.emin - fmt.bias
    limits[logscale.LARGEST], limits[logscale.SIGN] = fmt.largest_code, 1 << (fmt.bits - 1) if fmt.signed else 0
    starts = [(1 << trailing) + (bucket << (trailing - f - 1)) for bucket in range(2 << f)]
    if not turns(rounding):
        guess = [bisect_right(steps, start) - 1 for start in starts]
        return logscale.LogRow(*_read_only((row, steps, guess, limits), carrier))
    if chained(fmt, rounding):
        return _chain_row(fmt, rounding, row, carrier)
    limits[logscale.BOTTOM], limits[logscale.BOTTOM_NEGATIVE] = (_bottom(fmt, rounding, n, carrier) for n in (0, 1))
    table = [_turns(f, rounding, case >> 1, case & 1, starts, carrier.precision) for case in range(4)]
    return logscale.TurnsRow(*_read_only((row, steps, table, limits), carrier))


def chained(fmt: LogFormat, rounding: Rounding) -> bool:
    """Whether a chain of comparisons does: few steps, and one set of turning points for both signs and all octaves."""
    everywhere = rounding in (Rounding.RNE, Rounding.RNA, Rounding.RTZ)  # a single step has odd and even octaves
    return 1 << fmt.fraction_bits <= logchain.LENGTH and (
        rounding is Rounding.RNL or (everywhere and fmt.fraction_bits > 0)
    )


def _chain_row(fmt: LogFormat, rounding: Rounding, row: list[int], carrier: "Carrier") -> logchain.ChainRow:
    trailing, f = carrier.precision - 1, fmt.fraction_bits
    steps = significands(f, carrier.precision)
    points = list(geometric_means(f, carrier.precision))
    if rounding is not Rounding.RNL:
        points = [_turning_point(*pair, rounding, 0, j & 1) for j, pair in enumerate(pairwise(steps))]
    octave = 1 - carrier.emin - fmt.bias  # the exponent field of the octave of code 0

    def bits(code: int) -> int:
        return (octave + (code >> f) << trailing) + steps[code & ((1 << f) - 1)] - steps[0]

    ends = [0] * 7
    ends[logchain.SMALLEST], ends[logchain.LARGEST] = bits(1), bits(fmt.largest_code)
    ends[logchain.BOTTOM] = _bottom(fmt, rounding, 0, carrier)
    if rounding is Rounding.RNL and octave > 0:  # the turning point above the power that would be code 0
        ends[logchain.BOTTOM] = bits(0) - steps[0] + points[0]
    ends[logchain.OVER] = bits(fmt.largest_code) - steps[-2] + points[-1]
    ends[logchain.FRACTION_BITS], ends[logchain.OCTAVE] = f, octave % (1 << carrier.dtype.itemsize * 8)
    ends[logchain.SIGN] = 1 << (fmt.bits - 1) if fmt.signed else 0
    unreached = [(1 << trailing + 1) - 1] * (logchain.LENGTH - len(points))
    fractions = [[v - steps[0] for v in part] + unreached for part in (points, steps[1:])]
    arrays = [np.array(part, carrier.unsigned) for part in (row, *fractions, ends)]
    for array in arrays:
        array.setflags(write=False)
    return logchain.ChainRow(*arrays)


def _read_only(values: tuple[Any, ...], carrier: "Carrier") -> list[NDArray[Any]]:
    arrays = [np.array(v, t) for v, t in zip(values, (*[carrier.unsigned] * 3, np.dtype(np.int64)), strict=True)]
    for array in arrays:
        array.setflags(write=False)
    return arrays


def _says_up(rounding: Rounding, side: int, negative: int, odd: int) -> bool:
    return bool(decisions(rounding) >> (side << 2 | negative << 1 | odd) & 1)


def _turning_point(lower: int, upper: int, rounding: Rounding, negative: int, odd: int) -> int:
    """The least integer above `lower` that goes to `upper`."""
    if _says_up(rounding, logscale.BEFORE, negative, odd):
        return lower + 1
    if _says_up(rounding, logscale.AT, negative, odd):
        return (lower + upper + 1) // 2
    return (lower + upper) // 2 + 1 if _says_up(rounding, logscale.PAST, negative, odd) else upper


def _turns(f: int, rounding: Rounding, negative: int, odd: int, starts: list[int], precision: int) -> list[int]:
    """An entry for each bucket, in an octave whose first code is odd or even."""
    steps, width = significands(f, precision), starts[1] - starts[0]
    points = list(geometric_means(f, precision))
    if rounding is not Rounding.RNL:
        pairs = enumerate(pairwise(steps))
        points = [_turning_point(*pair, rounding, negative, (odd + j) & 1) for j, pair in pairs]
    entries = []
    for start in starts:
        count, inside = bisect_right(points, start), bisect_right(points, start + width - 1)
        assert inside - count <= 1
        entries.append(count + logscale.TURN * (points[count] - start if inside > count else width))
    return entries


def _bottom(fmt: LogFormat, rounding: Rounding, negative: int, carrier: "Carrier") -> int:
    """Bits of the least magnitude that goes to the smallest value."""
    f, trailing = fmt.fraction_bits, carrier.precision - 1
    octave, j = divmod(fmt.first_step, 1 << f)
    significand, field = significands(f, carrier.precision)[j], octave - carrier.emin + 1
    smallest = (field << trailing) + significand - (1 << trailing)
    if rounding is Rounding.RNL:
        # The turning point below the smallest value is in the table, but where the carrier's subnormals begin there.
        subnormal = power_floor(2 * fmt.first_step - 1, f + 1, trailing - carrier.emin) + 1
        return subnormal if fmt.first_step == carrier.emin << f else smallest
    if _says_up(rounding, logscale.BEFORE, negative, 0):
        return 1
    doubled = 2 * (smallest - (1 << trailing)) if field > 1 else significand  # twice the bits of a half of it
    if _says_up(rounding, logscale.AT, negative, 0):
        return (doubled + 1) // 2
    return doubled // 2 + 1 if _says_up(rounding, logscale.PAST, negative, 0) else smallest
