"""The nets of the claims, small enough for a CPU, each with the property that its claim needs."""

import torch
from torch import Tensor, nn

from emul import text
from emul.datasets import Dataset
from emul.gpt import Gpt, Size


def wide() -> nn.Module:
    """Two hidden layers of 512 units with ReLU, for digits: sums of 64, 512 and 512 products."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)
    )


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
    """One block of width 32 with two heads, for text: sums of 32, 128 and, over places, 32 and 512 products."""
    return Gpt(Size(1, 32, 2, CONTEXT), data.classes)
