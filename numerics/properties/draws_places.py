"""Of one that draws for itself: every place of a call, small calls, and every step, each for itself.

The counts of `draws_check` are of many places and of few steps. A lane whose generator has stopped, a rest of a loop that
draws nothing and one wrong entry of a table do not move them; here each has a count of its own.
"""

from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .evidence import shown
from .tails import bonferroni, simes, two_sided

if TYPE_CHECKING:
    from .draws_check import Counts, Tried

TESTS = 3
SIZES = (512, 511, 509)  # even, and two that leave a rest in loops of any width
CALLS_OF_A_SIZE = 48
GROUPS = (4, 8, 32, 64)  # lanes that may share a generator
SMALL = (1, 1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 13)
SMALL_CALLS = 12
AT_A_STEP = 128
MOST_STEPS = 256


class Place(NamedTuple):
    """A p-value, and the count that it comes from."""

    name: str
    p_value: float
    worst: str


def places(counts: "Counts", ties: "Tried") -> list[Place]:
    """The p-values of places, of small calls and of steps; at the x of the lanes, and at the ties of the steps.

    All are exact, of draws that are independent under the claim: those of places overlap, and are put together by Bonferroni.
    """
    return [_lanes(counts), _small(counts), _steps(counts, ties)]


def _draw(counts: "Counts", size: int) -> NDArray[np.bool_]:
    """One call of so many elements at the x of the lanes."""
    points, i = counts.points, counts.lane
    result = counts.q(np.full(size, points.x[i])).astype(np.float64)
    return counts.up(result, points.low[i], points.high[i], points.x[i])


def _told(what: str, ups: int, number: int, chance: Fraction, x: Any) -> str:
    return f"at x = {shown(x)} {what} went up {ups} of {number} times, expected {float(chance) * number:.6g}"


def _lanes(counts: "Counts") -> Place:
    """Each lane from the front, each of the last from the end, in calls of an even and of uneven sizes, and groups."""
    found: list[tuple[float, str]] = []
    chance, x = counts.lane_chance, counts.points.x[counts.lane]
    drawn = [np.stack([_draw(counts, size) for _ in range(CALLS_OF_A_SIZE)]) for size in SIZES]
    least = min(SIZES)
    front = np.concatenate([up[:, :least] for up in drawn])
    ends = {"uneven": np.concatenate([up[:, ::-1][:, :64] for up in drawn[1:]]), "even": drawn[0][:, ::-1][:, :64]}
    tried = [(front, "element {} of a call")] + [
        (up, f"element -{{}} of a call of {kind} size") for kind, up in ends.items()
    ]
    for up, told in tried:
        ups, number = up.sum(axis=0), len(up)
        values = two_sided(number, chance)[ups]
        i = int(np.argmin(values))
        place = i if up is front else i + 1
        found.append(
            (min(1.0, len(values) * float(values[i])), _told(told.format(place), int(ups[i]), number, chance, x))
        )
    for group in GROUPS:
        part = front[:, : least // group * group].reshape(len(front), -1, group)
        ups, number = part.sum(axis=(0, 1)), part.shape[0] * part.shape[1]
        values = two_sided(number, chance)[ups]
        i = int(np.argmin(values))
        told = _told(f"elements {i}, {i + group}, {i + 2 * group}, ... of a call", int(ups[i]), number, chance, x)
        found.append((min(1.0, group * float(values[i])), told))
    return Place("places", bonferroni([value for value, _ in found]), min(found)[1])


def _small(counts: "Counts") -> Place:
    """Calls of a few elements: all of them together, and the first of each."""
    drawn = [_draw(counts, size) for _ in range(SMALL_CALLS) for size in SMALL]
    every, first = np.concatenate(drawn), np.array([up[0] for up in drawn])
    found = []
    for up, told in ((every, "elements of calls of 1 to 13"), (first, "the first element of such a call")):
        ups, chance = int(up.sum()), counts.lane_chance
        value = float(two_sided(len(up), chance)[ups])
        found.append((value, _told(told, ups, len(up), chance, counts.points.x[counts.lane])))
    return Place("small calls", bonferroni([value for value, _ in found]), min(found)[1])


def _steps(counts: "Counts", ties: "Tried") -> Place:
    """The tie of each step: different draws, so Simes."""
    result = counts.q(np.tile(ties.x, AT_A_STEP)).astype(np.float64).reshape(AT_A_STEP, -1)
    ups = counts.up(result, ties.low, ties.high, ties.x).sum(axis=0)
    values = np.empty(len(ties.x))
    for chance, at in ties.kinds.items():
        values[at] = two_sided(AT_A_STEP, chance)[ups[at]]
    if not len(values):
        return Place("steps", 1.0, "")
    i = int(np.argmin(values))
    told = _told(
        f"the step from {float(ties.low[i])!r} to {float(ties.high[i])!r}",
        int(ups[i]),
        AT_A_STEP,
        ties.chance[i],
        ties.x[i],
    )
    return Place("steps", simes(values), told)
