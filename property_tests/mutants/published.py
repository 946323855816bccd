"""Laws of published functions that are neither quantizers nor masks, and the wrong variants that papers and codes have of them.

A law is checked on a case of its strategy, and on its examples first; the right function keeps it, each variant breaks it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis.strategies import SearchStrategy


@dataclass(frozen=True)
class Law:
    """check(fn, case) raises AssertionError where the function breaks the law; right: one that keeps it."""

    name: str
    check: Callable[[Any, Any], None]
    cases: SearchStrategy[Any]
    right: Callable[..., Any]
    examples: tuple[Any, ...] = ()

    def holds(self, fn: Callable[..., Any]) -> None:
        """Tries the examples and then cases of the profile."""
        for example in self.examples:
            self.check(fn, example)

        def one(case: Any) -> None:
            self.check(fn, case)

        given(case=self.cases)(one)()


@dataclass(frozen=True)
class Variant:
    """A wrong form of a law's function, and where it stands: "of a kind" where nobody is cited for it."""

    name: str
    where: str
    law: Law
    fn: Callable[..., Any]


def near(found: float, wanted: float, slack: float) -> None:
    """Errors: AssertionError beyond a relative slack."""
    assert math.isclose(found, wanted, rel_tol=slack), (found, wanted)
