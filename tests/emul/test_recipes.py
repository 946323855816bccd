"""The recipes by name: what they declare, what runs, that they learn, repeat and mean what their papers say."""

import math
import re
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import emul
from emul import Course, Product, recipes
from emul.operands import LUQ, SAWB, LinearQuant, Sign
from emul.recipe import ROLES
from numerics import (
    Accumulator,
    Overflow,
    Quantizer,
    Rounding,
    catalog,
    parse_format,
)
from tests.sampling import but_at_night

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
    assert len(recipes.bnn().rules) == 1
    assert recipes.bnn().rules[0].forward.activation == Sign()
    assert recipes.qnn().rules[0].forward.activation == LinearQuant(2, gradient="hard_tanh")
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


def trained(name: str, most: int | None = None) -> tuple[list[float], list[dict[str, torch.Tensor]]]:
    """The loss before and the weights after each step; after `most` steps it ends."""
    steps = 16 if name == "lba_fine_grained" else 12
    model, (x, labels) = NETS.get(name, net)(), problem()
    x = x * SIZES.get(name, 1.0)
    schedule = recipes.schedule(name, seed=11, **recipes.options_for(name, model))
    course = Course(model, schedule, steps)
    optimizer = torch.optim.SGD(model.parameters(), 0.5, momentum=0.9)
    losses, weights = [], []
    for _ in range(steps)[:most]:
        optimizer.param_groups[0]["lr"] = course.rate(0.5)
        loss = nn.functional.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        course.step(lambda: nn.functional.cross_entropy(model(x), labels))
        losses.append(loss.item())
        weights.append({key: value.clone() for key, value in model.state_dict().items()})
    return losses, weights


TRAINED = [*(name for name in PUBLISHED if name != "aciq_ptq"), *PRESETS]
LATE = ["qnn", "luq_smp", "mvue_1_2"]  # which are as bnn, luq and mvue_2_4 are


@pytest.mark.parametrize("repeated", [4, pytest.param(None, marks=pytest.mark.nightly)], ids=["some", "all"])
@pytest.mark.parametrize("name", but_at_night(TRAINED, LATE))
def test_training_reduces_the_loss_and_repeats_bit_for_bit(name, repeated):
    losses, weights = trained(name)
    assert losses[-1] < 0.8 * losses[0], losses
    again, others = trained(name, repeated)
    assert losses[:repeated] == again
    for one, other in zip(weights[:repeated], others, strict=True):
        assert all(torch.equal(value, other[key]) for key, value in one.items())
    assert name not in ("bnn", "qnn") or weights[-1]["0.weight"].abs().max() == 1  # clipped, and it was needed


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
