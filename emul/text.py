"""Real English text without a download: the documentation that Python carries for its own help(), by characters."""

from __future__ import annotations

import torch

from .datasets import Dataset

#: Of the sequences that `load` cuts.
CONTEXT = 64
#: Sequences of the held-out part that are tested on.
HELD_OUT = 256


def whole() -> str:
    """The topics of pydoc, one after the other in the order of their names; some 460 000 characters.

    The text belongs to the Python version that runs; a comparison records both its version and the text's digest.
    """
    from pydoc_data.topics import topics

    return "\n".join(topics[name] for name in sorted(topics))


def load(context: int = CONTEXT, held_out: int = HELD_OUT) -> Dataset:
    """The text as sequences of `context` characters, each with the character that follows every place of it.

    The vocabulary is that of the whole text, in the order of the code points. The last tenth is held out. Both parts
    are cut into sequences side by side; of the held-out ones `held_out`, evenly spread, are the test part. No random
    numbers: the split and the cuts are fixed.

    Errors: ValueError for a context that leaves no two sequences, and for more test sequences than there are.
    """
    text = whole()
    letters = {letter: number for number, letter in enumerate(sorted(set(text)))}
    numbers = torch.tensor([letters[letter] for letter in text])
    split = len(numbers) * 9 // 10
    if not 1 <= context < len(numbers) - split:
        raise ValueError(
            f"context is {context}; the held-out part has {len(numbers) - split} characters: give from 1 to"
            f" {len(numbers) - split - 1}"
        )
    train, held = (_sequences(part, context) for part in (numbers[:split], numbers[split:]))
    there = len(held[0])
    if not 1 <= held_out <= there:
        raise ValueError(f"held_out is {held_out}; there are {there} sequences of {context}: give from 1 to {there}")
    chosen = torch.arange(held_out) * there // held_out
    return Dataset("text", *train, held[0][chosen], held[1][chosen], classes=len(letters), token="character")


def _sequences(numbers: torch.Tensor, context: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and labels, both [sequences, context]; the characters behind the last whole sequence are dropped."""
    count = (len(numbers) - 1) // context
    return (
        numbers[: count * context].reshape(count, context),
        numbers[1 : count * context + 1].reshape(count, context),
    )
