"""The recipes by name: what they declare, what runs, that they learn, repeat and mean what their papers say."""

import itertools
import math
import re
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import emul
from emul import Course, Product, Recipe, recipes
from emul.autograd import stream
from emul.operands import LUQ, SAWB, Calibrated, Channels, LinearQuant, Scaled, Sign
from emul.recipe import ROLES
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
    parse_format,
    scaling,
    sparsity,
)

E4M3 = Quantizer(catalog.E4M3, Rounding.RNE, Overflow.SATURATE)
SUMS = Accumulator(catalog.BINARY32, Rounding.RNE, Overflow.IEEE)
PUBLISHED = (
    "fp8", "fp8_delayed", "mxfp8", "mxfp4", "nvfp4_split", "lba", "lba12", "lba8", "lba_fine_grained", "luq", "luq_smp",
    "luq_fnt", "mvue_1_2", "mvue_2_4", "transposable_2_4", "aciq_ptq", "int8_training", "bnn", "qnn",
)  # fmt: skip
PRESETS = ("h100_fp8", "a100_bf16")


# Names


def test_names_and_functions_are_the_same_recipes():
    assert recipes.names()[: len(PUBLISHED)] == PUBLISHED
    for name in PUBLISHED:
        recipe = recipes.get(name, seed=7)
        assert (recipe.name, recipe.seed) == (name, 7)
        assert recipe == getattr(recipes, name)(seed=7)
        assert recipes.get(name).seed == 0
        schedule = recipes.schedule(name, seed=7)
        assert schedule.name == name
        assert {phase.recipe.seed for phase in schedule.phases} == {7}
        assert recipe in {phase.recipe for phase in schedule.phases}
        entry = recipes.entry(name)
        assert (schedule.start == "scratch") is (entry.start == "scratch")
        module = sys.modules[getattr(recipes, name).__module__]
        told = f"{module.__doc__} {getattr(recipes, name).__doc__}"
        assert entry.paper.removeprefix("arXiv ") in " ".join(told.split())


def test_every_preset_is_a_unit_with_results_in_float32_and_no_scales():
    presets = dict(recipes.presets())
    assert set(recipes.names()) == {*PUBLISHED, *presets}
    assert presets["h100_fp8"] == "h100.wgmma.e4m3.f32"
    assert presets["h100_mma_fp8"] == "h100.e4m3.f32"
    assert presets["b200_fp8"] == "b200.tcgen05.e4m3.f32"
    assert presets["a100_bf16"] == "a100.bf16.f32"
    units = catalog.MATRIX_UNITS
    first_kinds = {name for name in units if name.endswith(".f32") and units[name].scale is None}
    assert set(presets.values()) == {name for name in first_kinds if ".e5m2" not in name}
    assert recipes.get("a100.f64.f64").rules[0].forward.accumulator == units["a100.f64.f64"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("fp4", r"no recipe 'fp4': the nearest are mxfp4, .*; emul recipes lists all, and emul.Recipe makes your own"),
        ("mvue24", r"the nearest are mvue_2_4"),
        ("H100_FP9", r"the nearest are h100_fp8"),
        ("!", r"known are fp8, fp8_delayed, .*qnn and others"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(name, sentence):
    for find in (recipes.get, recipes.schedule, recipes.entry):
        with pytest.raises(ValueError, match=sentence):
            find(name)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: recipes.fp8_delayed(largest=256), "largest = 256: give 240, the E4M3 of Gaudi 2, or 448"),
        (lambda: recipes.mxfp8(gradient="e3m2"), "gradient = 'e3m2': give 'e4m3' or 'e5m2'"),
        (lambda: recipes.mvue_1_2(products=("forward",)), "products = ('forward',): give a tuple of 'grad_input'"),
        (lambda: recipes.mvue_2_4(products="grad_weight"), "products = 'grad_weight': give a tuple"),
        (lambda: recipes.hardware("b200.tcgen05.nvf4.f32"), "multiplies the scales of its operands' blocks"),
    ],
)
def test_options_are_refused(make, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        make()


def test_an_unknown_unit_is_refused_with_the_nearest():
    with pytest.raises(KeyError, match=r"the nearest names are .*h100\.f16\.f16"):
        recipes.hardware("h100.f16.f16x")


def test_fp8_emulates_all_three_products_in_binary32():
    (rule,) = recipes.fp8().rules
    sums = Accumulator(catalog.BINARY32, Rounding.RNE, Overflow.IEEE)
    gradient = Quantizer(catalog.E5M2, Rounding.SR, Overflow.SATURATE, 32)
    assert rule.forward.accumulator == rule.grad_input.accumulator == rule.grad_weight.accumulator == sums
    assert (rule.forward.activation, rule.forward.weight) == (E4M3, E4M3)
    assert (rule.grad_input.gradient, rule.grad_input.weight) == (gradient, E4M3)
    assert (rule.grad_weight.gradient, rule.grad_weight.activation) == (gradient, E4M3)


def test_fp8_rounds_gradients_without_bias_from_the_stated_magnitude_on():
    # Unbiased where no bit of a float32 lies below 2**-32 of the ulp that E5M2 has there.
    def exact(exponent: int) -> bool:
        ulp = max(exponent, catalog.E5M2.emin) - catalog.E5M2.mantissa_bits
        return exponent - catalog.BINARY32.mantissa_bits >= ulp - 32

    assert all(exact(exponent) for exponent in range(-25, 16))
    assert not exact(-26)


@pytest.mark.parametrize(
    ("name", "products", "sums"),
    [("lba12", (7, 4, 12), (7, 4, 10)), ("lba8", (4, 3, 5), (4, 3, 3))],
)
def test_lba_is_the_paper_s_fused_multiply_add(name, products, sums):
    (rule,) = recipes.get(name).rules
    accumulator = rule.forward.accumulator
    assert accumulator.format == catalog.lba(*sums, paper=True)
    assert accumulator.product == Quantizer(catalog.lba(*products, paper=True), Rounding.RTZ, Overflow.SATURATE)
    assert (accumulator.rounding, accumulator.overflow) == (Rounding.RTZ, Overflow.SATURATE)
    assert (accumulator.chunk, accumulator.outer) == (16, None)
    assert (rule.forward.activation, rule.forward.weight) == (E4M3, E4M3)


@pytest.mark.parametrize("name", ["lba12", "lba8"])
def test_lba_gradients_are_native_products_of_the_quantized_operands(name):
    (rule,) = recipes.get(name).rules
    assert rule.grad_input.accumulator is rule.grad_weight.accumulator is None
    assert rule.grad_input.gradient is rule.grad_weight.gradient is None
    assert (rule.grad_input.weight, rule.grad_weight.activation) == (E4M3, E4M3)


def test_lba_s_ranges_are_the_paper_s():
    # arXiv 2401.14110, eq. 2: largest 2**(2**E - 1 - b) * (2 - 2**-M), smallest 2**-b.
    for name, largest, smallest in (
        ("lba_m7e4_b10_paper", 63.75, 2.0**-10),
        ("lba_m7e4_b12_paper", 15.9375, 2.0**-12),
        ("lba_m4e3_b3_paper", 31.0, 2.0**-3),
        ("lba_m4e3_b5_paper", 7.75, 2.0**-5),
    ):
        assert (parse_format(name).max, parse_format(name).smallest_normal) == (largest, smallest)


# What the others declare


def test_lba_in_two_stages_differs_in_underflow_alone():
    schedule = recipes.schedule("lba")
    assert schedule.start == "trained"
    assert schedule.ends(60) == (50, 60)
    first, second = (phase.recipe.rules[0].forward.accumulator for phase in schedule.phases)
    assert second == recipes.lba12().rules[0].forward.accumulator
    x = np.ldexp(np.arange(1, 512, dtype=np.float32), -9)
    for one, other in ((first.product.fmt, second.product.fmt), (first.format, second.format)):
        assert one.max == other.max
        above, below = (Quantizer(fmt, Rounding.RTZ).quantize(x * other.smallest_normal * 4) for fmt in (one, other))
        assert np.array_equal(above[below != 0], below[below != 0])
        assert (above != 0).all() and (below == 0).any()
    assert replace(first, format=second.format, product=second.product) == second


def test_fine_grained_lba_is_lba8_with_the_gradient_of_its_chain():
    (rule,), (plain,) = recipes.lba_fine_grained().rules, recipes.lba8().rules
    assert (rule.forward.chain.rule, rule.forward.chain.event) == ("recursive", "diff")
    assert replace(rule.forward, chain=None) == plain.forward
    assert (rule.grad_input, rule.grad_weight) == (plain.grad_input, plain.grad_weight)


def test_luq_s_variants():
    (rule,), (smp,) = recipes.luq().rules, recipes.luq_smp().rules
    assert rule.grad_weight.samples == 1 and smp == replace(rule, grad_weight=replace(rule.grad_weight, samples=2))
    assert rule.grad_weight.gradient == LUQ(7) and rule.forward.weight == SAWB(4)
    (other,) = recipes.luq(levels=5, eta=0.1, sawb="703", keep="head").rules[1:]
    assert other.grad_input.gradient == LUQ(5, eta=0.1) and other.forward.activation == SAWB(4, coefficients="703")
    schedule = recipes.schedule("luq_fnt")
    assert [phase.learning_rate.shape for phase in schedule.phases] == ["cosine", "triangle"]
    assert schedule.ends(930) == (900, 930)
    (fnt,) = schedule.phases[1].recipe.rules
    assert (fnt.forward.weight, fnt.grad_input.weight) == (SAWB(4), SAWB(4))
    assert fnt.forward.activation is fnt.grad_input.gradient is fnt.grad_weight.gradient is None


def test_nvfp4_ends_in_gradients_of_high_precision():
    schedule = recipes.schedule("nvfp4_split")
    first, second = schedule.phases
    assert first.until.below == math.sqrt(3) and schedule.ends(1000) == (960, 1000)
    assert (second.learning_rate.shape, second.learning_rate.warm_up) == ("cosine", 40)
    (rule,) = second.recipe.rules
    assert rule.forward == first.recipe.rules[0].forward
    assert rule.grad_input == rule.grad_weight == Product(accumulator=SUMS)


def test_binary_nets_clip_their_weights_and_see_their_inputs_in_8_bits():
    for name in ("bnn", "qnn"):
        (phase,) = recipes.schedule(name).phases
        assert phase.clip_weights == 1.0
        options = recipes.options_for(name, net())
        recipe = recipes.get(name, **options)
        assert recipe.match("0", "Linear") == 0
        assert recipe.match("2", "Linear") == 1
        assert recipe.rules[0].forward.activation == LinearQuant(8, gradient="clipped")
    assert recipes.bnn().rules[1].forward.activation == Sign()
    assert recipes.qnn().rules[1].forward.activation == LinearQuant(2, gradient="hard_tanh")
    assert recipes.options_for("luq", net()) == {}
    norms = recipes.bnn(shift_batch_norm=True).rules[0]
    assert norms.norm == emul.Norm("shift")


def test_batch_norms_follow_their_recipes():
    model = nn.Sequential(nn.Linear(8, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))
    emul.swap_(model, recipes.int8_training())
    assert type(model[1]) is emul.nn.BatchNorm1d
    assert model[1].emulation.rule.norm == emul.Norm("range", kind="paper")


def test_kept_layers_stay_native():
    for name in PUBLISHED:
        if name not in ("fp8", "lba12", "lba8"):
            model = emul.swap_(net(), recipes.get(name, keep="2"))
            assert type(model[0]) is emul.nn.Linear and type(model[2]) is nn.Linear, name


# What runs


def net() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3))


def problem() -> tuple[torch.Tensor, torch.Tensor]:
    """Three classes of 16 points around their centers."""
    generator = torch.Generator().manual_seed(2)
    labels = torch.arange(48) % 3
    centers = torch.randn(3, 8, generator=generator)
    return (centers[labels] + 0.1 * torch.randn(48, 8, generator=generator)) / 4, labels


def normed() -> nn.Sequential:
    """A net for signs, which has norms and nothing that is nowhere negative."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Linear(16, 3), nn.BatchNorm1d(3))


#: What differs from the usual net and inputs: 8-bit sums lose small ones, signs have no size.
NETS = {"bnn": normed, "qnn": normed, "int8_training": normed}
SIZES = {"lba_fine_grained": 4.0}


def trained(name: str) -> tuple[list[float], dict[str, torch.Tensor]]:
    steps = 16 if name == "lba_fine_grained" else 12
    model, (x, labels) = NETS.get(name, net)(), problem()
    x = x * SIZES.get(name, 1.0)
    schedule = recipes.schedule(name, seed=11, **recipes.options_for(name, model))
    course = Course(model, schedule, steps)
    optimizer = torch.optim.SGD(model.parameters(), 0.5, momentum=0.9)
    losses = []
    for _ in range(steps):
        optimizer.param_groups[0]["lr"] = course.rate(0.5)
        loss = nn.functional.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        course.step(lambda: nn.functional.cross_entropy(model(x), labels))
        losses.append(loss.item())
    return losses, model.state_dict()


@pytest.mark.parametrize("name", [*(name for name in PUBLISHED if name != "aciq_ptq"), *PRESETS])
def test_training_reduces_the_loss_and_repeats_bit_for_bit(name):
    losses, weights = trained(name)
    assert losses[-1] < 0.8 * losses[0], losses
    again, others = trained(name)
    assert losses == again
    assert all(torch.equal(value, others[key]) for key, value in weights.items())
    assert name not in ("bnn", "qnn") or weights["0.weight"].abs().max() == 1  # clipped, and it was needed


@pytest.mark.parametrize("name", [*PUBLISHED, *PRESETS])
def test_every_declared_product_runs_and_none_besides(name, monkeypatch):
    """Each product of each layer goes through the accumulator of its rule; a native one is declared so."""
    model, (x, labels) = net(), problem()
    emul.swap_(model, recipes.get(name, **recipes.options_for(name, model)))
    ran = []
    real = emul.autograd.Draw.multiply

    def noted(self, accumulator, product, a, b, sample=0):
        ran.append((self.layer, product, accumulator))
        return real(self, accumulator, product, a, b, sample)

    monkeypatch.setattr(emul.autograd.Draw, "multiply", noted)
    nn.functional.cross_entropy(model(x.requires_grad_()), labels).backward()
    for layer in ("0", "2"):
        rule = model.get_submodule(layer).emulation.rule
        found = [(product, accumulator) for place, product, accumulator in ran if place == layer]
        if rule.forward.chain is not None:  # whose gradient replays the chain
            assert found == [("forward", rule.forward.accumulator)]
            continue
        wanted = [(product, getattr(rule, product).accumulator) for product in ROLES]
        wanted += [wanted[2]] * (rule.grad_weight.samples - 1)
        assert found == wanted


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


# Calibration


def test_calibration_takes_the_clips_from_one_pass():
    model, (x, _) = net(), problem()
    found = emul.calibration.clips(model, x.split(16), bits=4, distribution="laplace")
    first, second = found
    assert (first.layer, first.bits, first.distribution) == ("0", 8, "range")
    assert (first.low, first.high) == (float(x.min()), float(x.max()))
    hidden = torch.relu(model[0](x)).detach().numpy()
    spread = float(hidden[hidden > 0].astype(np.float64).mean())  # b of a Laplace that a ReLU was given
    wanted = min(clipping.aciq_alpha(4, "laplace", half_range=True) * spread, float(hidden.max()))
    assert (second.layer, second.low, second.bits) == ("2", 0.0, 4)
    assert second.high == pytest.approx(wanted, rel=1e-9)
    recipe = emul.calibration.aciq_ptq(model, x.split(16), seed=4, distribution="laplace")
    assert recipe.rules[1].forward.activation == Calibrated(4, 0.0, second.high)
    assert recipe.rules[1].forward.weight == Channels(4)
    assert recipe.rules[2] == recipes.aciq_ptq().rules[0]
    before = model(x)
    weights = model[2].weight.clone()
    emul.swap_(model, recipe).eval()
    near = model(x)
    assert 0 < (near - before).abs().max() < 0.5 * before.abs().max()
    assert torch.equal(emul.restore_(model)[2].weight, weights)
    assert model.training is False


def test_what_a_relu_was_given_is_told_by_its_positive_outputs():
    """63 ones and one 40 of 128: b is the mean of the positive, whatever the zeros; 40 is clipped."""
    model = nn.Sequential(nn.Linear(1, 1, False), nn.ReLU(), nn.Linear(1, 1))
    with torch.no_grad():
        model[0].weight.fill_(1.0)
    x = torch.cat([torch.ones(63), torch.tensor([40.0]), -torch.ones(64)])[:, None]
    for distribution, spread in (("laplace", 103 / 64), ("gauss", math.sqrt((63 + 1600) / 64))):
        _, clip = emul.calibration.clips(model, [x], bits=3, distribution=distribution)
        wanted = clipping.aciq_alpha(3, distribution, half_range=True) * spread
        assert wanted < 40
        assert (clip.low, clip.high) == (0.0, pytest.approx(wanted, rel=1e-12))


def test_calibration_refuses_what_it_cannot_see():
    with pytest.raises(ValueError, match="Flatten has no layer to calibrate"):
        emul.calibration.clips(nn.Flatten(), [torch.ones(2, 3)])
    with pytest.raises(ValueError, match="no batch reached a layer"):
        emul.calibration.clips(net(), [])


def test_channels_have_their_own_clips_and_bits_and_keep_mean_and_deviation():
    generator = np.random.default_rng(0)
    w = generator.laplace(size=(4, 64)).astype(np.float32) * np.array([[64], [1], [1], [0]], np.float32)
    stage = Channels(3)
    bits = stage.bits_of(w)
    low, high = clipping.clip_range(w, 3, axis=0)
    assert bits.tolist() == clipping.bit_allocation((high - low) / 2, 3).tolist()
    assert bits[0] > bits[1] and bits[3] == 0
    out = stage.apply(w, 1.0).values
    assert out.dtype == np.float32
    np.testing.assert_allclose(out.mean(1), w.mean(1), atol=1e-6)
    np.testing.assert_allclose(out.std(1), w.std(1), rtol=1e-5)
    for row, n in zip(Channels(3, correct=False).apply(w, 1.0).values, bits, strict=True):
        assert len(np.unique(row)) <= 2**n
    plain = Channels(3, allocate=False, correct=False)
    assert plain.bits_of(w).tolist() == [3] * 4
    low, high = clipping.clip_range(w[1], 3)
    codes, scale, zero = clipping.affine(w[1], 3, lo=low, hi=high)
    assert np.array_equal(plain.apply(w, 1.0).values[1], clipping.dequantize(codes, scale, zero, dtype=np.float32))
    for bad, sentence in ((lambda: Channels(9), "bits = 9"), (lambda: Channels(4, "cauchy"), "cauchy")):
        with pytest.raises(ValueError, match=sentence):
            bad()
    with pytest.raises(ValueError, match="give the lower end first"):
        Calibrated(4, 2.0, 1.0)
