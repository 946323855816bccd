"""What is refused is named by product, layer and operand, and by its index in the caller's own tensor."""

import copy
import math
import pickle
import re

import pytest
import torch
from torch import nn

import emul
from emul import Norm, Product, Recipe, Rule
from emul.culprits import NotFiniteError
from emul.operands import LUQ, SAWB, Scaled, Sign, TopN
from numerics import Accumulator, Overflow, Quantizer, catalog

HALF = Product(accumulator=Accumulator(catalog.BINARY16))
ALL = Rule(".*", forward=HALF, grad_input=HALF, grad_weight=HALF)
NORMS = ("LayerNorm", "RMSNorm", "BatchNorm2d")


def swapped(*modules: nn.Module, rule: Rule = ALL) -> nn.Sequential:
    norms = Rule(".*", types=NORMS, forward=HALF, grad_input=HALF, grad_weight=HALF)
    return emul.swap_(nn.Sequential(*modules), Recipe((norms, rule)))


def spoiled(*shape: int, at: tuple[int, ...], value: float = math.nan) -> torch.Tensor:
    """Ones with one element that is not."""
    x = torch.ones(shape)
    x[at] = value
    return x


def sentence(call) -> str:
    with pytest.raises(NotFiniteError) as refusal:
        call()
    assert isinstance(refusal.value, ValueError)
    return str(refusal.value)


EXACT = "products are exact for finite operands only; replace it first"


@pytest.mark.parametrize(
    ("layer", "x", "at", "who"),
    [
        (nn.Linear(4, 3), (2, 5, 4), (1, 2, 3), "its activation"),
        (nn.Conv1d(2, 3, 3), (2, 2, 6), (1, 0, 5), "the input of Conv1d '0'"),
        (nn.Conv2d(4, 4, 3, stride=2, padding=1, groups=2), (2, 4, 5, 5), (1, 3, 4, 0), "the input of Conv2d '0'"),
        (nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), (1, 2, 4, 4), (0, 1, 2, 3), "the input of Conv2d '0'"),
        (nn.Conv2d(2, 3, 3), (2, 4, 4), (1, 2, 3), "the input of Conv2d '0'"),
        (nn.LayerNorm(4), (3, 2, 4), (2, 1, 3), "the input of LayerNorm '0'"),
        (nn.RMSNorm(4), (3, 2, 4), (2, 1, 3), "the input of RMSNorm '0'"),
        (nn.BatchNorm2d(3), (2, 3, 2, 2), (1, 2, 0, 1), "the input of BatchNorm2d '0'"),
    ],
)
@pytest.mark.parametrize("value", [math.nan, -math.inf])
def test_the_element_is_that_of_the_callers_tensor(layer, x, at, who, value):
    model = swapped(copy.deepcopy(layer))
    told = sentence(lambda: model(spoiled(*x, at=at, value=value)))
    part = {nn.LayerNorm: ".mean", nn.RMSNorm: ".spread", nn.BatchNorm2d: ".mean"}.get(type(layer), "")
    where = f"forward of layer '0{part}': {who} is {value} at {list(at)} of its shape {list(x)}: {EXACT}"
    assert told.startswith(where)


def test_of_attention_it_is_that_of_query_key_or_value():
    attention = emul.swap_(nn.ModuleDict({"attn": nn.MultiheadAttention(8, 2, batch_first=True)}), Recipe((ALL,)))[
        "attn"
    ]
    q, k, v = torch.ones(2, 5, 8), spoiled(2, 4, 8, at=(1, 3, 2)), torch.ones(2, 4, 8)
    told = sentence(lambda: attention(q, k, v))
    assert told.startswith(
        "forward of layer 'attn.key': the key of MultiheadAttention 'attn' is nan at [1, 3, 2] of its shape [2, 4, 8]:"
    )
    with torch.no_grad():
        attention.in_proj_weight[8 + 3, 5] = math.inf
    told = sentence(lambda: attention(q, v, v))
    assert (
        "layer 'attn.key': the in_proj_weight of MultiheadAttention 'attn' is inf at [11, 5] of its shape [24, 8]"
        in told
    )
    call = emul.nn.functional.scaled_dot_product_attention
    told = sentence(lambda: call(q, v, k, rule=ALL, name="mine"))
    assert told.startswith("forward of layer 'mine.context': the value of attention 'mine' is nan at [1, 3, 2] of its")


class Call(nn.Module):
    def __init__(self, call) -> None:
        super().__init__()
        self.call, self.fc = call, nn.Linear(2, 2)

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        return self.call(*tensors)


@pytest.mark.parametrize(
    ("call", "who"),
    [
        (torch.matmul, "the other of matmul in module '' (Call) is nan at [1, 2, 0] of its shape [2, 4, 3]"),
        (lambda a, b: b @ a.mT.mT.new_ones(3, 2), "the input of matmul in module '' (Call) is nan at [1, 2, 0]"),
        (
            lambda a, b: torch.einsum("bij,bjk->bik", a, b),
            "the operand 1 of einsum in module '' (Call) is nan at [1, 2, 0]",
        ),
    ],
)
def test_of_a_functions_call_it_is_that_of_its_argument(call, who):
    model = emul.swap_(Call(call), Recipe((ALL,)))
    assert f": {who}" in sentence(lambda: model(torch.ones(2, 2, 4), spoiled(2, 4, 3, at=(1, 2, 0))))


def test_a_weight_and_a_gradient_are_named():
    model = swapped(nn.Linear(4, 3), nn.Linear(3, 2))
    upstream = spoiled(2, 5, 2, at=(0, 3, 1), value=math.inf)
    told = sentence(lambda: model(torch.ones(2, 5, 4)).backward(upstream))
    assert told.startswith(f"grad_input of layer '1': its gradient is inf at [0, 3, 1] of its shape [2, 5, 2]: {EXACT}")
    with torch.no_grad():
        model[1].weight[1, 2] = math.nan
    told = sentence(lambda: model(torch.ones(2, 5, 4)))
    assert told.startswith("forward of layer '1': its weight is nan at [1, 2] of its shape [2, 3]: ")


def test_an_activation_that_only_the_gradient_of_the_weight_multiplies():
    model = swapped(nn.Linear(4, 3), rule=Rule(".*", grad_weight=HALF))
    output = model(spoiled(2, 4, at=(1, 2), value=math.inf).requires_grad_())
    told = sentence(lambda: output.backward(torch.ones(2, 3)))
    assert told.startswith("grad_weight of layer '0': its activation becomes inf at [1, 2] of its shape [2, 4]")


def test_what_a_stage_makes_infinite_is_named_with_what_it_was():
    coarse = Quantizer(catalog.E5M2, overflow=Overflow.IEEE)
    model = swapped(nn.Linear(4, 3), rule=Rule(".*", forward=Product(accumulator=HALF.accumulator, activation=coarse)))
    told = sentence(lambda: model(spoiled(2, 4, at=(1, 2), value=1e9)))
    assert (
        "layer '0': its activation becomes inf at [1, 2] of its shape [2, 4], from 1000000000.0, by what is done"
        in told
    )


@pytest.mark.parametrize(
    "stage", [Quantizer(catalog.E2M1), Scaled(Quantizer(catalog.E4M3)), SAWB(4), LUQ(), TopN(2, 4), Sign()], ids=str
)
@pytest.mark.parametrize("role", ["activation", "gradient"])
def test_a_stage_that_refuses_is_told_with_its_layer(stage, role):
    product = {"forward" if role == "activation" else "grad_input": Product(**{role: stage})}
    model = swapped(nn.Linear(4, 4), rule=Rule(".*", **product))
    bad = spoiled(2, 4, at=(1, 2))
    x = (bad if role == "activation" else torch.ones(2, 4)).requires_grad_()
    told = sentence(lambda: model(x).backward(bad))
    head = "forward" if role == "activation" else "grad_input"
    assert re.match(rf"{head} of layer '0': its {role} is nan at \[1, 2\] of its shape \[2, 4\]: \w+", told)


def test_the_gradient_of_a_chain():
    chained = Rule(".*", forward=Product(accumulator=HALF.accumulator, chain=emul.ChainGradient()))
    model = swapped(nn.Linear(4, 3), rule=chained)
    told = sentence(lambda: model(spoiled(2, 4, at=(1, 2))))
    assert told.startswith("forward of layer '0': its activation is nan at [1, 2]")


def test_what_is_finite_and_refused_names_the_operands_of_its_matrices():
    unit = Product(accumulator=catalog.MATRIX_UNITS["h100.e4m3.f32"])
    model = swapped(nn.Linear(4, 3), rule=Rule(".*", forward=unit))
    with pytest.raises(
        ValueError, match=r"forward of layer '0', as matrices \(a its activation, b its weight\): a\[0, 0\]"
    ):
        model(torch.full((2, 4), 0.3))
    strict = Product(accumulator=Accumulator(catalog.BINARY16, overflow=Overflow.ERROR))
    model = swapped(nn.Linear(4, 3), rule=Rule(".*", forward=strict))
    with pytest.raises(OverflowError, match=r"forward of layer '0', as .* output \(1, \d\) overflows binary16"):
        model(spoiled(2, 4, at=(1, 0), value=1e8))


def test_a_range_norm_of_nan_and_copies_of_the_error():
    model = swapped(nn.BatchNorm2d(2), rule=Rule(".*", types=("BatchNorm2d",), norm=Norm("range"), forward=HALF))
    with pytest.raises(NotFiniteError) as refusal:
        model(spoiled(2, 2, 2, 2, at=(1, 1, 0, 1)))
    assert str(pickle.loads(pickle.dumps(refusal.value))) == str(refusal.value)
