"""FloatFormat: sign, exponent and fraction fields with every convention in use as an argument."""

import math
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .codes import checked_codes
from .integers import check_flags, check_texts, keep_whole, whole
from .spelling import spelled


class NanEncoding(Enum):
    """Which codepoints are NaN.

    IEEE: the top exponent code, except the infinities where there are any
    TOP_CODE: all ones below the sign (OCP E4M3); an infinity, where there is one, is the code before it
    NEGATIVE_ZERO: the code of -0, which the format then does not have (FNUZ, signed P3109)
    NONE: none
    """

    IEEE = "ieee"
    TOP_CODE = "top_code"
    NEGATIVE_ZERO = "negative_zero"
    NONE = "none"


class Subnormals(Enum):
    """What the lowest exponent code means.

    GRADUAL: subnormals, as IEEE 754
    FLUSH: zero only: a value is rounded as if the exponent were unbounded below, then becomes a zero of its sign if
        it is smaller than the smallest normal
    NORMAL_BINADE: one more binade of normals, except that the all-zeros code is zero; smaller magnitudes are
        flushed as above
    FULL_BINADE: NORMAL_BINADE with the value 2**emin in the value set although it has no code: the set in which
        arithmetic is sometimes simulated (LBA, arXiv 2401.14110). `encode` refuses that one value
    NO_ZERO: one more binade of normals, the all-zeros code its first value: the format has no zero (OCP E8M0).
        Unsigned only. Zero, and what is smaller than the smallest value after rounding as above, becomes the
        smallest value
    """

    GRADUAL = "gradual"
    FLUSH = "flush"
    NORMAL_BINADE = "normal_binade"
    FULL_BINADE = "full_binade"
    NO_ZERO = "no_zero"


_WHOLE_BINADE = (Subnormals.NORMAL_BINADE, Subnormals.FULL_BINADE, Subnormals.NO_ZERO)


@dataclass(frozen=True)
class FloatFormat:
    """A binary floating-point format: sign, exponent_bits, mantissa_bits, from the top bit down.

    bias None: 2**(exponent_bits-1)-1. A normal value is (-1)**s * 2**(e - bias) * (1 + f * 2**-mantissa_bits).
    subnormals: True and False stand for GRADUAL and FLUSH. Equality looks at the arithmetic, not at name and source.
    Every value must fit float64; a record that cannot be is refused with ValueError.
    """

    exponent_bits: int
    mantissa_bits: int
    bias: int | None = None
    signed: bool = field(default=True, kw_only=True)
    subnormals: Subnormals = field(default=Subnormals.GRADUAL, kw_only=True)
    infinities: bool = field(default=True, kw_only=True)
    nan: NanEncoding = field(default=NanEncoding.IEEE, kw_only=True)
    name: str = field(default="", kw_only=True, compare=False)
    source: str = field(default="", kw_only=True, compare=False)

    __repr__ = spelled

    def __post_init__(self) -> None:
        check_texts(self, "name", "source")
        for label in ("exponent_bits", "mantissa_bits"):
            value = keep_whole(self, label)
            if value is None or value < 0:
                raise ValueError(f"{label} = {getattr(self, label)!r}: give an integer of at least 0")
        if self.bias is not None and keep_whole(self, "bias") is None:
            raise ValueError(f"bias = {self.bias!r}: give an integer, or None for 2**(exponent_bits-1)-1")
        if isinstance(self.subnormals, bool):
            object.__setattr__(self, "subnormals", Subnormals.GRADUAL if self.subnormals else Subnormals.FLUSH)
        for label, kind in (("subnormals", Subnormals), ("nan", NanEncoding)):
            if not isinstance(getattr(self, label), kind):
                names = ", ".join(f"{kind.__name__}.{member.name}" for member in kind)
                raise ValueError(f"{label} = {getattr(self, label)!r}: give one of {names}")
        check_flags(self, "signed", "infinities")
        if self.mantissa_bits > 52 or self.exponent_bits > 64:
            raise ValueError(f"{self._shape}: more than float64 holds (52 mantissa bits); use a narrower format")
        if self.exponent_bits == 0:
            self._check_without_exponent()
        elif self.bias is None:
            object.__setattr__(self, "bias", 2 ** (self.exponent_bits - 1) - 1)
        self._check_specials()
        self._check_range()

    def _check_without_exponent(self) -> None:
        shape = f"a float format with exponent_bits = 0 and mantissa_bits = {self.mantissa_bits}"
        if self.mantissa_bits == 0:
            raise ValueError(f"{shape} has no values but zero: give it exponent or mantissa bits")
        if self.bias is None:
            raise ValueError(f"{shape} needs a bias: its values are fraction * 2**(1 - bias - mantissa_bits)")
        if self.subnormals is not Subnormals.GRADUAL:
            raise ValueError(f"{shape} has subnormals only: subnormals must be Subnormals.GRADUAL")
        if self.nan is NanEncoding.IEEE:
            raise ValueError(
                f"{shape} has no top exponent code for NanEncoding.IEEE: give nan=NanEncoding.NONE, infinities=False"
            )

    def _check_specials(self) -> None:
        if self.nan is NanEncoding.IEEE and self.mantissa_bits == 0 and self.infinities:
            raise ValueError(
                "without mantissa bits the top exponent code cannot hold infinity and NaN: change nan or infinities"
            )
        if self.subnormals is Subnormals.NO_ZERO and self.signed:
            raise ValueError("a signed format cannot be without zero: Subnormals.NO_ZERO goes with signed=False")
        if self.nan is NanEncoding.NEGATIVE_ZERO and not self.signed:
            raise ValueError("an unsigned format has no code of -0 for NanEncoding.NEGATIVE_ZERO: use TOP_CODE or NONE")
        if self.largest_code < 1:
            raise ValueError(
                f"{self._shape}: infinity and NaN leave no code for a nonzero value: drop them or add bits"
            )

    def _check_range(self) -> None:
        if self.subnormals is Subnormals.FLUSH and self.largest_code >> self.mantissa_bits == 0:
            raise ValueError(f"{self._shape}: with subnormals flushed no value but zero is left; add exponent bits")
        top, bottom = self._exponent_of(self.largest_code), self._lowest_exponent
        if top > 1023 or bottom < -1074:
            raise ValueError(
                f"{self._shape}, bias {self.bias}: values from 2**{bottom} to 2**{top} do not all fit float64"
                " (2**-1074 to below 2**1024); use fewer exponent bits or another bias"
            )

    def without_underflow(self, exponent_bits: int | None = None) -> "FloatFormat":
        """The format with the same largest value and mantissa, its exponents continued downward.

        exponent_bits: how many the result has, at most 11; None: as many as float64's values allow. For arXiv
        2401.14110, whose first stage of training has no underflow: there the exponent is unbounded below; here it goes
        as far down as float64's subnormals do, far below any sum of products of narrow operands. (11 exponent bits
        under the top of an accumulator would begin near 2**-2042, which float64 does not hold.) float32 arrays hold 7
        for M7E4.
        Errors: ValueError for fewer bits than the format has, or more than fit.
        """
        if self.exponent_bits == 0:
            raise ValueError(f"{self} has subnormals only, all of them above its underflow: give it exponent bits")
        wanted = whole(exponent_bits)
        if exponent_bits is not None and (wanted is None or not self.exponent_bits <= wanted <= 11):
            raise ValueError(f"exponent_bits = {exponent_bits!r}: give {self.exponent_bits} to 11")
        for bits in range(11, self.exponent_bits - 1, -1) if wanted is None else (wanted,):
            try:
                wider = replace(
                    self, exponent_bits=bits, bias=(self.bias or 0) + (1 << bits) - (1 << self.exponent_bits)
                )
            except ValueError:
                if exponent_bits is None:
                    continue
                raise
            return replace(wider, name=f"{self.name}_without_underflow" if self.name else "")
        return self

    @property
    def _shape(self) -> str:
        if self.name:
            return self.name
        usual = (1 << min(max(self.exponent_bits - 1, 0), 64)) - 1
        bias = "" if self.bias in (None, usual) and self.exponent_bits else f"b{self.bias}"
        told = [
            word
            for word, differs in (
                ("unsigned", not self.signed),
                (f"subnormals {self.subnormals.value}", self.subnormals is not Subnormals.GRADUAL),
                ("no infinities", not self.infinities),
                (f"NaN {self.nan.value}", self.nan is not NanEncoding.IEEE),
            )
            if differs
        ]
        return f"e{self.exponent_bits}m{self.mantissa_bits}{bias}" + (f" ({', '.join(told)})" if told else "")

    def _exponent_of(self, code: int) -> int:
        """Exponent of the leading bit of a positive code's magnitude."""
        exponent_field, fraction = code >> self.mantissa_bits, code & ((1 << self.mantissa_bits) - 1)
        if exponent_field == 0 and self.subnormals is Subnormals.GRADUAL:
            return self.emin - self.mantissa_bits + fraction.bit_length() - 1
        return self.emin + exponent_field - (self._lowest_normal_field)

    @property
    def _lowest_normal_field(self) -> int:
        return 0 if self.subnormals in _WHOLE_BINADE else 1

    @property
    def _lowest_exponent(self) -> int:
        """Exponent of the lowest bit that any value has."""
        return self.emin - self.mantissa_bits

    @property
    def bits(self) -> int:
        """Width of a codepoint."""
        return int(self.signed) + self.exponent_bits + self.mantissa_bits

    @property
    def precision(self) -> int:
        """Significant bits of a normal value, with the leading one."""
        return self.mantissa_bits + 1

    @property
    def emin(self) -> int:
        """Exponent of the lowest binade of normals."""
        assert self.bias is not None
        return self._lowest_normal_field - self.bias

    @property
    def emax(self) -> int:
        """Exponent of the largest finite value."""
        return self._exponent_of(self.largest_code)

    @property
    def largest_code(self) -> int:
        """Codepoint of the largest finite value."""
        magnitudes: int = 1 << (self.exponent_bits + self.mantissa_bits)
        if self.nan is NanEncoding.IEEE:
            return magnitudes - 1 - (1 << self.mantissa_bits)
        return magnitudes - 1 - (self.nan is NanEncoding.TOP_CODE) - self.infinities

    @property
    def infinity_code(self) -> int | None:
        """Codepoint of +infinity, None where there is none."""
        return self.largest_code + 1 if self.infinities else None

    @property
    def nan_code(self) -> int | None:
        """Codepoint of the canonical (quiet, positive) NaN, None where there is none."""
        if self.nan is NanEncoding.IEEE:
            return self.largest_code + 1 + ((1 << self.mantissa_bits) >> 1)
        if self.nan is NanEncoding.TOP_CODE:
            return (1 << (self.exponent_bits + self.mantissa_bits)) - 1
        return 1 << (self.bits - 1) if self.nan is NanEncoding.NEGATIVE_ZERO else None

    @property
    def has_nan(self) -> bool:
        """Whether some codepoint is NaN."""
        return self.nan is not NanEncoding.NONE

    @property
    def has_zero(self) -> bool:
        """Whether zero is a value."""
        return self.subnormals is not Subnormals.NO_ZERO

    @property
    def has_negative_zero(self) -> bool:
        """Whether -0 has a codepoint of its own."""
        return self.signed and self.nan is not NanEncoding.NEGATIVE_ZERO

    @cached_property
    def max(self) -> float:
        """The largest finite value."""
        return self._positive(self.largest_code)

    @property
    def smallest_normal(self) -> float:
        """The smallest positive normal value (in a normal binade its second step: 2**emin is not a value there)."""
        step = math.ldexp(1.0, self._lowest_exponent) if self.subnormals is Subnormals.NORMAL_BINADE else 0.0
        return math.ldexp(1.0, self.emin) + step

    @property
    def smallest_subnormal(self) -> float:
        """The smallest positive value: a subnormal where there are any, else the smallest normal."""
        if self.subnormals is Subnormals.GRADUAL:
            return math.ldexp(1.0, self._lowest_exponent)
        return self.smallest_normal

    def codepoints(self) -> range:
        """All codepoints in order, from 0; NaNs included."""
        return range(1 << self.bits)

    def _positive(self, code: int) -> float:
        exponent_field, fraction = code >> self.mantissa_bits, code & ((1 << self.mantissa_bits) - 1)
        if code == 0 or (exponent_field == 0 and self.subnormals is Subnormals.FLUSH):
            return 0.0
        gradual = exponent_field == 0 and self.subnormals is Subnormals.GRADUAL
        significand = fraction + (0 if gradual else 1 << self.mantissa_bits)
        steps = max(exponent_field - self._lowest_normal_field, 0)
        return math.ldexp(significand, self._lowest_exponent + steps)

    def decode(self, codes: Any) -> Any:
        """Values of codepoints: an int -> float, an array of integers [...] -> float64 [...]; exact.

        Errors: TypeError for codes that are not integers, ValueError for a code outside the format's `bits` bits.
        """
        values = self._decode(checked_codes(codes, self.bits, self._shape))
        return float(values) if np.ndim(codes) == 0 and not isinstance(codes, np.ndarray) else values

    def _decode(self, codes: NDArray[np.uint64]) -> NDArray[np.float64]:
        one = np.uint64(1)
        magnitude_bits = np.uint64(self.exponent_bits + self.mantissa_bits)
        magnitude = codes & np.uint64((1 << int(magnitude_bits)) - 1)
        negative = (codes >> magnitude_bits) != 0 if self.signed else np.zeros(codes.shape, bool)
        mantissa_bits = np.uint64(self.mantissa_bits)
        exponent_field = (magnitude >> mantissa_bits).astype(np.int64)
        fraction = magnitude & np.uint64((1 << self.mantissa_bits) - 1)
        normal = exponent_field >= self._lowest_normal_field
        significand = np.where(normal, fraction | (one << mantissa_bits), fraction).astype(np.float64)
        steps = np.maximum(exponent_field - self._lowest_normal_field, 0)
        above = magnitude > np.uint64(self.largest_code)
        steps = np.where(above, 0, steps)
        values = np.ldexp(significand, (self._lowest_exponent + steps).astype(np.int32))
        if self.subnormals is Subnormals.FLUSH:
            values = np.where(normal, values, 0.0)
        if self.has_zero:
            values = np.where(magnitude == 0, 0.0, values)
        if self.infinity_code is not None:
            infinite = magnitude == np.uint64(self.infinity_code)
            values, above = np.where(infinite, np.inf, values), above & ~infinite
        values = np.where(negative & ((values != 0.0) | self.has_negative_zero), -values, values)
        if self.nan is NanEncoding.NEGATIVE_ZERO:
            above = above | (codes == np.uint64(self.nan_code or 0))
        values = np.where(above, np.nan, values)  # last: every NaN code is the same NaN, without a sign
        result: NDArray[np.float64] = np.asarray(values, dtype=np.float64)
        return result

    def __str__(self) -> str:
        return self._shape
