"""Modules whose forward calls functions, and what numpy says of their products."""

import torch
import torch.nn.functional as F
from torch import nn

import emul
import numerics
from emul import Product, Recipe, Rule
from emul.operands import Scaled
from numerics import Accumulator, Quantizer, Rounding, catalog

SUMS = Accumulator(catalog.BFLOAT16)
FORWARD = Product(accumulator=SUMS)
ALL = Rule(".*", forward=FORWARD, grad_input=FORWARD, grad_weight=FORWARD)
SR = Quantizer(catalog.E4M3, Rounding.SR)
#: Words and an amax history, torch's own sums.
DRAWN = Rule(".*", forward=Product(activation=SR, weight=Scaled(SR, history=2)))


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """numpy's side of it."""
    return torch.from_numpy(numerics.matmul(a.detach().numpy(), b.detach().numpy(), SUMS))


class Caller(nn.Module):
    """Its forward is a function of the parameters and what comes in; beside it is a layer, which swap_ needs."""

    def __init__(self, call, *shapes: tuple[int, ...]) -> None:
        super().__init__()
        self.call = call
        self.given = nn.ParameterList([nn.Parameter(draw(*shape)) for shape in shapes])

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        return self.call(*self.given, *tensors)


class Model(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.fc = inner, nn.Linear(2, 2)

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        return self.inner(*tensors)


def swapped(call, *shapes: tuple[int, ...], rules: tuple[Rule, ...] = (ALL,), **options) -> Model:
    return emul.swap_(Model(Caller(call, *shapes)), Recipe(rules, 3), **options)


A, B, W = draw(3, 4), draw(4, 5), draw(6, 4)
BATCH, OTHER = draw(2, 3, 4), draw(2, 4, 5, seed=1)
Q, K, V = (draw(2, 3, 4, seed=seed) for seed in (5, 6, 7))


class Mixed(nn.Module):
    """Five sorts of calls, a layer, a module inside."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.weight = nn.Parameter(draw(4, 4))
        self.inner = Caller(lambda x: torch.bmm(x, x.mT))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.linear(self.fc(x), self.weight) @ self.weight
        x = torch.einsum("bij,kj->bik", x, self.weight) @ self.weight
        return self.inner(F.scaled_dot_product_attention(x, x, x))


def mixed() -> Mixed:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Mixed()


class Attend(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(x @ x.mT, -1) @ x
