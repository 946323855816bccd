"""LogFormat: a sign and a fixed-point logarithm to base two."""

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .codes import checked_codes
from .integers import check_flags, check_texts, keep_whole
from .powers import significands
from .spelling import spelled


@dataclass(frozen=True)
class LogFormat:
    """Sign, then a field c of integer_bits + fraction_bits: c = 0 is zero, else the magnitude is 2**(k * 2**-f).

    k = c - bias * 2**f with f = fraction_bits, 0 to 8, so that 1 is the code bias * 2**f where the format has it.
    The power is irrational unless 2**f divides k: the VALUE of a code is by definition the power rounded to nearest
    float64, and in float32 arrays the power rounded to nearest float32 (which is the float64 rounded once more: no
    double rounding occurs, tests/numerics/test_log.py). Arithmetic on the powers themselves is on codes:
    `numerics.logscale`.
    No NaN, no infinity, no -0: a zero has no sign; the sign bit over c = 0 is read as zero and never written. Every
    value must be a normal float64, or ValueError.
    """

    integer_bits: int
    fraction_bits: int
    bias: int = field(default=0, kw_only=True)
    signed: bool = field(default=True, kw_only=True)
    name: str = field(default="", kw_only=True, compare=False)
    source: str = field(default="", kw_only=True, compare=False)

    has_nan: ClassVar[bool] = False
    infinities: ClassVar[bool] = False
    has_negative_zero: ClassVar[bool] = False

    __repr__ = spelled

    def __post_init__(self) -> None:
        check_texts(self, "name", "source")
        for label in ("integer_bits", "fraction_bits", "bias"):
            if keep_whole(self, label) is None:
                raise ValueError(f"{label} = {getattr(self, label)!r}: give an integer")
        check_flags(self, "signed")
        if not 0 <= self.fraction_bits <= 8:
            raise ValueError(f"fraction_bits = {self.fraction_bits}: a log format has 0 to 8")
        if not 0 <= self.integer_bits <= 11:
            raise ValueError(
                f"integer_bits = {self.integer_bits}: a log format has 0 to 11, more octaves than float64 has"
            )
        if self.integer_bits + self.fraction_bits == 0:
            raise ValueError("a log format without integer and fraction bits has no value but zero: give it some")
        f = self.fraction_bits
        if self.first_step < -1022 << f or self.last_step >= 1024 << f:
            raise ValueError(
                f"{self}: values from 2**{self.first_step >> f} to below 2**{(self.last_step >> f) + 1} are not all"
                " normal float64 (2**-1022 to below 2**1024); use fewer integer bits or another bias"
            )

    @property
    def bits(self) -> int:
        """Width of a codepoint."""
        return int(self.signed) + self.integer_bits + self.fraction_bits

    @property
    def largest_code(self) -> int:
        """Codepoint of the largest value."""
        return (1 << (self.integer_bits + self.fraction_bits)) - 1

    @property
    def first_step(self) -> int:
        """k of the smallest magnitude."""
        return 1 - (self.bias << self.fraction_bits)

    @property
    def last_step(self) -> int:
        """k of the largest magnitude."""
        return self.largest_code - (self.bias << self.fraction_bits)

    @property
    def max(self) -> float:
        """The largest value."""
        return self._magnitude(self.last_step)

    @property
    def smallest(self) -> float:
        """The smallest positive value."""
        return self._magnitude(self.first_step)

    def _magnitude(self, k: int) -> float:
        table = significands(self.fraction_bits, 53)
        return math.ldexp(table[k & ((1 << self.fraction_bits) - 1)], (k >> self.fraction_bits) - 52)

    def codepoints(self) -> range:
        """All codepoints in order, from 0; in a signed format the upper half is negative and begins with a zero."""
        return range(1 << self.bits)

    def decode(self, codes: Any) -> Any:
        """Values of codepoints: an int -> float, an array of integers [...] -> float64 [...].

        Errors: TypeError for codes that are not integers; ValueError for one out of range.
        """
        array = checked_codes(codes, self.bits, str(self))
        magnitude = array & np.uint64(self.largest_code)
        k = magnitude.astype(np.int64) - (self.bias << self.fraction_bits)
        table = np.array(significands(self.fraction_bits, 53)[:-1], np.float64)
        octave = ((k >> self.fraction_bits) - 52).astype(np.int32)
        values: NDArray[np.float64] = np.ldexp(table[k & ((1 << self.fraction_bits) - 1)], octave)
        values = np.where(magnitude == 0, 0.0, np.where(array > magnitude, -values, values))
        return float(values) if np.ndim(codes) == 0 and not isinstance(codes, np.ndarray) else values

    def __str__(self) -> str:
        if self.name:
            return self.name
        return f"{'' if self.signed else 'u'}log{self.integer_bits}.{self.fraction_bits}b{self.bias}"
