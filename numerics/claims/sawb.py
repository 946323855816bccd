"""Statistics-aware weight binning: its coefficients against the best clips of normal numbers."""

from math import pi, sqrt

import numpy as np

from ..clipping import SAWB, optimal_alpha, sawb
from .claim import Claim, Paper


def _ratio(bits: int) -> float:
    """The clip for normal numbers over the outermost level of the quantizer with the least error."""
    c1, c2 = SAWB[bits]
    return (c1 - c2 * sqrt(2 / pi)) / (optimal_alpha(bits, "gauss") * (1 - 2.0**-bits))


def _near(bits: int) -> Claim:
    return Claim(
        f"{bits} bits: within 4 per cent of the best outermost level of normal numbers",
        1.0,
        lambda: _ratio(bits),
        "",
        0.04,
        "derived; the coefficients were fitted to several distributions",
    )


PAPER = Paper(
    "Choi et al.: Accurate and efficient 2-bit quantized neural networks (SAWB), MLSys 2019",
    (
        *(_near(bits) for bits in (2, 3, 4, 5, 8)),
        Claim(
            "4 bits: the clip of magnitudes that are all alike is their maximum",
            3.0,
            lambda: sawb(np.array([3.0, -3.0]), 4),
            note="the rule gives -0.36, and a clip that is not positive falls back",
        ),
    ),
)
