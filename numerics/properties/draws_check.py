"""The verdict on a quantizer that draws for itself: exact tests of counts, one rate of false alarms for all of them.

What is looked at, at each of a few looks, on all draws so far:
- support: a result that is neither neighbour is no matter of chance, and ends it;
- points: the count of each point, an exact two-sided binomial test against k/2**r (ideal randomness: nu); the points
  take different draws, so their p-values are put together by Simes (one bad point) and by Fisher (a little everywhere);
- pooled: the counts of all points of one probability, of either sign and of one sign, a common bias adding up;
- lanes: how often two elements of one call agree, at distances 1, 2, 4, ... in disjoint pairs of draws at one x: binomial,
  with probability p**2 + (1 - p)**2 if they are independent;
- calls: the same for one element of two calls in a row, and of two calls with one between.
These six, and the looks, are put together by Bonferroni, which needs no independence. Sources: papers cited in `tails`.
With 2**17 draws or more there is one look besides, with draws of its own: at each place, at small calls and at each step,
see `draws_places`.
Which fault it is that was found, `draws_cause` tells.
That the rate of false alarms is kept, and that bugs are found, is measured: `make mutants`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import reference
from .counter_examples import broken
from .draws_cause import Pairs, cause_of
from .draws_places import MOST_STEPS, TESTS, places
from .evidence import STATISTICAL, ClaimError, Evidence, hides, shown
from .law import Law, law_of, overflows
from .points import steps
from .quantizers import QuantizerUnderTest
from .tails import bonferroni, fisher, simes, two_sided

__tracebackhide__ = hides

ALPHA = 1e-9
FIRST_LOOK = 1 << 11
GROWTH = 4
REPEATS = 8
LANES = 512
DISTANCES = (1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 24, 32, 48, 64, 96, 100, 128, 192, 256, 384, 512, 768, 1000, 1024, 2048)
MANY_LANES = 1 << 13
# The last two are just under 2**-5 and 2**-8: what has up to that many random bits, or was rounded before, never goes up.
PARTS = (*(Fraction(n, 16) for n in (8, 4, 12, 1, 15, 5, 11)), Fraction(31, 1 << 10), Fraction(63, 1 << 14))
# Up to so many random bits, points that go up for one word alone, and for all but one, are among those that are tried.
ONE_WORD = 12
COMPONENTS = 6
PLACES_FROM = 1 << 17  # draws from which places and steps are looked at besides
CALLS = ("in a row", "with one between")


class Tried(NamedTuple):
    """The points [m] in use: x, the probability that each goes up, the two results; where each probability is."""

    x: NDArray[Any]
    chance: tuple[Fraction, ...]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    kinds: dict[Fraction, NDArray[np.int64]]


@dataclass(frozen=True)
class Component:
    """One p-value that a verdict is made of, and the count that is furthest from what it should be, of means."""

    name: str
    p_value: float
    worst: str = ""


def _telling(q: QuantizerUnderTest) -> Tried:
    return _tried(replace(q, fn=_telling, tensor=None, name=""))  # the same for all functions of one claim


@lru_cache(maxsize=64)
def _tried(q: QuantizerUnderTest) -> Tried:
    low, high = steps(q.element, q.dtype)
    last = len(low) - 1
    middle = min(int(np.searchsorted(low, 1.0)), last)
    chosen = sorted({0, min(1, last), min(2, last), max(0, middle - 1), middle, last // 3, max(0, last - 1), last})
    found = []
    for part in (*PARTS, *_one_word(q)):
        for below, above in zip(low[chosen].tolist(), high[chosen].tolist(), strict=True):
            x = Fraction(below) + part * (Fraction(above) - Fraction(below))
            found += [float(x), -float(x)] if q.element.signed else [float(x)]
    with np.errstate(over="ignore", under="ignore"):
        xs = np.unique(np.array(found).astype(q.dtype))
    return tried_points(q, xs)


def _one_word(q: QuantizerUnderTest) -> tuple[Fraction, ...]:
    """Half of a word's share above the least probability but 0, and below the largest but 1."""
    if not 1 <= (q.random_bits or 32) <= ONE_WORD:
        return ()
    share = Fraction(1, 1 << int(q.random_bits or 0))
    return share * 3 / 2, 1 - share / 2


def tried_points(q: QuantizerUnderTest, x: NDArray[Any]) -> Tried:
    """The points with two different results, and their probabilities."""
    xs = x[~overflows(q, x)]
    law = law_of(q, xs)
    keep = np.flatnonzero(law.low != law.high)
    chances = [chance_of(q, law, int(i)) for i in keep]
    places: dict[Fraction, list[int]] = {}
    for place, chance in enumerate(chances):
        places.setdefault(chance, []).append(place)
    kinds = {chance: np.array(at, np.int64) for chance, at in places.items()}
    return Tried(xs[keep], tuple(chances), law.low[keep], law.high[keep], kinds)


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


def tests_of(budget: int) -> int:
    """How many p-values a verdict is made of, over all looks."""
    return len(looks(budget)) * COMPONENTS + (TESTS if budget >= PLACES_FROM else 0)


class Look(NamedTuple):
    """What is known after so many draws: the p-value of all tests and looks together, and what it is made of."""

    draws: int
    number: int
    p_value: float
    counts: "Counts"


def looked(q: QuantizerUnderTest, x: Any = None, budget: int = 1 << 18) -> Iterator[Look]:
    """The looks one after the other. Errors: ClaimError at a result that is neither neighbour; ValueError as in `draws`."""
    if not q.sampler:
        raise ValueError(f"{q.name} takes words: all its results can be enumerated, see checks.bias")
    points = _telling(q) if x is None else tried_points(q, np.unique(np.atleast_1d(np.asarray(x, q.dtype))))
    if not len(points.x):
        raise ValueError("no x lies between two values of the format: there is nothing to draw")
    ends = looks(budget)
    counts = Counts(q, points)
    for number, end in enumerate(ends, 1):
        counts.draw(end)
        least = min(component.p_value for component in counts.components())
        yield Look(counts.total, number, min(1.0, tests_of(budget) * least), counts)
    if budget >= PLACES_FROM and x is None:
        counts.places = [Component(*place) for place in places(counts, _ties(q))]
        least = min(component.p_value for component in counts.places)
        yield Look(counts.total, len(ends) + 1, min(1.0, tests_of(budget) * least), counts)


def _ties(q: QuantizerUnderTest) -> Tried:
    """The ties of all steps, of both signs; evenly some where there are more than 256."""
    low, high = steps(q.element, q.dtype)
    places = np.unique(np.linspace(0, len(low) - 1, min(len(low), MOST_STEPS // 2)).astype(int))
    with np.errstate(over="ignore", under="ignore"):
        middle = (low[places] + (high[places] - low[places]) / 2).astype(q.dtype)
    return tried_points(q, np.unique(np.concatenate([-middle, middle]) if q.element.signed else middle))


def p_value_of_draws(q: QuantizerUnderTest, x: Any = None, *, budget: int = 1 << 18) -> float:
    """The smallest p-value of all looks, which `draws` compares with alpha; 0 where a result is neither neighbour.

    For a right quantizer it is at most alpha with probability at most alpha, for every alpha.
    """
    try:
        return min(look.p_value for look in looked(q, x, budget))
    except ClaimError:
        return 0.0


def draws(q: QuantizerUnderTest, x: Any = None, *, alpha: float = ALPHA, budget: int = 1 << 18) -> Evidence:
    """What a quantizer draws for itself has the probabilities, and the independence, that it claims.

    alpha: the probability that a right quantizer is called wrong, all tests and looks taken together. budget: draws in
    all, besides some 80,000 of the last look; a plain bias ends it at the first looks, after some 2,048 or 8,192. x: points
    to try; None: ties, quarters, sixteenths and just under 2**-5 and 2**-8 of steps at both ends, around 1 and between, of
    both signs, and in the last look the ties of all steps. What is found with how many draws: `smallest_shift`.
    Errors: ClaimError; ValueError for a quantizer that takes words.
    """
    total = 0
    for look in looked(q, x, budget):
        total = look.draws
        if look.p_value <= alpha:
            cause = cause_of(look.counts)
            raise ClaimError(
                "draws",
                f"what is drawn is not what is claimed: {cause.fault} ({q.fmt}, {q.rounding.name})",
                found_by=cause.found_by,
                seen=cause.seen,
                besides=cause.besides,
                bound=f"p-value {look.p_value:.3g} of all tests, the rate of false alarms is {alpha:g}",
                formula=f"up with probability {_chance_text(q)}, draws independent",
                after=f"{look.draws} draws, look {look.number} of {len(looks(budget)) + (budget >= PLACES_FROM)}",
                reproduce=f"{_again(q)}, budget={budget})  # with other counts in each run",
            )
    return Evidence(STATISTICAL, total, f"false alarms: {alpha:g}")


def _again(q: QuantizerUnderTest) -> str:
    bits = "" if q.random_bits == math.inf else f", random_bits={q.random_bits}"
    claim = (
        f"fmt={q.fmt!r}, rounding=Rounding.{q.rounding.name}, overflow=Overflow.{q.overflow.name}{bits}, sampler=True"
    )
    return f"checks.draws(as_quantizer({q.name}, {claim})"


def _chance_text(q: QuantizerUnderTest) -> str:
    return "nu = (|x| - lo)/(hi - lo)" if q.random_bits == math.inf else f"k/2**r, r = {q.random_bits}"


class Counts:
    """What was drawn so far: of each point, and of pairs of draws at the x of the lanes."""

    def __init__(self, q: QuantizerUnderTest, points: Tried) -> None:
        self.q, self.points, self.total = q, points, 0
        self.ups = np.zeros(len(points.x), np.int64)
        self.each = 0
        self.tiled = np.repeat(points.x, REPEATS)
        self.lane_chance = min(points.kinds, key=lambda chance: abs(chance - Fraction(1, 2)))
        self.lane = int(points.kinds[self.lane_chance][0])
        self.same = self.lane_chance**2 + (1 - self.lane_chance) ** 2
        self.pairs: dict[int | str, Pairs] = dict.fromkeys([*DISTANCES, *CALLS], Pairs())
        self.lane_calls = self.lane_draws = self.lane_ups = 0
        self.before: NDArray[np.bool_] = np.zeros(0, bool)
        self.places: list[Component] = []

    def draw(self, end: int) -> None:
        """Draws until there are `end` draws or a few more."""
        while self.total < end:
            left = end - self.total
            lanes = MANY_LANES if left >= 8 * MANY_LANES else LANES
            self._points(max(1, min(2 * lanes if lanes > LANES else lanes, left) // len(self.tiled)))
            # Two calls of lanes in a row, then one of points between: so calls are compared at distances 1 and 2.
            for _ in range(2):
                if self.total < end:
                    self._lanes(max(2, min(lanes, end - self.total)))

    def pair_of_calls(self, lanes: int) -> None:
        """Two calls of so many lanes, and one that is not counted, so that the next two are not in a row with them."""
        for _ in range(2):
            self._lanes(lanes)
        self.q(np.full(lanes, self.points.x[self.lane]))

    def _points(self, times: int) -> None:
        points = self.points
        given: NDArray[Any] = np.tile(self.tiled, times)
        given = given.reshape(-1, REPEATS) if self.lane_calls % 4 >= 2 else given
        result = self.q(given).astype(np.float64).reshape(times, -1, REPEATS)
        up = self.up(result, points.low[:, None], points.high[:, None], points.x[None, :, None])
        self.ups += up.sum(axis=(0, 2))
        self.each += times * REPEATS
        self.total += up.size

    def _lanes(self, lanes: int) -> None:
        i, points = self.lane, self.points
        given: NDArray[Any] = np.full(lanes, points.x[i])
        if self.lane_calls % 4 >= 2 and lanes % 16 == 0:  # rows may share what elements may not
            given = given.reshape(16, -1)
        result = self.q(given).astype(np.float64).reshape(-1)
        up = self.up(result, points.low[i], points.high[i], points.x[i])
        for distance in DISTANCES:
            start = distance * (self.lane_calls // 2 % 2)  # words may be shared from an odd lane on
            blocks = (lanes - start) // (2 * distance)
            if blocks > 0:
                shaped = up[start : start + blocks * 2 * distance].reshape(blocks, 2, distance)
                self._compare(distance, shaped[:, 0], shaped[:, 1])
        if self.lane_calls:
            both = min(len(up), len(self.before))
            self._compare(CALLS[1 - self.lane_calls % 2], up[:both], self.before[:both])
        self.lane_calls += 1
        self.lane_draws += up.size
        self.lane_ups += int(up.sum())
        self.before = up
        self.total += lanes

    def _compare(self, name: int | str, some: NDArray[np.bool_], others: NDArray[np.bool_]) -> None:
        self.pairs[name] = self.pairs[name].with_(some, others)

    def up(self, result: NDArray[np.float64], low: Any, high: Any, x: Any) -> NDArray[np.bool_]:
        """Which results went up. Errors: ClaimError at one that is neither neighbour."""
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
        """The p-values that the verdict is made of."""
        found = [
            *self.places,
            *self._each_point(),
            self._pooled((None,), "any x"),
            self._pooled((False, True), "x of one sign"),
        ]
        for kind, names in (("lanes", DISTANCES), ("calls", CALLS)):
            tried = [pairs for pairs in (self.pairs[name] for name in names) if pairs.number]
            values = [float(two_sided(pairs.number, self.same)[pairs.agreed]) for pairs in tried]
            if values:
                found.append(Component(kind, bonferroni(values)))
        return found

    def _each_point(self) -> list[Component]:
        points, n = self.points, self.each
        values = np.empty(len(points.x))
        for chance, at in self.points.kinds.items():
            values[at] = two_sided(n, chance)[self.ups[at]]
        i = int(np.argmin(values))
        told = (
            f"at x = {shown(points.x[i])} {self.ups[i]} of {n} went to {float(points.high[i])!r},"
            f" expected {float(points.chance[i]) * n:.6g}"
        )
        return [Component("points, Simes", simes(values), told), Component("points, Fisher", fisher(values), told)]

    def _pooled(self, signs: tuple[bool | None, ...], told: str) -> Component:
        """The counts of all points of a probability, of both signs (None) or of each."""
        found = []
        for chance, at in self.points.kinds.items():
            for sign in signs:
                own = at if sign is None else at[(self.points.x[at] < 0) == sign]
                if len(own):
                    n, k = self.each * len(own), int(self.ups[own].sum())
                    found.append((float(two_sided(n, chance)[k]), n, k, chance))
        _, n, k, chance = min(found)
        seen = (
            f"of {n} draws at {told} with probability {float(chance):g}, {k} went up, expected {float(chance) * n:.6g}"
        )
        return Component("pooled", simes([value for value, *_ in found]), seen)
