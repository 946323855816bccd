"""A claim: a statement with its place in a paper, the figure it gives, and how ours is found."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from time import perf_counter

Figure = bool | int | float | Fraction | str


@dataclass(frozen=True)
class Claim:
    """A theorem, identity or constant, and the calculation that it is held against.

    expected: what the source says; found: called without arguments, gives ours. tolerance: how far a number may lie
    from the one expected, 0 where both are exact; a printed constant allows half a unit of its last digit.
    place: where in the source; note: where the source is wrong or silent, and what is done instead.
    """

    statement: str
    expected: Figure
    found: Callable[[], Figure]
    place: str = ""
    tolerance: float = 0.0
    note: str = ""


@dataclass(frozen=True)
class Paper:
    """A source, and what is checked of it. title: with authors' names, year and arXiv number."""

    title: str
    claims: tuple[Claim, ...]


@dataclass(frozen=True)
class Outcome:
    """What came of a claim."""

    paper: str
    claim: Claim
    found: Figure
    seconds: float

    @property
    def holds(self) -> bool:
        """Whether the figure found is the one expected, within the tolerance."""
        expected = self.claim.expected
        if isinstance(expected, bool | str) or isinstance(self.found, bool | str):
            return type(expected) is type(self.found) and expected == self.found
        return abs(Fraction(self.found) - Fraction(expected)) <= Fraction(self.claim.tolerance)


def check(claim: Claim, paper: str = "") -> Outcome:
    """Finds the figure of a claim. Whatever the calculation raises goes through."""
    start = perf_counter()
    found = claim.found()
    return Outcome(paper, claim, found, perf_counter() - start)
