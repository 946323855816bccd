"""What a layer's steps and random words would be lost to is refused with a sentence."""

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad

import emul
from emul import Product, Recipe, Rule
from numerics import Accumulator, catalog

HALF = Product(accumulator=Accumulator(catalog.BINARY16))
RULE = Rule(".*", forward=HALF, grad_input=HALF, grad_weight=HALF)
X = torch.linspace(-1, 1, 12).reshape(3, 4)


def net() -> nn.Sequential:
    return emul.swap_(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)), Recipe((RULE,)))


def gradient(model: nn.Module) -> object:
    def loss(parameters: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.func.functional_call(model, parameters, (X,)).sum()

    return torch.func.grad(loss)({name: value.detach() for name, value in model.named_parameters()})


def faked(model: nn.Module) -> object:
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        return model(mode.from_tensor(X))


def tangent(model: nn.Module) -> object:
    with forward_ad.dual_level():
        return model(forward_ad.make_dual(X, X))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (gradient, r"layer '0' has no rule for torch\.func's transforms and torch\.vmap: use backward\(\)"),
        (lambda model: torch.vmap(model)(X[:, None]), r"layer '0' has no rule for torch\.func's transforms"),
        (tangent, r"layer '0' has no forward-mode gradient: use backward\(\) or torch\.autograd\.grad"),
        (
            lambda model: torch.jit.trace(model, X),
            r"layer '0' cannot be traced by torch\.jit: its steps and random words",
        ),
        (torch.jit.script, r"layer '0' is emulated in Python, which torch\.jit\.script cannot compile: emul\.restore_"),
        (
            faked,
            "layer '0' got a FakeTensor, which has no values to compute on, or not in one place: give plain tensors;",
        ),
        (
            lambda model: torch.export.export(model, (X,)),
            r"module '' .Sequential. is swapped, and an exported graph holds",
        ),
    ],
    ids=["grad", "vmap", "tangent", "trace", "script", "fake", "export"],
)
def test_refused(call, sentence):
    model = net()
    before = model(X)
    with pytest.raises(NotImplementedError, match=sentence):
        call(model)
    assert torch._C._len_torch_function_stack() == 0  # no mode is left behind
    assert torch._dynamo.eval_frame._stance.stance == "default"
    assert torch.equal(model(X), before)


def test_a_layer_alone_cannot_be_exported_either():
    with pytest.raises(NotImplementedError, match=r"layer 'fc' got a \w+Tensor, which has no values"):
        torch.export.export(emul.nn.Linear(4, 2, rule=RULE, name="fc"), (X,))


def test_symbols_are_told_to_be_traced_before():
    with pytest.raises(
        TypeError, match=r"the input of Linear '0' is one of torch\.fx's symbols, .*: trace the model before"
    ):
        torch.fx.symbolic_trace(net())
    assert torch._C._len_torch_function_stack() == 0


def test_attention_as_a_function_is_refused_too():
    call = emul.nn.functional.scaled_dot_product_attention
    q = torch.ones(2, 1, 3, 4)
    with pytest.raises(NotImplementedError, match="attention 'mine' has no rule for torch"):
        torch.vmap(lambda x: call(x, x, x, rule=RULE, name="mine"))(q)


@pytest.mark.parametrize("build", [net, lambda: emul.nn.Linear(4, 2, rule=RULE)], ids=["swapped", "layer"])
def test_a_whole_graph_is_told_why_there_is_none(build):
    torch._dynamo.reset()
    compiled = torch.compile(build(), backend="aot_eager", fullgraph=True)
    with pytest.raises(
        torch._dynamo.exc.Unsupported, match=r"run eagerly, also in a compiled model\. Leave fullgraph=True"
    ):
        compiled(X)


def test_functional_call_takes_other_parameters():
    model = net()
    other = {name: value.detach() * 2 for name, value in model.named_parameters()}
    expected = net()
    expected.load_state_dict(other)
    assert torch.equal(torch.func.functional_call(model, other, (X,)), expected(X))
