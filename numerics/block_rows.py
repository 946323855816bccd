"""The facts of a block format that compiled loops need: rows of bit patterns, the scale rule as integers, limits."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from .formats import BlockFormat, FixedFormat, FloatFormat, NanEncoding, ScaleRule, Subnormals
from .kernels import block_elements, modes
from .parameters import FLOAT32, Carrier, fast_form, parameter_row, plain_end, stochastic_form
from .rounding import Overflow, Rounding

_FLOAT32_MAX = float(np.finfo(np.float32).max)
_NEVER = 1 << 40  # an exponent that no scale has


class Compiled(NamedTuple):
    """The row and the compile-time choices of a loop over blocks."""

    row: block_elements.BlockRow
    scale_form: int
    form: int
    integers: int
    saturates: int


def element_grid(element: FloatFormat | FixedFormat) -> FloatFormat:
    """The float format whose grid an element's is: a fixed-point element is all subnormals."""
    if isinstance(element, FloatFormat):
        return element
    bias = 1 - element.precision + element.fraction_bits
    return FloatFormat(0, element.precision, bias, signed=element.signed, infinities=False, nan=NanEncoding.NONE)


@lru_cache(maxsize=4096)
def compiled_row(
    fmt: BlockFormat, rounding: Rounding, overflow: Overflow, random_bits: int | None, carrier: Carrier
) -> Compiled:
    """What the loop needs to know of a format in an array of this type."""
    ratio = fmt.rule is ScaleRule.RATIO
    lanes = FLOAT32 if ratio else carrier
    grid, element = element_grid(fmt.element), fmt.element
    integers = isinstance(element, FixedFormat)
    row = parameter_row(grid, rounding, overflow, random_bits, lanes).copy()
    rule = [0] * block_elements.RULE_LENGTH
    if isinstance(element, FixedFormat):
        row[modes.CODE_SIGN] = 0
        rule[block_elements.LOWER] = lanes.bits(abs(element.min))
        rule[block_elements.CODE_MASK] = (1 << element.bits) - 1
    infinity = lanes.bits(float("inf"))
    rule[block_elements.ELEMENT_NAN] = int(element.has_nan)
    rule[block_elements.SCALE_NAN] = int(fmt.scale.has_nan)
    rule[block_elements.COUNTS_INFINITY] = int(row[modes.INFINITE] < infinity)
    if ratio:
        form = fast_form(grid, rounding, lanes)
        if not integers:
            form = form or stochastic_form(grid, rounding, lanes, random_bits) & modes.LIFTED
        scale_row = parameter_row(fmt.scale, Rounding.RNE, Overflow.SATURATE, None, FLOAT32).copy()
        if not fmt.tensor_scale:
            largest = FLOAT32.bits(_largest_scale(fmt))
            scale_row[[modes.LARGEST, modes.OVER_POSITIVE, modes.INFINITE]] = largest
    else:
        scale_row = row
        form = _power_rule(fmt, grid, rounding, carrier, rule)
        if not integers and rounding is Rounding.SR and grid.subnormals is Subnormals.GRADUAL:
            # In the range of the fast rule a quantum is a normal of the carrier, and so is the lowest binade.
            assert random_bits is not None
            form = modes.LIFTED if random_bits <= carrier.precision - grid.precision else form
    plainly = bool(form & modes.MAGIC) and overflow is Overflow.SATURATE and grid.has_negative_zero
    saturates = int(plainly and not (integers and ratio))
    if form and not (saturates or integers):
        form += plain_end(grid, row)
    arrays = row, scale_row, np.array(rule, np.int64), np.array([element.max], np.float32 if ratio else np.float64)
    for array in arrays:
        array.setflags(write=False)
    scale_form = fast_form(fmt.scale, Rounding.RNE, FLOAT32) & modes.MAGIC if ratio else 0
    return Compiled(block_elements.BlockRow(*arrays), scale_form, form, int(integers), saturates)


def _power_rule(fmt: BlockFormat, grid: FloatFormat, rounding: Rounding, carrier: Carrier, rule: list[int]) -> int:
    """Fill in how the exponent of the scale follows from the maximum; the faster form of the rounding, or 0."""
    trailing = carrier.precision - 1
    low, high = power_range(fmt, carrier)
    rule[block_elements.ADDED] = _added(fmt, trailing)
    rule[block_elements.BASE] = 1 - carrier.emin + fmt.element_emax
    rule[block_elements.LOWEST], rule[block_elements.HIGHEST] = low, high
    drop = carrier.precision - grid.precision
    gradual = grid.subnormals is Subnormals.GRADUAL
    lowest = grid.emin - grid.mantissa_bits if gradual else grid.emin - 1  # of what must be a normal of the carrier
    magic = gradual and grid.mantissa_bits > 0 and drop >= 1 and not rounding.stochastic
    # Of a subnormal maximum the exponent field does not say its exponent, and with a carry it reads as emin.
    seen = carrier.emin + int(rule[block_elements.ADDED] != 0) - fmt.element_emax
    rule[block_elements.FAST_LOWEST] = max(low, carrier.emin - lowest, seen)
    top = max(fmt.element_emax, grid.emin) + drop if magic else fmt.element_emax  # MAGIC: of the power that it adds
    rule[block_elements.FAST_HIGHEST] = min(high, carrier.emax - top)
    if lowest < carrier.emin or rule[block_elements.FAST_HIGHEST] < rule[block_elements.FAST_LOWEST]:
        rule[block_elements.FAST_LOWEST] = rule[block_elements.FAST_HIGHEST] = _NEVER
    return modes.MAGIC if magic else 0


def _added(fmt: BlockFormat, trailing: int) -> int:
    """Bits added to the maximum's, so that its exponent field becomes that of the rule: a carry out of the fraction."""
    if fmt.rule is ScaleRule.FLOOR:
        return 0
    if fmt.rule is ScaleRule.CEIL:
        return (1 << trailing) - 1
    if fmt.rule is ScaleRule.EVEN:
        grid = element_grid(fmt.element)
        kept = min(grid.mantissa_bits, fmt.element_emax - grid.emin + grid.mantissa_bits)  # below the leading bit
        return (1 << (trailing - kept)) >> 1
    fraction = fmt.element.max / 2.0**fmt.element_emax - 1.0
    return (1 << trailing) - 1 - int(fraction * 2.0**trailing)


def power_range(fmt: BlockFormat, carrier: Carrier) -> tuple[int, int]:
    """Exponents of the smallest and the largest scale in an array of this type."""
    low, high = fmt.scale_exponents
    return low, min(high, carrier.emax - fmt.top_exponent)


def _largest_scale(fmt: BlockFormat) -> float:
    """The largest scale under which every value fits float32; codes are ordered as their values."""
    low, high = 0, fmt.scale.largest_code
    while low < high:
        middle = (low + high + 1) // 2
        fits = fmt.scale.decode(middle) * fmt.largest_element <= _FLOAT32_MAX
        low, high = (middle, high) if fits else (low, middle - 1)
    return float(fmt.scale.decode(low))


@lru_cache(maxsize=256)
def largest_tensor_scale(fmt: BlockFormat) -> float:
    """The largest tensor scale under which every value fits float32."""
    # Neither d = scale * s nor element * d may overflow: an element below 1 leaves the limit to d.
    limit = min(_FLOAT32_MAX, _FLOAT32_MAX / (fmt.scale.max * max(fmt.largest_element, 1.0)))
    scale = np.float32(limit)
    for _ in range(2):  # where d rounds down
        scale = min(np.nextafter(scale, np.float32(np.inf)), np.float32(_FLOAT32_MAX))
    with np.errstate(over="ignore"):
        while float(np.float32(fmt.scale.max) * scale) * fmt.largest_element > _FLOAT32_MAX:
            scale = np.nextafter(scale, np.float32(0))
    return float(scale)


def tensor_scale(fmt: BlockFormat, amax: float) -> np.float32:
    """Scale of the whole array from its largest magnitude: one float32 quotient, for float32 and float64 alike."""
    if not fmt.tensor_scale:
        return np.float32(1)
    # The divisor has at most 28 bits, so that rounding the float64 quotient to float32 is one rounding.
    quotient = min(amax / (fmt.element.max * fmt.scale.max), _FLOAT32_MAX)
    return min(np.float32(quotient), np.float32(largest_tensor_scale(fmt)))
