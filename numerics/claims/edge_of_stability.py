"""Sharpness at the end of gradient flow: scalar nets, exactly, and in an arithmetic that rounds."""

import math
from fractions import Fraction

import numpy as np

from .. import catalog
from ..diagnostics import (
    depth_two_run,
    depth_two_sharpness,
    flow_sharpness,
    gfs_sharpness,
    invariant,
    invariant_after,
    residual,
    sharpness_at_minimum,
    step,
)
from ..quantizer import Quantizer
from ..rounding import Rounding
from .claim import Claim, Paper

_NETS = [(Fraction(3), Fraction(1, 7)), (Fraction(2), Fraction(1)), (Fraction(-5, 2), Fraction(1, 3))]
_RATES = [Fraction(1, 100), Fraction(1, 2), Fraction(7, 5), Fraction(3, 2), Fraction(4)]


def _identity() -> bool:
    return all(invariant(step(w, rate)) == invariant_after(w, rate) for w in _NETS for rate in _RATES)


def _monotone() -> bool:
    return all(
        (abs(invariant(step(w, rate))) <= abs(invariant(w))) == ((rate * residual(w)) ** 2 <= 2)
        for w in _NETS
        for rate in _RATES
    )


def _gradient(w: np.ndarray) -> np.ndarray:
    return np.asarray((np.prod(w) - 1) * np.array([np.prod(np.delete(w, i)) for i in range(w.size)]))


def _at_minimum() -> float:
    """The largest eigenvalue at (2, 1/4, -2, -1), by power iteration, over the closed form."""
    w = np.array([2.0, 0.25, -2.0, -1.0])
    return flow_sharpness(_gradient, w, step=0.01)[0].value / float(sharpness_at_minimum(w))


def _of_the_flow() -> float:
    """Sharpness at the end of an integrated flow, over that by the root."""
    w = (1.5, 0.7, 0.3)
    return flow_sharpness(_gradient, np.array(w), step=0.05)[0].value / gfs_sharpness(w)


def _falls() -> bool:
    """Depth 3, beyond the edge of stability: the loss goes up and down, the sharpness after the flow only down."""
    w, rate = (Fraction(5, 2), Fraction(9, 10), Fraction(1, 5)), Fraction(3, 10)
    path, losses = [gfs_sharpness(w)], [residual(w) ** 2]
    for _ in range(10):
        w = tuple(Fraction(round(x * 2**60), 2**60) for x in step(w, rate))  # type: ignore[assignment]
        path.append(gfs_sharpness(w))
        losses.append(residual(w) ** 2)
    return path[0] > 2 / rate and path == sorted(path, reverse=True) and losses != sorted(losses, reverse=True)


def _broken(quantizer: Quantizer) -> bool:
    """Whether some step breaks the identity, but none by more than the bound of rounding."""
    run = depth_two_run(np.array([2.0, 0.3125]), 0.25, 16, quantizer, seed=2 if quantizer.stochastic else None)
    return run.inexact > 0 and run.beyond == 0


PAPER = Paper(
    "Kreisler, Nacson, Soudry, Carmon: Gradient descent monotonically decreases the sharpness of gradient flow solutions"
    " in scalar networks and beyond, ICML 2023, arXiv 2305.13064",
    (
        Claim("depth 2: c' = c (1 - rate**2 e**2)", True, _identity, "", note="derived; in rationals"),
        Claim("depth 2: the sharpness after the flow falls iff rate**2 e**2 <= 2", True, _monotone, "", note="derived"),
        Claim(
            "depth 2: sharpness after the flow from (2, 1) is sqrt(13)",
            math.sqrt(13),
            lambda: gfs_sharpness([2, 1]),
            "",
            1e-15,
            "derived: sqrt((w1**2 - w2**2)**2 + 4)",
        ),
        Claim(
            "depth 2: the closed form and the root agree at (3, 1/10)",
            0.0,
            lambda: depth_two_sharpness([3.0, 0.1]) - gfs_sharpness([3.0, 0.1]),
            "",
            4e-15,
        ),
        Claim("sharpness at a minimum is the sum of 1 / w**2", 1.0, _at_minimum, "", 1e-9, "derived"),
        Claim("depth 3: flow integrated, and its end as a root", 1.0, _of_the_flow, "", 1e-6, "derived"),
        Claim("depth 3: sharpness after the flow falls while the loss does not", True, _falls, "theorem"),
        Claim(
            "bfloat16 breaks the identity, within the bound",
            True,
            lambda: _broken(Quantizer(catalog.BFLOAT16)),
            "",
            note="derived",
        ),
        Claim(
            "E4M3 at random breaks the identity, within the bound",
            True,
            lambda: _broken(Quantizer(catalog.E4M3, Rounding.SR)),
            "",
            note="derived",
        ),
    ),
)
