"""Checks of what surrounds a rounding: elements do not see each other, and neither shape nor tiling nor repetition matters."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..words import random_words
from .evidence import EXACT, ClaimError, Evidence, literal, shown
from .quantizers import QuantizerUnderTest, Threads
from .rounding_checks import inputs, same_bits

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
    _compare(
        q,
        "independent",
        "permuted with its word, an element gave another result",
        xs[order],
        None if words is None else words[order],
        moved,
        plain[order],
    )
    small = np.abs(xs) <= np.median(np.abs(xs)) if len(xs) else np.zeros(0, bool)
    for kept in (small, ~small):  # a scale taken from the largest of all would be another one
        own = None if words is None else words[kept]
        _compare(
            q,
            "independent",
            "without larger or smaller ones beside it, an element gave another result",
            xs[kept],
            own,
            q(xs[kept], own),
            plain[kept],
        )
    if words is not None:
        others = _drawn(q, xs.shape, stream=1)
        mixed = np.where(np.arange(len(xs)) % 2 == 0, words, others).astype(np.uint32)
        for parity in (0, 1):
            held = q(xs, mixed)[parity::2]
            wanted = (plain if parity == 0 else q(xs, others))[parity::2]
            _compare(
                q,
                "independent",
                "the words of other elements changed a result",
                xs[parity::2],
                mixed[parity::2],
                held,
                wanted,
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
    for how, result in again.items():
        _compare(q, "reproducible", f"{how}, the bits differ", xs, words, result, plain)
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
    _compare(
        q,
        "reproducible",
        f"in an array of {LARGE}, the bits differ",
        many,
        drawn,
        q(many, drawn),
        np.resize(plain, LARGE),
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
        _compare(q, "reproducible", f"with {count} threads, the bits differ", many, words, result, found[1])
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


def _compare(
    q: QuantizerUnderTest,
    claim: str,
    statement: str,
    x: NDArray[Any],
    words: Any,
    found: NDArray[Any],
    wanted: NDArray[Any],
) -> None:
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
            reproduce=q.reproduce(x[near], None if words is None else words[near]),
        )
