"""Scalar nets: the loss (w_1 w_2 ... w_D - 1)**2 / 2, where flow, its limit and the sharpness there have closed forms.

Exact in rationals where the result is rational: the functions take sequences or arrays of numbers as the numbers
that they are. Source: Kreisler, Nacson, Soudry and Carmon, ICML 2023, arXiv 2305.13064; the closed forms are derived.
"""

import math
from fractions import Fraction
from typing import Any

Exact = tuple[Fraction, ...]

_NEWTON_STEPS = 200
_MOST_SQUARE = 10**300
_LEAST_LOG = -690.0


def exact(w: Any) -> Exact:
    """The weights as rationals. Errors: ValueError for fewer than two, and for NaN and infinities."""
    try:
        weights = tuple(Fraction(one.item() if hasattr(one, "item") else one) for one in w)
    except (OverflowError, ValueError):
        raise ValueError(f"weights {list(w)}: give finite numbers") from None
    if len(weights) < 2:
        raise ValueError(f"{len(weights)} weights: a net has at least two")
    return weights


def residual(w: Any) -> Fraction:
    """e = product of the weights - 1; the loss is e**2/2. Exact. Errors: as `exact`, in all of these functions.

    Source: arXiv 2305.13064, scalar networks.
    """
    return math.prod(exact(w), start=Fraction(1)) - 1


def gradient(w: Any) -> Exact:
    """e times the product of the other weights, for each weight; exact. Source: arXiv 2305.13064, scalar networks."""
    weights = exact(w)
    off = residual(weights)
    return tuple(off * math.prod(weights[:i] + weights[i + 1 :], start=Fraction(1)) for i in range(len(weights)))


def step(w: Any, rate: Any) -> Exact:
    """The weights after a step of gradient descent of this rate; exact. Source: arXiv 2305.13064, scalar networks."""
    eta = Fraction(rate)
    return tuple(one - eta * slope for one, slope in zip(exact(w), gradient(w), strict=True))


def sharpness_at_minimum(w: Any) -> Fraction:
    """Sum of 1/w_i**2: the one eigenvalue of the Hessian that is not 0, where the product of the weights is 1; exact.

    Errors: ValueError where it is not 1. Source: derived for the nets of arXiv 2305.13064.
    """
    if residual(w) != 0:
        raise ValueError(f"weights {list(w)} with residual {float(residual(w))}: give a minimum, whose product is 1")
    return sum((1 / (one * one) for one in exact(w)), Fraction(0))


def flow_shift(w: Any) -> tuple[Exact, float]:
    """(a_i = w_i**2 - min w**2, exact; u): the flow from w ends where the squares of the weights are a_i + u.

    The flow keeps the differences of squares, and u in (0, 1] is the only root of product (a_i + u) = 1, as that grows
    with u; correct to 1 ulp. It is found in v = log u: sum log(a_i + e**v) is convex with a slope of at least 1, so that
    Newton's steps from v = 0 descend to its zero; a last one in rationals squares what is left of the error.
    Errors: ValueError where the flow ends at a saddle: two or more weights share the least magnitude and the product is
    negative, or two or more are 0; and where a square is beyond float64 or u below 1e-300.
    Source: derived for the nets of arXiv 2305.13064.
    """
    weights = exact(w)
    squares = [one * one for one in weights]
    least = min(squares)
    if squares.count(least) > 1 and math.prod(weights, start=Fraction(1)) <= 0:
        raise ValueError(f"weights {_shown(weights)}: the flow ends at a saddle, where the product is 0")
    excess = tuple(square - least for square in squares)
    u = Fraction(math.exp(_log_root(excess, weights)))
    product = math.prod((part + u for part in excess), start=Fraction(1))
    slope = product * sum((1 / (part + u) for part in excess), Fraction(0))
    return excess, float(u - (product - 1) / slope)


def _log_root(excess: Exact, weights: Exact) -> float:
    refusal = f"weights {_shown(weights)}: the flow ends beyond the range of float64; give smaller ones"
    if max(excess) > _MOST_SQUARE:
        raise ValueError(refusal)
    parts = [float(part) for part in excess]
    v = 0.0
    for _ in range(_NEWTON_STEPS):
        u = math.exp(v)
        height = math.fsum(math.log(part + u) for part in parts)
        down = height / math.fsum(u / (part + u) for part in parts)
        v -= down
        if v < _LEAST_LOG:
            raise ValueError(refusal)
        if abs(down) <= 1e-12:
            break
    return v


def _shown(weights: Exact) -> str:
    return "[" + ", ".join(f"{one.numerator / one.denominator:.6g}" for one in weights) + "]"


def gfs_sharpness(w: Any) -> float:
    """Sharpness at the end of the gradient flow from w: sum of 1/(a_i + u) of `flow_shift`; relative error below 2**-51.

    Errors: as `flow_shift`. Source: arXiv 2305.13064, GFS sharpness; the closed form is derived.
    """
    excess, u = flow_shift(w)
    return float(sum((1 / (part + Fraction(u)) for part in excess), Fraction(0)))


def flow_limit(w: Any) -> tuple[float, ...]:
    """The weights at the end of the flow from w: of magnitude sqrt(a_i + u), with signs of w.

    Where the product of w is negative, the weight of least magnitude has crossed 0; one that is 0 gets the sign that
    makes the product positive. Errors: as `flow_shift`. Source: derived, as `flow_shift`.
    """
    weights = exact(w)
    excess, u = flow_shift(weights)
    signs = [-1.0 if one < 0 else 1.0 for one in weights]
    if math.prod(signs) < 0:
        signs[excess.index(0)] *= -1
    return tuple(sign * math.sqrt(float(part) + u) for sign, part in zip(signs, excess, strict=True))


def invariant(w: Any) -> Fraction:
    """c = w_1**2 - w_2**2 of a net of depth 2, which the flow keeps; exact. Errors: ValueError for another depth.

    Source: derived, as `flow_shift`.
    """
    first, second = _two(w)
    return first * first - second * second


def invariant_after(w: Any, rate: Any) -> Fraction:
    """c (1 - rate**2 e**2): the `invariant` after an exact step, an identity. Errors: as `invariant`.

    So |c|, and with it `depth_two_sharpness`, does not grow in a step iff rate**2 e**2 <= 2 or c = 0. Source: derived.
    """
    off = Fraction(rate) * residual(w)
    return invariant(w) * (1 - off * off)


def depth_two_sharpness(w: Any) -> float:
    """sqrt(c**2 + 4), `gfs_sharpness` at depth 2, within 2 ulp. Errors: as `invariant`; ValueError beyond float64.

    At w_1 = -w_2 the flow ends at a saddle; this is then its value at the minima nearby.
    Source: derived, as `gfs_sharpness`.
    """
    try:
        return math.hypot(float(invariant(w)), 2.0)
    except OverflowError:
        raise ValueError(f"weights {_shown(exact(w))}: a sharpness beyond the largest float64") from None


def _two(w: Any) -> tuple[Fraction, Fraction]:
    weights = exact(w)
    if len(weights) != 2:
        raise ValueError(f"{len(weights)} weights: this is a fact of nets of depth 2")
    return weights[0], weights[1]
