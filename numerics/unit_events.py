"""Counting what happens in the roundings that a matrix unit does outside its blocks, by the accumulator's own counting."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .accumulator import Accumulator
from .events import Events
from .execution import run
from .formats import Subnormals
from .matrix_unit import MatrixUnit
from .problem import Problem, facts
from .rounding import Overflow

NAMES = [field.name for field in fields(Events)]


def no_counts(shape: tuple[int, ...]) -> NDArray[np.uint32]:
    """Room for the counts of outputs [...], uint32 [8, ...], in the order of the fields of Events."""
    return np.zeros((len(NAMES), *shape), np.uint32)


def count_sums(x: NDArray[np.float64], y: NDArray[Any], accumulator: Accumulator, counts: NDArray[np.uint32]) -> None:
    """Add the events of x + y [...], each rounded once, to counts [8, ...]; none of a sum that is not of finite numbers.

    Errors: ValueError where float64 cannot hold what is needed to tell.
    """
    known = np.isfinite(x) & np.isfinite(y)
    start, added = (np.where(known, side, 0.0).astype(np.float64).reshape(1, 1, -1) for side in (x, y))
    one = np.ones((1, 1, 1))
    problem = Problem(one, added, start, (facts(one, "1"), facts(added, "sums"), facts(start, "c")), None)
    found = run(problem, accumulator, events=True).counts
    assert found is not None
    for row, name in zip(counts, NAMES, strict=True):
        row += found[name].reshape(x.shape).astype(np.uint32)


def count_empty(c: NDArray[np.float64], unit: MatrixUnit, counts: NDArray[np.uint32]) -> None:
    """Add the events of an empty sum, c [...] rounded once, to counts [8, ...]."""
    # Which overflow rule it is shows in no count.
    once = unit.outer or Accumulator(flushing(unit), unit.rounding, Overflow.SATURATE)
    count_sums(c, np.zeros_like(c), once, counts)


def flushing(unit: MatrixUnit) -> Any:
    """The output, without subnormals where the unit flushes its results."""
    return replace(unit.output, subnormals=Subnormals.FLUSH) if unit.ftz_out else unit.output
