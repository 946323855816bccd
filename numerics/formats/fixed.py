"""FixedFormat: two's complement integers on a binary grid."""

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .codes import checked_codes
from .integers import check_flags, check_texts, keep_whole
from .spelling import spelled


@dataclass(frozen=True)
class FixedFormat:
    """Fixed point: value = code * 2**-fraction_bits, the code two's complement of `bits` bits, or unsigned.

    fraction_bits may be negative (a coarse grid) or exceed bits. Up to 64 bits on codes; values are floats, so a
    format whose codes need more than 53 significant bits is encoded, not decoded. No NaN, no infinity, no -0.
    symmetric: the most negative code is left unused (OCP MXINT8): values saturate at plus and minus the largest one,
    and only `decode` knows that code.
    """

    bits: int
    fraction_bits: int = 0
    signed: bool = field(default=True, kw_only=True)
    symmetric: bool = field(default=False, kw_only=True)
    name: str = field(default="", kw_only=True, compare=False)
    source: str = field(default="", kw_only=True, compare=False)

    has_nan: ClassVar[bool] = False
    infinities: ClassVar[bool] = False
    has_negative_zero: ClassVar[bool] = False

    __repr__ = spelled

    def __post_init__(self) -> None:
        check_texts(self, "name", "source")
        check_flags(self, "signed", "symmetric")
        least = 2 if self.signed else 1
        bits = keep_whole(self, "bits")
        if bits is None or not least <= bits <= 64:
            kind = "a signed" if self.signed else "an unsigned"
            raise ValueError(f"bits = {self.bits!r}: {kind} fixed-point format has {least} to 64 bits")
        if keep_whole(self, "fraction_bits") is None:
            raise ValueError(f"fraction_bits = {self.fraction_bits!r}: give an integer")
        if not -900 <= self.fraction_bits <= 1000:
            raise ValueError(f"fraction_bits = {self.fraction_bits}: values leave float64; give -900 to 1000")
        if self.symmetric and not self.signed:
            raise ValueError("symmetric = True with signed = False: only a signed format has negative values to cut")

    @property
    def precision(self) -> int:
        """Significant bits of the largest value: the magnitude bits."""
        return self.bits - int(self.signed)

    @property
    def largest_code(self) -> int:
        """Codepoint of the largest value."""
        return (1 << self.precision) - 1

    @property
    def lowest_integer(self) -> int:
        """The most negative value in units of the grid step."""
        return -(1 << self.precision) + int(self.symmetric) if self.signed else 0

    @property
    def quantum(self) -> float:
        """The grid step."""
        return math.ldexp(1.0, -self.fraction_bits)

    @property
    def max(self) -> float:
        """The largest value (the nearest float64 where it needs more than 53 bits)."""
        return math.ldexp(self.largest_code, -self.fraction_bits)

    @property
    def min(self) -> float:
        """The most negative value."""
        return math.ldexp(self.lowest_integer, -self.fraction_bits)

    def codepoints(self) -> range:
        """All codepoints in order, from 0, an unused one too; the negative values come last."""
        return range(1 << self.bits)

    def integers(self, codes: Any) -> NDArray[Any]:
        """The integers that codes stand for: int64 [...], or uint64 [...] of an unsigned format."""
        array = checked_codes(codes, self.bits, str(self))
        if not self.signed:
            return array
        unused = np.uint64(64 - self.bits)
        return (array << unused).view(np.int64) >> np.int64(unused)

    def decode(self, codes: Any) -> Any:
        """Values of codepoints: an int -> float, an array of integers [...] -> float64 [...]; exact.

        Errors: TypeError for codes that are not integers; ValueError for one out of range, and for a format whose
        values need more than float64 (use `integers`).
        """
        if self.precision > 53:
            raise ValueError(f"{self} has values of {self.precision} bits, float64 holds 53: use integers(codes)")
        values: NDArray[np.float64] = np.ldexp(self.integers(codes).astype(np.float64), -self.fraction_bits)
        return float(values) if np.ndim(codes) == 0 and not isinstance(codes, np.ndarray) else values

    def __str__(self) -> str:
        return self.name or f"{'s' if self.signed else 'u'}{self.bits}.{self.fraction_bits}"
