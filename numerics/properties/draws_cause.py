"""What is wrong with draws that were found not to be what is claimed: nothing is drawn, they depend, or are biased.

Draws that agree more often than claimed may only be biased: of lanes that all go up nine times of ten, two agree in 82
of 100 pairs, however independent. So lanes and calls are judged anew by Fisher's exact test, which asks whether they
depend whatever their means are; where it finds nothing, the means are the fault. This names a fault that is proved
already, and cannot make one.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .evidence import shown
from .tails import association, bonferroni, two_sided

if TYPE_CHECKING:
    from .draws_check import Counts

#: A p-value of dependence that settles it, whatever is found of the means.
SETTLED = 1e-9
#: Lanes of a call, and pairs of calls, that are drawn besides to tell one word for a whole call from one for ever.
SHORT_LANES, SHORT_PAIRS = 64, 8
#: Of so many probabilities there must be x before nothing is said to be drawn: words without their top bit never take a tie up.
SEVERAL = 4


class Pairs(NamedTuple):
    """Pairs of draws at one x: how many, in how many the first, the second, and both went up."""

    number: int = 0
    first: int = 0
    second: int = 0
    both: int = 0

    def with_(self, some: NDArray[np.bool_], others: NDArray[np.bool_]) -> "Pairs":
        """These and the pairs of two arrays."""
        more = (some.size, int(some.sum()), int(others.sum()), int((some & others).sum()))
        return Pairs(*(a + b for a, b in zip(self, more, strict=True)))

    @property
    def agreed(self) -> int:
        """How many went the same way."""
        return self.number - self.first - self.second + 2 * self.both

    @property
    def expected(self) -> float:
        """How many would, were the two independent, with the means that they have."""
        downs = (self.number - self.first) * (self.number - self.second)
        return (self.first * self.second + downs) / self.number

    @property
    def p_value(self) -> float:
        """Of independence, whatever the means are."""
        return association(self.number, self.first, self.second, self.both)


class Cause(NamedTuple):
    """fault: what is wrong, for a sentence. found_by: the test. seen: its count. besides: what else is known."""

    fault: str
    found_by: str
    seen: str
    besides: str


def cause_of(counts: "Counts") -> Cause:
    """The fault of draws that are not what is claimed; it draws some 1,500 times more where it is not plain."""
    if _dependence(counts)[0] > SETTLED:
        for _ in range(SHORT_PAIRS):
            counts.pair_of_calls(SHORT_LANES)
    p_value, name = _dependence(counts)
    biased = [(c.p_value, c.name, c.worst) for c in counts.components() if c.name not in ("lanes", "calls")]
    least, found_by, seen = min([*biased, (_lane_mean(counts), "one x", _lane_seen(counts))])
    if _draws_nothing(counts):
        besides = f"none of {len(counts.points.x)} x went both ways"
        return Cause("it draws nothing", "one x", _lane_seen(counts), besides)
    if p_value <= max(least, SETTLED):
        kind = "elements of one call" if isinstance(name, int) else "calls"
        pairs = counts.pairs[name]
        told = f"elements at distance {name}" if isinstance(name, int) else f"an element in two calls {name}"
        return Cause(
            f"{kind} do not draw independently",
            "lanes" if isinstance(name, int) else "calls",
            f"{told} agreed in {pairs.agreed} of {pairs.number} pairs, expected {pairs.expected:.6g} of independent ones",
            "means are not judged: the counts of draws that depend scatter more",
        )
    besides = f"elements and calls were not found to depend on each other, whatever the mean (p-value {p_value:.2g})"
    if counts.lane_ups in (0, counts.lane_draws):
        besides = "whether elements and calls depend on each other cannot be told: all draws at one x went one way"
    return Cause("it is biased", found_by, seen, besides)


def _dependence(counts: "Counts") -> tuple[float, int | str]:
    """The p-value of independence of all lanes and calls, and the name of the pairs that speak most against it."""
    each = {name: pairs.p_value for name, pairs in counts.pairs.items() if pairs.number}
    worst = min(each, key=lambda name: each[name], default="")
    return bonferroni(list(each.values())), worst


def _lane_mean(counts: "Counts") -> float:
    """The p-value of the mean of all draws at the x of the lanes, exact if they are independent."""
    return float(two_sided(counts.lane_draws, counts.lane_chance)[counts.lane_ups])


def _lane_seen(counts: "Counts") -> str:
    points, i, n = counts.points, counts.lane, counts.lane_draws
    return (
        f"at x = {shown(points.x[i])} {counts.lane_ups} of {n} went to {float(points.high[i])!r},"
        f" expected {float(counts.lane_chance) * n:.6g}"
    )


def _draws_nothing(counts: "Counts") -> bool:
    """Whether no x went both ways, however often it was tried, of enough probabilities that no bias is like it."""
    tried = sum(0 < chance < 1 for chance in counts.points.kinds)
    points = bool(np.isin(counts.ups, (0, counts.each)).all())
    return tried >= SEVERAL and points and counts.lane_ups in (0, counts.lane_draws)
