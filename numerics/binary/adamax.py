"""Shift-based AdaMax as a pure step: from parameters, gradient and state to parameters and state.

Source: arXiv 1602.02830, and the released code. Where the code adds its epsilon (2**-27) was not seen: here it
is an argument, 0 by default, added to the magnitude of the gradient. The defaults of the rates are the paper's, by a
secondary description; the code has 0.002, 0.9 and 0.999.

The released code writes AP2(v) back into the state. Then v = 2**k stands still: decayed to (1 - 2**-10) 2**k it is rounded
back to 2**k, so a single large gradient slows its weight down for ever. `store="ap2"` does that, "exact" keeps v itself.
"""

from typing import Any, NamedTuple

import numpy as np

from .powers import ap2
from .signs import FloatArray, without_nan


class AdaMaxState(NamedTuple):
    """First moment m and largest magnitude v, both of the shape of the parameters, and the number of steps done."""

    m: FloatArray
    v: FloatArray
    steps: int

    @classmethod
    def zeros(cls, theta: Any) -> "AdaMaxState":
        """The state before the first step: shape and dtype of the parameters."""
        return cls(np.zeros_like(theta), np.zeros_like(theta), 0)


def shift_adamax(
    theta: Any,
    gradient: Any,
    state: AdaMaxState,
    *,
    rate: float = 2.0**-10,
    beta1: float = 1 - 2.0**-3,
    beta2: float = 1 - 2.0**-10,
    epsilon: float = 0.0,
    store: str = "exact",
) -> tuple[FloatArray, AdaMaxState]:
    """theta - AP2(rate/(1 - beta1**t)) m / AP2(v), with m = beta1 m + (1 - beta1) g and v = max(beta2 v, |g| + epsilon).

    theta, gradient: float32 or float64 of one shape and dtype, in which all is computed; t counts from 1. store: "exact"
    keeps v, "ap2" writes AP2(v) into the state as the released code does. A weight whose gradients were all 0 stays, and
    so do all at rate 0, with which schedules begin and end; the state goes on.
    Errors: TypeError for other dtypes; ValueError for NaN, infinities in the gradient, shapes or dtypes that differ, the
    state's among them, rates outside their range, another store.
    Source: arXiv 1602.02830, shift-based AdaMax, and its code; see this module.
    """
    parameters, g = without_nan(theta, "shift_adamax"), without_nan(gradient, "shift_adamax")
    if parameters.shape != g.shape or parameters.dtype != g.dtype:
        raise ValueError(
            f"theta {parameters.dtype} {parameters.shape} and gradient {g.dtype} {g.shape}: give one shape and dtype"
        )
    for label, held in (("m", state.m), ("v", state.v)):
        if np.shape(held) != g.shape or np.asarray(held).dtype != g.dtype:
            raise ValueError(
                f"state.{label} {np.asarray(held).dtype} {np.shape(held)} for parameters {g.dtype} {g.shape}: give the"
                " state of these parameters, AdaMaxState.zeros(theta) at first"
            )
    if np.isinf(g).any():
        raise ValueError(f"gradient[{int(np.argmax(np.isinf(g)))}] (in C order) is infinite: clip it, v would stay so")
    if store not in ("exact", "ap2"):
        raise ValueError(f"store = {store!r}: give 'exact' or 'ap2'")
    if not (0 <= rate < np.inf and 0 <= beta1 < 1 and 0 <= beta2 <= 1 and epsilon >= 0):
        raise ValueError(
            f"rate = {rate}, beta1 = {beta1}, beta2 = {beta2}, epsilon = {epsilon}:"
            " give 0 <= rate < inf, 0 <= beta1 < 1, 0 <= beta2 <= 1, epsilon >= 0"
        )
    number = g.dtype.type
    m = number(beta1) * state.m + number(1 - beta1) * g
    v = np.maximum(number(beta2) * state.v, np.abs(g) + number(epsilon))
    divisor = ap2(v)
    step = number(ap2(np.float64(rate / (1 - beta1 ** (state.steps + 1)))))
    # At rate 0 the quotient could be infinite, or negative, and 0 times it no +0.
    moved = step * np.divide(m, divisor, where=(divisor > 0) & (rate > 0), out=np.zeros_like(m))
    return parameters - moved, AdaMaxState(m, divisor if store == "ap2" else v, state.steps + 1)
