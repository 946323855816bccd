"""PositFormat: the tapered format of the 2022 posit standard."""

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .codes import checked_codes
from .integers import check_texts, keep_whole
from .spelling import spelled

LEAST_BITS, MOST_BITS = 2, 32


@dataclass(frozen=True)
class PositFormat:
    """A posit of the Standard for Posit Arithmetic (2022): sign, regime, two exponent bits, fraction; 2 to 32 bits.

    Codes are two's complement integers in the order of their values; 0 is zero and 1000...0 is NaR, which is decoded
    as NaN. There is no -0, no infinity and no subnormal; posit2 has the values 0, 1 and -1.

    Rounding. Neighbours are magnitudes with adjacent codes c and c + 1. "Nearest" is the standard's (section 4):
    nearest as strings of bits, the tie being the value of code 2c + 1 of the posit with one bit more; it is the mean of
    the two, or their geometric mean where exponent bits are cut off. RNE goes to the even code, RNA away from zero.
    Directed modes go by the order of values, RTO by the parity of codes. Stochastic modes are linear, with
    nu = (|x| - lo) / (hi - lo), so that the mean is x as in the other families.
    Beyond the ends every mode saturates, with any random word: a finite value but zero never becomes zero or NaR. So
    RTZ of a quarter of `minpos` is `minpos`; RTP and RTN are bounds, and stochastic modes unbiased, from `minpos` to
    `max` only.
    NaN and infinities become NaR, as the standard converts them (6.5), under SATURATE, PROPAGATE and IEEE alike. Under
    ERROR every magnitude above `max` is an error, infinity included: there is no grid up there to round on.
    """

    bits: int
    name: str = field(default="", kw_only=True, compare=False)
    source: str = field(default="", kw_only=True, compare=False)

    exponent_bits: ClassVar[int] = 2
    signed: ClassVar[bool] = True
    has_nan: ClassVar[bool] = True
    infinities: ClassVar[bool] = False
    has_negative_zero: ClassVar[bool] = False

    __repr__ = spelled

    def __post_init__(self) -> None:
        check_texts(self, "name", "source")
        bits = keep_whole(self, "bits")
        if bits is None or not LEAST_BITS <= bits <= MOST_BITS:
            raise ValueError(f"bits = {self.bits!r}: a posit has {LEAST_BITS} to {MOST_BITS} bits here")

    @property
    def precision(self) -> int:
        """Significant bits of the values around 1, with the leading one: the most that any value has."""
        return max(self.bits - 4, 1)

    @property
    def emax(self) -> int:
        """Exponent of the largest value."""
        return 4 * (self.bits - 2)

    @property
    def emin(self) -> int:
        """Exponent of the smallest positive value."""
        return -self.emax

    @property
    def largest_code(self) -> int:
        """Codepoint of the largest value."""
        return (1 << (self.bits - 1)) - 1

    @property
    def nan_code(self) -> int:
        """Codepoint of NaR."""
        return 1 << (self.bits - 1)

    @property
    def max(self) -> float:
        """The largest value, the standard's maxPos."""
        return math.ldexp(1.0, self.emax)

    @property
    def minpos(self) -> float:
        """The smallest positive value, the standard's minPos."""
        return math.ldexp(1.0, self.emin)

    def codepoints(self) -> range:
        """All codepoints in order, from 0; the negative values come last, NaR before them."""
        return range(1 << self.bits)

    def decode(self, codes: Any) -> Any:
        """Values of codepoints: an int -> float, an array of integers [...] -> float64 [...]; exact, NaR is NaN.

        Errors: TypeError for codes that are not integers, ValueError for one out of range.
        """
        array = checked_codes(codes, self.bits, str(self)).astype(np.int64)
        negative = array > self.largest_code
        values = self._positive(np.where(negative, (1 << self.bits) - array, array))
        values = np.where(negative, -values, values)
        values = np.where(array == self.nan_code, np.nan, np.where(array == 0, 0.0, values))
        return float(values) if np.ndim(codes) == 0 and not isinstance(codes, np.ndarray) else values

    def _positive(self, codes: NDArray[np.int64]) -> NDArray[np.float64]:
        """Values of positive codes."""
        width = self.bits - 1
        above = codes >> (width - 1) != 0  # the regime begins with a one: at least 1
        # The run of equal bits ends at the highest bit that is not one of them.
        end = np.frexp(np.where(above, self.largest_code - codes, codes).astype(np.float64))[1].astype(np.int64)
        run = width - end
        regime = np.where(above, run - 1, -run)
        left = np.maximum(width - 1 - run, 0)
        # Exponent and fraction behind the regime are float64's own bits, once its bias of 1023 is made a multiple of 4.
        tail = (codes & ((1 << left) - 1)) << (54 - left)
        values: NDArray[np.float64] = ((((regime + 256) << 54) | tail) - (1 << 52)).view(np.float64)
        return values

    def __str__(self) -> str:
        return self.name or f"posit{self.bits}"
