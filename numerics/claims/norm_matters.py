"""Norm matters: the constants of other norms, what overflows in half precision, the effective step."""

from math import inf, log, pi, sqrt

import numpy as np

from .. import catalog
from ..accumulator import Accumulator
from ..normalization import (
    L1_CONSTANT,
    effective_step,
    expected_max_magnitude,
    l1_batch_norm,
    l2_batch_norm,
    linf_batch_norm,
    linf_constant,
)
from ..rounding import Overflow
from .claim import Claim, Paper

_MAXIMA = {16: 2.0772, 64: 2.5961, 256: 3.0442, 1024: 3.4419, 4096: 3.8023}
_OVER = {8: 1.3497, 64: 1.3894, 256: 1.4109, 1024: 1.4268, 65536: 1.4561}
_HALF = Accumulator(catalog.BINARY16, overflow=Overflow.IEEE)


def _maximum(n: int) -> Claim:
    return Claim(
        f"the expected largest of {n} normal magnitudes over sigma",
        _MAXIMA[n],
        lambda: expected_max_magnitude(n),
        "",
        5e-5,
        "derived",
    )


def _over(n: int) -> Claim:
    return Claim(
        f"n = {n}: sigma by the constant of the largest magnitude over sigma",
        _OVER[n],
        lambda: linf_constant(n, "paper") * expected_max_magnitude(n),
        "L-infinity batch norm",
        5e-5,
        "not 1: about 1.4, which the learned gain absorbs",
    )


def _pairs(magnitude: float, n: int) -> np.ndarray:
    return np.tile(np.array([magnitude, -magnitude], np.float32), n // 2)


def _first_lost() -> float:
    """The smallest power of two whose mean square is infinite in binary16."""
    exponents = range(20)
    return next(
        2.0**e for e in exponents if l2_batch_norm(_pairs(2.0**e, 2), accumulator=_HALF, prescale=True).scale[0] == inf
    )


def _others_hold() -> bool:
    x = _pairs(264.0, 16)
    return bool(l1_batch_norm(x, accumulator=_HALF).scale[0] == L1_CONSTANT * 264 and linf_batch_norm(x).scale[0] < inf)


def _many_magnitudes() -> bool:
    return bool(l1_batch_norm(_pairs(64.0, 1024), accumulator=_HALF).scale[0] == inf)


def _order_of_the_step() -> float:
    """By how much the error of the predicted direction falls when the rate is halved, as a power of two."""
    w, a = np.cos(np.arange(8.0)), np.sin(3 * np.arange(8.0))
    unit, length = w / np.linalg.norm(w), float(np.linalg.norm(w))
    missed = []
    for rate in (2.0**-8, 2.0**-9):
        stepped = w - rate * (a - unit * (a @ unit)) / length
        predicted = unit - effective_step(rate, length) * (a - unit * (a @ unit))
        missed.append(float(np.linalg.norm(stepped / np.linalg.norm(stepped) - predicted)))
    return float(np.log2(missed[0] / missed[1]))


PAPER = Paper(
    "Hoffer, Banner, Golan, Soudry: Norm matters, NeurIPS 2018, arXiv 1803.01814",
    (
        Claim("L1: the constant is sqrt(pi/2) = 1.2533141", 1.2533141, lambda: L1_CONSTANT, "L1 batch norm", 5e-8),
        Claim("which is 1 / E|x|", sqrt(pi / 2), lambda: 1 / expected_max_magnitude(1), "L1 batch norm", 1e-14),
        Claim(
            "L-infinity: the constant is 1.5434525 / sqrt(2 ln n)",
            1.5434525,
            lambda: linf_constant(1024, "paper") * sqrt(2 * log(1024)),
            "L-infinity batch norm",
            5e-8,
        ),
        *map(_maximum, _MAXIMA),
        *map(_over, _OVER),
        Claim("mean squares overflow in binary16 from 256 on", 256.0, _first_lost, "abstract"),
        Claim("L1 and L-infinity norms of the same do not", True, _others_hold, "abstract"),
        Claim(
            "but 1024 magnitudes of 64 do",
            True,
            _many_magnitudes,
            "abstract",
            note="a sum of n magnitudes overflows from a mean of 65520 / n on, unless its terms are scaled first",
        ),
        Claim(
            "the effective step, learning rate / norm squared, is exact to second order",
            2.0,
            _order_of_the_step,
            "effective learning rate",
            0.05,
        ),
    ),
)
