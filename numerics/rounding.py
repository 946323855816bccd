"""How a value moves to a grid, and what happens above its top."""

from enum import Enum, IntEnum
from typing import Any

from .kernels import modes


class Rounding(IntEnum):
    """To which of its two neighbours a value goes. Exact values never move.

    Ties-to-even and to-odd look at the parity of the codepoint (it matters where there are no mantissa bits).
    The stochastic modes take r random bits R in [0, 2**r) per value and round the magnitude: with nu the distance to
    the lower neighbour in ulp, it goes up iff k + R >= 2**r, so its mean over all words is lo + ulp*k/2**r.

    RNE: to nearest, ties to even
    RNA: to nearest, ties away from zero
    RTZ: toward zero (truncation in sign-magnitude)
    RTP: toward positive
    RTN: toward negative
    RTO: to odd: an inexact value goes to the neighbour with the odd codepoint; also called jam, Von Neumann, sticky
    SR: stochastic, k = floor(nu 2**r): IEEE P3109 v4.0 StochasticA; biased toward zero by less than ulp 2**-r
    SR_B: stochastic, k = nu 2**r to nearest, ties up: P3109 StochasticB; bias at most ulp 2**-(r+1)
    SR_C: stochastic, k = nu 2**r to nearest, ties to even: P3109 StochasticC; bias at most ulp 2**-(r+1)
    RNL: to nearest in the log domain, for logarithmic formats: up from 2**((k + 1/2) * 2**-f) on, the geometric
        mean of the neighbouring powers, which no float equals
    """

    RNE = modes.RNE
    RNA = modes.RNA
    RTZ = modes.RTZ
    RTP = modes.RTP
    RTN = modes.RTN
    RTO = modes.RTO
    SR = modes.SR
    SR_B = modes.SR_B
    SR_C = modes.SR_C
    RNL = modes.RNL

    @property
    def stochastic(self) -> bool:
        """Whether the mode needs random words."""
        return Rounding.SR <= self <= Rounding.SR_C


class Overflow(IntEnum):
    """What becomes of a value that rounds beyond the largest finite one (as if the exponent were unbounded).

    IEEE: as IEEE 754 for the rounding mode: infinity or, on the inner side of a directed mode, the largest value;
        NaN in place of an infinity that the format does not have; refused where it has neither
    SATURATE: the largest value, for infinities too (P3109 SatFinite, PTX .satfinite)
    PROPAGATE: the largest value, but infinities stay where the format has them (P3109 SatPropagate)
    WRAP: modulo 2**bits; fixed point only
    ERROR: raises OverflowError naming the first element; infinities stay where the format has them
    """

    IEEE = 0
    SATURATE = 1
    PROPAGATE = 2
    WRAP = 3
    ERROR = 4


class Underflow(Enum):
    """What becomes of a nonzero result that rounds to zero because it is below the smallest magnitude: codes of logarithms.

    ZERO: zero
    SMALLEST: the smallest magnitude with its sign: no product and no sum of unequal numbers is ever zero
    """

    ZERO = 0
    SMALLEST = 1


def check_members(rounding: Any, overflow: Any) -> None:
    """Refuse anything but members: the integers of one enumeration mean something else in the other."""
    for label, value, kind in (("rounding", rounding, Rounding), ("overflow", overflow, Overflow)):
        if not isinstance(value, kind):
            names = ", ".join(f"{kind.__name__}.{member.name}" for member in kind)
            raise TypeError(f"{label} = {value!r}: give one of {names}")
