"""What an emulated layer keeps: stopping, copying, saving, checkpointing and accumulating give the bits of going through."""

import copy
import io
import itertools
import pickle
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import emul
from emul import Product, Recipe, Rule
from emul.operands import LUQ, MVUE, Scaled, TopN
from numerics import Accumulator, Quantizer, Rounding, catalog, luq

SUMS = Accumulator(catalog.BINARY16, Rounding.SR, random_bits=8)
E4M3 = Quantizer(catalog.E4M3)
E5M2 = Quantizer(catalog.E5M2)
DELAYED = Scaled(E4M3, history=3)

#: Words in operands and sums, an amax history, a hindsight maximum, a mask.
EVERYTHING = Rule(
    ".*",
    forward=Product(accumulator=SUMS, activation=DELAYED, weight=(TopN(), DELAYED)),
    grad_input=Product(gradient=(LUQ(eta=0.5), MVUE()), weight=E4M3),
    grad_weight=Product(gradient=LUQ(eta=0.25), samples=2, activation=Quantizer(catalog.E4M3, Rounding.SR)),
)
#: Torch's own sums, for what needs many steps.
QUICK = Rule(
    ".*",
    forward=Product(activation=Scaled(Quantizer(catalog.E4M3, Rounding.SR), history=2), weight=DELAYED),
    grad_input=EVERYTHING.grad_input,
    grad_weight=EVERYTHING.grad_weight,
)
#: Backward copies of the operands with histories of their own.
COPIES = Rule(
    ".*",
    forward=Product(activation=DELAYED, weight=DELAYED),
    grad_input=Product(
        gradient=Scaled(Quantizer(catalog.E5M2, Rounding.SR), history=2),
        weight=Scaled(E5M2, history=2, power_of_two=False),
    ),
    grad_weight=Product(gradient=Scaled(E5M2, history=2), activation=Scaled(E5M2, history=2)),
)


def net(rule: Rule = QUICK, seed: int = 4) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(1, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(18, 5), nn.ReLU(), nn.Linear(5, 3))
    return emul.swap_(model, Recipe((rule,), seed))


def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(4, 1, 4, 4, generator=generator) * (step % 3 + 1)  # maxima that go up and down
    return x, torch.randint(3, (4,), generator=generator)


def optimizer_of(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range, run=None) -> nn.Module:
    for step in steps:
        x, labels = batch(step)
        optimizer.zero_grad()
        nn.functional.cross_entropy((run or model)(x), labels).backward()
        optimizer.step()
    return model


def bits(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert list(first) == list(second)
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def test_stopping_saving_loading_and_going_on_gives_the_bits_of_going_through():
    for rule, steps in ((QUICK, 8), (EVERYTHING, 3)):
        through = net(rule)
        train(through, optimizer_of(through), range(steps))
        stopped = net(rule)
        optimizer = optimizer_of(stopped)
        train(stopped, optimizer, range(steps // 2))
        file = io.BytesIO()
        torch.save({"model": stopped.state_dict(), "optimizer": optimizer.state_dict()}, file)
        file.seek(0)
        saved = torch.load(file, weights_only=True)
        going = net(rule)
        again = optimizer_of(going)
        going.load_state_dict(saved["model"])
        again.load_state_dict(saved["optimizer"])
        train(going, again, range(steps // 2, steps))
        assert_same(bits(going), bits(through))
        # ... and what was saved mattered: anew, it gives others.
        anew = net(rule)
        anew.load_state_dict(emul.native_state_dict(saved["model"]))
        other = optimizer_of(anew)
        other.load_state_dict(saved["optimizer"])
        train(anew, other, range(steps // 2, steps))
        assert not torch.equal(anew[0].weight, through[0].weight)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_and_pickles_go_on_to_the_same_bits_and_alone(duplicate):
    model = net()
    train(model, optimizer_of(model), range(2))
    twin = duplicate(model)
    assert twin[3].emulation == model[3].emulation
    before = bits(model)
    train(twin, optimizer_of(twin), range(2, 4))
    assert_same(bits(model), before)
    train(model, optimizer_of(model), range(2, 4))
    assert_same(bits(model), bits(twin))


def test_the_state_dict_names_what_is_kept_and_nothing_where_steps_are_alike():
    layer = emul.swap_(nn.Sequential(nn.Linear(4, 3)), Recipe((QUICK,)))
    layer(torch.ones(2, 4)).sum().backward()
    assert [name for name in layer.state_dict() if "emulation" in name] == [
        "0.emulation_step",
        "0.emulation_forward_activation",
        "0.emulation_forward_weight",
        "0.emulation_grad_input_gradient",
        "0.emulation_grad_weight_gradient",
    ]
    entries = layer.state_dict()
    assert entries["0.emulation_step"].tolist() == 1
    assert entries["0.emulation_step"].dtype == torch.int64
    assert entries["0.emulation_forward_activation"].tolist() == [1.0]
    assert entries["0.emulation_grad_weight_gradient"].dtype == torch.float64
    plain = emul.swap_(nn.Sequential(nn.Linear(4, 3)), emul.recipes.lba12())
    assert list(plain.state_dict()) == ["0.weight", "0.bias"]
    words = Rule(".*", forward=Product(accumulator=SUMS))
    random = emul.swap_(nn.Sequential(nn.Linear(4, 3)), Recipe((words,)))
    assert list(random.state_dict()) == ["0.weight", "0.bias", "0.emulation_step"]


def test_native_and_swapped_states_load_into_each_other():
    model = net()
    train(model, optimizer_of(model), range(3))
    native = emul.restore_(net())
    with pytest.raises(RuntimeError, match=r"Unexpected key\(s\).*0.emulation_step"):
        native.load_state_dict(model.state_dict())
    for given in (model, model.state_dict()):
        native.load_state_dict(emul.native_state_dict(given))
    assert_same(bits(native), {k: v for k, v in bits(model).items() if "emulation" not in k})
    model.load_state_dict(native.state_dict())
    fresh = net()
    fresh.load_state_dict(native.state_dict())
    assert model[3].emulation == fresh[3].emulation
    assert (model[3].emulation.step, model[3].emulation.kept) == (0, {})
    train(model, optimizer_of(model), range(2))
    train(fresh, optimizer_of(fresh), range(2))
    assert_same(bits(model), bits(fresh))


def test_a_state_of_other_layers_leaves_a_layer_as_it_is():
    model = net()
    train(model, optimizer_of(model), range(2))
    model.load_state_dict({"0.weight": torch.zeros(2, 1, 2, 2)}, strict=False)
    assert model[0].emulation.step == 0
    assert model[3].emulation.step == 2


def test_restoring_takes_away_what_was_kept():
    model = net()
    train(model, optimizer_of(model), range(2))
    weights = emul.native_state_dict(model)
    emul.restore_(model)
    assert_same(bits(model), weights)


def test_no_conversion_of_the_module_rounds_what_is_kept():
    model = net()
    train(model, optimizer_of(model), range(2))
    kept = copy.deepcopy(model[3].emulation.kept)
    model.half().float()
    assert model[3].emulation.kept == kept
    assert any(float(np.float16(number)) != number for numbers in kept.values() for number in numbers)


@pytest.mark.parametrize(
    ("entry", "value", "sentence"),
    [
        ("step", torch.tensor(1.5), "0.emulation_step is 1.5: give a count of steps, an integer tensor of shape []"),
        ("step", torch.tensor(-1), "0.emulation_step is -1: give a count of steps"),
        ("step", 3, "0.emulation_step is a int: give the tensor that state_dict() saved"),
        (
            "forward_activation",
            torch.zeros(3, dtype=torch.float64),
            "of shape [3]: give torch.float64 of up to 2 numbers",
        ),
        ("forward_activation", torch.zeros(1), "0.emulation_forward_activation is torch.float32 of shape [1]"),
    ],
)
def test_a_wrong_entry_is_refused_and_nothing_taken(entry, value, sentence):
    model = net()
    train(model, optimizer_of(model), range(2))
    before = copy.deepcopy(model[0].emulation)
    state = model.state_dict()
    state[f"0.emulation_{entry}"] = value
    with pytest.raises(RuntimeError, match=re.escape(sentence)):
        model.load_state_dict(state)
    assert model[0].emulation == before


def test_an_entry_that_the_rule_does_not_have_is_unexpected():
    model = net(Rule(".*", forward=Product(accumulator=SUMS)))
    with pytest.raises(RuntimeError, match=r"Unexpected key\(s\).*0.emulation_forward_activation"):
        model.load_state_dict(net().state_dict())


def test_native_state_dict_refuses_what_is_no_state():
    with pytest.raises(TypeError, match=r"model is a list: give a torch.nn.Module, or its state_dict\(\)"):
        emul.native_state_dict([1])


class Checkpointed(nn.Module):
    """The same layers, in regions whose operands are made again in backward."""

    def __init__(self, model: nn.Sequential, use_reentrant: bool) -> None:
        super().__init__()
        self.model, self.use_reentrant = model, use_reentrant

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for part in (self.model[:3], self.model[3:]):
            x = checkpoint(part, x, use_reentrant=self.use_reentrant)
        return x


@pytest.mark.sampled
@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad=True:UserWarning")
@pytest.mark.parametrize("use_reentrant", [True, False])
@pytest.mark.parametrize("rule", [QUICK, EVERYTHING, COPIES], ids=["quick", "everything", "copies"])
def test_gradient_checkpointing_gives_the_bits_of_going_through(use_reentrant, rule):
    through, again = net(rule), net(rule)
    steps = range(3)
    # Reentrant checkpoints want an input that requires a gradient.
    train(through, optimizer_of(through), steps, lambda x: through(x.requires_grad_()))
    run = Checkpointed(again, use_reentrant)
    train(again, optimizer_of(again), steps, lambda x: run(x.requires_grad_()))
    assert_same(bits(again), bits(through))
    assert again[3].emulation == through[3].emulation
    assert again[3].emulation.step == len(steps)


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_checkpoints_of_several_batches_scale_each_as_its_first_forward_did(use_reentrant):
    def run(wrap) -> dict[str, torch.Tensor]:
        model = net(COPIES)
        outputs = [wrap(model[3:], torch.linspace(-1, 1, 36).reshape(2, 18) * 8.0**i) for i in range(3)]
        for i, output in reversed(list(enumerate(outputs))):
            (output.sum() * 16.0**i).backward()
        return {**bits(model), **{name: p.grad for name, p in model[3:].named_parameters()}}

    plain = run(lambda part, x: part(x.requires_grad_()))
    again = run(lambda part, x: checkpoint(part, x.requires_grad_(), use_reentrant=use_reentrant))
    assert_same(plain, again)


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_checkpoints_of_several_batches_before_their_backward(use_reentrant):
    """Of equal inputs, newest first as one backward pass goes: each makes again what its own forward drew."""

    def run(wrap) -> list[torch.Tensor]:
        layer = emul.swap_(nn.Linear(6, 4, bias=False), Recipe((Rule(".*", forward=Product(activation=SR)),), 1))
        with torch.no_grad():
            layer.weight.copy_(torch.linspace(-1, 1, 24).reshape(4, 6))
        x = torch.linspace(-2, 2, 12).reshape(2, 6).requires_grad_()
        outputs = [wrap(lambda x: layer(x).square(), x) for _ in range(3)]
        assert layer.emulation.step == 3
        found = []
        for output in reversed(outputs):
            layer.zero_grad()
            output.sum().backward()
            found += [output.detach(), layer.weight.grad.clone()]
        assert layer.emulation.step == 3
        return found

    plain = run(lambda function, x: function(x))
    again = run(lambda function, x: checkpoint(function, x, use_reentrant=use_reentrant))
    assert all(torch.equal(a, b) for a, b in zip(plain, again, strict=True))
    assert not torch.equal(plain[0], plain[2])


SR = Quantizer(catalog.E4M3, Rounding.SR)


def test_a_second_backward_pass_through_a_checkpoint_makes_the_same_again():
    layer = emul.swap_(nn.Linear(6, 4), Recipe((QUICK,), 1))
    x = torch.randn(3, 6, generator=torch.Generator().manual_seed(1)).requires_grad_()
    output = checkpoint(layer, x, use_reentrant=False)
    first = torch.autograd.grad(output.sum(), (x, layer.weight), retain_graph=True)
    kept = copy.deepcopy(layer.emulation)
    second = torch.autograd.grad(output.sum(), (x, layer.weight))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert layer.emulation == kept


def test_a_forward_inside_a_backward_pass_that_repeats_none_is_refused():
    layer = emul.swap_(nn.Linear(6, 4), Recipe((QUICK,), 1))
    calls = itertools.count()
    noisy = checkpoint(lambda x: layer(x + next(calls)), torch.ones(2, 6, requires_grad=True), use_reentrant=False)
    with pytest.raises(RuntimeError, match="runs inside a backward pass, on an input that it has not had before"):
        noisy.sum().backward()
    # Where no step differs from another there is nothing to repeat.
    plain = emul.swap_(nn.Linear(6, 4), emul.recipes.lba12())
    calls = itertools.count()
    checkpoint(
        lambda x: plain(x + next(calls)), torch.ones(2, 6, requires_grad=True), use_reentrant=False
    ).sum().backward()
    assert plain.emulation.step == 1


def test_gradients_of_several_batches_add_up_each_with_its_own_words():
    """Accumulated over calls: the sum of the gradients that the same calls give apart."""
    together, apart = net(), net()
    for step in range(3):
        x, labels = batch(step)
        nn.functional.cross_entropy(together(x), labels).backward()
    total: dict[str, torch.Tensor] = {}
    for step in range(3):
        x, labels = batch(step)
        apart.zero_grad()
        nn.functional.cross_entropy(apart(x), labels).backward()
        for name, parameter in apart.named_parameters():
            total[name] = total[name] + parameter.grad if name in total else parameter.grad.clone()
    assert together[3].emulation == apart[3].emulation
    assert together[3].emulation.step == 3
    for name, parameter in together.named_parameters():
        assert torch.equal(parameter.grad, total[name]), name


def test_hindsight_and_histories_are_the_ones_of_the_papers():
    layer = emul.swap_(nn.Linear(4, 2, bias=False), Recipe((QUICK,)))
    hindsight, maxima = None, []
    for step in range(4):
        x = torch.full((1, 4), float(step + 1))
        gradient = torch.tensor([[2.0**-step, 0.0]])
        layer(x.requires_grad_()).backward(gradient)
        observed = float(gradient.abs().max())
        # At first its own maximum; then (1 - eta) of the last one and eta of the hindsight before.
        hindsight = luq.hindsight_max(observed if hindsight is None else hindsight, observed, 0.5)
        maxima = [*maxima, step + 1.0][-2:]
        assert layer.emulation.kept["grad_input_gradient"] == (hindsight,)
        assert layer.emulation.kept["forward_activation"] == tuple(maxima)


def test_evaluation_scales_as_training_would_and_observes_nothing():
    layer = emul.swap_(nn.Linear(4, 2, bias=False), Recipe((Rule(".*", forward=Product(activation=DELAYED)),)))
    with torch.no_grad():
        layer.weight.fill_(1.0)
    layer(torch.full((1, 4), 100.0))
    layer.eval()
    before = copy.deepcopy(layer.emulation)
    x = torch.full((1, 4), 1000.0)
    # Scaled by 4, as the 100 before wanted it, 1000 is clipped at 448 / 4.
    assert layer(x).tolist() == [[448.0, 448.0]]
    assert layer.emulation == before
    layer.train()
    assert layer(x).tolist() == [[448.0, 448.0]]
    assert layer(x).tolist() != [[448.0, 448.0]]


def test_a_second_backward_pass_scales_as_the_first_and_observes_once():
    layer = emul.swap_(nn.Linear(4, 2), Recipe((QUICK,)))
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    layer(x).sum().backward()
    output = layer(x)
    first = torch.autograd.grad(output, x, torch.ones(3, 2) * 8, retain_graph=True)
    kept = copy.deepcopy(layer.emulation)
    second = torch.autograd.grad(output, x, torch.ones(3, 2) * 8)
    assert torch.equal(first[0], second[0])
    assert layer.emulation == kept


def test_a_refused_call_observes_nothing():
    layer = emul.swap_(nn.Linear(4, 2), Recipe((EVERYTHING,)))
    with pytest.raises(ValueError, match="finite"):
        layer(torch.full((1, 4), float("nan")))
    assert (layer.emulation.step, layer.emulation.kept) == (0, {})


def test_a_stage_that_remembers_outside_a_layer_is_refused():
    rule = Rule(".*", forward=Product(weight=DELAYED))
    with pytest.raises(ValueError, match="as weight of forward remembers earlier steps, and 'layer' is no layer that"):
        emul.autograd.layer_product(
            torch.ones(2, 3), torch.ones(2, 3), emul.geometry.LinearGeometry(), rule, emul.autograd.Draw(0, "layer", 0)
        )
