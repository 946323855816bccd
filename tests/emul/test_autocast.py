"""Mixed precision around emulated arithmetic: layers that stay native hand on 16 bits, which are taken as float32."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import emul
from emul import Norm, Recipe, Rule
from emul.gpt import CausalAttention
from tests.emul.callers import ALL, FORWARD, A, Model, draw, product
from tests.emul.callers import Caller as Calls

NORMS = Rule(".*", types=("LayerNorm", "RMSNorm"), forward=FORWARD, grad_input=FORWARD)
RANGES = Rule(".*", types=("BatchNorm1d",), norm=Norm("range"), forward=FORWARD)


def called(call, *shapes: tuple[int, ...]) -> nn.Module:
    return Model(Calls(call, *shapes))


class Attends(nn.Module):
    """Attention of one argument."""

    def __init__(self, inner: nn.Module, **options: object) -> None:
        super().__init__()
        self.inner, self.options = inner, options

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        options = {name: given(x) for name, given in self.options.items()}
        found = self.inner(x, x, x, **options)
        return found[0] if isinstance(found, tuple) else found


BEHIND = {
    "Linear": (lambda: nn.Linear(4, 3), A),
    "Conv1d": (lambda: nn.Conv1d(3, 2, 3, padding=1), draw(2, 3, 4)),
    "MultiheadAttention": (
        lambda: Attends(nn.MultiheadAttention(4, 2), attn_mask=lambda x: x.new_zeros(3, 3)),
        draw(3, 2, 4),
    ),
    "CausalAttention": (lambda: Attends(CausalAttention()), draw(2, 3, 4)),
    "LayerNorm": (lambda: nn.LayerNorm(4), A),
    "RMSNorm": (lambda: nn.RMSNorm(4), A),
    "BatchNorm1d": (lambda: nn.BatchNorm1d(4), A),
    "linear": (lambda: called(lambda w, x: F.linear(x, w), (3, 4)), A),
    "matmul": (lambda: called(lambda x: x @ x.mT), A),
    "einsum": (lambda: called(lambda x: torch.einsum("ij,kj->ik", [x, x])), A),
    "scaled_dot_product_attention": (
        lambda: called(lambda x: F.scaled_dot_product_attention(x, key=x, value=x, attn_mask=x.new_zeros(3, 3))),
        draw(2, 3, 4),
    ),
}


@pytest.mark.sampled
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", BEHIND)
def test_what_a_native_layer_made_16_bits_is_taken_as_float32(name, dtype):
    build, x = BEHIND[name]
    model = nn.Sequential(nn.Linear(4, 4), build())
    emul.swap_(model, Recipe((Rule("0", keep=True), NORMS, RANGES, ALL)), functional="refuse")
    wide = copy.deepcopy(model)
    with torch.autocast("cpu", dtype=dtype):
        middle = model[0](x)
        output = model(x)
    assert middle.dtype == dtype
    leaf = middle.detach().float().requires_grad_()
    expected = wide[1](leaf)
    assert output.dtype == torch.float32
    assert torch.equal(output, expected)
    up = draw(*output.shape)
    output.backward(up)
    expected.backward(up)
    for mine, other in zip(model[1].parameters(), wide[1].parameters(), strict=True):
        assert (mine.grad is None and other.grad is None) or torch.equal(mine.grad, other.grad)
    assert model[0].weight.grad.isfinite().all() and model[0].weight.grad.any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_bias_of_16_bits_is_added_as_float32(dtype):
    """torch itself takes one beside float32 operands there; a call that does is emulated, and "refuse" has nothing to say."""
    bias = draw(3).to(dtype).requires_grad_()
    model = emul.swap_(called(lambda w, x: F.linear(x, w, bias), (3, 4)), Recipe((ALL,)), functional="refuse")
    with torch.autocast("cpu", dtype=dtype):
        output = model(A)
    weight = model.inner.given[0]
    assert torch.equal(output, product(A, weight.T) + bias.float())
    output.sum().backward()
    assert bias.grad.dtype == dtype and bias.grad.any() and weight.grad.any()


def test_elsewhere_16_bits_are_refused():
    model = emul.swap_(nn.Sequential(nn.Linear(4, 3)), Recipe((ALL,)))
    for context in (torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False)):
        with (
            context,
            pytest.raises(TypeError, match=r"the input of Linear '0' is torch\.bfloat16: emul takes torch\.float32"),
        ):
            model(A.bfloat16())


def test_a_complex_product_is_refused_with_what_helps():
    model = nn.Sequential(called(lambda x: (x.cfloat() @ x.cfloat().mT).abs()), nn.Linear(3, 2))
    emul.swap_(model, Recipe((ALL,)))
    with pytest.raises(ValueError, match=r"is torch\.complex64: .* imaginary parts, or give a rule with keep=True"):
        model(A)
    emul.restore_(model)
    emul.swap_(model, Recipe((Rule(".*", types=("matmul",), keep=True), ALL)))
    assert model(A).shape == (3, 2)
