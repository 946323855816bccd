"""Lower bit-width accumulators: the range of the formats, the rule for the bias, where a truncated sum stands still."""

import numpy as np

from .. import catalog
from ..accumulator import Accumulator
from ..products import dot
from ..quantizer import Quantizer
from ..rounding import Rounding
from ..theory import lba_accumulator_bias
from .claim import Claim, Paper


def _range(mantissa_bits: int, exponent_bits: int, bias: int) -> tuple[float, float]:
    fmt = catalog.lba(mantissa_bits, exponent_bits, bias, paper=True)
    return fmt.max, fmt.smallest_normal


def _largest(mantissa_bits: int, exponent_bits: int, bias: int) -> Claim:
    expected = 2.0 ** (2**exponent_bits - 1 - bias) * (2 - 2.0**-mantissa_bits)
    return Claim(
        f"M{mantissa_bits}E{exponent_bits} with bias {bias} ends at {expected:g}",
        expected,
        lambda: _range(mantissa_bits, exponent_bits, bias)[0],
        "eq. 2",
    )


def _ones() -> float:
    """A long sum of ones, truncated at each step, in seven mantissa bits and a range far above it."""
    ones = np.ones(600, np.float32)
    return float(dot(ones, ones, Accumulator(catalog.lba(7, 4, 5), Rounding.RTZ)))


def _truncation_never_grows() -> bool:
    """Over all codes of a finer format of the same range."""
    fine = catalog.lba(9, 3, 3)
    x = np.asarray(fine.decode(fine.codepoints()), np.float64)
    rounded = Quantizer(catalog.lba(4, 3, 3), Rounding.RTZ).quantize(x)
    return bool((abs(rounded) <= abs(x)).all()) and bool(
        (rounded[abs(rounded) == abs(x)] == x[abs(rounded) == abs(x)]).all()
    )


PAPER = Paper(
    "Blumenfeld, Hubara, Soudry: Towards cheaper inference with lower bit-width accumulators, arXiv 2401.14110",
    (
        _largest(7, 4, 10),
        _largest(7, 4, 12),
        _largest(4, 3, 3),
        _largest(4, 3, 5),
        Claim("M7E4 with bias 10 begins at 2^-10", 2.0**-10, lambda: _range(7, 4, 10)[1], "eq. 2"),
        Claim("chunks of 16 take the accumulator's bias from 12 to 10", 10.0, lambda: lba_accumulator_bias(12, 16)),
        Claim("truncated to 7 mantissa bits, a sum of ones stops at 2^8", 256.0, _ones, note="derived"),
        Claim("truncation never enlarges a magnitude", True, _truncation_never_grows, "eq. 2"),
    ),
)
