"""A GPT of plain torch modules, and the text that ships with Python to train it on."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

#: What stays torch's own in every row, besides what `emul.swap_report` names.
NATIVE = (
    "attention: its two products are torch.matmul in a forward, and only modules are swapped",
    "LayerNorm and softmax: no matrix products, and emul.nn has no such layers",
    "Embedding: a table is looked up; its gradient is a sum by index, which emul.nn does not have",
    "biases, GELU, the loss, AdamW",
)


@dataclass(frozen=True)
class Size:
    """The shape of a model and of what it is trained on."""

    layers: int
    width: int
    heads: int
    context: int
    batch: int


LARGE = Size(layers=6, width=384, heads=6, context=256, batch=32)  # 10.8 M parameters
TINY = Size(layers=1, width=16, heads=2, context=8, batch=4)


class Block(nn.Module):
    """Attention to what came before, then two linear layers; each added to what goes in."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.heads = size.heads
        self.before_attention, self.before_layers = nn.LayerNorm(size.width), nn.LayerNorm(size.width)
        self.attend, self.gather = nn.Linear(size.width, 3 * size.width), nn.Linear(size.width, size.width)
        self.up, self.down = nn.Linear(size.width, 4 * size.width), nn.Linear(4 * size.width, size.width)
        self.register_buffer("later", torch.ones(size.context, size.context).triu(1).bool(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        parts = self.attend(self.before_attention(x)).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        scores = torch.matmul(query, key.mT) / math.sqrt(width // self.heads)
        weights = scores.masked_fill(self.later[:length, :length], -math.inf).softmax(-1)
        x = x + self.gather(torch.matmul(weights, value).transpose(1, 2).reshape(batch, length, width))
        return x + self.down(gelu(self.up(self.before_layers(x))))


class Gpt(nn.Module):
    """Characters [batch, length] to scores of the next ones [batch, length, characters]."""

    def __init__(self, size: Size, characters: int) -> None:
        super().__init__()
        self.characters, self.places = nn.Embedding(characters, size.width), nn.Embedding(size.context, size.width)
        self.blocks = nn.ModuleList(Block(size) for _ in range(size.layers))
        self.last, self.head = nn.LayerNorm(size.width), nn.Linear(size.width, characters)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:  # what is added to the sum of all blocks begins smaller
                into_sum = name.endswith(("gather.weight", "down.weight"))
                nn.init.normal_(parameter, std=0.02 / (math.sqrt(2 * size.layers) if into_sum else 1.0))
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, text: Tensor) -> Tensor:
        x = self.characters(text) + self.places(torch.arange(text.shape[1], device=text.device))
        for block in self.blocks:
            x = block(x)
        scores: Tensor = self.head(self.last(x))
        return scores


@dataclass(frozen=True)
class Text:
    """Characters as numbers, the last tenth kept for validation."""

    train: Tensor
    validation: Tensor
    characters: int


def text() -> Text:
    """The topics of pydoc, one after the other in the order of their names."""
    from pydoc_data.topics import topics

    whole = "\n".join(topics[name] for name in sorted(topics))
    letters = {letter: number for number, letter in enumerate(sorted(set(whole)))}
    numbers = torch.tensor([letters[letter] for letter in whole])
    split = len(numbers) * 9 // 10
    return Text(numbers[:split], numbers[split:], len(letters))
