"""The verdict on a mask that draws for itself: how often each element is kept, and whether blocks and calls are independent."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .draws_cause import SETTLED, Pairs
from .draws_check import ALPHA, DISTANCES
from .evidence import STATISTICAL, ClaimError, Evidence, hides
from .mask_cases import broken_mask, given_blocks
from .masks import MaskUnderTest
from .tails import bonferroni, two_sided

__tracebackhide__ = hides

DRAWS = 1 << 14
BLOCKS = 1 << 10  # of one kind, to see whether they share their draws
SHORT_CALLS, SHORT_BLOCKS = 16, 32  # drawn besides, to tell one draw for a whole call from one for ever


class _Found:
    """Counts and their p-values."""

    def __init__(self, subject: MaskUnderTest, x: Any) -> None:
        self.given = given_blocks(subject, x)[:24]
        self.times = DRAWS // len(self.given)
        result = subject(np.tile(self.given, (self.times, 1))).reshape(self.times, *self.given.shape)
        if ((result != 0).sum(axis=2) > subject.n).any():
            raise ClaimError("mask_draws", "a draw keeps more than n of m", reproduce=subject.reproduce(self.given))
        self.counts = (result != 0).sum(axis=0)
        chances = [subject.probabilities(block) for block in self.given]
        self.each = [
            (float(two_sided(self.times, p)[self.counts[i, j]]), i, j, p)
            for i, block in enumerate(self.given)
            for j, p in enumerate(chances[i])
            if block[j]
        ]
        _, i, j, p = min(self.each, key=lambda found: abs(found[3] - 0.5), default=(1.0, 0, 0, None))
        self.pairs: list[tuple[float, str, Pairs]] = []
        self.apart = 0, 0  # the block whose copies are compared, and the element
        if p is not None and 0 < p < 1:
            self._apart(subject, i, j, p)
        self.p_value = bonferroni([*(found[0] for found in self.each), *(found[0] for found in self.pairs)])

    def _apart(self, subject: MaskUnderTest, i: int, j: int, p: Any) -> None:
        """How often two equal blocks agree, in one call at each distance and in two calls."""
        self.apart = i, j
        kept = [subject(np.tile(self.given[i], (BLOCKS, 1)))[:, j] != 0 for _ in range(2)]
        same = two_sided(BLOCKS // 2, p**2 + (1 - p) ** 2)
        for distance in (d for d in DISTANCES if BLOCKS % (2 * d) == 0):
            shaped = kept[0].reshape(-1, 2, distance)
            self._agree(f"blocks at distance {distance}", shaped[:, 0], shaped[:, 1], same)
        self._agree("a block in two calls", kept[0][::2], kept[1][::2], same)

    def _agree(self, told: str, some: NDArray[Any], others: NDArray[Any], same: NDArray[np.float64]) -> None:
        pairs = Pairs().with_(some, others)
        self.pairs.append((float(same[pairs.agreed]), told, pairs))

    def dependence(self, subject: MaskUnderTest) -> tuple[float, str]:
        """The p-value of independence of blocks and calls, whatever their means are, and the count that speaks most."""
        if not self.pairs:
            return 1.0, ""
        tables = {told: pairs for _, told, pairs in self.pairs}
        i, j = self.apart
        for _ in range(SHORT_CALLS):
            kept = subject(np.tile(self.given[i], (SHORT_BLOCKS, 1)))[:, j] != 0
            told = "blocks at distance 1"
            tables[told] = tables[told].with_(kept[::2], kept[1::2])
        each = {told: pairs.p_value for told, pairs in tables.items()}
        worst = min(each, key=lambda told: each[told])
        seen = f"{worst} agreed in {tables[worst].agreed} of {tables[worst].number} pairs"
        return bonferroni(list(each.values())), seen


def p_value_of_mask_draws(subject: MaskUnderTest, x: Any = None) -> float:
    """The p-value that `mask_draws` compares with alpha; 0 where a draw keeps more than n of m."""
    try:
        return _Found(subject, x).p_value
    except ClaimError:
        return 0.0


def mask_draws(subject: MaskUnderTest, x: Any = None, *, alpha: float = ALPHA) -> Evidence:
    """A mask that draws for itself keeps each element with its probability, and blocks and calls draw apart.

    Exact binomial tests, put together by Bonferroni: the elements of a block exclude each other, so nothing that asks
    for independence is used. alpha: the probability that a right mask is called wrong.
    """
    if not subject.stochastic or subject.takes_words:
        raise ValueError(f"{subject.name} does not draw for itself: see checks.marginals")
    found = _Found(subject, x)
    if found.p_value <= alpha:
        least, i, j, p = min(found.each)
        told = f"{found.counts[i, j]} of {found.times} draws", f"{float(p) * found.times:.6g}"
        statement = f"element {j} is not kept as often as claimed"
        apart, seen = found.dependence(subject)
        if apart <= max(least, SETTLED):  # not the agreement of blocks that only have another mean
            i = found.apart[0]
            told, statement = (seen, "as often as independent draws do"), "blocks do not draw independently"
        raise broken_mask(
            "mask_draws",
            statement,
            subject,
            found.given[i],
            None,
            told[0],
            f"{told[1]}, p-value {found.p_value:.3g} of all tests",
            "kept with probability p_i, each block by its own draw",
        )
    return Evidence(STATISTICAL, found.times * len(found.given) + 2 * BLOCKS, f"false alarms: {alpha:g}")
