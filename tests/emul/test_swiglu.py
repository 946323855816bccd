"""SwiGLU and Smooth-SwiGLU: numpy's product between linear layers, and the identity of the two to the bit."""

import numpy as np
import pytest
import torch

import emul
from emul import Product, Recipe, Rule
from numerics import Accumulator, Quantizer, Rounding, catalog, scaling

E4M3 = Quantizer(catalog.E4M3)


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pair(bias: bool = False, **options) -> tuple[emul.nn.SwiGLU, emul.nn.SmoothSwiGLU]:
    plain = emul.nn.SwiGLU(6, 8, 5, bias)
    smooth = emul.nn.SmoothSwiGLU(6, 8, 5, bias, **options)
    smooth.load_state_dict(plain.state_dict())
    return plain, smooth


def run(layer: torch.nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    layer.zero_grad()
    leaf = x.clone().requires_grad_()
    output = layer(leaf)
    output.backward(draw(*output.shape, seed=3))
    return [output.detach(), leaf.grad, *(parameter.grad for parameter in layer.parameters())]


@pytest.mark.parametrize("per", ["token", "channel"])
@pytest.mark.parametrize("bias", [True, False])
def test_powers_of_two_change_no_bit(per, bias):
    plain, smooth = pair(bias, per=per)
    x = draw(3, 4, 6) * 100
    for found, expected in zip(run(smooth, x), run(plain, x), strict=True):
        assert torch.equal(found, expected)
    # Other scales round.
    smooth.power_of_two = False
    output = smooth(x)
    torch.testing.assert_close(output, plain(x), rtol=1e-5, atol=1e-2)
    assert not torch.equal(output, plain(x))


@pytest.mark.parametrize(("per", "axis"), [("token", -1), ("channel", (0, 1))])
def test_the_product_is_numpy_s_to_the_bit(per, axis):
    _, smooth = pair(per=per, quantizer=E4M3)
    x = draw(3, 4, 6)
    found = []
    smooth.down.register_forward_pre_hook(lambda module, inputs: found.append(inputs[0].detach().numpy()))
    output = smooth(x)
    linear, gate = (part(x).detach().numpy() for part in (smooth.linear, smooth.gate))
    expected = scaling.smooth_swiglu(linear, gate, axis=axis, quantizer=E4M3)
    assert np.array_equal(found[0], expected.values)
    whole = torch.from_numpy(scaling.restore(expected)) @ smooth.down.weight.T
    torch.testing.assert_close(output, whole)


@pytest.mark.parametrize("per", ["token", "channel"])
def test_outliers_that_overflow_are_tamed(per):
    half = Rule(
        ".*down", forward=Product(activation=Quantizer(catalog.E4M3), accumulator=Accumulator(catalog.BINARY32))
    )
    plain, smooth = pair(per=per)
    x = draw(3, 6) * 60
    exact = plain(x)
    emul.swap_(plain, Recipe((half,)))
    emul.swap_(smooth, Recipe((half,)))
    assert type(smooth.down) is emul.nn.Linear
    errors = [((layer(x) - exact).norm() / exact.norm()).item() for layer in (plain, smooth)]
    assert errors[1] < 0.1 < errors[0]  # 448 is the largest number of E4M3
    run(smooth, x)
    assert smooth.down.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: emul.nn.SmoothSwiGLU(2, 2, per="row"), ValueError, "per = 'row': give 'channel' or 'token'"),
        (
            lambda: emul.nn.SmoothSwiGLU(2, 2, quantizer="e4m3"),
            TypeError,
            r"quantizer = 'e4m3': give numerics.Quantizer\(parse_format\('e4m3'\)\), or None",
        ),
        (
            lambda: emul.nn.SmoothSwiGLU(2, 2, quantizer=Quantizer(catalog.E4M3, Rounding.SR)),
            ValueError,
            "needs random words, which this module does not draw: give it to the rule",
        ),
    ],
)
def test_refused(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()


def test_a_second_derivative_that_is_asked_for_by_the_input_alone_is_refused():
    layer = emul.nn.SmoothSwiGLU(4, 4)
    with pytest.raises(RuntimeError, match="no derivative of their own"):
        torch.autograd.functional.hessian(lambda x: layer(x).square().sum(), torch.ones(3, 4))


@pytest.mark.parametrize("kind", [emul.nn.SwiGLU, emul.nn.SmoothSwiGLU])
def test_what_torch_s_own_layers_make_under_autocast_is_widened(kind):
    model = kind(4, 6)
    x = torch.linspace(-1, 1, 12).reshape(3, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        branches = model.linear(x), model.gate(x)
        found = model(x)
    assert {branch.dtype for branch in branches} == {torch.bfloat16}
    linear, gate = (branch.float() for branch in branches)
    wanted = (linear * torch.nn.functional.silu(gate)) @ model.down.weight.T
    assert torch.allclose(found.float(), wanted, rtol=0, atol=0.01)
    found.sum().backward()
    assert all(parameter.grad.dtype == torch.float32 for parameter in model.parameters())
