"""Counting what happens in the roundings of a product in float32 or float64."""

from collections.abc import Iterable
from dataclasses import fields
from fractions import Fraction
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .accumulator import Accumulator
from .bounds import fits_as_drawn, float_format, product_bits, sums_of
from .events import Events
from .kernels import finite_tallies, modes
from .parameters import FLOAT32
from .planning import Plan, plans_in_turn
from .problem import Problem
from .stepping import step

_NAMES = [field.name for field in fields(Events)]


def counted_step(
    problem: Problem, accumulator: Accumulator, plan: Plan
) -> tuple[NDArray[Any], dict[str, NDArray[Any]], Plan]:
    """`stepping.step`, the counts [B, M, N] by name, and the plan: this one where it can count, else the first that can."""
    if nothing_happens(problem, accumulator, plan):
        return step(problem, accumulator, plan), {name: np.zeros(problem.shape, np.int32) for name in _NAMES}, plan
    known = _known(problem, accumulator)
    candidate, counting = counting_plan(problem, accumulator, chain([plan], plans_in_turn(problem, accumulator)), known)
    counts = np.zeros((len(_NAMES), *problem.shape), np.uint32)
    result = step(problem, accumulator, counting, counts, known)
    return result, {name: counts[i].view(np.int32) for i, name in enumerate(_NAMES)}, candidate


def nothing_happens(problem: Problem, accumulator: Accumulator, plan: Plan) -> bool:
    """Whether no step has an event: BLAS adds, so nothing is rounded, and no sum has an ulp above the addends' own.

    That of the power of two which ends the range of exact sums has: what it gains is absorbed, 7 + 1 in three bits.
    """
    if plan.kernel not in ("sgemm", "dgemm"):
        return False
    a, b, c = problem.facts
    lowest, total = a.lowest + b.lowest, problem.depth * Fraction(a.largest) * Fraction(b.largest)
    if c is not None:
        lowest, total = min(lowest, c.lowest), total + Fraction(c.largest)
    precision = min(float_format(part).precision for part in (accumulator, accumulator.combining))
    return total < Fraction(2) ** (lowest + precision)


def counting_plan(
    problem: Problem, accumulator: Accumulator, candidates: Iterable[Plan], known: int = finite_tallies.ANY
) -> tuple[Plan, Plan]:
    """(the first of the plans by which events can be counted, the same with its modes for counting); known: see `_known`.

    Errors: ValueError where there is none.
    """
    for candidate in candidates:
        counting = _counting(problem, candidate, known)
        if counting is not None:
            return candidate, counting
    raise ValueError(
        f"events of sums in {accumulator.format} cannot be counted for these operands: the addends of each step must be"
        " known exactly in float64; quantize the operands to fewer bits, or give events=False"
    )


def _known(problem: Problem, accumulator: Accumulator) -> int:
    """What is known of the sums: that none overflows (FITTING), that no addend does (TAME), or nothing (ANY)."""
    inner, outer = sums_of(accumulator, problem)
    parts = [sums for sums in (inner, outer) if sums is not None]
    if all(sums.top < float_format(sums.part).emax for sums in parts):
        return finite_tallies.FITTING
    in_turn = accumulator.product is None and all(sums.part.order == "sequential" for sums in parts)
    if in_turn and all(sums.held < float_format(sums.part).emax for sums in parts):
        return finite_tallies.FITTING  # a chain's bound holds for its sums before they are rounded too
    if fits_as_drawn(accumulator, problem):
        return finite_tallies.FITTING
    c, reached = problem.facts[2], float_format(accumulator).max
    largest = [] if c is None else [(c.largest, min(float_format(sums.part).max for sums in parts))]
    largest += [] if outer is None else [(reached, float_format(outer.part).max)]
    tame = inner.added < float_format(accumulator).emax and all(x <= limit for x, limit in largest)
    return finite_tallies.TAME if tame else finite_tallies.ANY


def _counting(problem: Problem, plan: Plan, known: int) -> Plan | None:
    """The plan by which events can be counted, or None: products and sums must be known exactly, or to odd."""
    if plan.kernel in ("sgemm", "dgemm") or plan.normalise:
        return None
    a, b, _ = problem.facts
    if product_bits(a, b) > plan.carrier.precision or a.lowest + b.lowest < plan.carrier.emin:
        return None
    if a.highest + b.highest + 2 > plan.carrier.emax:
        return None
    tells = plan.carrier is FLOAT32 and known >= finite_tallies.TAME
    return plan._replace(
        mode=_counted(plan.mode, plan.exact, tells), outer_mode=_counted(plan.outer_mode, plan.exact, tells)
    )


def _counted(mode: int, exact: bool, tells: bool) -> int:
    """The mode for counting: to odd where the carrier's own sum is only harmless, unless it tells all the same."""
    return mode if mode < 0 or exact or (tells and mode in finite_tallies.AT_ONCE) else mode & ~modes.ONCE
