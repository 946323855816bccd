"""Checks of what surrounds a rounding: elements do not see each other, and neither shape nor tiling nor repetition matters."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..words import random_words
from .arguments import Threads
from .evidence import EXACT, ClaimError, Evidence, hides, literal, shown
from .quantizers import QuantizerUnderTest
from .reproductions import CUBE, SPREAD, Call, details_of, same_bits
from .rounding_checks import inputs

__tracebackhide__ = hides

MANY = 1 << 12
SLOW = 512  # points below which a function is taken for a slow one
LARGE = (1 << 18) + 17  # more than a few threads get a share of


def _drawn(q: QuantizerUnderTest, shape: tuple[int, ...], stream: int = 0) -> Any:
    if not q.takes_words:
        return None
    size = int(np.prod(shape))
    return random_words(size, int(q.random_bits or 32), seed=3, stream=stream).reshape(shape)


def _sample(q: QuantizerUnderTest, x: Any) -> NDArray[Any]:
    xs = inputs(q, x)
    if x is None:
        order = np.argsort(random_words(len(xs), 32, seed=1), kind="stable")  # neighbours in memory not near in value
        xs = np.resize(xs[order], min(MANY, 4 * len(xs)))
    return xs


def independent(q: QuantizerUnderTest, x: Any = None) -> Evidence:
    """Element i depends on x[i] and word i alone: permuted, among others or without them, each gives what it gave."""
    xs = _sample(q, x)
    words = _drawn(q, xs.shape)
    plain = q(xs, words)
    order = np.argsort(random_words(len(xs), 32, seed=2), kind="stable")
    moved = q(xs[order], None if words is None else words[order])
    at_all = np.arange(len(xs))
    compare(
        q,
        "independent",
        "permuted with its word, an element gave another result",
        xs[order],
        None if words is None else words[order],
        moved,
        plain[order],
        Made(xs[order], None if words is None else words[order], moved, at_all),
        Made(xs, words, plain, order),
    )
    small = np.abs(xs) <= np.median(np.abs(xs)) if len(xs) else np.zeros(0, bool)
    for kept in (small, ~small):  # a scale taken from the largest of all would be another one
        own = None if words is None else words[kept]
        fewer = q(xs[kept], own)
        compare(
            q,
            "independent",
            "without larger or smaller ones beside it, an element gave another result",
            xs[kept],
            own,
            fewer,
            plain[kept],
            Made(xs[kept], own, fewer, at_all),
            Made(xs, words, plain, np.flatnonzero(kept)),
        )
    if words is not None:
        others = _drawn(q, xs.shape, stream=1)
        mixed = np.where(np.arange(len(xs)) % 2 == 0, words, others).astype(np.uint32)
        for parity in (0, 1):
            held = q(xs, mixed)
            wanted = plain if parity == 0 else q(xs, others)
            compare(
                q,
                "independent",
                "the words of other elements changed a result",
                xs[parity::2],
                mixed[parity::2],
                held[parity::2],
                wanted[parity::2],
                Made(xs, mixed, held, at_all[parity::2]),
                Made(xs, words if parity == 0 else others, wanted, at_all[parity::2]),
            )
    return Evidence(EXACT, (5 if words is not None else 3) * len(xs))


def reproducible(q: QuantizerUnderTest, x: Any = None) -> Evidence:
    """The same call gives the same bits: again, in tiles, for any number of threads; the input stays as it was."""
    xs = _sample(q, x)
    xs = xs[: len(xs) // 6 * 6] if len(xs) >= 6 else xs
    words = _drawn(q, xs.shape)
    before = xs.copy()
    plain = q(xs, words)
    if not same_bits(xs, before).all():
        i = int(np.argmax(~same_bits(xs, before)))
        raise ClaimError(
            "reproducible",
            "the input was written to",
            x=shown(before[i]),
            seen=shown(xs[i]),
            reproduce=q.reproduce(before[: i + 1]),
        )

    def tiled(size: int) -> NDArray[Any]:
        parts = [q(xs[i : i + size], None if words is None else words[i : i + size]) for i in range(0, len(xs), size)]
        return np.concatenate(parts)

    again: dict[str, Any] = {"called again": q(xs, words), "in tiles of 7": tiled(7) if len(xs) <= MANY else plain}
    again["one at a time"] = np.concatenate(
        [q(xs[i : i + 1], None if words is None else words[i : i + 1]) for i in range(min(64, len(xs)))]
        + [plain[min(64, len(xs)) :]]
    )
    if len(xs) % 6 == 0 and len(xs):
        shape = (2, 3, -1)
        again["as [2, 3, n]"] = q(xs.reshape(shape), None if words is None else words.reshape(shape)).reshape(-1)
        wide = np.zeros((len(xs), 2), xs.dtype)
        wide[:, 0] = xs
        spaced = None
        if words is not None:
            spread = np.zeros((len(xs), 2), np.uint32)
            spread[:, 1] = words
            spaced = spread[:, 1]
        again["from strided views"] = q(wide[:, 0], spaced)
    laid = {"as [2, 3, n]": CUBE, "from strided views": SPREAD}
    at_all = np.arange(len(xs))
    for how, result in again.items():
        own = Made(
            xs, words, result, at_all, laid.get(how, "{}"), tile=7 if "tiles" in how else 1 if "one" in how else 0
        )
        compare(
            q, "reproducible", f"{how}, the bits differ", xs, words, result, plain, own, Made(xs, words, plain, at_all)
        )
    cases = (len(again) + 1) * len(xs) + _any_size(q, xs, words, plain) + _any_threads(q, xs)
    empty = q(xs[:0], None if words is None else words[:0])
    if empty.size:
        raise ClaimError(
            "reproducible", "an empty array gave elements", seen=empty.shape, reproduce=q.reproduce(xs[:0])
        )
    return Evidence(EXACT, cases)


def _any_size(q: QuantizerUnderTest, xs: NDArray[Any], words: Any, plain: NDArray[Any]) -> int:
    """The same bits in an array of many, where one is cheap; how many cases."""
    if q.limit < SLOW or not len(xs):
        return 0
    many = np.resize(xs, LARGE)
    drawn = None if words is None else np.resize(words, LARGE)
    result = q(many, drawn)
    compare(
        q,
        "reproducible",
        f"in an array of {LARGE}, the bits differ",
        many,
        drawn,
        result,
        np.resize(plain, LARGE),
        Made(many, drawn, result, np.arange(LARGE)),
        Made(xs, words, plain, np.arange(LARGE) % len(xs)),
    )
    return LARGE


def _any_threads(q: QuantizerUnderTest, xs: NDArray[Any]) -> int:
    """The same bits for 1, 2 and 3 threads, on enough elements to occupy them; how many cases."""
    if q.threads is None or not len(xs):
        return 0
    many = np.resize(xs, LARGE)
    words = _drawn(q, many.shape)
    found = with_threads(q.threads, lambda: q(many, words))
    for count, result in list(found.items())[1:]:
        made = [Made(many, words, found[k], np.arange(LARGE)) for k in (count, 1)]
        compare(q, "reproducible", f"with {count} threads, the bits differ", many, words, result, found[1], *made)
    return len(found) * LARGE


def with_threads(threads: Threads, call: Callable[[], NDArray[Any]]) -> dict[int, NDArray[Any]]:
    """What a call gives with 1, 2 and 3 threads; their number is set back."""
    read, set_ = threads
    before = read()
    try:
        found = {}
        for count in (1, 2, 3):
            set_(count)
            found[count] = call()
        return found
    finally:
        set_(before)


class Made(NamedTuple):
    """A call, and where the elements that are compared lie in it; tile: of how many at a time it was made."""

    x: NDArray[Any]
    words: Any
    result: NDArray[Any]
    places: NDArray[np.int64]
    laid: str = "{}"
    tile: int = 0

    def call(self, i: int) -> Call:
        """The call of the i-th element."""
        at = int(self.places[i])
        first = at // self.tile * self.tile if self.tile else 0
        part = slice(first, first + self.tile if self.tile else None)
        words = None if self.words is None else self.words[part]
        return Call(self.x[part], words, self.result[part], (at - first,), self.laid)


def compare(
    q: QuantizerUnderTest,
    claim: str,
    statement: str,
    x: NDArray[Any],
    words: Any,
    found: NDArray[Any],
    wanted: NDArray[Any],
    *made: Made,
) -> None:
    """Refuses what is found where it is not what is wanted.

    made: the calls of both, in one of which the element gives something else than alone.
    """
    wrong = ~same_bits(found, wanted)
    if wrong.any():
        i = int(np.argmax(wrong))
        word = {} if words is None else {"word": int(words[i])}
        near = slice(max(0, i - 2), i + 3)
        raise ClaimError(
            claim,
            f"{statement} ({q.fmt}, {q.rounding.name})",
            x=shown(x[i]),
            **word,
            among=f"element {i} of {len(x)}, beside {literal(x[near], q.dtype)}",
            seen=shown(found[i]),
            allowed=shown(wanted[i]),
            formula="element i depends on x[i] and word i alone",
            **details_of(q, *(part.call(i) for part in made)),
        )
