"""Models without a layer that swap_ knows by its class: their modules multiply by functions, and so are emulated."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, parametrize

import emul
from emul import Recipe, Rule
from tests.emul.callers import ALL, FORWARD, A, draw, product

LINEARS = Rule(".*", types=("Linear",), forward=FORWARD, grad_input=FORWARD, grad_weight=FORWARD)


class Mine(nn.Linear):
    pass


class Multiplies(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(draw(6, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.weight)


class Lists(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.ParameterList([nn.Parameter(draw(6, 4))])

    @property
    def weight(self) -> torch.Tensor:
        return self.weights[0]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weights[0].T


def normed() -> nn.Module:
    return parametrizations.weight_norm(nn.Linear(4, 6, bias=False))


@pytest.mark.parametrize("build", [Multiplies, Lists, lambda: Mine(4, 6, bias=False), normed])
def test_a_model_of_functions_alone_is_emulated_by_any_recipe(build):
    model = nn.Sequential(build())
    emul.swap_(model, Recipe((ALL,)))
    x = A.clone().requires_grad_()
    y = model(x)
    assert torch.equal(y, product(A, model[0].weight.T))
    up = draw(3, 6)
    y.backward(up)
    assert torch.equal(x.grad, product(up, model[0].weight))
    (call,) = [call for call in emul.swap_report(model).calls if call.function in ("linear", "matmul")]
    assert (call.module, call.rule) == ("0", 0)
    emul.restore_(model)
    assert torch.equal(model(A), nn.Sequential(model[0])(A))
    assert not emul.swap.watches(model)


def test_a_published_recipe_takes_such_a_model():
    assert emul.swap_report(emul.swap_(Multiplies(), emul.recipes.get("fp8"))).forwards == 0


@pytest.mark.parametrize("build", [Multiplies, Lists, lambda: Mine(4, 6), normed])
def test_where_only_layers_are_emulated_or_all_is_kept_it_is_refused(build):
    with pytest.raises(ValueError, match="no layer of Sequential is emulated"):
        emul.swap_(nn.Sequential(build()), Recipe((ALL,)), functional="report")
    with pytest.raises(ValueError, match="no layer of Sequential is emulated"):
        emul.swap_(nn.Sequential(build()), Recipe((Rule(".*", keep=True),)))


@pytest.mark.parametrize("functional", ["emulate", "refuse"])
def test_a_rule_for_linears_is_for_parametrized_ones_too(functional):
    model = nn.Sequential(normed(), nn.Linear(6, 2))
    emul.swap_(model, Recipe((LINEARS,)), functional=functional)
    y = model[0](A)
    assert torch.equal(y, product(A, model[0].weight.T))
    assert model(A).shape == (3, 2)
    report = emul.swap_report(model)
    assert [(call.function, call.rule) for call in report.calls if call.module == "0"] == [("linear", 0)]
    assert emul.swap_report(emul.restore_(model), Recipe((LINEARS,))).unused == ()


def test_a_model_of_parametrized_linears_alone_is_emulated_by_a_rule_for_linears():
    model = emul.swap_(nn.Sequential(normed()), Recipe((LINEARS,)))
    assert torch.equal(model(A), product(A, model[0].weight.T))


def test_a_parametrized_norm_is_refused_where_a_rule_names_its_type():
    norm = parametrize.register_parametrization(nn.LayerNorm(4), "weight", nn.Identity())
    rules = Rule(".*", types=("LayerNorm", "Linear"), forward=FORWARD)
    with pytest.raises(
        ValueError, match="rule 0 names the type LayerNorm, and module '1' is one that cannot be emulated"
    ):
        emul.swap_(nn.Sequential(nn.Linear(4, 4), norm), Recipe((rules,)))


def test_a_layer_that_is_parametrized_after_the_swap_is_told_how_to_be_restored():
    model = emul.swap_(nn.Sequential(nn.Linear(4, 6)), Recipe((ALL,)))
    parametrizations.weight_norm(model[0])
    assert emul.swap_report(model).layers[0].rule == 0
    with pytest.raises(
        ValueError,
        match=r"layer '0' .ParametrizedLinear. was parametrized after swap_: call torch\.nn\.utils\.parametrize\.",
    ):
        emul.restore_(model)
    parametrize.remove_parametrizations(model[0], "weight")
    assert type(emul.restore_(model)[0]) is nn.Linear
