"""The N:M mask under test: anybody's function that keeps n of m, and what it claims to keep."""

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..reference import masks
from ..words import random_words
from .arguments import check_common, label_of
from .evidence import FEW, ClaimError, call_function, called, hides, literal, raised_for
from .returned import NoArrayError, as_array, came_back, remedy_for

__tracebackhide__ = hides

KINDS = ("top_n", "mvue")
METHODS = ("exact", "approximate", "sequential")


@dataclass(frozen=True)
class MaskUnderTest:
    """A function that keeps n of each m elements along the last axis. `as_mask` makes one."""

    fn: Callable[..., Any] = field(repr=False)
    n: int
    m: int
    kind: str
    method: str = "exact"
    random_bits: int | None = None
    dtype: np.dtype[Any] = field(default_factory=lambda: np.dtype(np.float64))
    tensor: Callable[[Any], Any] | None = field(default=None, repr=False)
    name: str = "fn"

    @property
    def stochastic(self) -> bool:
        """Whether what is kept is drawn."""
        return self.kind == "mvue"

    @property
    def takes_words(self) -> bool:
        """Whether words are given to it, so that all its results can be enumerated."""
        return self.random_bits is not None

    def probabilities(self, block: Any) -> list[Fraction]:
        """The inclusion probabilities that it claims, exact."""
        values = [float(x) for x in block]
        return (
            masks.inclusion_probabilities(values, self.n)
            if self.method == "exact"
            else masks.approximate_probabilities(values)
        )

    @property
    def slack(self) -> int:
        """By how many words of all an element's count may differ from p_i 2**r.

        One for a running sum over elements, two where p itself is a rounded one; over pairs an element has up to m - 1 runs.
        """
        return {"exact": 1, "approximate": 2, "sequential": max(2, self.m - 1)}[self.method]

    def __call__(self, x: Any, words: Any = None) -> NDArray[Any]:
        """x [..., L] with zeros where nothing is kept; words [..., blocks].

        Errors: ClaimError where what comes back is no such array.
        """
        array = np.asarray(x, self.dtype)
        array = array if array.flags.writeable else array.copy()  # torch warns of arrays that are not
        convert = self.tensor or (lambda value: value)
        given = (convert(array),) if words is None else (convert(array), convert(np.asarray(words, np.uint32)))
        try:
            found = call_function(self.fn, *given)
        except Exception as error:
            raised_for(error, self, array, words)
            raise
        try:
            result = as_array(found, self.dtype)
            fits = result.shape == array.shape and result.dtype == self.dtype
            seen = (came_back(found, result), remedy_for(found, result, array))
        except NoArrayError as none:
            fits, seen = False, (none.came, none.remedy)
        if not fits:
            raise ClaimError(
                "result",
                f"an array of {array.dtype} {array.shape} must give one of the same",
                seen=seen[0],
                remedy=seen[1],
                reproduce=self.reproduce(array, words),
            )
        return result

    def raised_by(self, x: NDArray[Any], words: Any, kind: type) -> dict[str, object]:
        """The details of an exception that x [..., L] raised."""
        given = f"{x.dtype} of shape {list(x.shape)}"
        line = self.reproduce(x, words) if x.size <= FEW else f"{self.name}(x) for x of that shape"
        if x.ndim == 2 and len(x):
            for i in range(len(x)):
                own = None if words is None else np.asarray(words)[i : i + 1]
                try:
                    self(x[i : i + 1], own)
                except Exception as error:
                    if type(error) is kind:
                        return {"x": f"{x[i].tolist()}; in {given}", "reproduce": self.reproduce(x[i : i + 1], own)}
        return {"x": given, "reproduce": line}

    def reproduce(self, x: Any, words: Any = None) -> str:
        """One line of Python that makes the call again."""
        parts = [
            literal(np.atleast_1d(x), self.dtype),
            *([] if words is None else [literal(np.atleast_1d(words), np.uint32)]),
        ]
        return called(self.name, self.tensor, parts)

    def reproduce_all(self, block: Any) -> str:
        """One line of Python: a block under every word that there is, a row each."""
        count = 1 << int(self.random_bits or 0)
        parts = f"np.tile({literal(block, self.dtype)}, ({count}, 1))", f"np.arange({count}, dtype=np.uint32)[:, None]"
        return called(self.name, self.tensor, parts)


def as_mask(
    fn: Callable[..., Any],
    n: int = 2,
    m: int = 4,
    *,
    kind: str = "mvue",
    method: str = "exact",
    random_bits: int | None = None,
    dtype: DTypeLike = np.float64,
    tensor: Callable[[Any], Any] | None = None,
    name: str = "",
) -> MaskUnderTest:
    """A function that keeps n of each m consecutive elements, to be put to the proof.

    kind "top_n": fn(x [..., L]) keeps the n largest magnitudes as they are. "mvue": the minimum-variance unbiased
    estimator, x_i/p_i where kept; fn(x, words [..., blocks]) with random_bits, words uint32 in [0, 2**random_bits), or
    fn(x), which draws for itself. method: the p that it claims, "exact" (water-filling) or "approximate" (those of two
    draws without replacement, n = 2); "sequential": these, and the pairs of such draws besides. L need be no multiple of
    m: a short block counts as filled with zeros.
    Errors: ValueError for what contradicts itself.
    """
    if not callable(fn):
        raise TypeError(f"{fn!r} cannot be called: give a function of an array")
    for label, value, known in (("kind", kind, KINDS), ("method", method, METHODS)):
        if value not in known:
            raise ValueError(f"{label} = {value!r}: give one of {', '.join(known)}")
    if not all(isinstance(count, int | np.integer) for count in (n, m)):
        raise TypeError(f"n = {n!r}, m = {m!r}: give integers, n of m elements are kept")
    check_common(tensor, name=name)
    if not 1 <= n <= m:
        raise ValueError(f"n = {n}, m = {m}: n of m elements are kept, 1 <= n <= m")
    if method != "exact" and n != 2:
        raise ValueError(f"method {method!r} with n = {n}: it is two draws, n = 2")
    if kind == "top_n" and random_bits is not None:
        raise ValueError("random_bits with kind 'top_n', which draws nothing: leave it out")
    if random_bits is not None and not 1 <= random_bits <= 32:
        raise ValueError(f"random_bits = {random_bits}: give 1 to 32")
    return MaskUnderTest(fn, n, m, kind, method, random_bits, np.dtype(dtype), tensor, label_of(fn, name))


def blocks(m: int, dtype: Any = np.float64) -> NDArray[Any]:
    """Blocks [B, m] where masks go wrong: equal, dominated, in the two regimes of the water level, zeros, ties, extremes."""
    small = [
        [1.0] * m,
        [4.0] + [1.0] * (m - 1),
        [3.0] + [1.0] * (m - 1),
        [float(m - i) for i in range(m)],
        [float(i + 1) for i in range(m)],
        [0.0] * m,
        [0.0] * (m - 1) + [2.5],
        [1.0, -1.0] + [0.0] * (m - 2) if m > 1 else [1.0],
        [-0.0] * (m - 1) + [-3.0],
        [2.0**30] + [1.0] * (m - 1),
        [1.0] * (m - 1) + [2.0**-20],
        [2.0**-100 * (i + 1) for i in range(m)],
        [2.0**100 * (m - i) for i in range(m)],
        [-float(2**i) for i in range(m)],
        [2.0**100 * (i + 1) for i in range(m)],
        [2.0**-100 * (m - i) for i in range(m)],
        [1.0 + 2.0**-20 * i for i in range(m)],
    ]
    words = random_words(32 * m, 32, seed=0x6D61736B).astype(np.int64).reshape(32, m)
    drawn = (words % 1021 - 510) / 64.0 * 2.0 ** (words // 1021 % 7 - 3)
    result = np.concatenate([np.array(small), drawn]).astype(dtype)
    result.flags.writeable = False
    return result
