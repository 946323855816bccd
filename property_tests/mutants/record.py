"""What a mutant is: a function with a bug, whose it was, and the claim that must find it."""

from collections.abc import Callable
from dataclasses import dataclass

from numerics.properties.claims import Subject


@dataclass(frozen=True)
class Right:
    """A function without a bug, of the same build as its mutants: every claim about it must hold.

    random: make(seed) gives one that draws for itself, by np.random.default_rng(seed).
    """

    name: str
    make: Callable[[int], Subject]
    random: bool = False


@dataclass(frozen=True)
class Mutant:
    """A function with one bug. caught_by: the claim that must break. twin: the same without the bug.

    where: the library or chip that had it, with version, issue or paper, and what was wrong; "of a kind" where the bug
    is of a kind that occurs, but nobody is cited for it.
    """

    name: str
    where: str
    make: Callable[[int], Subject]
    caught_by: str
    twin: Right

    @property
    def random(self) -> bool:
        """Whether it draws for itself, so that being caught is a matter of chance."""
        return self.twin.random

    @property
    def cited(self) -> bool:
        """Whether somebody's bug is named."""
        return not self.where.startswith("of a kind")
