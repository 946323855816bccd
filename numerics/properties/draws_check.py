"""The verdict on a quantizer that draws for itself: exact tests of counts, one rate of false alarms for all of them.

What is looked at, at each of a few looks, on all draws so far:
- support: a result that is neither neighbour is no matter of chance, and ends it;
- points: the count of each point, an exact two-sided binomial test against k/2**r (ideal randomness: nu); the points
  take different draws, so their p-values are put together by Simes (one bad point) and by Fisher (a little everywhere);
- pooled: the counts of all points of one probability and sign, a common bias adding up;
- lanes: how often two elements of one call agree, at distances 1, 2, 4, ... in disjoint pairs of draws at one x: binomial,
  with probability p**2 + (1 - p)**2 if they are independent;
- calls: the same for one element of two calls in a row.
These five, and the looks, are put together by Bonferroni, which needs no independence. Sources: papers cited in `tails`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import reference
from .evidence import STATISTICAL, ClaimError, Evidence, shown
from .law import Law, law_of, overflows
from .points import steps
from .quantizers import QuantizerUnderTest
from .rounding_checks import broken
from .tails import binomial_pmf, bonferroni, fisher, simes, two_sided

ALPHA = 1e-9
FIRST_LOOK = 1 << 11
GROWTH = 4
REPEATS = 8
LANES = 512
DISTANCES = (1, 2, 3, 4, 8, 16, 32, 64, 128, 256)
PARTS = tuple(Fraction(n, 16) for n in (8, 4, 12, 1, 15, 2, 6, 10, 14))


class Tried(NamedTuple):
    """The points [m] in use: x, the probability that each goes up, the two results."""

    x: NDArray[Any]
    chance: tuple[Fraction, ...]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True)
class Component:
    """One p-value that a verdict is made of, and the count that is furthest from what it should be."""

    name: str
    p_value: float
    worst: str = ""


@lru_cache(maxsize=64)
def _tried(q: QuantizerUnderTest) -> Tried:
    low, high = steps(q.element, q.dtype)
    last = len(low) - 1
    middle = min(int(np.searchsorted(low, 1.0)), last)
    chosen = sorted({0, min(1, last), min(2, last), max(0, middle - 1), middle, last // 3, max(0, last - 1), last})
    found = []
    for part in PARTS:
        for below, above in zip(low[chosen].tolist(), high[chosen].tolist(), strict=True):
            x = Fraction(below) + part * (Fraction(above) - Fraction(below))
            found += [float(x), -float(x)] if q.element.signed else [float(x)]
    with np.errstate(over="ignore", under="ignore"):
        xs = np.unique(np.array(found).astype(q.dtype))
    return tried_points(q, xs)


def tried_points(q: QuantizerUnderTest, x: NDArray[Any]) -> Tried:
    """The points with two different results, and their probabilities."""
    xs = x[~overflows(q, x)]
    law = law_of(q, xs)
    keep = np.flatnonzero(law.low != law.high)
    chances = [chance_of(q, law, int(i)) for i in keep]
    return Tried(xs[keep], tuple(chances), law.low[keep], law.high[keep])


def chance_of(q: QuantizerUnderTest, law: Law, i: int) -> Fraction:
    """The probability that a point goes up: k/2**r, or nu under ideal randomness."""
    if q.random_bits == math.inf:
        return law.parts[i]
    r = int(q.random_bits or 32)
    return Fraction(reference.stochastic_threshold(law.parts[i], q.rounding, r), 1 << r)


def looks(budget: int) -> list[int]:
    """After how many draws one looks: 2**11, then four times as many each time, up to the budget."""
    found = [min(FIRST_LOOK, budget)]
    while found[-1] < budget:
        found.append(min(budget, found[-1] * GROWTH))
    return found


def draws(q: QuantizerUnderTest, x: Any = None, *, alpha: float = ALPHA, budget: int = 1 << 18) -> Evidence:
    """What a quantizer draws for itself has the probabilities, and the independence, that it claims.

    alpha: the probability that a right quantizer is called wrong, all tests and looks taken together. budget: draws in
    all; a plain bias ends it at the first looks, after 2,048 or 8,192. x: points to try; None: ties, quarters and
    sixteenths of steps at both ends, around 1 and between, of both signs. What is found with how many draws:
    `smallest_shift`. Errors: ClaimError; ValueError for a quantizer that takes words.
    """
    if not q.sampler:
        raise ValueError(f"{q.name} takes words: all its results can be enumerated, see checks.bias")
    points = _tried(q) if x is None else tried_points(q, np.unique(np.atleast_1d(np.asarray(x, q.dtype))))
    if not len(points.x):
        raise ValueError("no x lies between two values of the format: there is nothing to draw")
    ends = looks(budget)
    state = _State(q, points)
    for number, end in enumerate(ends, 1):
        state.draw(end)
        components = state.components()
        p_value = min(1.0, bonferroni([c.p_value for c in components]) * len(ends))
        if p_value <= alpha:
            worst = min(components, key=lambda c: c.p_value)
            raise ClaimError(
                "draws",
                f"what is drawn is not what is claimed ({q.fmt}, {q.rounding.name})",
                found_by=worst.name,
                seen=worst.worst,
                bound=f"p-value {p_value:.3g} of all tests, the rate of false alarms is {alpha:g}",
                formula=f"up with probability {_chance_text(q)}, draws independent",
                after=f"{state.total} draws, look {number} of {len(ends)}",
                reproduce=f"checks.draws(as_quantizer({q.name}, ...), budget={end}), with other counts in each run",
            )
    return Evidence(STATISTICAL, state.total, f"false alarms: {alpha:g}")


def _chance_text(q: QuantizerUnderTest) -> str:
    return "nu = (|x| - lo)/(hi - lo)" if q.random_bits == math.inf else f"k/2**r, r = {q.random_bits}"


class _State:
    """Counts so far."""

    def __init__(self, q: QuantizerUnderTest, points: Tried) -> None:
        self.q, self.points, self.total = q, points, 0
        self.ups = np.zeros(len(points.x), np.int64)
        self.each = 0
        self.tiled = np.repeat(points.x, REPEATS)
        halves = [abs(c - Fraction(1, 2)) for c in points.chance]
        self.lane = int(np.argmin([float(h) for h in halves]))
        self.lane_chance = points.chance[self.lane]
        self.same = self.lane_chance**2 + (1 - self.lane_chance) ** 2
        self.agreed = dict.fromkeys([*DISTANCES, "calls"], 0)
        self.pairs = dict.fromkeys([*DISTANCES, "calls"], 0)
        self.before: NDArray[np.bool_] | None = None

    def draw(self, end: int) -> None:
        while self.total < end:
            left = end - self.total
            lanes = LANES if left >= 2 * LANES else max(2, left // 2)
            if self.total % (2 * LANES) < LANES or not self._lanes(lanes):
                self._points(max(1, min(LANES, left) // max(1, len(self.tiled))))

    def _points(self, times: int) -> None:
        points = self.points
        result = self.q(np.tile(self.tiled, times)).astype(np.float64).reshape(times, -1, REPEATS)
        up = self._up(result, points.low[:, None], points.high[:, None], points.x[None, :, None])
        self.ups += up.sum(axis=(0, 2))
        self.each += times * REPEATS
        self.total += up.size

    def _lanes(self, lanes: int) -> bool:
        i, points = self.lane, self.points
        result = self.q(np.full(lanes, points.x[i])).astype(np.float64)
        up = self._up(result, points.low[i], points.high[i], points.x[i])
        for distance in DISTANCES:
            blocks = lanes // (2 * distance)
            if blocks:
                shaped = up[: blocks * 2 * distance].reshape(blocks, 2, distance)
                self.agreed[distance] += int((shaped[:, 0] == shaped[:, 1]).sum())
                self.pairs[distance] += blocks * distance
        if self.before is None:
            self.before = up
        else:
            both = min(len(up), len(self.before))
            self.agreed["calls"] += int((up[:both] == self.before[:both]).sum())
            self.pairs["calls"] += both
            self.before = None
        self.total += lanes
        return True

    def _up(self, result: NDArray[np.float64], low: Any, high: Any, x: Any) -> NDArray[np.bool_]:
        up: NDArray[np.bool_] = result == high
        strange = ~(up | (result == low))
        if strange.any():
            where = int(np.argmax(strange))
            value = float(np.broadcast_to(x, result.shape).reshape(-1)[where])
            raise broken(
                "draws",
                "a result is neither neighbour",
                self.q,
                value,
                None,
                shown(result.reshape(-1)[where]),
                "one of the neighbours",
                "support: Q(x) in {lo, hi}",
            )
        return up

    def components(self) -> list[Component]:
        found = [*self._each_point(), self._pooled()]
        pairs = {name: float(two_sided(n, self.same)[self.agreed[name]]) for name, n in self.pairs.items() if n}
        lanes = {name: p for name, p in pairs.items() if name != "calls"}
        if lanes:
            worst = min(lanes, key=lambda name: lanes[name])
            told = self._agreement(worst, f"elements at distance {worst}")
            found.append(Component("lanes", bonferroni(list(lanes.values())), told))
        if "calls" in pairs:
            found.append(Component("calls", pairs["calls"], self._agreement("calls", "an element in two calls")))
        return found

    def _each_point(self) -> list[Component]:
        points, n = self.points, self.each
        values = [float(two_sided(n, c)[k]) for c, k in zip(points.chance, self.ups.tolist(), strict=True)]
        i = int(np.argmin(values))
        told = (
            f"at x = {shown(points.x[i])} {self.ups[i]} of {n} went to {float(points.high[i])!r},"
            f" expected {float(points.chance[i]) * n:.6g}"
        )
        return [Component("points, Simes", simes(values), told), Component("points, Fisher", fisher(values), told)]

    def _pooled(self) -> Component:
        groups: dict[tuple[Fraction, bool], tuple[int, int]] = {}
        for x, chance, up in zip(self.points.x.tolist(), self.points.chance, self.ups.tolist(), strict=True):
            n, k = groups.get((chance, x < 0), (0, 0))
            groups[chance, x < 0] = n + self.each, k + up
        values = {key: float(two_sided(n, key[0])[k]) for key, (n, k) in groups.items() if n}
        if not values:
            return Component("pooled", 1.0)
        key = min(values, key=lambda found: values[found])
        n, k = groups[key]
        sign = "negative" if key[1] else "positive"
        return Component(
            "pooled",
            simes(list(values.values())),
            f"of {n} draws at {sign} x with probability {float(key[0]):g}, {k} went up, expected {float(key[0]) * n:.6g}",
        )

    def _agreement(self, name: Any, what: str) -> str:
        n = self.pairs[name]
        return f"{what} agreed in {self.agreed[name]} of {n} pairs, expected {float(self.same) * n:.6g}"


def smallest_shift(draws_in_all: int, *, alpha: float = ALPHA, power: float = 0.9, points: int = 16) -> float:
    """The smallest shift of a probability of 1/2, the same at `points` points of one sign, found with this power.

    By the exact binomial tail of the pooled count alone, at its share of alpha; other probabilities are easier. Half of
    the draws go to the points, of which the default plan has 16 in 126 at 1/2.
    """
    share = Fraction(points, 144)
    n = max(1, int(share * draws_in_all / 2))
    level = alpha / (len(looks(draws_in_all)) * 5)  # five components, and Simes over the groups at its most strict
    values = two_sided(n, Fraction(1, 2))
    rejected = np.flatnonzero(values * 2 * len(PARTS) <= level)
    above = rejected[rejected > n / 2]
    if not len(above):
        return 0.5
    low, high = 0.0, 0.5
    for _ in range(30):
        middle = (low + high) / 2
        found = float(binomial_pmf(n, Fraction(0.5 + middle))[above[0] :].sum())
        low, high = (low, middle) if found >= power else (middle, high)
    return high


def power_table(alpha: float = ALPHA, power: float = 0.9) -> Iterator[tuple[int, float]]:
    """(draws, smallest shift of a probability found with this power) for 2**11 to 2**23 draws."""
    for exponent in range(11, 24, 2):
        yield 1 << exponent, smallest_shift(1 << exponent, alpha=alpha, power=power)
