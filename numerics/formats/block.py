"""BlockFormat: elements that share a scale, block by block; and the codes of an array of them."""

import math
from dataclasses import dataclass, field
from enum import Enum
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .fixed import FixedFormat
from .floats import FloatFormat, Subnormals
from .integers import check_flags, check_texts, keep_whole
from .naming import named
from .spelling import spelled

_LARGEST_FLOAT32 = float(np.finfo(np.float32).max)


class ScaleRule(Enum):
    """How the scale of a block follows from its largest magnitude, amax. All are exact, for every amax.

    The first four give powers of two. With emax and max the exponent and the value of the largest element, the positive
    one of two's complement too, so that a block and its negative have one scale; and one exponent range for all: not
    below the smallest power of two of the scale's format, not above its largest, and in an array of float32 (float64) not
    above 127 (1023) less the exponent of the largest magnitude (of two's complement the lowest element's), so that every
    result is a number of the array. A block of zeros has the smallest scale.

    FLOOR: 2**(floor(log2(amax)) - emax): OCP MX v1.0, 6.3. What lies above max in the top binade is an overflow: of
        E2M1 elements those in (6, 8) scales
    CEIL: 2**(ceil(log2(amax)) - emax): no overflow, but the top of the element's range goes unused (torchao's CEIL)
    EVEN: 2**(floor(log2(r)) - emax) with r = amax rounded to nearest, ties up, to the significant bits of an
        element: of the overflows of FLOOR only those remain that do not round to the next binade (torchao's EVEN)
    NEVER_CLIP: 2**-floor(log2(max / amax)), the smallest power of two under which nothing overflows
        (brianchmiel/nanoGPT_MXFP4; torchao's and cuDNN's RCEIL, whose float32 quotient amax / max never hides that
        amax is above a power of two times max). Stochastic rounding of elements is unbiased only under this rule
        and CEIL
    RATIO: amax / max, rounded to nearest in the scale's format: no power of two. A scale rounded down makes the
        largest elements overflow. The float32 sequence is stated in `BlockFormat`
    """

    FLOOR = "floor"
    CEIL = "ceil"
    EVEN = "even"
    NEVER_CLIP = "never_clip"
    RATIO = "ratio"


@dataclass(frozen=True)
class BlockFormat:
    """Blocks of `block` elements along one axis, each with a scale: value = element * scale (* tensor scale).

    The axis is the quantizer's; a last block may be short. Under a power-of-two rule an element is round(x / scale),
    one rounding. Under ScaleRule.RATIO these are the operations; fl32 is the exact result, of float64 inputs too,
    rounded to float32, to nearest even, stopping at its largest number:

    1. tensor_scale: s_tensor = fl32(amax of the array / (max of the element * max of the scale)), at most the largest
       number under which every value fits float32; else s_tensor = 1.
    2. u = fl32(fl32(amax of the block / max of the element) / s_tensor), and 0 where s_tensor is 0.
    3. s_block = u rounded to nearest even in the scale's format, saturating (without tensor_scale at the largest scale
       under which every value fits float32).
    4. d = fl32(s_block * s_tensor).
    5. element = round(fl32(x / d)) by the quantizer's mode, and a zero with the sign of x where d is 0.
    6. value = element * d: exact in float64 arrays, fl32 of it in float32 arrays.

    So the scales of an array of zeros are zero, and blocks whose scale rounds to zero become zeros.

    NaN: an element that can be NaN is, and is left out of the maximum. Where it cannot, a scale that can be NaN takes
    its block with it, every element code 0; where neither can, a NaN is refused. Infinity: under a rule that clamps it
    (SATURATE; PROPAGATE without infinities in the element) it counts as the largest finite number of the array's type;
    otherwise it is left out of the maximum and becomes the element's infinity or NaN. The sign bit of a scale is
    ignored, as matrix units do.
    Errors: ValueError for parts that do not fit together.
    """

    element: FloatFormat | FixedFormat
    scale: FloatFormat
    block: int
    rule: ScaleRule = field(default=ScaleRule.FLOOR, kw_only=True)
    tensor_scale: bool = field(default=False, kw_only=True)
    name: str = field(default="", kw_only=True, compare=False)
    source: str = field(default="", kw_only=True, compare=False)

    __repr__ = spelled

    def __post_init__(self) -> None:
        check_texts(self, "name", "source")
        if not isinstance(self.element, FloatFormat | FixedFormat):
            raise TypeError(f"element {named(self.element)}: give a FloatFormat or a FixedFormat")
        if not isinstance(self.scale, FloatFormat):
            raise TypeError(f"scale {named(self.scale)}: give a FloatFormat such as catalog.E8M0")
        block = keep_whole(self, "block")
        if block is None or not 1 <= block < 1 << 62:
            raise ValueError(f"block = {self.block!r}: give a number of elements of at least 1")
        if not isinstance(self.rule, ScaleRule):
            known = ", ".join(rule.name for rule in ScaleRule)
            raise ValueError(f"rule = {self.rule!r}: give a ScaleRule: {known}")
        check_flags(self, "tensor_scale")
        self._check_parts()
        if self.rule is ScaleRule.RATIO:
            self._check_ratio()
        else:
            self._check_powers()

    def _check_parts(self) -> None:
        if isinstance(self.element, FloatFormat):
            if not self.element.has_zero:
                raise ValueError(
                    f"element {self.element} has no zero, so a block of zeros would have none: use another"
                )
            if self.element.subnormals is Subnormals.FULL_BINADE:
                raise ValueError(f"element {self.element} has a value without a code: use Subnormals.NORMAL_BINADE")
        elif self.element.precision > 52:
            raise ValueError(f"element {self.element} has {self.element.precision} magnitude bits: give at most 52")
        if self.scale.subnormals is Subnormals.FULL_BINADE:
            raise ValueError(f"scale {self.scale} has a value without a code: use Subnormals.NORMAL_BINADE")

    def _check_powers(self) -> None:
        if self.tensor_scale:
            raise ValueError(f"tensor_scale with ScaleRule.{self.rule.name}: it belongs to ScaleRule.RATIO")
        low, high = self.scale_exponents
        bottom, top = self.lowest_exponent, self.top_exponent + high
        if top > 1023 or bottom < -1074:
            raise ValueError(
                f"elements {self.element} under scales {self.scale}: values from 2**{bottom} to 2**{top} do not all fit"
                " float64; use a scale with fewer exponents"
            )
        if low > high:
            raise ValueError(f"scale {self.scale} holds no power of two for ScaleRule.{self.rule.name}")

    def _check_ratio(self) -> None:
        for label, part in (("element", self.element), ("scale", self.scale)):
            lowest = -part.fraction_bits if isinstance(part, FixedFormat) else part.emin - part.mantissa_bits
            if part.precision > 24 or part.max > _LARGEST_FLOAT32 or lowest < -149:
                raise ValueError(
                    f"{label} {part} has values that float32 does not hold, and ScaleRule.RATIO works in it"
                )
        if not self.tensor_scale:
            return
        product = Fraction(self.element.max) * Fraction(self.scale.max)
        odd = product.numerator // (product.numerator & -product.numerator)
        if odd.bit_length() > 28 or not 2.0**-100 <= product <= 2.0**100:
            raise ValueError(
                f"the largest element {self.element.max} times the largest scale {self.scale.max}: for a tensor scale"
                " that is to be a number of at most 28 bits from 2**-100 to 2**100; use narrower formats"
            )

    @property
    def signed(self) -> bool:
        """Whether there are negative values."""
        return self.element.signed

    @property
    def has_nan(self) -> bool:
        """Whether an element or a scale can be NaN."""
        return self.element.has_nan or self.scale.has_nan

    @property
    def infinities(self) -> bool:
        """Whether an element can be infinite."""
        return self.element.infinities

    @property
    def precision(self) -> int:
        """Significant bits of an element."""
        return self.element.precision

    @property
    def bits_per_element(self) -> float:
        """Storage of an element with its share of the scale, in bits (full blocks)."""
        return self.element.bits + self.scale.bits / self.block

    @property
    def element_emax(self) -> int:
        """Exponent of the largest element."""
        return math.frexp(self.element.max)[1] - 1

    @property
    def largest_element(self) -> float:
        """The largest magnitude: two's complement reaches further down than up."""
        lowest = self.element.min if isinstance(self.element, FixedFormat) else 0.0
        return max(self.element.max, -lowest)

    @property
    def top_exponent(self) -> int:
        """Exponent of the largest magnitude."""
        return math.frexp(self.largest_element)[1] - 1

    @property
    def scale_exponents(self) -> tuple[int, int]:
        """Exponents of the smallest and the largest power of two that the scale's format holds."""
        lowest = math.frexp(self.scale.smallest_subnormal)[1] - 1
        if math.ldexp(1.0, lowest) != self.scale.smallest_subnormal:
            lowest += 1  # a normal binade lacks its first value
        return lowest, self.scale.emax

    @property
    def lowest_exponent(self) -> int:
        """Exponent of the lowest bit that a value under a power-of-two scale has."""
        element = self.element
        lowest = -element.fraction_bits if isinstance(element, FixedFormat) else element.emin - element.mantissa_bits
        return lowest + self.scale_exponents[0]

    def blocks(self, length: int) -> int:
        """Number of blocks of an axis of that length."""
        return -(-length // self.block)

    def __str__(self) -> str:
        tensor = " and a tensor scale" if self.tensor_scale else ""
        plain = f"{self.element} under {self.scale} ({self.rule.value}){tensor}"
        return f"{self.name or plain} in blocks of {self.block}"


@dataclass(frozen=True, eq=False)
class BlockCodes:
    """The codes of an array: elements [...], scales [...] with blocks along the axis, tensor_scale (1 where unused).

    elements and scales are unsigned integers of the smallest type, tensor_scale is a number of float32.
    """

    elements: NDArray[Any]
    scales: NDArray[Any]
    tensor_scale: float = 1.0
