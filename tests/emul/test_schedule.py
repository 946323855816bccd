"""Schedules and what follows them: lengths, rates, recipes that change in place, conditions, stopping and going on."""

import copy
import io
import math
import re

import numpy as np
import pytest
import torch
from torch import nn

import emul
import emul.course
from emul import Course, Product, Recipe, Rule, recipes
from emul.operands import Scaled
from emul.schedule import GradientToNoise, LearningRate, Phase, Schedule, single
from numerics import Accumulator, Quantizer, Rounding, catalog, theory
from numerics.scaling import gradient_to_noise, high_precision_needed

SR = Quantizer(catalog.E5M2, Rounding.SR)
E4M3 = Quantizer(catalog.E4M3)
COARSE = Quantizer(catalog.E2M1, Rounding.SR)


def recipe(name: str, seed: int = 3, **products: Product) -> Recipe:
    return Recipe((Rule(".*", **products),), seed, name)


A = recipe(
    "a",
    forward=Product(activation=Scaled(E4M3, history=4), weight=E4M3),
    grad_weight=Product(gradient=SR, activation=E4M3),
)
B = recipe("b", forward=Product(activation=Scaled(E4M3, history=2)), grad_weight=Product(gradient=SR))
NARROW = Product(accumulator=Accumulator(catalog.BFLOAT16))
LINEAR = recipe("linear", forward=Product(weight=E4M3))


def net() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Dropout(0.25), nn.Linear(6, 3))


def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(step)
    return torch.randn(8, 4, generator=generator), torch.randint(3, (8,), generator=generator)


def walk(model: nn.Module, course: Course, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        x, labels = batch(step)
        torch.manual_seed(step)
        for group in optimizer.param_groups:
            group["lr"] = course.rate(0.1)

        def loss(x=x, labels=labels) -> torch.Tensor:
            return nn.functional.cross_entropy(model(x), labels)

        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        course.step(loss)


def start(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)


# Lengths and rates


def test_steps_are_divided_by_shares_and_every_phase_has_one() -> None:
    def ends(total: int, *phases: Phase) -> tuple[int, ...]:
        return Schedule(phases).ends(total)

    five, one, fixed = Phase(recipe=A, share=5), Phase(recipe=A), Phase(recipe=A, steps=7)
    assert ends(12, five, one) == (10, 12)
    assert ends(600, five, one) == (500, 600)
    assert ends(2, five, one) == (1, 2)
    assert ends(3, one, one) == (2, 3)  # a half goes up
    assert ends(17, five, fixed, one) == (8, 15, 17)
    assert ends(7, fixed) == (7,)
    assert ends(1000, Phase(recipe=A, share=0.96), Phase(recipe=A, share=0.04)) == (960, 1000)
    for total in range(3, 60):
        found = ends(total, Phase(recipe=A, share=1000), one, Phase(recipe=A, share=0.001))
        assert found[-1] == total and 0 < found[0] < found[1] < found[2]


@pytest.mark.parametrize(
    ("total", "phases", "sentence"),
    [
        (
            1,
            (Phase(recipe=A), Phase(recipe=B)),
            "1 steps is too short for the 2 phases of the schedule 'x': give at least 2",
        ),
        (9, (Phase(recipe=A, steps=9), Phase(recipe=B)), "give at least 10"),
        (9, (Phase(recipe=A, steps=5),), "have 5 steps and the training 9: train as many, or give one a share"),
        (4, (Phase(recipe=A, steps=5),), "too short"),
        (12.5, (Phase(recipe=A),), "steps = 12.5: give the number of steps of the training, an integer"),
        ("9", (Phase(recipe=A),), "steps = '9': give the number of steps"),
    ],
)
def test_lengths_that_do_not_fit_are_refused(total, phases, sentence) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        Schedule(phases, name="x").ends(total)


def test_a_triangle_climbs_and_falls_with_one_slope() -> None:
    """The prose of arXiv 2112.10769: from the last rate to the base rate over T/2, then down with the same slope."""
    rate = LearningRate("triangle", low=0.25)
    found = [rate.at(step, 8, 2.0) for step in range(8)]
    slopes = np.diff(found)
    np.testing.assert_allclose(slopes, [0.375] * 3 + [0] + [-0.375] * 3)
    assert found[0] == pytest.approx(2.0 * 0.25 + 0.375 / 2)
    assert max(found) < 2.0
    odd = [LearningRate("triangle").at(step, 5, 1.0) for step in range(5)]
    assert odd == pytest.approx([0.2, 0.6, 1.0, 0.6, 0.2])


def test_cosine_and_constant_with_their_warm_up() -> None:
    cosine = LearningRate(warm_up=2, low=0.1)
    found = [cosine.at(step, 10, 1.0) for step in range(10)]
    assert found[:3] == [0.5, 1.0, 1.0]
    assert found[6] == pytest.approx(0.1 + 0.9 * 0.5)
    assert LearningRate(warm_up=40).at(2, 6, 3.0) == 3.0  # at most half of the phase
    assert [LearningRate("constant", 0.5, warm_up=1).at(step, 4, 2.0) for step in range(4)] == [1.0] * 4


@pytest.mark.parametrize(
    ("make", "error", "sentence"),
    [
        (lambda: LearningRate("step"), ValueError, "shape = 'step': give cosine, triangle, constant"),
        (lambda: LearningRate(low=2.0), ValueError, "low = 2.0: give 0 <= low <= factor"),
        (lambda: LearningRate(warm_up=-1), ValueError, "warm_up = -1"),
        (lambda: LearningRate("triangle", warm_up=3), ValueError, "a triangle, which climbs by itself"),
        (lambda: GradientToNoise(0.0), ValueError, "below = 0.0"),
        (lambda: GradientToNoise(every=0), ValueError, "every = 0"),
        (lambda: Phase(recipe="a"), TypeError, "recipe = 'a': give an emul.Recipe"),
        (lambda: Phase(recipe=A, steps=1, share=1), ValueError, "give one of the two"),
        (lambda: Phase(recipe=A, steps=0), ValueError, "steps = 0"),
        (lambda: Phase(recipe=A, share=-1), ValueError, "share = -1"),
        (lambda: Phase(recipe=A, clip_weights=math.inf), ValueError, "clip_weights = inf"),
        (lambda: Phase(recipe=A, until=3), TypeError, "until = 3: give an emul.schedule.GradientToNoise"),
        (lambda: Phase(recipe=None, until=GradientToNoise()), ValueError, "which adds no noise: leave it out"),
        (lambda: Schedule((Phase(recipe=None),)), ValueError, "without a recipe emulates nothing"),
        (lambda: Schedule(Phase(recipe=A)), TypeError, "give a tuple of emul.schedule.Phase"),
        (lambda: Schedule((Phase(recipe=A),), "middle"), ValueError, "start = 'middle': give 'scratch' or 'trained'"),
        (lambda: Schedule((Phase(recipe=A, until=GradientToNoise()),)), ValueError, "no phase follows it"),
        (
            lambda: Course(net(), A, 3).load_state_dict({}),
            ValueError,
            "the state has no entries 'step' and 'phases': give",
        ),
        (lambda: Course(net(), "luq", 3), TypeError, "schedule = 'luq': give an emul.schedule.Schedule"),
    ],
)
def test_refusals(make, error, sentence) -> None:
    with pytest.raises(error, match=re.escape(sentence)):
        make()


# Recipes in place


def test_switching_keeps_parameters_optimizer_steps_and_what_stages_remember() -> None:
    model = emul.swap_(net(), A)
    optimizer = start(model)
    parameters = list(model.parameters())
    for step in range(3):
        x, labels = batch(step)
        nn.functional.cross_entropy(model(x), labels).backward()
        optimizer.step()
    momentum = {key: value["momentum_buffer"].clone() for key, value in optimizer.state.items()}
    weights = emul.native_state_dict(copy.deepcopy(model))
    history = model[3].emulation.kept["forward_activation"]
    assert len(history) == 3
    emul.switch_(model, B)
    assert all(one is other for one, other in zip(model.parameters(), parameters, strict=True))
    assert all(torch.equal(optimizer.state[key]["momentum_buffer"], value) for key, value in momentum.items())
    assert all(torch.equal(value, weights[name]) for name, value in emul.native_state_dict(model).items())
    for layer in (model[0], model[3]):
        assert (layer.emulation.recipe, layer.emulation.step) == (B, 3)
    assert model[3].emulation.kept == {"forward_activation": history[-2:]}  # as much as the new rule remembers
    emul.switch_(model, LINEAR)
    assert (model[3].emulation.step, model[3].emulation.kept) == (3, {})
    emul.switch_(model, None)
    assert type(model[0]) is nn.Linear
    emul.switch_(model, A)
    assert model[0].emulation.step == 0  # a native layer keeps nothing


def test_a_switch_that_is_refused_leaves_the_model_as_it_was() -> None:
    model = emul.swap_(net(), A)
    model(batch(0)[0])
    before = [(type(module), vars(module).get("emulation")) for module in model.modules()]
    nothing = Recipe((Rule("nowhere", forward=Product(weight=E4M3)),))
    with pytest.raises(ValueError, match="its pattern 'nowhere' matches no name of a module"):
        emul.switch_(model, nothing)
    after = [(type(module), vars(module).get("emulation")) for module in model.modules()]
    assert all(kind is now and kept is here for (kind, kept), (now, here) in zip(before, after, strict=True))


# Courses


def test_a_course_is_its_phases_one_after_the_other() -> None:
    """The same bits as training with one recipe, switching by hand, and going on."""
    schedule = Schedule((Phase(recipe=A, share=2), Phase(recipe=B, steps=3, learning_rate=LearningRate("triangle"))))
    model = net()
    course = Course(model, schedule, 7)
    optimizer = start(model)
    walk(model, course, optimizer, range(7))
    assert [(record.name, record.first, record.steps, record.ended) for record in course.phases] == [
        ("a", 0, 4, "steps"),
        ("b", 4, 3, "steps"),
    ]
    hand = emul.swap_(net(), A)
    by_hand = start(hand)
    for step in range(7):
        if step == 4:
            emul.switch_(hand, B)
        x, labels = batch(step)
        torch.manual_seed(step)
        for group in by_hand.param_groups:
            group["lr"] = 0.1 if step < 4 else 0.1 * (1 - abs(step - 4 + 0.5 - 1.5) / 1.5)
        by_hand.zero_grad()
        nn.functional.cross_entropy(hand(x), labels).backward()
        by_hand.step()
    for name, value in model.state_dict().items():
        assert torch.equal(value, hand.state_dict()[name]), name
    with pytest.raises(ValueError, match="step 8 of a course of 7"):
        course.step()


def test_weights_of_emulated_layers_are_clipped_and_biases_are_not() -> None:
    model = net()
    with torch.no_grad():
        model[0].weight.fill_(3.0)
        model[0].bias.fill_(3.0)
    course = Course(model, Schedule((Phase(recipe=LINEAR, clip_weights=1.0),)), 1)
    course.step()
    assert model[0].weight.abs().max() == 1
    assert model[0].bias.abs().max() == 3


class Sub(nn.Linear):
    """A subclass, whose calls are emulated and which is no layer of emul."""


class Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.full((6, 6), 3.0))
        self.shift = nn.Parameter(torch.full((6,), 3.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.w + self.shift


def test_weights_whose_calls_are_emulated_are_clipped_and_gains_of_norms_are_not() -> None:
    model = nn.Sequential(nn.Linear(6, 6), Sub(6, 6), Own(), nn.Unflatten(1, (2, 3)), nn.LayerNorm((2, 3)))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(3.0)
    rules = Rule(".*", types=("LayerNorm",), forward=NARROW), Rule(".*", forward=Product(weight=E4M3))
    course = Course(model, Schedule((Phase(recipe=Recipe(rules), clip_weights=1.0),)), 1)
    model(torch.ones(2, 6))
    course.step()
    assert isinstance(model[4], emul.nn.LayerNorm)
    found = {name: float(parameter.detach().abs().max()) for name, parameter in model.named_parameters()}
    weights = {"0.weight", "1.weight", "2.w"}
    assert found == {name: 1.0 if name in weights else 3.0 for name in found}


NOISY = recipe("noisy", grad_input=Product(gradient=COARSE), grad_weight=Product(gradient=COARSE))
QUIET = recipe("quiet", grad_input=Product(weight=Quantizer(catalog.BINARY32)))


def noisy_course(model: nn.Module, below: float, steps: int = 6) -> Course:
    first = Phase(recipe=NOISY, share=5, until=GradientToNoise(below, every=2))
    return Course(model, Schedule((first, Phase(recipe=QUIET))), steps)


def test_a_condition_is_measured_at_its_steps_and_recorded() -> None:
    model = net()
    course = noisy_course(model, below=1e-6)
    walk(model, course, start(model), range(6))
    assert [record.ended for record in course.phases] == ["steps", "steps"]
    found = course.phases[0].measured
    assert [one.step for one in found] == [2, 4]
    for one in found:
        assert one.dimension == 4 * 6 + 6 * 3
        assert one.ratio == gradient_to_noise(one.gradient_norm, one.noise, one.dimension)
        assert one.noise > 0
    early = net()
    other = noisy_course(early, below=1e6)
    walk(early, other, start(early), range(6))
    assert [(record.steps, record.ended) for record in other.phases] == [(2, "gradient to noise"), (4, "steps")]
    assert other.phases[0].measured[0] == found[0]


def test_the_default_condition_is_the_paper_s_threshold() -> None:
    for norm, noise in ((3.0, 0.24), (3.0, 0.26)):
        needed = noise > theory.gradient_noise_threshold(norm, 48)  # 0.25
        assert needed == high_precision_needed(norm, noise, 48)
        assert needed == (gradient_to_noise(norm, noise, 48) < GradientToNoise().below)


def test_the_measured_noise_is_that_of_the_two_gradients() -> None:
    model = net().eval()
    course = noisy_course(model, below=1e-6)
    course.step_number, course.phases = 1, (emul.course.PhaseRecord("noisy", 0, 1),)
    model.train()
    model[2].p = 0.0
    x, labels = batch(1)
    twins = [emul.swap_(net(), one) for one in (NOISY, QUIET)]
    rows = []
    for twin in twins:
        twin[2].p = 0.0
        nn.functional.cross_entropy(twin(x), labels).backward()
        rows.append(np.concatenate([twin[i].weight.grad.numpy().ravel() for i in (0, 3)]).astype(np.float64))
    course.step(lambda: nn.functional.cross_entropy(model(x), labels))
    (found,) = course.phases[0].measured
    assert found.noise == pytest.approx(math.sqrt(np.mean((rows[0] - rows[1]) ** 2)), rel=1e-12)
    assert found.gradient_norm == pytest.approx(float(np.linalg.norm(rows[1])), rel=1e-12)


class Calls(nn.Module):
    """Multiplies by parameters of its own, by one in a list, by one that is parametrized, and by that of a layer twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Parameter(torch.ones(4, 6) / 8), nn.ParameterList([nn.Parameter(torch.ones(6, 3))])
        self.normed = nn.utils.parametrizations.weight_norm(nn.Linear(6, 6))
        self.layers = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6))
        self.layers[1].weight = self.layers[0].weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(self.normed(x @ self.first)) @ self.last[0]


def test_parameters_of_modules_whose_calls_are_emulated_are_measured_too_and_each_once() -> None:
    course = noisy_course(model := Calls(), below=1e-6, steps=3)
    walk(model, course, torch.optim.SGD(model.parameters(), 0.0), range(2))
    (found,) = course.phases[0].measured
    assert found.dimension == 4 * 6 + 6 * 3 + (6 + 6 * 6) + 6 * 6  # weight norm has lengths and directions
    frozen = net()
    for layer in (frozen[0], frozen[3]):
        layer.weight.requires_grad_(False)
    course = noisy_course(frozen, below=1e-6)
    with pytest.raises(ValueError, match=r"the phase 'noisy' ends by .*, and the model has no weight to measure it by"):
        walk(frozen, course, start(frozen), range(2))


def test_measuring_leaves_everything_as_it_was() -> None:
    """Steps, histories, gradients, running statistics and torch's generator: the course without a look has the same bits."""

    def built() -> nn.Sequential:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 3))

    states = []
    for every in (1, 100):
        model = built()
        until = GradientToNoise(1e-9, every)
        course = Course(model, Schedule((Phase(recipe=A, share=9, until=until), Phase(recipe=B))), 4)
        optimizer = start(model)
        torch.manual_seed(1)
        for step in range(3):
            x, labels = batch(step)

            def loss(x=x, labels=labels, model=model) -> torch.Tensor:
                return nn.functional.cross_entropy(model(x), labels)

            optimizer.zero_grad()
            loss().backward()
            optimizer.step()
            gradients = [parameter.grad.clone() for parameter in model.parameters()]
            course.step(loss)
            assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), gradients, strict=True))
        states.append((model.state_dict(), torch.random.get_rng_state()))
        assert len(course.phases[0].measured) == (3 if every == 1 else 0)
    assert list(states[0][0]) == list(states[1][0])
    assert all(torch.equal(value, states[1][0][name]) for name, value in states[0][0].items())
    assert torch.equal(states[0][1], states[1][1])


class Mixed(nn.Module):
    """A layer, and a product that it calls for by a function."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.fc, self.weight = nn.Linear(4, 4), nn.Parameter(torch.randn(4, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x) @ self.weight


def options(model: nn.Module) -> tuple[str, int | None]:
    watch = emul.course.watch_of(model)
    return watch.functional, watch.replica


@pytest.mark.parametrize("native_first", [False, True])
def test_options_outlast_phases_in_torchs_own_arithmetic(native_first) -> None:
    kept = Recipe((Rule("", keep=True), *A.rules), 3, "kept")
    phases = [Phase(recipe=kept, steps=2), Phase(recipe=None, steps=2), Phase(recipe=kept, steps=2)]
    schedule = Schedule(tuple(phases[native_first:]))
    steps = schedule.ends(6 - 2 * native_first)[-1]
    given, before = Mixed(), emul.swap_(Mixed(), kept, functional="refuse", replica=3)
    courses = Course(given, schedule, steps, functional="refuse", replica=3), Course(before, schedule, steps)
    for model, course in zip((given, before), courses, strict=True):
        seen = []
        for step in range(steps):
            seen.append(None if course.phase.recipe is None else options(model))
            walk(model, course, torch.optim.SGD(model.parameters(), 0.1), range(step, step + 1))
        assert seen == [("refuse", 3), ("refuse", 3), None, None, ("refuse", 3), ("refuse", 3)][2 * native_first :]
        resumed = Mixed()
        again = Course(resumed, schedule, steps, functional="report", replica=0)
        again.load_state_dict(course.state_dict())
        assert options(resumed) == ("report", 0)
    calls_nothing = Schedule((Phase(recipe=None, steps=1), Phase(recipe=A, steps=1)))
    course = Course(model := Mixed(), calls_nothing, 2, functional="report")
    walk(model, course, torch.optim.SGD(model.parameters(), 0.1), range(2))
    assert "functional='report' emulates layers alone" in str(emul.swap_report(model))


def test_conditions_are_measured_with_the_options_of_the_course() -> None:
    until = GradientToNoise(below=1e-9, every=1)
    schedule = Schedule((Phase(recipe=A, steps=2, until=until), Phase(recipe=B, steps=1)))
    measured = []
    for functional in ("emulate", "report"):
        course = Course(model := Mixed(), schedule, 3, functional=functional)
        walk(model, course, torch.optim.SGD(model.parameters(), 0.0), range(1))
        measured.append(course.phases[0].measured[0])
    assert measured[0] != measured[1]


def test_options_are_refused_before_the_first_phase() -> None:
    schedule = Schedule((Phase(recipe=None, steps=1), Phase(recipe=A, steps=1)))
    with pytest.raises(ValueError, match="functional = 'maybe': give 'emulate', 'report', 'refuse'"):
        Course(net(), schedule, 2, functional="maybe")
    with pytest.raises(ValueError, match="replica = -1: give the number of this process"):
        Course(net(), schedule, 2, replica=-1)


def test_a_condition_without_the_loss_is_refused() -> None:
    course = noisy_course(net(), below=1.0)
    with pytest.raises(ValueError, match="give step\\(\\) the loss of the batch as a function"):
        course.step()


def test_stopping_and_going_on_gives_the_bits_of_going_through() -> None:
    def made() -> tuple[nn.Module, Course, torch.optim.Optimizer]:
        model = net()
        first = Phase(recipe=A, share=1, until=GradientToNoise(1e9, every=3))  # ends at its first look
        return model, Course(model, Schedule((first, Phase(recipe=B))), 8), start(model)

    through, course, optimizer = made()
    walk(through, course, optimizer, range(8))
    assert course.phases[0].ended == "gradient to noise"
    for stop in (2, 5):
        model, first, optimizer = made()
        walk(model, first, optimizer, range(stop))
        file = io.BytesIO()
        torch.save([model.state_dict(), first.state_dict(), optimizer.state_dict()], file)
        file.seek(0)
        saved = torch.load(file, weights_only=True)
        model, again, optimizer = made()
        again.load_state_dict(saved[1])
        model.load_state_dict(saved[0])
        optimizer.load_state_dict(saved[2])
        walk(model, again, optimizer, range(stop, 8))
        assert again.phases == course.phases
        assert all(torch.equal(value, through.state_dict()[name]) for name, value in model.state_dict().items())
    with pytest.raises(ValueError, match=r"this course has 3 steps in \['linear'\]"):
        Course(net(), LINEAR, 3).load_state_dict(saved[1])


def test_seeds_of_a_schedule_are_those_of_its_recipes() -> None:
    schedule = recipes.schedule("nvfp4_split", seed=5)
    assert [phase.recipe.seed for phase in schedule.phases] == [5, 5]
    assert schedule.with_seed(9) == recipes.schedule("nvfp4_split", seed=9)
    assert single(A).with_seed(4).phases[0].recipe.seed == 4
