"""What swap_ leaves on modules that call functions: hooks that go, copies that go on, words, compilers and interrupts."""

import copy
import gc
import io
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.distributed.checkpoint.state_dict import get_model_state_dict, set_model_state_dict
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack
from torch.utils.checkpoint import checkpoint

import emul
from emul import Product, Recipe, Rule
from emul.swap import CallReport
from numerics import Quantizer, catalog
from tests.emul.callers import (
    ALL,
    BATCH,
    DRAWN,
    FORWARD,
    SR,
    SUMS,
    A,
    Attend,
    B,
    Caller,
    Model,
    mixed,
    product,
    swapped,
)


@pytest.fixture(autouse=True)
def clean():
    """No mode is left behind, and compilers go on."""
    yield
    assert torch._dynamo.eval_frame._stance.stance == "default"
    assert not _get_current_function_mode_stack()


def test_restored_it_is_torchs_own_with_no_hook_left():
    model, native = mixed(), mixed()
    hooks = ("_forward_pre_hooks", "_forward_hooks", "_forward_hooks_always_called", "_state_dict_hooks")
    emul.swap_(model, Recipe((DRAWN,)))
    model(BATCH)
    emul.restore_(model)
    assert torch.equal(model(BATCH), native(BATCH))
    assert list(model.state_dict()) == list(native.state_dict())
    for module in model.modules():
        assert not any(getattr(module, name) for name in (*hooks, "_load_state_dict_pre_hooks"))


def test_a_part_that_was_restored_is_native_inside_the_rest():
    model = emul.swap_(nn.ModuleDict({"a": mixed(), "b": nn.Sequential(nn.Linear(4, 4))}), Recipe((ALL,)))
    model.forward = lambda x: model["b"](model["a"](x).mT @ x)
    emul.restore_(model["a"])
    emul.restore_(model["b"][0])
    x = product(mixed()(BATCH).mT, BATCH)
    wanted = F.linear(x, model["b"][0].weight, model["b"][0].bias)
    assert torch.equal(model(BATCH), wanted)
    calls = emul.swap_report(model).calls
    assert {(call.module, call.function) for call in calls if call.rule is not None} == {("", "matmul")}
    assert {call.native for call in calls if call.rule is None} == {"restored"}
    assert {"a", "a.fc", "a.inner", "b.0"} == {call.module for call in calls if call.rule is None}
    emul.restore_(model)
    assert not any(module._forward_pre_hooks for module in model.modules())


def train(model: nn.Module, steps: range, run=None) -> list[torch.Tensor]:
    found = []
    for step in steps:
        output = (run or model)(BATCH * (step + 1))
        model.zero_grad()
        output.square().mean().backward()
        found += [output.detach(), *(parameter.grad.clone() for parameter in model.parameters())]
    return found


def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return len(a) == len(b) and all(map(torch.equal, a, b))


def test_steps_go_on_from_copies_pickles_and_states():
    model = emul.swap_(mixed(), Recipe((DRAWN,), 5))
    first = train(model, range(2))
    twins = [copy.deepcopy(model), emul.swap_(mixed(), Recipe((DRAWN,), 5))]
    stream = io.BytesIO()
    torch.save(model.state_dict(), stream)
    stream.seek(0)
    state = torch.load(stream)
    assert int(state["emulation_matmul_1_step"]) == 2
    assert len(state["inner.emulation_bmm_0_forward_weight"]) == 2
    twins[1].load_state_dict(state)
    onwards = train(model, range(2, 4))
    assert not same(train(emul.swap_(mixed(), Recipe((DRAWN,), 5)), range(2, 4)), onwards)
    for twin in twins:
        assert same(train(twin, range(2, 4)), onwards)
        assert emul.swap_report(twin) == emul.swap_report(model)
    native = mixed()
    native.load_state_dict(emul.native_state_dict(model))
    model.load_state_dict({**native.state_dict(), "inner.emulation_bmm_0_step": torch.tensor(0)})  # starts anew
    assert same(train(model, range(2)), first)


def test_torch_s_distributed_checkpoints_take_the_entries():
    model = emul.swap_(mixed(), Recipe((DRAWN,), 5))
    train(model, range(2))
    twin = emul.swap_(mixed(), Recipe((DRAWN,), 5))
    set_model_state_dict(twin, get_model_state_dict(model))
    assert same(train(twin, range(2, 4)), train(model, range(2, 4)))
    for each in (model, twin):
        emul.restore_(each)
        assert not any("emulation_" in name for module in each.modules() for name in vars(module))


def test_a_pickle_is_a_swapped_model(tmp_path):
    model = emul.swap_(nn.Sequential(nn.Linear(4, 4), Attend()), Recipe((DRAWN,), 5))
    train(model, range(2))
    model.state_dict()
    twin = pickle.loads(pickle.dumps(model))
    torch.save(model, tmp_path / "model.pt")
    third = torch.load(tmp_path / "model.pt", weights_only=False)
    wanted = train(model, range(2, 3))
    assert same(train(twin, range(2, 3)), wanted)
    assert same(train(third, range(2, 3)), wanted)
    assert emul.swap_report(twin).calls == emul.swap_report(model).calls
    emul.restore_(twin)
    assert not any(module._forward_pre_hooks for module in twin.modules())
    assert not any("emulation_" in name for module in twin.modules() for name in vars(module))


def test_calls_go_on_where_another_recipe_takes_over():
    one, other = Recipe((DRAWN,), 5), Recipe((Rule(".*", types=("Conv1d",), keep=True), DRAWN), 5)
    model, straight = (emul.swap_(mixed(), one, functional="refuse", replica=2) for _ in range(2))
    train(model, range(2))
    train(straight, range(2))
    emul.switch_(emul.switch_(model, other), one)
    assert same(train(model, range(2, 4)), train(straight, range(2, 4)))
    watch = model.fc.emulation.watch
    assert (watch.functional, watch.replica, len(watch.recipe.rules)) == ("refuse", 2, 1)
    with pytest.raises(ValueError, match="its pattern 'nowhere' matches no name of a module"):
        emul.switch_(model, Recipe((Rule("nowhere", forward=FORWARD),)))
    assert model.fc.emulation.watch is watch
    assert same(train(model, range(4, 5)), train(straight, range(4, 5)))
    emul.switch_(model, None)
    assert torch.equal(model(BATCH), mixed()(BATCH))


def test_a_part_that_is_swapped_by_itself_answers_for_its_own_calls():
    model = emul.swap_(Model(Model(Caller(torch.mm))), Recipe((ALL,)))
    emul.restore_(model.inner)
    emul.swap_(model.inner, Recipe((Rule(".*", types=("Linear",), forward=FORWARD),)))
    assert torch.equal(model(A, B), A @ B)
    assert emul.swap_report(model.inner).calls[0].native.startswith("no rule matches")
    with pytest.raises(ValueError, match="Model has layers of 2 recipes"):
        emul.swap_report(model)


def test_entries_that_are_none_of_its_own_are_refused():
    model = emul.swap_(nn.Sequential(nn.Linear(4, 4), Attend()), Recipe((DRAWN,), 5))
    state = model.state_dict()
    with pytest.raises(RuntimeError, match=r"of matmul 0: 1\.emulation_step is 0\.5: give a count of steps"):
        model.load_state_dict({**state, "1.emulation_matmul_0_step": torch.tensor(0.5)})
    for stray in ("1.emulation_mm_none_step", "1.emulation_matmul_0_stride"):
        with pytest.raises(RuntimeError, match=f'Unexpected key.*"{stray}"'):
            model.load_state_dict({**state, stray: torch.tensor(0)})


def test_words_are_those_of_module_function_place_and_step():
    model = swapped(lambda x, y: torch.stack([x @ y, x @ y, torch.mm(x, y)]), rules=(DRAWN,))
    first, second = model(A, B), model(A, B)
    rows = [*first, *second]
    assert not any(torch.equal(rows[i], rows[j]) for i in range(6) for j in range(i))
    twin = swapped(lambda x, y: torch.stack([x @ y, x @ y, torch.mm(x, y)]), rules=(DRAWN,))
    assert torch.equal(twin(A, B), first)
    model.eval()
    assert torch.equal(model(A, B), model(A, B))


class Namesake(nn.Module):
    """A layer whose name is that of a call, `linear.0`, with the weight that the call has."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Sequential(nn.Linear(8, 8, bias=False))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.linear(x), F.linear(x, self.linear[0].weight.detach())


def test_a_call_and_a_layer_of_its_name_draw_words_of_their_own():
    model = emul.swap_(Namesake(), Recipe((DRAWN,)))
    x = torch.linspace(-1, 1, 64).reshape(8, 8)
    layer, call = model(x)
    assert not torch.equal(layer, call)
    other = copy.deepcopy(model)
    assert torch.equal(other(x)[1], model(x)[1])


def test_gradient_checkpointing_gives_the_same_bits():
    plain, checkpointed = (emul.swap_(mixed(), Recipe((DRAWN,), 5)) for _ in range(2))
    wanted = train(plain, range(3))
    for reentrant in (False, True):
        twin = copy.deepcopy(checkpointed)

        def run(x: torch.Tensor, twin: nn.Module = twin, reentrant: bool = reentrant) -> torch.Tensor:
            output: torch.Tensor = checkpoint(twin, x.clone().requires_grad_(), use_reentrant=reentrant)
            return output

        assert same(train(twin, range(3), run), wanted)


def test_emulated_layers_and_functions_are_not_seen_from_outside():
    rule = Rule(".*", forward=Product(activation=SR))  # torch's own sums inside

    def call(x: torch.Tensor) -> torch.Tensor:
        y = emul.nn.functional.scaled_dot_product_attention(
            x, x, x, rule=Rule("", forward=Product(activation=Quantizer(catalog.E4M3)))
        )
        return emul.matmul(y, x.mT, SUMS)

    model = Model(nn.Sequential(nn.Linear(4, 4), Caller(call)))
    emul.swap_(model, Recipe((rule,)))
    with Watching() as mode:  # a mode of the user's own above
        model(BATCH)
    assert emul.swap_report(model).calls == ()
    assert mode.seen


def test_what_hooks_compute_that_came_after_the_swap_is_seen():
    model = swapped(lambda x: x @ x.mT)
    twin = copy.deepcopy(model)
    for each in (model, twin):
        each.register_forward_hook(lambda module, args, output: torch.mm(output, output))
        each.inner.register_forward_hook(lambda module, args, output: output @ output)
    first = product(A, A.T)
    second = product(first, first)
    for each in (model, twin):
        assert torch.equal(each(A), product(second, second))
        seen = {(call.module, call.function): (call.rule, call.count) for call in emul.swap_report(each).calls}
        assert seen == {("inner", "matmul"): (0, 2), ("", "mm"): (0, 1)}
    emul.restore_(model)
    assert len(model._forward_hooks) == len(model.inner._forward_hooks) == 1


def test_what_hooks_compute_that_were_put_before_all_others_since_is_seen_from_the_next_call_on():
    model = swapped(lambda x: x @ x.mT)
    model.register_forward_pre_hook(lambda module, args: (args[0] @ args[0].mT,), prepend=True)
    with pytest.warns(RuntimeWarning, match=r"module '' \(Model\) has forward pre-hooks .* put first after swap_"):
        native = model(A)
    first = product(A, A.T)
    assert torch.equal(native, product(A @ A.T, (A @ A.T).T))
    assert torch.equal(model(A), product(first, first.T))
    strict = swapped(lambda x: x @ x.mT, functional="refuse")
    strict.register_forward_pre_hook(lambda module, args: None, prepend=True)
    with pytest.raises(ValueError, match=r"register them before swap_, or without prepend=True"):
        strict(A)
    assert torch.equal(strict(A), first)
    emul.restore_(strict)
    assert len(strict._forward_pre_hooks) == 1


class Watching(TorchFunctionMode):
    seen = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.seen += 1
        return func(*args, **(kwargs or {}))


class Stop(BaseException):
    pass


def test_an_exception_ends_it_and_after_an_interrupt_it_knows_that_it_is_over():
    def call(x: torch.Tensor, error: type[BaseException] | None) -> torch.Tensor:
        if error is not None:
            raise error
        return x @ x.mT

    model = swapped(call)
    with pytest.raises(KeyError):
        model(A, KeyError)
    assert not _get_current_function_mode_stack()
    with pytest.raises(Stop):
        model(A, Stop)  # torch calls no hooks then
    gc.collect(1)  # what came since the test began: all that a long run holds takes seconds
    assert torch.equal(A @ B, torch.ops.aten.mm(A, B))
    assert emul.swap_report(model).calls == ()
    assert torch.equal(model(A, None), product(A, A.T))
    assert not _get_current_function_mode_stack()


def test_a_compiled_model_gives_the_eager_bits():
    torch._dynamo.reset()
    model = mixed()
    compiled = torch.compile(model, backend="aot_eager")
    with torch.no_grad():
        native = compiled(BATCH)
        emul.swap_(model, Recipe((ALL,)))
        eager = model(BATCH)
        before = emul.swap_report(model).calls
        for _ in range(2):
            assert torch.equal(compiled(BATCH), eager)
        assert [call.count for call in emul.swap_report(model).calls] == [3 * call.count for call in before]
        emul.restore_(model)
        torch.testing.assert_close(compiled(BATCH), native, rtol=0, atol=0)


@pytest.mark.parametrize("fullgraph", [False, True])
def test_a_function_that_is_compiled_by_itself_runs_eagerly_inside(fullgraph):
    torch._dynamo.reset()
    call = torch.compile(lambda x: (x @ x.mT).relu(), backend="aot_eager", fullgraph=fullgraph)
    model = swapped(call)
    with torch.no_grad():
        for _ in range(2):
            assert torch.equal(model(A), product(A, A.T).relu())
    assert emul.swap_report(model).calls == (CallReport("inner", "matmul", 0, "", 2),)
    assert torch.equal(call(A), (A @ A.mT).relu())
