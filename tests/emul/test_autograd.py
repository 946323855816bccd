import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

import emul
import emul.autograd
from emul import Product, Recipe, Rule
from emul.autograd import Draw, layer_product, stream
from emul.geometry import LinearGeometry
from emul.operands import Scaled
from emul.recipe import ChainGradient
from numerics import Accumulator, Overflow, Quantizer, Rounding, catalog

E4M3 = Quantizer(catalog.E4M3)
E3M2 = Quantizer(catalog.E3M2)
SR = Quantizer(catalog.E5M2, Rounding.SR)
SUMS = Accumulator(catalog.BFLOAT16, Rounding.RTZ)
FLOAT = Accumulator(catalog.BINARY32, Rounding.RNE, Overflow.IEEE)
DRAW = Draw(5, "layer", 2)


def values(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, generator=generator)


def run(rule: Rule, draw: Draw = DRAW) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Output, grad_input, grad_weight of one small product."""
    x, w = values(4, 6).requires_grad_(), values(5, 6).requires_grad_()
    output = layer_product(x, w, LinearGeometry(), rule, draw)
    output.backward(values(4, 5))
    return output.detach(), x.grad, w.grad


def test_each_product_has_its_own_operands_and_accumulator():
    rule = Rule(
        ".*",
        forward=Product(accumulator=SUMS, activation=E4M3, weight=E3M2),
        grad_input=Product(accumulator=FLOAT, gradient=E3M2, weight=E4M3),
        grad_weight=Product(accumulator=SUMS, gradient=E4M3, activation=E3M2),
    )
    x, w, g = values(4, 6), values(5, 6), values(4, 5)
    q = emul.quantize
    output, grad_input, grad_weight = run(rule)
    assert torch.equal(output, emul.matmul(q(x, E4M3), q(w, E3M2).mT, SUMS))
    assert torch.equal(grad_input, emul.matmul(q(g, E3M2), q(w, E4M3), FLOAT))
    assert torch.equal(grad_weight, emul.matmul(q(g, E4M3).mT, q(x, E3M2), SUMS))


def test_without_accumulator_the_product_is_torch_s_of_the_quantized_operands():
    rule = Rule(".*", forward=Product(weight=E4M3), grad_input=Product(weight=E4M3), grad_weight=Product(gradient=E4M3))
    x, w, g = values(4, 6), values(5, 6), values(4, 5)
    output, grad_input, grad_weight = run(rule)
    assert torch.equal(output, x @ emul.quantize(w, E4M3).mT)
    assert torch.equal(grad_input, g @ emul.quantize(w, E4M3))
    assert torch.equal(grad_weight, emul.quantize(g, E4M3).mT @ x)


def test_a_native_product_ignores_autocast():
    rule = Rule(".*", forward=Product(weight=E4M3))
    expected = run(rule)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = run(rule)
    assert all(torch.equal(a, b) for a, b in zip(result, expected, strict=True))


def test_an_operand_that_both_directions_share_is_quantized_once(monkeypatch):
    calls = []
    original = emul.autograd.ops.quantize

    def spy(tensor, quantizer, **keys):
        calls.append(tuple(tensor.shape))
        return original(tensor, quantizer, **keys)

    monkeypatch.setattr(emul.autograd.ops, "quantize", spy)
    shared = Rule(
        ".*",
        forward=Product(activation=E4M3, weight=E4M3),
        grad_input=Product(weight=E4M3),
        grad_weight=Product(activation=E4M3),
    )
    run(shared)
    assert calls == [(4, 6), (5, 6)]
    calls.clear()
    # Stochastic operands are drawn anew for each product.
    run(Rule(".*", forward=Product(activation=SR), grad_weight=Product(activation=SR)))
    assert calls == [(4, 6), (4, 6)]


@pytest.mark.parametrize(("input_wanted", "weight_wanted"), [(True, False), (False, True), (False, False)])
def test_only_the_wanted_gradients_are_computed_and_saved(input_wanted, weight_wanted):
    rule = Rule(".*", forward=Product(accumulator=FLOAT))
    x, w = values(4, 6).requires_grad_(input_wanted), values(5, 6).requires_grad_(weight_wanted)
    saved: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        output = layer_product(x, w, LinearGeometry(), rule, DRAW)
    assert [t.data_ptr() for t in saved] == [w.data_ptr()] * input_wanted + [x.data_ptr()] * weight_wanted
    assert output.requires_grad == (input_wanted or weight_wanted)
    if output.requires_grad:
        output.sum().backward()
    assert (x.grad is not None, w.grad is not None) == (input_wanted, weight_wanted)


def test_a_saved_operand_that_is_changed_in_place_is_noticed():
    x, w = values(4, 6), values(5, 6).requires_grad_()
    output = layer_product(x, w, LinearGeometry(), Rule(".*", forward=Product(accumulator=FLOAT)), DRAW)
    x.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()


def test_a_second_derivative_is_refused():
    x = values(4, 6).requires_grad_()
    rule = Rule(".*", forward=Product(accumulator=FLOAT))
    output = layer_product(x, values(5, 6).requires_grad_(), LinearGeometry(), rule, DRAW)
    (gradient,) = torch.autograd.grad(output.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="no derivative of their own: leave create_graph=True out"):
        gradient.sum().backward()


def test_a_second_derivative_is_refused_where_the_first_one_comes_from_a_constant():
    """torch's own decorator would give gradients that depend on nothing: a penalty on them would be left out silently."""
    for build in (lambda: torch.nn.Linear(4, 4), lambda: torch.nn.LayerNorm(4)):
        rule = Rule(".*", types=("Linear", "LayerNorm"), forward=Product(accumulator=FLOAT))
        layer = emul.swap_(build(), Recipe((rule,)))
        x = values(3, 4).requires_grad_()
        (gradient,) = torch.autograd.grad(layer(x).sum(), x, create_graph=True)
        (plain,) = torch.autograd.grad(layer(x).sum(), x)
        assert torch.equal(gradient, plain)
        with pytest.raises(RuntimeError, match=r"no derivative of their own: .* or emul\.restore_ the model"):
            (layer(x).sum() + gradient.square().sum()).backward()


@pytest.mark.parametrize(
    "build",
    [
        lambda: torch.nn.Linear(4, 4),
        lambda: torch.nn.Conv1d(4, 2, 1),
        lambda: torch.nn.LayerNorm(4),
        lambda: torch.nn.RMSNorm(4),
    ],
)
@pytest.mark.parametrize("chain", [None, ChainGradient()], ids=["exact", "chain"])
def test_a_second_derivative_that_is_asked_for_by_some_tensors_is_refused(build, chain):
    """No path to them would make it zero: torch.autograd.functional takes a tensor of which nothing depends for that."""
    forward = Product(accumulator=FLOAT, activation=E4M3, weight=E4M3, chain=chain)
    backward = {"grad_input": Product(weight=E4M3), "grad_weight": Product(activation=E4M3)}
    norm = Rule(".*", types=("LayerNorm", "RMSNorm"), forward=Product(accumulator=FLOAT))
    layer = emul.swap_(build(), Recipe((norm, Rule(".*", forward=forward, **backward))))
    x, functional = values(4, 4), torch.autograd.functional

    def call(x: torch.Tensor) -> torch.Tensor:
        return layer(x).square().sum()

    for ask in (functional.hessian, partial(functional.hvp, v=x), partial(functional.vhp, v=x)):
        with pytest.raises(RuntimeError, match="no derivative of their own: leave create_graph=True out"):
            ask(call, x)
    with pytest.raises(RuntimeError, match="no derivative of their own"):
        functional.jvp(layer, x, x)  # by the derivative of a gradient with respect to what came in
    leaf = x.clone().requires_grad_()
    for once in (leaf, leaf * 1):
        gradients = torch.autograd.grad(call(once), (once, *layer.parameters()), create_graph=True)
        assert all(map(torch.equal, gradients, torch.autograd.grad(call(once), (once, *layer.parameters()))))
        for asked in (once, *layer.parameters()):
            with pytest.raises(RuntimeError, match="no derivative of their own"):
                torch.autograd.grad(gradients[0].sum(), asked, allow_unused=True, retain_graph=True)


@pytest.mark.filterwarnings("ignore:There is a performance drop because we have not yet implemented the batching rule")
@pytest.mark.parametrize("chain", [None, ChainGradient()], ids=["exact", "chain"])
def test_several_gradients_at_once_are_those_of_a_loop(chain):
    forward = Product(accumulator=SUMS, activation=E4M3, weight=E4M3, chain=chain)
    backward = {"grad_input": Product(weight=E4M3), "grad_weight": Product(activation=E4M3)}
    if chain is None:
        drawn = Product(accumulator=SUMS, gradient=SR)
        backward = {"grad_input": drawn, "grad_weight": drawn}
    layers = torch.nn.Linear(4, 4), torch.nn.Conv1d(2, 2, 3), torch.nn.LayerNorm(2)
    norm = Rule(".*", types=("LayerNorm",), forward=Product(accumulator=FLOAT))
    model = emul.swap_(torch.nn.Sequential(*layers), Recipe((norm, Rule(".*", forward=forward, **backward)), 3))
    x = values(2, 4).requires_grad_()
    output, each = model(x), torch.eye(4).reshape(4, 2, 2)
    ask = partial(torch.autograd.grad, output, (x, *model.parameters()), retain_graph=True)
    one_by_one = zip(*(ask(one) for one in each), strict=True)
    for found, wanted in zip(ask(each, is_grads_batched=True), one_by_one, strict=True):
        assert torch.equal(found, torch.stack(wanted))


def test_what_measures_gradients_refuses_several_at_once():
    rule = Rule(".*", grad_input=Product(gradient=Scaled(E4M3)))
    layer = emul.swap_(torch.nn.Linear(4, 4), Recipe((rule,)))
    with pytest.raises(
        NotImplementedError, match="takes one at a time: leave is_grads_batched=True, or vectorize=True"
    ):
        torch.autograd.functional.jacobian(layer, values(2, 4), vectorize=True)


def test_a_gradient_of_any_strides():
    rule = Rule(".*", grad_input=Product(accumulator=FLOAT, gradient=E4M3))
    x, w = values(4, 6).requires_grad_(), values(5, 6)
    layer_product(x, w, LinearGeometry(), rule, DRAW).sum().backward()  # an expanded scalar
    assert torch.equal(x.grad, emul.matmul(torch.ones(4, 5), w, FLOAT))


GRADIENTS = Rule(".*", grad_input=Product(gradient=SR), grad_weight=Product(gradient=SR))


def test_the_same_words_give_the_same_bits():
    first, second = run(GRADIENTS), run(GRADIENTS)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("other", [Draw(6, "layer", 2), Draw(5, "other", 2), Draw(5, "layer", 3)])
def test_seed_layer_and_step_each_change_the_words(other):
    _, grad_input, grad_weight = run(GRADIENTS)
    _, other_input, other_weight = run(GRADIENTS, other)
    assert not torch.equal(grad_input, other_input)
    assert not torch.equal(grad_weight, other_weight)


def test_products_and_operands_have_streams_of_their_own():
    x = values(100)
    keys = [("forward", "activation"), ("forward", "weight"), ("grad_input", "gradient"), ("grad_weight", "gradient")]
    drawn = [DRAW.quantize(x, SR, product, role) for product, role in keys]
    assert all(not torch.equal(a, b) for i, a in enumerate(drawn) for b in drawn[:i])


def test_the_words_of_a_step_are_those_of_numerics():
    x = values(100)
    key = stream("layer", "grad_input", "gradient")
    expected = SR.quantize(x.numpy(), seed=5, stream=key, offset=2 * 2**40)
    assert torch.equal(DRAW.quantize(x, SR, "grad_input", "gradient"), torch.from_numpy(expected))


def test_backward_twice_through_one_forward_draws_the_same_words():
    x, w = values(4, 6).requires_grad_(), values(5, 6)
    output = layer_product(x, w, LinearGeometry(), GRADIENTS, DRAW)
    grad = partial(torch.autograd.grad, output, x, values(4, 5), retain_graph=True)
    assert torch.equal(grad()[0], grad()[0])


def test_streams_are_constants_and_do_not_run_together():
    # Results of earlier versions stay reproducible.
    assert stream("features.0", "grad_input", "gradient") == STREAM
    assert stream("a", "bc", "d") != stream("ab", "c", "d")


@pytest.mark.nightly
def test_streams_are_the_same_in_every_process():
    code = "from emul.autograd import stream; print(stream('features.0', 'grad_input', 'gradient'))"
    root = Path(__file__).parents[2]
    other = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert int(other.stdout) == STREAM


STREAM = 9038657224897148587


@pytest.mark.parametrize("step", [-1, 2**24])
def test_a_step_beyond_the_words_is_refused(step):
    with pytest.raises(
        ValueError, match=rf"layer 'fc' is at training step {step}: random words reach to 2\*\*24 steps"
    ):
        Draw(0, "fc", step)


def test_the_last_step_draws():
    assert torch.isfinite(Draw(0, "fc", 2**24 - 1).quantize(values(10), SR, "forward", "weight")).all()
