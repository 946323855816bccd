"""The products of recipes against numpy, bit for bit, and the mean of unbiased gradients over all their words."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import emul
from emul import Recipe, recipes
from emul.autograd import stream
from emul.operands import Scaled
from numerics import (
    Accumulator,
    Overflow,
    Quantizer,
    Rounding,
    binary,
    catalog,
    clipping,
    luq,
    matmul,
    scaling,
    sparsity,
)

SUMS = Accumulator(catalog.BINARY32, Rounding.RNE, Overflow.IEEE)


def layer_of(recipe: Recipe, weight: torch.Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], False)
    with torch.no_grad():
        layer.weight.copy_(weight)
    return emul.swap_(nn.Sequential(layer), recipe)


def three(recipe: Recipe, rows: int = 32) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """(x, w, g) and what a layer named 0 with this recipe makes of them: y, dx, dw."""
    generator = torch.Generator().manual_seed(8)
    x, w, g = (torch.randn(shape, generator=generator) for shape in ((rows, 32), (16, 32), (rows, 16)))
    model = layer_of(recipe, w)
    x.requires_grad_()
    y = model(x)
    y.backward(g)
    return tuple(t.detach().numpy() for t in (x, w, g)), (
        y.detach().numpy(),
        x.grad.numpy(),
        model[0].weight.grad.numpy(),
    )


def words(product: str, role: str) -> dict[str, int]:
    return {"seed": 5, "stream": stream("0", product, role), "offset": 0}


def test_luq_s_products_are_those_of_numpy():
    (x, w, g), (y, dx, dw) = three(recipes.luq(seed=5))

    def integers(t: np.ndarray) -> tuple[np.ndarray, np.float32]:
        scale = np.float32(7 / clipping.sawb(t, 4))
        return np.clip(np.rint(t * scale), -7, 7), scale

    def powers(product: str) -> tuple[np.ndarray, np.float32]:
        alpha = luq.alpha(g)
        return luq.quantize(g, alpha=alpha, **words(product, "gradient")) / np.float32(alpha), np.float32(alpha)

    (qx, sx), (qw, sw) = integers(x), integers(w)
    assert np.array_equal(y, matmul(qx, qw.T, SUMS) / sx / sw)
    assert np.abs(matmul(qx, qw.T, SUMS) - qx.astype(int) @ qw.astype(int).T).max() == 0  # exact in INT4
    gi, alpha = powers("grad_input")
    assert np.array_equal(dx, matmul(gi, qw, SUMS) * alpha / sw)
    gw, _ = powers("grad_weight")
    assert np.array_equal(dw, matmul(np.ascontiguousarray(gw.T), qx, SUMS) * alpha / sx)
    assert not np.array_equal(gi, gw)  # two draws


def test_nvfp4_s_products_are_those_of_numpy():
    (x, w, g), (y, dx, dw) = three(recipes.nvfp4_split(seed=5))
    near, chance = Quantizer(catalog.NVFP4), Quantizer(catalog.NVFP4, Rounding.SR)
    assert np.array_equal(y, matmul(near.quantize(x), near.quantize(w).T, SUMS))
    left = chance.quantize(g, **words("grad_input", "gradient"))
    across = Quantizer(catalog.NVFP4, axis=-1).quantize(np.ascontiguousarray(w.T)).T
    assert np.array_equal(dx, matmul(left, across, SUMS))
    down = Quantizer(catalog.NVFP4, Rounding.SR, axis=-1).quantize(
        np.ascontiguousarray(g.T), **words("grad_weight", "gradient")
    )
    right = Quantizer(catalog.NVFP4, Rounding.SR, axis=0).quantize(x, **words("grad_weight", "activation"))
    assert np.array_equal(dw, matmul(down, right, SUMS))


def test_the_masks_of_mvue_lie_along_the_samples():
    (x, w, g), (y, dx, dw) = three(recipes.mvue_2_4(seed=5))
    assert np.array_equal(y, matmul(x, np.ascontiguousarray(w.T), SUMS))
    assert np.array_equal(dx, matmul(g, w, SUMS))
    kept = sparsity.mvue(np.ascontiguousarray(g.T), 2, 4, **words("grad_weight", "gradient"))
    assert ((kept.reshape(16, -1, 4) != 0).sum(-1) <= 2).all()
    assert np.array_equal(dw, matmul(kept, x, SUMS))


def test_bnn_s_products_are_counts_of_signs():
    (x, w, g), (y, dx, dw) = three(recipes.bnn(seed=5))
    assert np.array_equal(y, binary.xnor_matmul(binary.sign(x), binary.sign(w).T))
    inside = np.abs(x) <= 1
    assert np.array_equal(dx, np.where(inside, matmul(g, binary.sign(w), SUMS), 0))
    assert np.array_equal(dw, np.where(np.abs(w) <= 1, matmul(np.ascontiguousarray(g.T), binary.sign(x), SUMS), 0))


def test_the_weight_gradient_of_int8_training_takes_the_gradient_as_it_is():
    (x, w, g), (y, dx, dw) = three(recipes.int8_training(seed=5))

    def integers(t: np.ndarray, **given) -> tuple[np.ndarray, np.float32]:
        codes, scale, zero = clipping.affine(t, 8, **given)
        return (codes.astype(np.int64) - zero).astype(np.float32), np.float32(scale)

    (qx, sx), (qw, sw) = integers(x), integers(w)
    assert np.array_equal(y, (qx.astype(int) @ qw.astype(int).T).astype(np.float32) * sx * sw)
    qg, sg = integers(g, rounding=Rounding.SR, **words("grad_input", "gradient"))
    assert np.array_equal(dx, (qg.astype(int) @ qw.astype(int)).astype(np.float32) * sg * sw)
    assert np.array_equal(dw, matmul(np.ascontiguousarray(g.T), qx, SUMS) * sx)


def test_h100_s_products_are_those_of_its_unit():
    (x, w, g), (y, dx, dw) = three(recipes.get("h100_fp8"))
    unit = catalog.MATRIX_UNITS["h100.wgmma.e4m3.f32"]
    mixed = replace(catalog.MATRIX_UNITS["h100.wgmma.e5m2.f32"], input_b=catalog.E4M3)

    def scaled(t: np.ndarray, fmt) -> tuple[np.ndarray, np.float32]:
        scale = scaling.current_scale(t, fmt.max)
        return Quantizer(fmt).quantize(t * np.float32(scale)), np.float32(scale)

    (qx, sx), (qw, sw), (qg, sg) = scaled(x, catalog.E4M3), scaled(w, catalog.E4M3), scaled(g, catalog.E5M2)
    assert np.array_equal(y, matmul(qx, np.ascontiguousarray(qw.T), unit) / sx / sw)
    assert np.array_equal(dx, matmul(qg, qw, mixed) / sg / sw)
    assert np.array_equal(dw, matmul(np.ascontiguousarray(qg.T), qx, mixed) / sg / sx)


@pytest.mark.nightly
@pytest.mark.parametrize("name", sorted(recipes.presets()))
def test_every_preset_runs_in_its_unit(name):
    (x, w, g), (y, dx, dw) = three(recipes.get(name), rows=8)
    (rule,) = recipes.get(name).rules

    def of(operand, t: np.ndarray) -> tuple[np.ndarray, np.float32]:
        if operand is None:
            return t, np.float32(1)
        if not isinstance(operand, Scaled):
            return operand.quantize(t), np.float32(1)
        scale = scaling.current_scale(t, operand.largest)
        return operand.quantizer.quantize(t * np.float32(scale)), np.float32(scale)

    (qx, sx), (qw, sw) = of(rule.forward.activation, x), of(rule.forward.weight, w)
    qg, sg = of(rule.grad_input.gradient, g)
    assert np.array_equal(y, matmul(qx, np.ascontiguousarray(qw.T), rule.forward.accumulator) / sx / sw)
    assert np.array_equal(dx, matmul(qg, qw, rule.grad_input.accumulator) / sg / sw)
    assert np.array_equal(dw, matmul(np.ascontiguousarray(qg.T), qx, rule.grad_weight.accumulator) / sg / sx)


def test_fp8_delayed_scales_by_the_steps_before():
    model = layer_of(recipes.fp8_delayed(history=4), torch.full((1, 2), 0.5))
    x = torch.tensor([[3.0, -5.0]], requires_grad=True)
    for step, amax in enumerate((None, 5.0)):
        model(x).sum().backward()
        kept = model[0].emulation.kept
        assert kept["forward_activation"] == (5.0,) * (step + 1)
        assert kept["grad_weight_gradient"] == (1.0,) * (step + 1)
        if amax:
            assert scaling.scale_of(amax, 240) == 32
    forward = recipes.fp8_delayed(largest=448).rules[0].forward
    assert forward.activation == Scaled(Quantizer(catalog.E4M3), history=1024)
    assert recipes.fp8_delayed().rules[0].forward.weight.largest == 240


# The mean of unbiased gradients


def enumerated(recipe: Recipe, x: list, w: list, g: list, bits: int, shapes: list[tuple[int, ...]], monkeypatch):
    """Mean of dx and dw over all words of the draws of these shapes, and the same without randomness in the gradient."""
    x, g = torch.tensor(x, requires_grad=True), torch.tensor(g)
    model = layer_of(recipe, torch.tensor(w))
    real, given = emul.draws.applied, []

    def applied(stage, tensor, used, axis, keys):
        if not keys:
            return real(stage, tensor, used, axis, keys)
        array = emul.draws.array_of(tensor)
        values, factor = stage.apply(array, used, axis=axis, words=given.pop(0))
        return torch.from_numpy(np.ascontiguousarray(values)), factor

    monkeypatch.setattr(emul.draws, "applied", applied)
    sizes = [math.prod(shape) for shape in shapes]
    total, runs, outcomes = [0.0, 0.0], 0, set()
    for drawn in itertools.product(range(1 << bits), repeat=sum(sizes)):
        parts = np.split(np.array(drawn, np.uint32), np.cumsum(sizes)[:-1])
        given[:] = [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
        x.grad = None
        model.zero_grad()
        model(x).backward(g)
        assert not given
        found = [x.grad.double().numpy(), model[0].weight.grad.double().numpy()]
        outcomes.add(found[1].tobytes())
        total = [a + b for a, b in zip(total, found, strict=True)]
        runs += 1
    rule = model[0].emulation.rule
    plain = replace(
        rule,
        grad_input=replace(rule.grad_input, gradient=None),
        grad_weight=replace(rule.grad_weight, gradient=None, samples=1),
    )
    x.grad = None
    exact = layer_of(Recipe((plain,)), torch.tensor(w))
    exact(x).backward(g)
    assert len(outcomes) > 1
    return [one / runs for one in total], [x.grad.double().numpy(), exact[0].weight.grad.double().numpy()]


def test_luq_s_gradients_average_to_the_exact_ones(monkeypatch):
    """3 lies in the middle of 2 and 4, alpha being 1: of 4 words each 2 go up. Forward is quantized as it is."""
    g, w = [[64.0, 3.0]], [[1.0, -0.5, 0.25], [0.75, 2.0, -1.0]]
    for recipe, shapes in (
        (recipes.luq(random_bits=2), [(1, 2), (1, 2)]),
        (recipes.luq_smp(random_bits=1), [(1, 2), (1, 2), (1, 2)]),
    ):
        bits = recipe.rules[0].grad_weight.gradient.random_bits
        means, exact = enumerated(recipe, [[0.5, -1.0, 2.0]], w, g, bits, shapes, monkeypatch)
        for mean, one in zip(means, exact, strict=True):
            np.testing.assert_allclose(mean, one, rtol=2e-7)
        biased = np.array(exact[1])
        assert np.abs(biased).max() > 0


@pytest.mark.parametrize("name", ["mvue_1_2", "mvue_2_4"])
def test_mvue_s_gradients_average_to_the_exact_ones(name, monkeypatch):
    """Equal magnitudes are each kept in half of the draws: exact in one bit. In both products, each with its draw."""
    g = [[3.0, -3.0], [-3.0, 3.0], [3.0, 3.0], [-3.0, -3.0]]
    x, w = [[1.0, 0.5], [0.25, 2.0], [-1.0, 1.5], [0.75, -2.0]], [[1.0, 2.0], [0.5, -0.25]]
    if name == "mvue_2_4":
        g = [row + row for row in g]
        w = [*w, [-1.0, 3.0], [0.125, 1.0]]
    recipe = recipes.get(name, random_bits=1, products=("grad_input", "grad_weight"))
    n = 2 if name == "mvue_1_2" else 4
    outputs = len(w)
    shapes = [(4, outputs // n), (outputs, 4 // n)]
    means, exact = enumerated(recipe, x, w, g, 1, shapes, monkeypatch)
    for mean, one in zip(means, exact, strict=True):
        assert np.array_equal(mean, one)
