"""Optimizers: every step is numpy's to the bit, and a run that stops, is loaded and goes on is the run that did not."""

import copy
import io
import pickle

import numpy as np
import pytest
import torch

from emul import optim
from emul.draws import stream
from numerics import Overflow, Quantizer, Rounding, binary, catalog, normalization, scaling

RANDOM = scaling.AdamStorage(
    scaling.Storage(Quantizer(catalog.E4M3), flush=True),
    scaling.Storage(Quantizer(catalog.E5M2, Rounding.SR)),
    scaling.Storage(Quantizer(catalog.BINARY16, Rounding.SR)),
)
SR = Quantizer(catalog.BFLOAT16, Rounding.SR)


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def net() -> torch.nn.Sequential:
    model = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.Linear(4, 3, bias=False))
    with torch.no_grad():
        for i, parameter in enumerate(model.parameters()):
            parameter.copy_(draw(*parameter.shape, seed=i))
    return model


def gradients(model: torch.nn.Module, step: int) -> list[np.ndarray]:
    """The same for every run: those of a fixed batch a step, pulled towards the weights' own values."""
    for i, parameter in enumerate(model.parameters()):
        parameter.grad = draw(*parameter.shape, seed=100 * step + i) + parameter.detach() / 4
    return [parameter.grad.numpy().copy() for parameter in model.parameters()]


def values(model: torch.nn.Module) -> list[np.ndarray]:
    return [parameter.detach().numpy().copy() for parameter in model.parameters()]


def assert_equal(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other, strict=True)


@pytest.mark.parametrize("storage", [scaling.FP8_ADAM, RANDOM], ids=["nearest", "random"])
def test_fp8_adam_is_numpy_s_to_the_bit(storage):
    model = net()
    optimizer = optim.FP8Adam(model.parameters(), 0.01, weight_decay=0.1, storage=storage, seed=5)
    keys = [{"seed": 5, "stream": stream("optimizer", str(i), "fp8_adam")} for i in range(3)]
    states = [scaling.adam_start(x, storage, **key) for x, key in zip(values(model), keys, strict=True)]
    for step in range(1, 4):
        given = gradients(model, step)
        optimizer.step()
        states = [
            scaling.fp8_adam(g, state, rate=0.01, weight_decay=0.1, storage=storage, offset=step << 40, **key)
            for g, state, key in zip(given, states, keys, strict=True)
        ]
        assert_equal(values(model), [scaling.unscale(state.master) for state in states])


@pytest.mark.parametrize("store", ["exact", "ap2"])
def test_shift_adamax_is_numpy_s_to_the_bit(store):
    model = net()
    optimizer = optim.ShiftAdaMax(model.parameters(), 0.1, (0.9, 0.999), 2.0**-27, store=store, clip=True)
    expected = values(model)
    states = [binary.AdaMaxState.zeros(x) for x in expected]
    for step in range(1, 4):
        given = gradients(model, step)
        optimizer.step()
        moved = [
            binary.shift_adamax(x, g, state, rate=0.1, beta1=0.9, beta2=0.999, epsilon=2.0**-27, store=store)
            for x, g, state in zip(expected, given, states, strict=True)
        ]
        expected, states = [binary.clip_weights(x) for x, _ in moved], [state for _, state in moved]
        assert_equal(values(model), expected)
    assert max(abs(x).max() for x in expected) == 1


def followed(model, optimizer, step):
    """The weights after the step of the optimizer inside alone; then the whole step is done."""
    twin = copy.deepcopy(model)
    other = type(optimizer.optimizer)(twin.parameters(), 0.01)
    other.load_state_dict(copy.deepcopy(optimizer.optimizer.state_dict()))
    gradients(twin, step)
    other.step()
    gradients(model, step)
    optimizer.step()
    return values(twin)


def test_rounded_weights_are_numpy_s_to_the_bit():
    model = net()

    def rounded(arrays, step):
        keys = [stream("optimizer", str(i), "weights") for i in range(3)]
        return [SR.quantize(x, seed=5, stream=key, offset=step << 40) for x, key in zip(arrays, keys, strict=True)]

    expected = rounded(values(model), 0)
    optimizer = optim.RoundedWeights(torch.optim.SGD(model.parameters(), 0.01, momentum=0.9), SR, seed=5)
    assert_equal(values(model), expected)
    for step in range(1, 4):
        expected = rounded(followed(model, optimizer, step), step)
        assert_equal(values(model), expected)


def test_stochastic_rounding_moves_what_nearest_leaves():
    moved = []
    for quantizer in (Quantizer(catalog.BFLOAT16), SR):
        weights = torch.nn.Parameter(torch.ones(512))
        optimizer = optim.RoundedWeights(torch.optim.SGD([weights], 2.0**-12), quantizer)
        for _ in range(32):
            weights.grad = -torch.ones(512)
            optimizer.step()
        moved.append(float(weights.detach().mean()) - 1)
    assert moved[0] == 0
    assert abs(moved[1] - 2.0**-7) < 2.0**-10  # 32 steps of 2**-12, in ulps of 2**-7: 5 standard deviations


@pytest.mark.parametrize("rule", ["total", "mean"])
def test_bounded_norms_are_numpy_s_to_the_bit(rule):
    model = net()
    start = values(model)
    rho = [normalization.initial_rho(x, rule=rule) if x.ndim > 1 else None for x in start]
    optimizer = optim.BoundedNorm(torch.optim.SGD(model.parameters(), 0.1), rule=rule)

    def bounded(arrays):
        return [x if r is None else normalization.bounded_weight_norm(x, r) for x, r in zip(arrays, rho, strict=True)]

    expected = bounded(start)
    assert_equal(values(model), expected)
    for step in range(1, 3):
        expected = bounded(followed(model, optimizer, step))
        assert_equal(values(model), expected)
        if rule == "mean":
            np.testing.assert_allclose(np.linalg.norm(values(model)[0], axis=1), rho[0], rtol=1e-6)


def test_norms_are_bounded_beside_parameters_that_have_no_such_axis():
    """A bias has no axis 1, and a temperature none at all."""
    model = net()
    scalar = torch.nn.Parameter(torch.tensor(2.0))
    optimizer = optim.BoundedNorm(torch.optim.SGD([*model.parameters(), scalar], 0.1), axis=1)
    for parameter, rho in zip(model.parameters(), optimizer.rho, strict=False):
        assert (rho is None) == (parameter.dim() < 2)
        if rho is not None:
            np.testing.assert_allclose(parameter.detach().norm(dim=0).numpy(), rho, rtol=1e-6)
    assert optimizer.rho[-1] is None and scalar.item() == 2


def test_a_group_that_is_added_leaves_the_others_weights_as_they_are():
    """Rounded anew, those of a format whose scales are of the whole tensor move: 16 such tensors of 40."""
    quantizer = Quantizer(catalog.NVFP4, Rounding.SR)
    for seed in range(6):
        generator = torch.Generator().manual_seed(seed)
        first, second = (torch.nn.Parameter(torch.randn(8, 32, generator=generator)) for _ in range(2))
        optimizer = optim.RoundedWeights(optim.BoundedNorm(torch.optim.SGD([first], 0.1)), quantizer, seed=seed)
        before, given = first.detach().clone(), second.detach().clone()
        optimizer.add_param_group({"params": [second]})
        assert torch.equal(first, before)
        assert not torch.equal(second, given)


def test_weights_without_a_gradient_stay_as_they_are():
    quantizer = Quantizer(catalog.NVFP4, Rounding.SR)
    frozen = torch.nn.Parameter(torch.randn(8, 32, generator=torch.Generator().manual_seed(1)))
    moved = torch.nn.Parameter(torch.ones(4, 32))
    optimizer = optim.RoundedWeights(optim.BoundedNorm(torch.optim.SGD([frozen, moved], 0.1)), quantizer, seed=3)
    before, start = frozen.detach().clone(), moved.detach().clone()
    for step in range(6):
        moved.grad = torch.linspace(-1, step, 128).reshape(4, 32)
        optimizer.step()
    assert torch.equal(frozen, before)
    assert not torch.equal(moved, start)


BUILDERS = {
    "FP8Adam": lambda p: optim.FP8Adam(p, 0.01, storage=RANDOM, seed=2),
    "ShiftAdaMax": lambda p: optim.ShiftAdaMax(p, 0.1, store="ap2"),
    "RoundedWeights": lambda p: optim.RoundedWeights(torch.optim.AdamW(p, 0.01), SR, seed=2),
    "BoundedNorm": lambda p: optim.BoundedNorm(torch.optim.SGD(p, 0.1, momentum=0.9)),
    "both": lambda p: optim.RoundedWeights(optim.BoundedNorm(torch.optim.SGD(p, 0.1, momentum=0.9)), SR, seed=2),
}


@pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)
def test_a_run_that_stops_and_is_loaded_goes_on_with_the_same_bits(build):
    def run(model, optimizer, scheduler, steps):
        for step in steps:
            gradients(model, step)
            optimizer.step()
            scheduler.step()

    def made():
        model = net()
        optimizer = build(model.parameters())
        return model, optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)

    whole = made()
    run(*whole, range(1, 6))
    first = made()
    run(*first, range(1, 4))
    file = io.BytesIO()
    torch.save([part.state_dict() for part in first], file)
    file.seek(0)
    later = made()
    for part, state in zip(later, torch.load(file), strict=True):
        part.load_state_dict(state)
    assert later[1].param_groups[0]["lr"] == first[1].param_groups[0]["lr"]
    run(*later, range(4, 6))
    assert_equal(values(later[0]), values(whole[0]))
    moved = values(first[0])
    assert not np.array_equal(moved[0], values(whole[0])[0])


@pytest.mark.parametrize("build", list(BUILDERS.values())[:-1], ids=list(BUILDERS)[:-1])
def test_closures_groups_and_absent_gradients(build):
    model = net()
    optimizer = build([model[0].weight])
    optimizer.add_param_group({"params": [model[1].weight], "lr": 0.0})
    before = values(model)

    def closure():
        optimizer.zero_grad()
        loss = model(torch.ones(2, 5)).square().sum()
        loss.backward()
        return loss

    loss = optimizer.step(closure)
    assert float(loss.detach()) > 0
    assert not np.array_equal(values(model)[0], before[0])
    np.testing.assert_array_equal(values(model)[1], before[1])  # the bias is in no group
    optimizer.zero_grad()
    kept = values(model)
    optimizer.step()
    assert_equal(values(model), kept)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
@pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)
def test_a_copy_goes_on_with_the_same_bits(build, duplicate):
    model = net()
    optimizer = build(model.parameters())
    gradients(model, 1)
    optimizer.step()
    other, its = duplicate((model, optimizer))
    assert its.state_dict().keys() == optimizer.state_dict().keys()
    for one, steps in ((model, optimizer), (other, its)):
        steps.param_groups[0]["lr"] *= 0.5
        gradients(one, 2)
        steps.step()
    assert_equal(values(other), values(model))
    before = values(model)
    gradients(other, 3)
    its.step()
    assert_equal(values(model), before)
    assert not np.array_equal(values(other)[0], before[0])


@pytest.mark.parametrize("build", [BUILDERS["BoundedNorm"], BUILDERS["both"]])
def test_schedules_of_the_momentum_find_that_of_the_optimizer_inside(build):
    optimizer = build(net().parameters())
    torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=4, base_momentum=0.7, max_momentum=0.8)
    assert optimizer.param_groups[0]["momentum"] == 0.8
    assert optimizer.defaults["momentum"] == 0.9


NAN, HUGE = (torch.full((3, 4), number) for number in (torch.nan, 1e25))


@pytest.mark.parametrize(
    ("build", "bad", "sentence"),
    [
        ("FP8Adam", NAN, "parameter 2: gradient has nan at element 0"),
        ("FP8Adam", HUGE, "parameter 2: a gradient of .* makes a moment beyond float32"),
        ("ShiftAdaMax", NAN, r"parameter 2: x\[0\]"),
        ("FP8Adam", NAN.to_sparse(), "the gradient of parameter 2 has layout"),
    ],
)
def test_a_step_that_is_refused_moves_nothing(build, bad, sentence):
    """The parameters before the one at fault had moved, and their count of steps, so that another try moved them twice."""
    model, twin = net(), net()
    optimizer, other = (BUILDERS[build](one.parameters()) for one in (model, twin))
    for step in (1, 2):
        before = values(model)
        gradients(model, step)
        model[1].weight.grad = bad
        with pytest.raises((ValueError, OverflowError), match=sentence):
            optimizer.step()
        assert_equal(values(model), before)
        for one, steps in ((model, optimizer), (twin, other)):
            gradients(one, step)
            steps.step()
        assert_equal(values(model), values(twin))


@pytest.mark.parametrize(
    ("around", "sentence"),
    [
        (lambda inner: optim.RoundedWeights(inner, Quantizer(catalog.E2M1, Rounding.SR)), "NaN at element 0"),
        (
            lambda inner: optim.RoundedWeights(inner, Quantizer(catalog.E4M3, overflow=Overflow.ERROR)),
            "nan|beyond 448.0",
        ),
        (optim.BoundedNorm, "v has nan at element 0"),
    ],
)
def test_what_follows_a_step_is_done_to_all_parameters_or_to_none(around, sentence):
    model = net()
    optimizer = around(torch.optim.SGD(model.parameters(), 0.1))
    expected = [x - np.float32(0.1) * g for x, g in zip(values(model), gradients(model, 1), strict=True)][:2]
    model[1].weight.grad = HUGE if "448" in sentence else NAN
    error = rf"^parameter 2: .*({sentence}).*\. The step of SGD is done, what \w+ does after it is not: skip a batch"
    with pytest.raises((ValueError, OverflowError), match=error):
        optimizer.step()
    for found, wanted in zip(values(model), expected, strict=False):
        np.testing.assert_allclose(found, wanted, rtol=1e-6)
    assert getattr(optimizer, "steps", 0) == 0


def test_an_optimizer_around_one_that_is_loaded_has_its_groups():
    """A schedule of the one around moved the rate of groups that nobody stepped by any more."""
    model = net()
    optimizer = optim.RoundedWeights(torch.optim.SGD(model.parameters(), 0.1, momentum=0.9), SR)
    optimizer.optimizer.load_state_dict(copy.deepcopy(optimizer.optimizer.state_dict()))
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 0.0)
    assert optimizer.optimizer.param_groups[0]["lr"] == 0
    assert optimizer.state is optimizer.optimizer.state
    before = values(model)
    gradients(model, 1)
    optimizer.step()
    assert_equal(values(model), before)


def test_a_group_that_is_refused_is_not_added():
    for build, error in (("FP8Adam", ValueError), ("RoundedWeights", TypeError), ("BoundedNorm", TypeError)):
        optimizer = BUILDERS[build](net().parameters())
        wrong = torch.nn.Parameter(torch.ones(2, 2, dtype=torch.complex64))
        with pytest.raises(error):
            optimizer.add_param_group({"params": [wrong], "maximize": True})
        extra = torch.nn.Parameter(torch.ones(2, 2))
        optimizer.add_param_group({"params": [extra]})
        extra.grad = torch.eye(2)
        optimizer.step()
        assert not torch.equal(extra, torch.ones(2, 2))
        assert len(optimizer.param_groups) == 2


P = torch.nn.Parameter(torch.ones(2, 2))


def added_inside():
    optimizer = optim.BoundedNorm(torch.optim.SGD([P], 0.1))
    optimizer.optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(2, 2))]})
    optimizer.step()


def step_with(gradient):
    parameter = torch.nn.Parameter(torch.ones(2, 2, dtype=gradient.dtype))
    optimizer = optim.FP8Adam([parameter])
    parameter.grad = gradient
    optimizer.step()


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: optim.FP8Adam([P], storage="fp8"), TypeError, "storage = 'fp8': give a numerics.scaling.AdamStorage"),
        (lambda: optim.FP8Adam([P], seed=-1), ValueError, "seed = -1: give an integer in"),
        (lambda: step_with(torch.ones(2, 2).half()), TypeError, "parameter 0 is torch.float16"),
        (lambda: step_with(torch.ones(2, 2).to_sparse()), ValueError, "the gradient of parameter 0 has layout"),
        (lambda: step_with(torch.full((2, 2), torch.nan)), ValueError, "parameter 0: gradient has nan at element 0"),
        (
            lambda: optim.FP8Adam([{"params": [P], "maximize": True}]),
            ValueError,
            "maximize = True of a parameter group: FP8Adam has none; leave it out, and negate the loss",
        ),
        (
            lambda: optim.ShiftAdaMax([{"params": [P], "weight_decay": 0.1}]),
            ValueError,
            "weight_decay = 0.1 of a parameter group: ShiftAdaMax has none; leave it out",
        ),
        (
            lambda: optim.FP8Adam([P], betas=0.9),
            ValueError,
            "betas = 0.9 of a parameter group: give FP8Adam two numbers",
        ),
        (
            lambda: optim.BoundedNorm(torch.optim.SGD([torch.nn.Parameter(torch.ones(2, 2).half())], 0.1)),
            TypeError,
            "parameter 0: v is torch.float16",
        ),
        (
            added_inside,
            ValueError,
            "1 parameters have a norm to keep, and SGD has 2: call add_param_group of BoundedNorm",
        ),
        (lambda: optim.ShiftAdaMax([P], store="none"), ValueError, "store = 'none': give 'exact' or 'ap2'"),
        (lambda: optim.RoundedWeights([P], SR), TypeError, "optimizer is a list: give a torch.optim.Optimizer"),
        (
            lambda: optim.RoundedWeights(torch.optim.SGD([P], 0.1), catalog.BFLOAT16),
            TypeError,
            "quantizer = .*: give numerics.Quantizer",
        ),
        (lambda: optim.BoundedNorm(torch.optim.SGD([P], 0.1), rule="max"), ValueError, "rule 'max' is not known"),
        (
            lambda: optim.RoundedWeights(torch.optim.SGD([P], 0.1), SR).load_state_dict(
                torch.optim.SGD([P], 0.1).state_dict()
            ),
            ValueError,
            "state_dict has no entry 'emul' of a RoundedWeights: give one that its state_dict",
        ),
        (
            lambda: BUILDERS["both"]([P]).load_state_dict(
                {**BUILDERS["both"]([P]).state_dict(), "emul": BUILDERS["RoundedWeights"]([P]).state_dict()["emul"]}
            ),
            ValueError,
            "state_dict has no entry 'emul' of a RoundedWeights around a BoundedNorm: give one",
        ),
        (
            lambda: optim._offset(1 << 24),
            ValueError,
            r"the optimizer is at step 16777216: random words reach to 2\*\*24",
        ),
    ],
)
def test_refused(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()


def test_fp8_adam_refuses_weights_that_something_else_has_changed():
    for around in (optim.BoundedNorm, lambda inner: optim.RoundedWeights(inner, Quantizer(catalog.E4M3))):
        model = net()
        optimizer = around(optim.FP8Adam(model.parameters(), 0.01))  # before the first step it may
        gradients(model, 1)
        optimizer.step()
        before = values(model)
        gradients(model, 2)
        with pytest.raises(ValueError, match="parameter 0 is not what FP8Adam has stored, and would become that again"):
            optimizer.step()
        assert_equal(values(model), before)
    model = net()
    optimizer = optim.FP8Adam(model.parameters(), 0.01)
    gradients(model, 1)
    optimizer.step()
    saved = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    gradients(model, 2)
    optimizer.step()
    model.load_state_dict(saved[0])
    with pytest.raises(ValueError, match=r"load_state_dict; load the optimizer's state too, or make a new FP8Adam"):
        optimizer.step()
    optimizer.load_state_dict(saved[1])
    optimizer.step()
