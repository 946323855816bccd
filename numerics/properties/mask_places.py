"""Check of masks of any number of blocks, in any layout: a block keeps the same wherever it lies."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..words import random_words
from .evidence import EXACT, Evidence, hides
from .mask_cases import broken_mask, given_blocks
from .masks import MaskUnderTest
from .reproductions import same_bits
from .shape_checks import Cases

__tracebackhide__ = hides

CASES = 16
COUNTS = (*range(1, 66), 100, 127, 128, 129, 1000, 1025)
PROBED = 10  # random bits up to which the words at which a block changes are looked for among all
LAYOUTS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "as [2, 3, n] blocks in rows": lambda x: x.reshape(2, 3, -1),
    "in Fortran order": np.asfortranarray,
    "from rows with gaps": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
}


def any_place(subject: MaskUnderTest) -> Evidence:
    """Each of sixteen blocks keeps the same at every place among 1 to 1025 blocks, in rows, in Fortran order, with gaps."""
    told, cases = _cases(subject), 0
    for given in _arrays(told):
        words = None if given.words is None else given.words[:, None]
        _compare(subject, f"among {len(given.x)} blocks", given, subject(given.x, words))
        cases += len(given.x)
    for how, lay in LAYOUTS.items():
        given = told.at(np.arange(6 * CASES) % CASES)
        words = None if given.words is None else given.words[:, None]
        if how.startswith("as "):
            words = None if words is None else words.reshape(2, 3, -1)
        _compare(subject, how, given, subject(lay(given.x), words).reshape(given.x.shape))
        cases += len(given.x)
    return Evidence(EXACT, cases)


def _arrays(told: Cases) -> Iterator[Cases]:
    for count in COUNTS:
        for shift in range(CASES):
            yield told.at((np.arange(count) + shift) % CASES)


def _compare(subject: MaskUnderTest, how: str, given: Cases, found: NDArray[Any]) -> None:
    wrong = ~same_bits(found, given.wanted).all(axis=1)
    if wrong.any():
        i = int(np.argmax(wrong))
        raise broken_mask(
            "any_place",
            f"{how}, block {i} gave another result",
            subject,
            given.x[i],
            None if given.words is None else given.words[i],
            found[i].tolist(),
            given.wanted[i].tolist(),
            "a block depends on its elements and its word alone",
            (given.x, given.words, found, i) if how.startswith("among") else None,
        )


def _cases(subject: MaskUnderTest) -> Cases:
    """Blocks whose largest are at their ends and in their middle; at words where what is kept changes."""
    pool = given_blocks(subject, None)
    full = pool[(pool != 0).all(axis=1)][-CASES:]
    if not (subject.stochastic and subject.takes_words):
        return Cases(full, None, subject(full))
    bits = int(subject.random_bits or 32)
    if bits > PROBED:
        words = random_words(CASES, bits, seed=CASES).astype(np.uint32)
        return Cases(full, words, subject(full, words[:, None]))
    every = np.arange(1 << bits, dtype=np.uint32)
    found: list[tuple[NDArray[Any], int]] = []
    for block in full[: CASES // 2]:
        kept = subject(np.tile(block, (len(every), 1)), every[:, None]) != 0
        changes = np.flatnonzero((kept[1:] != kept[:-1]).any(axis=1))
        first = int(changes[len(found) // 2 % len(changes)]) if len(changes) else 0
        found += [(block, first), (block, min(first + 1, len(every) - 1))]
    blocks = np.stack([block for block, _ in found])
    words = np.array([word for _, word in found], np.uint32)
    return Cases(blocks, words, subject(blocks, words[:, None]))
