"""Scalar nets trained in an emulated arithmetic, each operation rounded, beside what holds exactly."""

import math
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..arithmetic import mul, sub
from ..formats import FloatFormat
from ..means import finite
from ..operands import as_array
from ..quantizer import Quantizer
from ..theory import underflow_unit, unit_roundoff
from ..theory.roundoff import count_of
from ..words import counters, needed_seed, random_words, refuse_words, stream_after
from .scalar_nets import depth_two_sharpness, exact, invariant, invariant_after, residual


def roundings(depth: int) -> int:
    """How many roundings `emulated_step` does to a net of this depth: depth + depth (depth + 1). Source: derived."""
    return depth * (depth + 2)


def emulated_step(
    w: Any,
    rate: float,
    quantizer: Quantizer,
    *,
    seed: int | None = None,
    words: Any = None,
    stream: int = 0,
    offset: int = 0,
) -> NDArray[Any]:
    """A step of gradient descent on nets w [..., D], float32 or float64, each operation rounded -> same.

    Products run from left to right; e = product - 1; the gradient of a weight is e times the product of the others,
    which begins with the first of them; then rate times it, then the difference. w is taken as given, and rate
    rounded to its dtype first.
    Stochastic: the roundings in this order, weight by weight; word s of net b, in C order, has element index
    b * `roundings` + s, and words= has the shape [..., roundings(D)].
    Errors: as `numerics.arithmetic.add`; ValueError for fewer than two weights, non-finite ones, a rate that is not
    finite, words misshapen or in a deterministic mode. Source: derived; the nets are those of arXiv 2305.13064.
    """
    weights = finite(w, "w")
    if weights.ndim == 0 or weights.shape[-1] < 2:
        raise ValueError(f"w of shape {weights.shape}: give nets of at least two weights, [..., D]")
    depth = weights.shape[-1]
    needed = (*weights.shape[:-1], roundings(depth))
    drawn: list[Any] = [None] * roundings(depth)
    counters(seed, stream, offset)
    if not quantizer.stochastic:
        refuse_words(words, quantizer.rounding.name)
    else:
        if words is None:
            seed = needed_seed(seed, quantizer.rounding.name, needed)
            bits = quantizer.random_bits or 32
            words = random_words(math.prod(needed), bits, seed=seed, stream=stream, offset=offset).reshape(needed)
        given = as_array(words, "words", f"integers of shape {needed}")
        if given.shape != needed:
            raise ValueError(f"words of shape {given.shape} for nets {weights.shape}: give {needed}, one a rounding")
        drawn = list(np.moveaxis(given, -1, 0))
    queue = iter(drawn)
    eta = weights.dtype.type(rate)
    if not np.isfinite(eta):
        raise ValueError(f"rate = {rate!r}: give a finite number of {weights.dtype}")

    def product(a: Any, b: Any) -> Any:
        return mul(a, b, quantizer, words=next(queue))

    columns = [weights[..., i] for i in range(depth)]
    whole = columns[0]
    for other in columns[1:]:
        whole = product(whole, other)
    off = sub(whole, weights.dtype.type(1), quantizer, words=next(queue))
    moved = []
    for i, column in enumerate(columns):
        partial, *rest = columns[:i] + columns[i + 1 :]
        for other in rest:
            partial = product(partial, other)
        change = product(eta, product(off, partial))
        moved.append(sub(column, change, quantizer, words=next(queue)))
    return np.stack(moved, axis=-1)


def invariant_bound(w: Any, rate: float, quantizer: Quantizer) -> Fraction:
    """A bound on |c' - c (1 - rate**2 e**2)| for c' after an `emulated_step` of one net of depth 2, exact e and c before.

    Rational, from u of `theory.unit_roundoff` and `theory.underflow_unit`: each of the four roundings in a row errs by
    at most max(u |x|, underflow), and the errors before it are carried along; nothing is left out. It holds unless
    something overflows, and for a rate that the dtype of w has: `emulated_step` rounds it to one first.
    Errors: as `invariant`; TypeError for a quantizer of another family than FloatFormat.
    Source: derived.
    """
    fmt = quantizer.fmt
    if not isinstance(fmt, FloatFormat):
        raise TypeError(f"{fmt} is no FloatFormat: the bound is that of floating-point rounding")
    u, least = unit_roundoff(fmt, quantizer.rounding), underflow_unit(fmt, quantizer.rounding)
    weights, eta, off = exact(w), abs(Fraction(rate)), residual(w)

    def after(value: Fraction, error: Fraction) -> Fraction:
        """Error of round(y) for |y - value| <= error."""
        return error + max(u * (abs(value) + error), least)

    of_residual = after(off, after(off + 1, Fraction(0)))
    bound = Fraction(0)
    for one, other in (weights, weights[::-1]):
        slope = off * other
        of_change = after(eta * slope, eta * after(slope, of_residual * abs(other)))
        moved = one - Fraction(rate) * slope
        error = after(moved, of_change)
        bound += 2 * abs(moved) * error + error * error
    return bound


class DepthTwoRun(NamedTuple):
    """Weights [steps + 1, 2] and `depth_two_sharpness` [steps + 1] of a run, and how often a law of exact steps failed.

    inexact: steps in which c' is not c (1 - rate**2 e**2). beyond: those in which it is off by more than
    `invariant_bound`: 0 unless something overflowed. increases: those in which |c|, hence the sharpness at the end of
    the flow, grew although rate**2 e**2 <= 2. All compared in rationals.
    """

    w: NDArray[Any]
    sharpness: NDArray[np.float64]
    inexact: int
    beyond: int
    increases: int


def depth_two_run(
    w: Any, rate: float, steps: int, quantizer: Quantizer, *, seed: int | None = None, stream: int = 0
) -> DepthTwoRun:
    """That many emulated steps of one net [2], float32 or float64, and the laws that they break.

    Where random, step t draws from stream + t. Errors: as `emulated_step` and `invariant_bound`; ValueError for steps
    below 0 and for a rate that the dtype of w does not hold.
    Source: the laws of `invariant_after`; the monotony of arXiv 2305.13064.
    """
    count_of("steps", steps)
    now = finite(w, "w")
    if float(now.dtype.type(rate)) != rate:
        raise ValueError(f"rate = {rate} is no number of {now.dtype}: give float64 weights or a rate that is")
    path = [now]
    inexact = beyond = increases = 0
    for count in range(steps):
        draw: dict[str, Any] = {"seed": seed, "stream": stream_after(stream, count)} if quantizer.stochastic else {}
        following = emulated_step(now, rate, quantizer, **draw)
        expected, found = invariant_after(now, rate), invariant(following)
        inexact += found != expected
        beyond += abs(found - expected) > invariant_bound(now, rate, quantizer)
        increases += abs(found) > abs(invariant(now)) and (Fraction(rate) * residual(now)) ** 2 <= 2
        now = following
        path.append(now)
    return DepthTwoRun(np.stack(path), np.array([depth_two_sharpness(one) for one in path]), inexact, beyond, increases)
