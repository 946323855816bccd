"""The facts of a format that compiled loops need, as a row of carrier bit patterns."""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .formats import ElementFormat, FixedFormat, FloatFormat, NanEncoding, Subnormals
from .kernels import fixed, modes
from .rounding import Overflow, Rounding


class Carrier(NamedTuple):
    """A float type in which values travel: float32 or float64."""

    dtype: np.dtype[Any]
    unsigned: np.dtype[Any]
    precision: int
    emin: int
    emax: int

    @property
    def name(self) -> str:
        """float32 or float64."""
        return str(self.dtype)

    @property
    def quantum_exponent(self) -> int:
        """Exponent of the smallest subnormal."""
        return self.emin - self.precision + 1

    def bits(self, value: float) -> int:
        """Bit pattern of a value that the carrier holds."""
        return int(self.dtype.type(value).view(self.unsigned))

    def holds(self, fmt: ElementFormat) -> bool:
        """Whether every value of the format is one of the carrier's."""
        if isinstance(fmt, FixedFormat):
            top, bottom = fmt.bits - 1 - fmt.fraction_bits, -fmt.fraction_bits
            return fmt.precision <= self.precision and top <= self.emax and bottom >= self.emin
        return (
            fmt.precision <= self.precision
            and fmt.emax <= self.emax
            and fmt.emin - fmt.mantissa_bits >= self.quantum_exponent
        )

    def is_format(self, fmt: FloatFormat) -> bool:
        """Whether the format's finite values are exactly the carrier's."""
        return (
            fmt.precision == self.precision
            and (fmt.emin, fmt.emax) == (self.emin, self.emax)
            and fmt.subnormals is Subnormals.GRADUAL
            and fmt.has_negative_zero
        )


FLOAT32 = Carrier(np.dtype(np.float32), np.dtype(np.uint32), 24, -126, 127)
FLOAT64 = Carrier(np.dtype(np.float64), np.dtype(np.uint64), 53, -1022, 1023)


def carrier_of(dtype: np.dtype[Any]) -> Carrier:
    """The carrier of a float32 or float64 array."""
    return FLOAT32 if dtype == np.float32 else FLOAT64


def needs_normalising(fmt: FloatFormat, carrier: Carrier) -> bool:
    """Whether carrier subnormals must be taken at their own exponent: the grid is finer than the carrier's there."""
    if fmt.subnormals is Subnormals.GRADUAL:
        return fmt.emin < carrier.emin
    return fmt.emin <= carrier.emin


@lru_cache(maxsize=4096)
def parameter_row(
    fmt: FloatFormat,
    rounding: Rounding,
    overflow: Overflow,
    random_bits: int | None,
    carrier: Carrier,
    keep_infinity: bool = False,
) -> NDArray[Any]:
    """The read-only row of modes.ROW_LENGTH bit patterns, uint32 or uint64, for a format that the carrier holds.

    keep_infinity: an infinity that comes in is the mark of an overflow that will be reported, and stays what it is.
    """
    trailing = carrier.precision - 1
    infinity, quiet_nan = carrier.bits(float("inf")), carrier.bits(float("nan"))
    largest = carrier.bits(fmt.max)
    offset = 1 - carrier.emin + modes.OFFSET
    whole_binade = fmt.subnormals in (Subnormals.NORMAL_BINADE, Subnormals.FULL_BINADE)
    gradual = fmt.subnormals is Subnormals.GRADUAL
    no_mantissa = fmt.mantissa_bits == 0
    over_positive, over_negative, infinite = _overflow_bits(fmt, rounding, overflow, largest, infinity, quiet_nan)
    infinite = infinity if keep_infinity else infinite
    r = random_bits or 32

    row = [0] * modes.ROW_LENGTH
    row[modes.DROP] = trailing - fmt.mantissa_bits
    row[modes.EMIN] = fmt.emin + offset if gradual else 0
    row[modes.PARITY] = int(no_mantissa)
    row[modes.PARITY_EMIN] = fmt.emin + offset - int(whole_binade and no_mantissa)
    row[modes.QUANTUM] = carrier.bits(fmt.smallest_subnormal) if gradual else 0
    row[modes.SMALLEST] = 0 if gradual else carrier.bits(fmt.smallest_normal)
    row[modes.LARGEST] = largest
    row[modes.OVER_POSITIVE], row[modes.OVER_NEGATIVE], row[modes.INFINITE] = over_positive, over_negative, infinite
    row[modes.SIGNED_ZERO] = carrier.bits(-0.0) if fmt.has_negative_zero else 0
    row[modes.RANDOM_MASK] = (1 << 32) - (1 << (32 - r))
    row[modes.RANDOM_SHIFT] = 32 - r
    row[modes.CODE_EMIN] = fmt.emin + offset
    row[modes.CODE_MANTISSA] = fmt.mantissa_bits
    row[modes.CODE_OFFSET] = 1 << fmt.mantissa_bits if whole_binade else 0
    row[modes.CODE_SIGN] = 1 << (fmt.bits - 1) if fmt.signed else 0
    row[modes.CODE_INFINITY] = fmt.infinity_code or 0
    row[modes.CODE_NAN] = fmt.nan_code or 0
    row[modes.UNCODED] = carrier.bits(fmt.smallest_normal) if fmt.subnormals is Subnormals.FULL_BINADE else 0
    array: NDArray[Any] = np.array(row, dtype=carrier.unsigned)
    array.setflags(write=False)
    return array


def _overflow_bits(
    fmt: FloatFormat, rounding: Rounding, overflow: Overflow, largest: int, infinity: int, quiet_nan: int
) -> tuple[int, int, int]:
    """What a positive overflow, a negative overflow and an infinity become, as magnitude bits."""
    kept = infinity if fmt.infinities else (quiet_nan if overflow is not Overflow.PROPAGATE else largest)
    if overflow is Overflow.SATURATE:
        return largest, largest, largest
    if overflow is Overflow.PROPAGATE:
        return largest, largest, kept
    if overflow is Overflow.ERROR:
        # Never a result: the loop reports it and the caller raises. An infinity stays where the format has one.
        return infinity, infinity, kept
    inward = {
        Rounding.RTZ: (True, True),
        Rounding.RTO: (True, True),
        Rounding.RTP: (False, True),
        Rounding.RTN: (True, False),
    }.get(rounding, (False, False))
    return largest if inward[0] else kept, largest if inward[1] else kept, kept


@lru_cache(maxsize=4096)
def fixed_row(fmt: FixedFormat, overflow: Overflow, random_bits: int | None, carrier: Carrier) -> fixed.FixedRow:
    """The row of a fixed-point format: its grid as that of a format whose subnormals never end, and its limits."""
    trailing = carrier.precision - 1
    r = random_bits or 32
    row = [0] * modes.ROW_LENGTH
    row[modes.EMIN] = trailing - fmt.fraction_bits + 1 - carrier.emin + modes.OFFSET
    row[modes.QUANTUM] = carrier.bits(fmt.quantum)
    row[modes.RANDOM_MASK] = (1 << 32) - (1 << (32 - r))
    row[modes.RANDOM_SHIFT] = 32 - r
    limits = [0] * 6
    limits[fixed.LARGEST], limits[fixed.LARGEST_NEGATIVE] = fmt.largest_code, -fmt.lowest_integer
    limits[fixed.MASK] = (1 << fmt.bits) - 1
    limits[fixed.SIGN] = 1 << (fmt.bits - 1) if fmt.signed else 0
    limits[fixed.POINT] = fmt.fraction_bits % (1 << 64)
    limits[fixed.WRAPS] = int(overflow is Overflow.WRAP)
    arrays = np.array(row, carrier.unsigned), np.array(limits, np.uint64), np.array([fmt.quantum])
    for array in arrays:
        array.setflags(write=False)
    return fixed.FixedRow(*arrays)


def loop_row(
    fmt: ElementFormat, rounding: Rounding, overflow: Overflow, random_bits: int | None, carrier: Carrier
) -> tuple[Any, bool]:
    """(row for the elementwise loops, whether carrier subnormals must be normalised), for any family."""
    if isinstance(fmt, FixedFormat):
        return fixed_row(fmt, overflow, random_bits, carrier), False
    return parameter_row(fmt, rounding, overflow, random_bits, carrier), needs_normalising(fmt, carrier)


def check_policy(fmt: ElementFormat, overflow: Overflow) -> None:
    """Refuse an overflow rule that the format cannot express."""
    if isinstance(fmt, FixedFormat):
        if overflow is Overflow.IEEE:
            raise ValueError(f"{fmt} has neither infinity nor NaN for Overflow.IEEE: use SATURATE, WRAP or ERROR")
        return
    if overflow is Overflow.WRAP:
        raise ValueError(
            f"Overflow.WRAP is for fixed point: {fmt} is a float format; use SATURATE, PROPAGATE, IEEE or ERROR"
        )
    if overflow is Overflow.IEEE and not fmt.infinities and fmt.nan is NanEncoding.NONE:
        raise ValueError(f"{fmt} has neither infinity nor NaN for Overflow.IEEE: use SATURATE, PROPAGATE or ERROR")
