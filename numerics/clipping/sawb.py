"""Statistics-aware weight binning: a clip that is linear in two moments of the weights.

The coefficients were seen in one secondary source. What their authors do with a clip that is not positive, and whether
it is the outermost level or half a step beyond, was not seen: here the former falls back to max|x|, and the latter is
left to the caller.
"""

from typing import Any

from ..formats.integers import whole
from ..means import finite, mean_magnitudes, root_mean_squares, rows_of_channels

#: (c1, c2) by bits; the strings are sets for codes aligned with zero, by the authors' names for them.
SAWB: dict[int | str, tuple[float, float]] = {
    2: (3.12, 2.064),
    3: (7.509, 6.892),
    4: (12.68, 12.80),
    5: (17.74, 18.64),
    8: (31.76, 35.04),
    "103": (2.6, 1.71),
    "403": (12.035, 12.03),
    "703": (28.24, 30.81),
    "803": (31.76, 35.04),
}


def sawb(x: Any, bits: int | str) -> float:
    """The clip c1 sqrt(mean x**2) - c2 mean|x|, or max|x| where that is not positive; (c1, c2) = SAWB[bits].

    x: finite float32 or float64 [...]; 0.0 for zeros and for an empty array. The moments are within 2 ulp
    (`numerics.means`), so the clip is within 3 (c1 rms + c2 mean|x|) 2**-52. Taken as
    the outermost level it is within 4 % of the best one for normal data; heavy tails make it negative. Errors:
    TypeError for other dtypes; ValueError for bits not in SAWB and non-finite x. Source: Choi et al., Accurate and
    efficient 2-bit quantized neural networks, MLSys 2019 (the rule); the coefficients as in IBM's fms-model-optimizer.
    """
    known = bits if isinstance(bits, str) else whole(bits)
    if known is None or known not in SAWB:
        raise ValueError(f"bits = {bits!r}: SAWB has coefficients for {', '.join(map(repr, SAWB))}")
    rows, _ = rows_of_channels(finite(x), None)
    if rows.size == 0:
        return 0.0
    c1, c2 = SAWB[known]
    clip = c1 * float(root_mean_squares(rows)[0]) - c2 * float(mean_magnitudes(rows)[0])
    return clip if clip > 0 else float(abs(rows).max())
