"""Parametrized modules of one's own, whose class torch makes in torch.nn.utils.parametrize."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from emul import Product, Recipe, Rule, swap_, swap_report
from numerics import Accumulator, FloatFormat

COARSE = Product(accumulator=Accumulator(FloatFormat(5, 4)))


class Times(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.eye(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.w


class MyNorm(nn.LayerNorm):
    """A norm of one's own."""


@pytest.mark.parametrize("types", [(), ("Times",), ("ParametrizedTimes",)])
@pytest.mark.parametrize("alone", [True, False])
def test_a_parametrized_module_of_ones_own_is_emulated_as_it_was_before(types, alone):
    inner = Times()
    parametrize.register_parametrization(inner, "w", nn.Tanh())
    model = nn.Sequential(inner) if alone else nn.Sequential(nn.Linear(2, 2), inner)
    swap_(model, Recipe((Rule(".*", types=types, forward=COARSE),)))
    model(torch.ones(1, 2))
    last = str(len(model) - 1)
    assert [call.rule for call in swap_report(model).calls if call.module == last] == [0]
    found = {layer.name: layer for layer in swap_report(model).layers}
    assert found[last].native.startswith("ParametrizedTimes uses parameters in a forward of its own")


def test_a_parametrized_norm_of_ones_own_goes_by_the_rules_that_it_went_by_before():
    reports = []
    for parametrized in (False, True):
        norm = MyNorm(2)
        if parametrized:
            parametrize.register_parametrization(norm, "weight", nn.Tanh())
        model = nn.Sequential(nn.Linear(2, 2), norm)
        swap_(model, Recipe((Rule(".*", forward=COARSE),)))
        reports.append({layer.name: layer.native.partition(":")[0] for layer in swap_report(model).layers})
    assert reports[0].keys() == reports[1].keys()
