"""A small GPT in plain torch modules: every product is in a module of its own, for rules to name it by the module."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu


@dataclass(frozen=True)
class Size:
    """The shape of a model: blocks, width of what goes from one to the next, heads, the longest text it takes.

    Errors: ValueError for a number below 1 and a width that the heads do not divide.
    """

    layers: int
    width: int
    heads: int
    context: int

    def __post_init__(self) -> None:
        for name in ("layers", "width", "heads", "context"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give at least 1")
        if self.width % self.heads:
            raise ValueError(f"{self.heads} heads do not divide a width of {self.width}; give a multiple")


#: What `emul compare --model gpt` trains: 0.12 M parameters.
SMALL = Size(layers=2, width=64, heads=2, context=64)


class CausalAttention(nn.Module):
    """The two products of attention, without weights of its own: softmax(query key^T / sqrt(depth)) value, causal.

    query, key, value: [batch, heads, length, depth]; each place attends to itself and to those before it.
    """

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """[batch, heads, length, depth]."""
        length = query.shape[-2]
        scores = torch.matmul(query, key.mT) / math.sqrt(query.shape[-1])
        later = torch.ones(length, length, dtype=torch.bool, device=query.device).triu(1)
        return torch.matmul(scores.masked_fill(later, -math.inf).softmax(-1), value)


class Block(nn.Module):
    """Attention to what came before, then two linear layers; each added to what goes in."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.heads = size.heads
        self.before_attention, self.before_layers = nn.LayerNorm(size.width), nn.LayerNorm(size.width)
        self.attend, self.gather = nn.Linear(size.width, 3 * size.width), nn.Linear(size.width, size.width)
        self.attention = CausalAttention()
        self.up, self.down = nn.Linear(size.width, 4 * size.width), nn.Linear(4 * size.width, size.width)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, length, width] -> the same."""
        batch, length, width = x.shape
        parts = self.attend(self.before_attention(x)).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        x = x + self.gather(self.attention(query, key, value).transpose(1, 2).reshape(batch, length, width))
        out: Tensor = x + self.down(gelu(self.up(self.before_layers(x))))
        return out


@torch.no_grad()
def _scale(module: nn.Linear | nn.Embedding, factor: float) -> None:
    """Weights as torch drew them, at a deviation of 0.02 times the factor; biases of zero.

    What is added to the sum of all blocks begins smaller (Radford et al., Language models are unsupervised multitask
    learners, 2019). Torch draws a Linear's weights between -+ 1 / sqrt(in_features), an Embedding's normally.
    """
    deviation = 1 / math.sqrt(3 * module.in_features) if isinstance(module, nn.Linear) else 1.0
    module.weight *= 0.02 * factor / deviation
    if isinstance(module, nn.Linear) and module.bias is not None:
        module.bias.zero_()


class Gpt(nn.Module):
    """Tokens [batch, length] to scores of the next ones [batch, length, tokens]; length up to the size's context."""

    def __init__(self, size: Size, tokens: int) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(tokens, size.width), nn.Embedding(size.context, size.width)
        self.blocks = nn.ModuleList(Block(size) for _ in range(size.layers))
        self.last, self.head = nn.LayerNorm(size.width), nn.Linear(size.width, tokens)
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                _scale(module, 1 / math.sqrt(2 * size.layers) if name.endswith(("gather", "down")) else 1.0)

    def forward(self, text: Tensor) -> Tensor:
        """[batch, length] -> [batch, length, tokens]; a text longer than the context is refused with a ValueError."""
        if text.shape[1] > self.places.num_embeddings:
            raise ValueError(
                f"a text of {text.shape[1]} tokens is longer than the model's context of {self.places.num_embeddings};"
                " cut it"
            )
        x = self.tokens(text) + self.places(torch.arange(text.shape[1], device=text.device))
        for block in self.blocks:
            x = block(x)
        scores: Tensor = self.head(self.last(x))
        return scores
