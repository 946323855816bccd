"""The nets of the claims, small enough for a CPU, each with the property that its claim needs."""

import torch
from torch import Tensor, nn

from emul import digits, text
from emul.datasets import Dataset
from emul.gpt import Gpt, Size


def started_mlp() -> nn.Module:
    """The mlp for digits, `emul.digits.mlp`, its weights drawn as He et al. do (arXiv 1502.01852), 2.4 times torch's own.

    As torch draws them, almost every product lies below the smallest number of 8 bits, and no gradient passes.
    """
    model = digits.mlp()
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
    return model


class Times(nn.Module):
    """x times a power of two, exactly."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


#: Before each batch norm: deviations of some hundreds, whose squares binary16 does not have.
LOUD = 2.0**10


def normed() -> nn.Module:
    """Two hidden layers of 128 units with batch norm, for digits; what a norm sees is multiplied by LOUD.

    A norm divides by its deviation, so that in exact arithmetic the factor changes nothing but the weight of epsilon.
    """
    layers: list[nn.Module] = [nn.Flatten()]
    for width in (64, 128):
        layers += [nn.Linear(width, 128, bias=False), Times(LOUD), nn.BatchNorm1d(128), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(128, 10))


CONTEXT = 32


def letters() -> Dataset:
    """Pydoc's topics by characters, in sequences of 32."""
    return text.load(CONTEXT, 128)


def small_gpt(data: Dataset) -> nn.Module:
    """One block of width 32 with two heads, for text: sums of 32 and 128 products, of 512 over a batch's places."""
    return Gpt(Size(1, 32, 2, CONTEXT), data.classes)


class _Window(nn.Module):
    def __init__(self, tokens: int, seen: int = 16, depth: int = 32, width: int = 256) -> None:
        super().__init__()
        self.seen = seen
        self.tokens, self.window = nn.Embedding(tokens, depth), nn.Conv1d(depth, width, seen)
        self.middle, self.head = nn.Linear(width, width), nn.Linear(width, tokens)

    def forward(self, text: Tensor) -> Tensor:
        x = nn.functional.pad(self.tokens(text).mT, (self.seen - 1, 0))
        x = torch.relu(self.window(x)).mT
        return self.head(torch.relu(self.middle(x)))


def window(data: Dataset) -> nn.Module:
    """Each next character from the 16 before it, two hidden layers of 256 units: sums of 512, 256 and 256 products."""
    return _Window(data.classes)
