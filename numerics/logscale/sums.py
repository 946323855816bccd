"""Where the sum and the difference of two powers lie among the powers: exact tables, and the smaller ones of hardware.

With y = 2**(2**-f) and d the difference of the exponents in steps, y**k +- y**(k - d) is y**k (1 +- y**-d). Its binary
logarithm is drawn digit by digit by squaring an interval of integers that encloses it; where the two ends would give
different digits the interval is drawn again, narrower.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..formats.integers import keep_whole
from ..formats.powers import power_floor
from ..kernels.logcodes import LOG_SHIFT, PLACE_SHIFT
from ..kernels.logscale import AT, BEFORE, ON, PAST

Interval = tuple[int, int]
_BITS = 128  # of an interval at first
_ERROR_BITS = 20  # of an error's logarithm after the point


#: int32 [2, n]: entries of kernels.logcodes for d = 0 ... n - 1, of which the last holds for every larger d; the first
#: row for sums, the second for differences.
Entries = NDArray[np.int32]


@lru_cache(maxsize=32)
def _roots(f: int, bits: int) -> tuple[int, ...]:
    return tuple(power_floor(j, f, bits) for j in range(1 << f))


def _power(exponent: int, f: int, bits: int) -> Interval:
    """y**exponent times 2**bits, rounded down and up."""
    octave, part = divmod(exponent, 1 << f)
    root = _roots(f, bits)[part]
    if octave >= 0:
        return root << octave, (root + (part != 0)) << octave
    low = root >> -octave
    return low, low + (part != 0 or low << -octave != root)


def _sum(d: int, subtracts: bool, f: int, bits: int) -> Interval:
    low, high = _power(-d, f, bits)
    one = 1 << bits
    return (one - high, one - low) if subtracts else (one + low, one + high)


def _floor_log2(x: Interval, bits: int, digits: int) -> int | None:
    """floor(2**digits * log2(x / 2**bits)), None where the two ends of the interval disagree."""
    low, high = x
    length = low.bit_length()
    if low <= 0 or length != high.bit_length():
        return None
    result, shift = length - 1 - bits, bits + 1 - length
    low, high = (low << shift, high << shift) if shift >= 0 else (low >> -shift, -(-high >> -shift))
    for _ in range(digits):
        low, high = low * low >> bits, -(-high * high >> bits)
        digit = low >> (bits + 1)
        if digit != high >> (bits + 1):
            return None
        result = 2 * result + digit
        if digit:
            low, high = low >> 1, -(-high >> 1)
    return result


def _logarithm(d: int, subtracts: bool, f: int, digits: int) -> int:
    """floor(2**digits * log2(1 +- y**-d)) where that is not a whole number, else it."""
    if not subtracts and d == 0:
        return 1 << digits
    if subtracts and d == 1 << f:
        return -1 << digits
    bits = _BITS
    while True:
        found = _floor_log2(_sum(d, subtracts, f, bits), bits, digits)
        if found is not None:
            return found
        bits *= 2


def _value_side(d: int, subtracts: bool, f: int, place: int) -> int:
    """On which side of the mean of y**place and y**(place + 1) the sum is.

    It is at the mean, for f > 0, exactly where neighbours are added: 1 + 1/y = (y**(2**f - 1) + y**(2**f)) / 2. (The
    powers 1, y, ... y**(2**f - 1) are independent over the rationals, so coefficients can be compared.) For f = 0
    powers and intervals are exact.
    """
    if f and d == 1 and not subtracts:
        return AT
    bits = _BITS
    while True:
        low, high = (2 * end for end in _sum(d, subtracts, f, bits))
        (low_here, high_here), (low_next, high_next) = _power(place, f, bits), _power(place + 1, f, bits)
        if high < low_here + low_next:
            return BEFORE
        if low > high_here + high_next:
            return PAST
        if low == high == low_here + low_next == high_here + high_next:
            return AT
        bits *= 2


def _entry(d: int, subtracts: bool, f: int) -> int:
    exact = (d == 1 << f) if subtracts else d == 0
    halves = _logarithm(d, subtracts, f, f + 1)
    place = halves >> 1
    if exact:
        return place << PLACE_SHIFT | ON << LOG_SHIFT | ON
    log_side = PAST if halves & 1 else BEFORE  # never at: y**(place + 1/2) has twice the degree that the sum has
    return place << PLACE_SHIFT | log_side << LOG_SHIFT | _value_side(d, subtracts, f, place)


def _column(f: int, subtracts: bool) -> NDArray[np.int32]:
    place, side = (-1, PAST) if subtracts else (0, BEFORE)
    far = place << PLACE_SHIFT | side << LOG_SHIFT | side  # what a summand too small to matter leaves
    entries = [0] if subtracts else [_entry(0, False, f)]  # a difference of equals is zero and not looked up
    while entries[-1] != far or len(entries) == 1:
        entries.append(_entry(len(entries), subtracts, f))
    return np.array(entries, np.int32)


@lru_cache(maxsize=9)
def exact_entries(f: int) -> Entries:
    """The table that decides every sum of a format with f fraction bits."""
    columns = [_column(f, subtracts) for subtracts in (False, True)]
    size = max(column.size for column in columns)
    entries = np.stack([np.pad(column, (0, size - column.size), mode="edge") for column in columns])
    entries.setflags(write=False)
    return entries


class LogError(NamedTuple):
    """Largest distance of a table's entry from the logarithm, in steps of 2**-fraction_bits, rounded up."""

    add: float
    subtract: float


@dataclass(frozen=True)
class SumTable:
    """The logarithm of 1 +- 2**(-d/2**f) from a table whose address leaves out the low bits of the difference d.

    Differences under full_below have an entry each. From there on the dropped_bits low bits of d are not looked at: all
    differences that agree above them share the entry of their middle, the one with those bits 1, 0, 0, ... The entry of
    a d is the logarithm in steps of 2**-fraction_bits, to nearest. A result is then within `error` of the exact
    logarithm; with dropped_bits = 0 the table is the exact one of Rounding.RNL and within half a step.
    Errors: ValueError for fraction_bits outside 0 to 8, dropped_bits outside 0 to 12, full_below < 0.
    """

    fraction_bits: int
    dropped_bits: int = 0
    full_below: int = 0

    def __post_init__(self) -> None:
        limits = {"fraction_bits": 8, "dropped_bits": 12, "full_below": 1 << 24}
        for label, most in limits.items():
            value = keep_whole(self, label)
            if value is None or not 0 <= value <= most:
                raise ValueError(f"{label} = {getattr(self, label)!r}: give an integer from 0 to {most}")

    def _asked(self, d: NDArray[np.int64]) -> NDArray[np.int64]:
        half = (1 << self.dropped_bits) >> 1
        return np.where(d < self.full_below, d, d >> self.dropped_bits << self.dropped_bits | half)

    @cached_property
    def _range(self) -> int:
        """Differences from here on have entries of zero."""
        return int(exact_entries(self.fraction_bits).shape[1]) + (1 << self.dropped_bits)

    @cached_property
    def entries(self) -> Entries:
        """The table with an entry for each difference, in the form that the kernels read."""
        exact = exact_entries(self.fraction_bits)
        asked = self._asked(np.arange(self._range))
        taken = exact[:, np.minimum(asked, exact.shape[1] - 1)]
        nearest = (taken >> PLACE_SHIFT) + ((taken >> LOG_SHIFT & 3) == PAST)
        entries: Entries = (nearest << PLACE_SHIFT).astype(np.int32)
        entries.setflags(write=False)
        return entries

    @cached_property
    def size(self) -> int:
        """Stored entries: different addresses of entries that are not zero, of both tables."""
        count = 0
        for column in self.entries:
            asked = self._asked(np.flatnonzero(column))
            count += np.unique(asked).size
        return count

    @cached_property
    def error(self) -> LogError:
        """The largest error of a sum and of a difference whose result is in range."""
        found = []
        for subtracts, column in zip((False, True), self.entries, strict=True):
            digits = self.fraction_bits + _ERROR_BITS
            worst = 0
            for d in range(int(subtracts), self._range):
                below = _logarithm(d, subtracts, self.fraction_bits, digits)
                entry = int(column[d]) >> PLACE_SHIFT << _ERROR_BITS
                worst = max(worst, abs(entry - below), abs(entry - below - 1))
            found.append(worst / (1 << _ERROR_BITS))
        return LogError(*found)
