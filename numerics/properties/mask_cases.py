"""Blocks and words that the checks of masks run on, and the counter-example that they show."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..words import random_words
from .evidence import ClaimError, shown
from .masks import MaskUnderTest, blocks


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
    claim: str, statement: str, subject: MaskUnderTest, block: Any, word: Any, seen: Any, allowed: Any, formula: str
) -> ClaimError:
    """The counter-example: one block."""
    details: dict[str, object] = {"block": ", ".join(shown(v) for v in block)}
    if word is not None:
        details["word"] = int(word)
    if subject.stochastic:
        details["probabilities"] = ", ".join(map(str, subject.probabilities(block)))
    details |= {
        "seen": seen,
        "allowed": allowed,
        "formula": formula,
        "reproduce": subject.reproduce(block, None if word is None else [word]),
    }
    return ClaimError(claim, f"{statement} ({subject.n}:{subject.m} {subject.kind})", **details)
