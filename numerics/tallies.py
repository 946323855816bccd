"""Counting what happens in the roundings of a product in float32 or float64."""

from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .accumulator import Accumulator
from .bounds import product_bits
from .events import Events
from .kernels import modes
from .planning import Plan, plans
from .problem import Problem
from .stepping import step

_NAMES = [field.name for field in fields(Events)]


def counted_step(
    problem: Problem, accumulator: Accumulator, plan: Plan
) -> tuple[NDArray[Any], dict[str, NDArray[Any]], Plan]:
    """`stepping.step`, the counts [B, M, N] by name, and the plan: this one where it can count, else the first that can."""
    if plan.kernel in ("sgemm", "dgemm"):  # nothing is rounded
        return step(problem, accumulator, plan), {name: np.zeros(problem.shape, np.int32) for name in _NAMES}, plan
    for candidate in (plan, *plans(problem, accumulator)):
        counting = _counting(problem, candidate)
        if counting is not None:
            counts = np.zeros((len(_NAMES), *problem.shape), np.uint32)
            result = step(problem, accumulator, counting, counts)
            return result, {name: counts[i].view(np.int32) for i, name in enumerate(_NAMES)}, candidate
    raise ValueError(
        f"events of sums in {accumulator.format} cannot be counted for these operands: the addends of each step must be"
        " known exactly in float64; quantize the operands to fewer bits, or give events=False"
    )


def _counting(problem: Problem, plan: Plan) -> Plan | None:
    """The plan by which events can be counted, or None: products and sums must be known exactly, or to odd."""
    if plan.kernel in ("sgemm", "dgemm") or plan.normalise:
        return None
    a, b, _ = problem.facts
    if product_bits(a, b) > plan.carrier.precision or a.lowest + b.lowest < plan.carrier.emin:
        return None
    if a.highest + b.highest + 2 > plan.carrier.emax:
        return None
    return plan._replace(
        mode=_counted(plan.mode, plan.exact),
        outer_mode=_counted(plan.outer_mode, plan.exact),
    )


def _counted(mode: int, exact: bool) -> int:
    """The mode for counting: to odd where the carrier's own sum is only harmless."""
    return mode if mode < 0 or exact else mode & ~modes.ONCE
