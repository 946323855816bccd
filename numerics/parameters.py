"""The facts of a format that compiled loops need, as a row of carrier bit patterns."""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .formats import (
    BlockFormat,
    ElementFormat,
    FixedFormat,
    FloatFormat,
    Format,
    LogFormat,
    PositFormat,
    ScaleRule,
    Subnormals,
)
from .kernels import fixed, modes, posit
from .log_rows import log_row, turns
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
        return "float32" if self.precision == 24 else "float64"

    @property
    def quantum_exponent(self) -> int:
        """Exponent of the smallest subnormal."""
        return self.emin - self.precision + 1

    def bits(self, value: float) -> int:
        """Bit pattern of a value that the carrier holds."""
        return int(self.dtype.type(value).view(self.unsigned))

    def holds(self, fmt: Format) -> bool:
        """Whether every value of the format is one of the carrier's (of blocks: every result of rounding to it)."""
        if isinstance(fmt, BlockFormat):
            return self._holds_blocks(fmt)
        if isinstance(fmt, FixedFormat):
            top, bottom = fmt.bits - 1 - fmt.fraction_bits, -fmt.fraction_bits
            return fmt.precision <= self.precision and top <= self.emax and bottom >= self.emin
        if isinstance(fmt, PositFormat):
            return fmt.precision <= self.precision and fmt.emax <= self.emax and fmt.emin >= self.emin
        if isinstance(fmt, LogFormat):  # each carrier has its own table of the powers: they must be normal in it
            f = fmt.fraction_bits
            return self.emin << f <= fmt.first_step and fmt.last_step < (self.emax + 1) << f
        return (
            fmt.precision <= self.precision
            and fmt.emax <= self.emax
            and fmt.emin - fmt.mantissa_bits >= self.quantum_exponent
        )

    def _holds_blocks(self, fmt: BlockFormat) -> bool:
        if fmt.rule is ScaleRule.RATIO:
            return True  # made of float32 operations
        low, high = fmt.scale_exponents
        element = fmt.element
        width = element.precision + int(isinstance(element, FixedFormat))
        lowest = -element.fraction_bits if isinstance(element, FixedFormat) else element.emin - element.mantissa_bits
        return (
            width <= self.precision
            and min(low, lowest, low + lowest) >= self.quantum_exponent
            and high <= self.emax
            and low + fmt.top_exponent <= self.emax
            and fmt.top_exponent <= self.emax
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


#: The types of arrays that are computed on; one in foreign byte order is none of them.
NATIVE = frozenset((FLOAT32.dtype, FLOAT64.dtype))


def check_dtype(dtype: np.dtype[Any]) -> None:
    """Refuse arrays that are not float32 or float64, with what to do."""
    if dtype in NATIVE:
        return
    raise TypeError(f"array of dtype {dtype}: give float32 or float64 ({remedy(dtype)})")


def remedy(dtype: np.dtype[Any]) -> str:
    """What to do with an array that is not float32 or float64 as the machine has them."""
    if dtype in (np.dtype(np.float32).newbyteorder(), np.dtype(np.float64).newbyteorder()):
        return "its bytes are in foreign order: x.astype(x.dtype.newbyteorder('=')) is exact"
    if dtype == np.float16 or dtype.name.startswith(("bfloat16", "float8_", "float6_", "float4_")):
        return "astype(np.float32) is exact"
    if dtype.kind in "iub":
        return "integers up to 2**53 are exact in float64"
    return "a conversion could round before us"


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
    whole_binade = fmt.subnormals in (Subnormals.NORMAL_BINADE, Subnormals.FULL_BINADE, Subnormals.NO_ZERO)
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
    row[modes.BELOW] = 0 if fmt.has_zero else row[modes.SMALLEST]
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
    if _short_code(fmt, carrier):
        same_grid = fmt.emin == carrier.emin
        below_one = fmt.emin - carrier.emin  # exponent fields of the carrier under the lowest binade's, less one
        row[modes.CODE_BASE] = (below_one << fmt.mantissa_bits) + row[modes.CODE_OFFSET]
        row[modes.CODE_NORMAL] = 0 if same_grid and gradual else carrier.bits(2.0**fmt.emin)
        row[modes.CODE_SHIFTER] = 0 if same_grid else carrier.bits(2.0 ** (fmt.emin + trailing - fmt.mantissa_bits))
    row[modes.OVER_CODE] = fmt.largest_code if over_positive == largest else fmt.infinity_code or 0
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
def fixed_row(
    fmt: FixedFormat, overflow: Overflow, random_bits: int | None, carrier: Carrier
) -> fixed.FixedRow | fixed.SaturatingRow:
    """The row of a fixed-point format: its grid as that of a format whose subnormals never end, and its limits."""
    trailing = carrier.precision - 1
    r = random_bits or 32
    row = [0] * modes.ROW_LENGTH
    row[modes.EMIN] = trailing - fmt.fraction_bits + 1 - carrier.emin + modes.OFFSET
    row[modes.QUANTUM] = carrier.bits(fmt.quantum)
    row[modes.RANDOM_MASK] = (1 << 32) - (1 << (32 - r))
    row[modes.RANDOM_SHIFT] = 32 - r
    if _saturates_in(fmt, overflow, carrier):
        ends = [fmt.min, fmt.max, 1 / fmt.quantum, float((1 << fmt.bits) - 1)]
        return fixed.SaturatingRow(_read_only(row, carrier.unsigned), _read_only(ends, carrier.dtype))
    limits = [0] * 6
    limits[fixed.LARGEST], limits[fixed.LARGEST_NEGATIVE] = fmt.largest_code, -fmt.lowest_integer
    limits[fixed.MASK] = (1 << fmt.bits) - 1
    limits[fixed.SIGN] = 1 << (fmt.bits - 1) if fmt.signed else 0
    limits[fixed.POINT] = fmt.fraction_bits % (1 << 64)
    limits[fixed.WRAPS] = int(overflow is Overflow.WRAP)
    return fixed.FixedRow(
        _read_only(row, carrier.unsigned), _read_only(limits, np.uint64), _read_only([fmt.quantum], np.float64)
    )


def _saturates_in(fmt: FixedFormat, overflow: Overflow, carrier: Carrier) -> bool:
    """Whether limits and codes can be had from values: the carrier's vectors convert to 32-bit integers only.

    The power of two whose ulp is the grid step (kernels.modes.MAGIC adds it) must be a number of the carrier too. Beyond
    it two steps become one: what is next to a lowest value there would pass for it, which only Overflow.ERROR minds.
    """
    coarsest = carrier.emax - carrier.precision + 1
    most = min(carrier.precision - int(overflow is Overflow.ERROR), 31)
    inside = fmt.precision < most and -coarsest <= fmt.fraction_bits <= carrier.emax
    return inside and overflow is not Overflow.WRAP


def _read_only(values: list[Any], dtype: Any) -> NDArray[Any]:
    array: NDArray[Any] = np.array(values, dtype)
    array.setflags(write=False)
    return array


@lru_cache(maxsize=4096)
def posit_row(fmt: PositFormat, random_bits: int | None, carrier: Carrier) -> posit.PositRow:
    """The row of a posit: where its bits are cut, its two ends, the code of NaR."""
    r = random_bits or 32
    row = [0] * modes.ROW_LENGTH
    row[modes.DROP] = carrier.precision + 4 - fmt.bits
    row[modes.SMALLEST], row[modes.LARGEST] = carrier.bits(fmt.minpos), carrier.bits(fmt.max)
    row[modes.RANDOM_MASK] = (1 << 32) - (1 << (32 - r))
    row[modes.RANDOM_SHIFT] = 32 - r
    row[modes.CODE_SIGN] = fmt.nan_code
    array = np.array(row, carrier.unsigned)
    array.setflags(write=False)
    return posit.PositRow(array)


def fast_form(fmt: ElementFormat, rounding: Rounding, carrier: Carrier, overflow: Overflow = Overflow.SATURATE) -> int:
    """A faster form of this rounding in the carrier (kernels.modes.UNIFORM or MAGIC), or 0 for the general one."""
    if isinstance(fmt, FixedFormat):
        return modes.MAGIC if _saturates_in(fmt, overflow, carrier) and not rounding.stochastic else 0
    if isinstance(fmt, LogFormat):  # in place of the mode: its decisions are in the row
        return modes.TURNS - rounding if turns(rounding) else 0
    if not isinstance(fmt, FloatFormat) or fmt.mantissa_bits == 0 or rounding in (Rounding.SR_B, Rounding.SR_C):
        return 0
    if fmt.subnormals is not Subnormals.GRADUAL:
        return modes.UNIFORM if fmt.emin > carrier.emin else 0
    if fmt.emin == carrier.emin:
        return modes.UNIFORM  # the carrier's subnormals lie on the same grid
    drop = carrier.precision - fmt.precision
    top = max(fmt.emax, fmt.emin) + drop  # of the power that is added; of subnormals alone emin is above emax
    inside = fmt.emin - fmt.mantissa_bits >= carrier.emin and drop >= 1 and top <= carrier.emax
    return modes.MAGIC if inside and not rounding.stochastic else 0


def stochastic_form(fmt: ElementFormat, rounding: Rounding, carrier: Carrier, random_bits: int | None) -> int:
    """kernels.modes.LIFTED or SHIFTED where one applies to SR of a format in the carrier, else 0."""
    if not isinstance(fmt, FloatFormat) or rounding is not Rounding.SR or random_bits is None:
        return 0
    drop = carrier.precision - fmt.precision
    if fmt.subnormals is not Subnormals.GRADUAL or drop < 1:
        return 0
    if random_bits <= drop and fmt.emin > carrier.emin:
        return modes.LIFTED
    # Subnormals of the carrier are shifted by 56 places or more: nothing of them is left in the rounder's 32 bits.
    return modes.SHIFTED if carrier is FLOAT32 and fmt.emin - carrier.emin + 1 + drop >= 56 else 0


def hasty_form(fmt: FloatFormat, mode: int, carrier: Carrier) -> int:
    """kernels.modes.HASTY where it applies to this mode and pays, else 0: close calls are one in 2**drop."""
    return modes.HASTY if mode >= 0 and mode & modes.SHIFTED and carrier.precision - fmt.precision >= 12 else 0


def _short_code(fmt: FloatFormat, carrier: Carrier) -> bool:
    shifter = fmt.emin + carrier.precision - fmt.precision
    return fmt.emin == carrier.emin or (fmt.emin > carrier.emin and shifter <= carrier.emax)


def short_code(fmt: ElementFormat, carrier: Carrier) -> int:
    """kernels.modes.SHORT_CODE where codes of the format can be had by the short way, else 0."""
    return modes.SHORT_CODE if isinstance(fmt, FloatFormat) and _short_code(fmt, carrier) else 0


def direct_code(fmt: ElementFormat, rounding: Rounding, form: int, errors: int, carrier: Carrier, row: Any) -> int:
    """kernels.modes.DIRECT_CODE where codes can be had at once with the rounding, in this form, else 0; BYTE_CODE too."""
    fits = form == modes.MAGIC + modes.PLAIN and rounding is Rounding.RNE and errors == 0
    if not isinstance(fmt, FloatFormat) or not fits:
        return 0
    if fmt.infinity_code not in (None, fmt.largest_code + 1):
        return 0
    top = fmt.emax + 1 + carrier.precision - fmt.precision  # exponent of the shifter for what is cut at the next value
    over = int(row[modes.OVER_CODE]) - fmt.largest_code in (0, 1)
    byte = carrier is FLOAT32 and fmt.bits <= 8 and fmt.emin <= fmt.emax and top <= carrier.emax and over
    return modes.DIRECT_CODE + modes.BYTE_CODE * byte


def plain_end(fmt: ElementFormat, row: Any) -> int:
    """kernels.modes.PLAIN where it applies to this row, else 0."""
    if not isinstance(fmt, FloatFormat) or not fmt.has_negative_zero:
        return 0
    ends = {int(row[modes.OVER_POSITIVE]), int(row[modes.OVER_NEGATIVE]), int(row[modes.INFINITE])}
    infinity = (FLOAT32 if row.dtype == np.uint32 else FLOAT64).bits(float("inf"))
    return modes.PLAIN if len(ends) == 1 and max(ends) <= infinity else 0


def clamped_end(form: int, row: Any) -> int:
    """kernels.modes.CLAMPED where it applies to this row and form, else 0."""
    return modes.CLAMPED if form & modes.PLAIN and row[modes.OVER_POSITIVE] == row[modes.LARGEST] else 0


def loop_row(
    fmt: ElementFormat, rounding: Rounding, overflow: Overflow, random_bits: int | None, carrier: Carrier
) -> tuple[Any, bool]:
    """(row for the elementwise loops, whether carrier subnormals must be normalised), for any family."""
    if isinstance(fmt, FixedFormat):
        return fixed_row(fmt, overflow, random_bits, carrier), False
    if isinstance(fmt, PositFormat):
        return posit_row(fmt, random_bits, carrier), False
    if isinstance(fmt, LogFormat):
        return log_row(fmt, rounding, random_bits, carrier), False
    return parameter_row(fmt, rounding, overflow, random_bits, carrier), needs_normalising(fmt, carrier)


def check_policy(fmt: Format, overflow: Overflow) -> None:
    """Refuse an overflow rule that the format cannot express."""
    if isinstance(fmt, BlockFormat):
        if overflow is Overflow.WRAP:
            raise ValueError(f"Overflow.WRAP is for fixed point alone: {fmt} scales its elements; use SATURATE")
        check_policy(fmt.element, overflow)
        return
    if isinstance(fmt, FixedFormat):
        if overflow is Overflow.IEEE:
            raise ValueError(f"{fmt} has neither infinity nor NaN for Overflow.IEEE: use SATURATE, WRAP or ERROR")
        if overflow is Overflow.WRAP and fmt.symmetric:
            raise ValueError(f"{fmt} is symmetric, one code is unused, so Overflow.WRAP has no meaning: use SATURATE")
        return
    if overflow is Overflow.WRAP:
        kind = {PositFormat: "posit", LogFormat: "log format"}.get(type(fmt), "float format")
        raise ValueError(f"Overflow.WRAP is for fixed point: {fmt} is a {kind}; use SATURATE, PROPAGATE, IEEE or ERROR")
    if overflow is Overflow.IEEE and not fmt.infinities and not fmt.has_nan:
        raise ValueError(f"{fmt} has neither infinity nor NaN for Overflow.IEEE: use SATURATE, PROPAGATE or ERROR")


def check_rounding(fmt: Format, rounding: Rounding) -> None:
    """Refuse a rounding mode that the format does not have."""
    if rounding is Rounding.RNL and not isinstance(fmt, LogFormat):
        raise ValueError(f"Rounding.RNL is nearest in the log domain, for a LogFormat: {fmt} is none; use RNE or RNA")
