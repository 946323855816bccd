"""Layers that are called in no forward of a module, where functions are not seen: told by name, or brought inside."""

import asyncio
import copy
import warnings

import pytest
import torch
from torch import nn
from torch.overrides import _get_current_function_mode_stack
from torch.utils.checkpoint import checkpoint

import emul
from emul import Product, Recipe, Rule
from emul.swap import CallReport
from tests.emul.callers import ALL, DRAWN, A, draw, product

REMEDY = "call it in a block of `with emul.inside(model):`, or by forward"
ENCODE = "Coder.encode calls layer 'fc' in no forward of a module, where functions such as @ are not seen, and native"
NATIVE = "in no forward of a module: functions called there are not seen, and native"


class Coder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc, self.attend = nn.Linear(4, 4), nn.MultiheadAttention(4, 2)
        self.w = nn.Parameter(draw(4, 4))

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x) @ self.w

    def attended(self, x: torch.Tensor) -> torch.Tensor:
        return self.attend(x, x, x)[0] @ self.w

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return checkpoint(self.encode, x, use_reentrant=False)


@pytest.fixture(autouse=True)
def clean():
    """No mode is left behind."""
    yield
    assert not _get_current_function_mode_stack()


def swapped(**options) -> Coder:
    return emul.swap_(Coder(), Recipe((ALL,)), **options)


def test_a_method_that_calls_layers_in_no_forward_warns_once_and_is_in_the_report():
    model = swapped()
    model(A).sum().backward()
    assert emul.swap_report(model).outside == 0
    assert "in no forward" not in str(emul.swap_report(model))
    with pytest.warns(UserWarning, match="calls layer") as told:
        model.encode(A)
    assert [str(one.message) for one in told] == [f"{ENCODE}: {REMEDY}"]
    assert told[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.encode(A)
        (lambda model: model.fc(A))(model)  # by no method of the model
        with pytest.raises(UserWarning, match=r"Coder\.attended calls layer 'attend' in no forward"):
            model.attended(A)
        model.attended(A)
    report = emul.swap_report(model)
    assert (report.outside, report.forwards, [call.count for call in report.calls]) == (5, 1, [1])
    assert str(report).splitlines()[-3:] == [
        f"Coder.encode, 2 calls of fc {NATIVE}; {REMEDY}",
        f"outside of the model, 1 call of fc {NATIVE}; call these layers by the model's forward",
        f"Coder.attended, 2 calls of attend {NATIVE}; {REMEDY}",
    ]
    assert emul.swap_report(copy.deepcopy(model)).left == report.left
    alone = emul.swap_(nn.Linear(4, 4), model.fc.emulation.recipe)
    alone(A)
    assert emul.swap_report(alone).outside == 0


def test_it_is_refused_where_native_products_are():
    model = swapped(functional="refuse")
    with pytest.raises(ValueError, match=f"{ENCODE}, and functional='refuse': call it in a block of"):
        model.encode(A)
    model(A)
    with emul.inside(model):
        model.encode(A)
    model.fc(A)


def test_forward_itself_is_not_what_torch_calls():
    model = swapped(functional="refuse")
    with pytest.raises(
        ValueError,
        match=r"Coder\.forward calls layer 'fc' in no forward of a module, .*: call the module itself, model",
    ):
        model.forward(A)


def test_calls_of_two_parts_that_were_swapped_apart_add_up():
    model = nn.Sequential(nn.Sequential(nn.Linear(4, 4)), nn.Sequential(nn.Linear(4, 4)))
    for part in model:
        emul.swap_(part, Recipe((ALL,)))
        part[0](A)
    report = emul.swap_report(model)
    assert report.outside == 2
    assert report.left == (f"outside of the model, 2 calls of 0 {NATIVE}; call these layers by the model's forward",)


def test_inside_a_block_functions_are_those_of_the_model():
    model = swapped()
    wanted = product(product(A, model.fc.weight.T) + model.fc.bias, model.w)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with emul.inside(model):
            assert torch.equal(model.encode(A), wanted)
            model(A)

        @emul.inside(model)
        def step(x: torch.Tensor) -> torch.Tensor:
            return model.encode(x)

        assert torch.equal(step(A), wanted)
    report = emul.swap_report(model)
    assert (report.outside, report.forwards) == (0, 2)
    assert report.calls == (CallReport("", "matmul", 0, "", 3),)
    assert torch.equal(A @ A.T, A.matmul(A.T))  # after the block nothing is emulated
    assert emul.swap_report(model).calls == report.calls


def test_a_block_that_raises_is_left():
    model = swapped()
    with pytest.raises(KeyError), emul.inside(model):
        raise KeyError
    assert not _get_current_function_mode_stack()
    with pytest.raises(TypeError, match="model is a str: give a torch"):
        emul.inside("model").__enter__()
    with pytest.raises(ValueError, match="Coder is not swapped: emul"):
        emul.inside(Coder()).__enter__()


def test_a_decorator_follows_the_model():
    model = swapped()
    step = emul.inside(model)(model.encode)
    with emul.inside(model) as block:
        assert block is None
        assert torch.equal(step(A), model.encode(A))
    emul.restore_(model)
    with pytest.raises(ValueError, match="Coder is not swapped: emul"):
        step(A)
    emul.swap_(model, Recipe((Rule(".*", types=("matmul",), forward=ALL.forward),)))
    assert torch.equal(step(A), product(nn.functional.linear(A, model.fc.weight, model.fc.bias), model.w))
    assert [call.rule for call in emul.swap_report(model).calls if call.function == "matmul"] == [0]


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch itself does
def test_a_compiled_block_goes_on_eagerly():
    model = swapped()

    def step(x: torch.Tensor) -> torch.Tensor:
        with emul.inside(model):
            return model.encode(x)

    wanted = step(A)
    compiled = torch.compile(step, backend="aot_eager")
    for _ in range(2):
        assert torch.equal(compiled(A), wanted)
    assert emul.swap_report(model).calls == (CallReport("", "matmul", 0, "", 3),)
    assert torch._dynamo.eval_frame._stance.stance == "default"


def test_steps_go_on_from_block_to_forward():
    """Words are those of the function's step, whoever calls it."""
    rule = Rule(".*", types=("matmul",), forward=Product(activation=DRAWN.forward.activation))
    first, second = (emul.swap_(Coder(), Recipe((rule,), 3)) for _ in range(2))
    second.load_state_dict(first.state_dict())
    forward = [first(A) for _ in range(3)]
    found = [second(A)]
    with emul.inside(second):
        found.append(second.encode(A))
    found.append(second(A))
    for one, other in zip(found, forward, strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(forward[0], forward[1])


def test_a_part_of_a_model_may_be_the_one():
    model = nn.Sequential(Coder(), nn.Linear(4, 4))
    emul.swap_(model, Recipe((ALL,)))
    with emul.inside(model[0]):
        model[0].encode(A)
    assert emul.swap_report(model).calls == (CallReport("0", "matmul", 0, "", 1),)


class Steps(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(2, 2)

    def forward(self, x: torch.Tensor):
        try:
            for _ in range(2):
                x = (yield x @ x.mT) @ x
        except KeyError:
            yield x.mT @ x
        return x


def test_a_forward_that_is_a_generator_is_seen_step_by_step():
    model = emul.swap_(Steps(), Recipe((ALL,)), functional="refuse")
    steps = model(A)
    first = next(steps)
    assert torch.equal(first, product(A, A.T))
    assert torch.equal(A @ A.T, A.matmul(A.T)) and not torch.equal(first, A @ A.T)  # nobody watches between steps
    second = product(first, A)
    assert torch.equal(steps.send(first), product(second, second.T))
    assert torch.equal(steps.throw(KeyError), product(second.T, second))
    with pytest.raises(StopIteration) as end:
        next(steps)
    assert torch.equal(end.value.value, second)
    assert [(call.rule, call.count) for call in emul.swap_report(model).calls] == [(0, 4)]
    assert emul.swap_report(model).forwards == 1
    steps = model(A)
    next(steps)
    steps.close()
    with pytest.raises(StopIteration):
        next(steps)
    emul.restore_(model)
    assert torch.equal(next(model(A)), A @ A.T)


class Awaited(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(2, 2)

    async def forward(self, x: torch.Tensor) -> torch.Tensor:
        await asyncio.sleep(0)
        return x @ x.mT


def test_a_forward_that_is_awaited_is_seen():
    model = emul.swap_(Awaited(), Recipe((ALL,)), functional="refuse")

    async def both() -> list[torch.Tensor]:
        return await asyncio.gather(*(asyncio.create_task(model(x)) for x in (A, -A, A.T)))

    found = asyncio.run(both())
    assert all(map(torch.equal, found, (product(x, x.mT) for x in (A, -A, A.T))))
    assert emul.swap_report(model).calls[0].count == 3
