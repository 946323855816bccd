"""Blocks and words that the checks of masks run on, and the counter-example that they show."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..words import random_words
from .evidence import ClaimError, shown
from .masks import MaskUnderTest, blocks
from .reproductions import same_bits, smallest


def given_blocks(subject: MaskUnderTest, x: Any) -> NDArray[Any]:
    """x as blocks [B, m], None: those where masks go wrong."""
    return blocks(subject.m, subject.dtype) if x is None else np.atleast_2d(np.asarray(x, subject.dtype))


def words_of(subject: MaskUnderTest, count: int, stream: int = 0) -> Any:
    """A word for each block, drawn; None for a mask that takes none. Stream -1 has the first word, -2 the last one."""
    if not (subject.stochastic and subject.takes_words):
        return None
    bits = int(subject.random_bits or 32)
    if stream < 0:
        return np.full(count, 0 if stream == -1 else (1 << bits) - 1, np.uint32)
    return random_words(count, bits, seed=11, stream=stream)


def broken_mask(
    claim: str,
    statement: str,
    subject: MaskUnderTest,
    block: Any,
    word: Any,
    seen: Any,
    allowed: Any,
    formula: str,
    call: tuple[NDArray[Any], Any, NDArray[Any], int] | None = None,
) -> ClaimError:
    """The counter-example: one block; call: blocks [B, m], words, results and which block, to try whether it alone shows it."""
    details: dict[str, object] = {"block": ", ".join(shown(v) for v in block)}
    if word is not None:
        details["word"] = int(word)
    if subject.stochastic:
        details["probabilities"] = ", ".join(map(str, subject.probabilities(block)))
    details |= {
        "seen": seen,
        "allowed": allowed,
        "formula": formula,
        "reproduce": subject.reproduce(block, None if word is None else [word])
        if word is not None or not subject.takes_words
        else subject.reproduce_all(block),
    }
    if call is not None:
        details |= _shown_by(subject, *call)
    return ClaimError(claim, f"{statement} ({subject.n}:{subject.m} {subject.kind})", **details)


def _shown_by(
    subject: MaskUnderTest, given: NDArray[Any], words: Any, result: NDArray[Any], at: int
) -> dict[str, object]:
    """The line of the fewest blocks among which this one becomes what it was; nothing where it does so alone."""
    if subject.stochastic and not subject.takes_words:  # it draws for itself: there is nothing to try
        return {}
    column = None if words is None else np.asarray(words, np.uint32).reshape(-1, 1)

    def again(kept: NDArray[np.int64]) -> NDArray[Any] | None:
        try:
            found: NDArray[Any] = subject(given[kept], None if column is None else column[kept])
        except Exception:  # of so few it can do nothing
            return None
        row: NDArray[Any] = found[int(np.searchsorted(kept, at))]
        return row

    def shows(kept: NDArray[np.int64]) -> bool:
        found = again(kept)
        return found is not None and bool(same_bits(found, result[at]).all())

    if shows(np.array([at])):
        return {}
    alone = again(np.array([at]))
    told = "alone it fails" if alone is None else f"alone it gives {alone.tolist()}"
    if not shows(np.arange(len(given))):
        return {"only_among_others": f"{told}, and called again as it was something else"}
    kept = smallest(len(given), [at], shows)
    line = subject.reproduce(given[kept], None if column is None else column[kept])
    return {"only_among_others": told, "reproduce": f"{line}[{int(np.searchsorted(kept, at))}]"}
