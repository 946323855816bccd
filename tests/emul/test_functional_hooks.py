"""What hooks of all modules compute: it is seen as what a module's own hooks do, or told where it was not."""

import pytest
import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import _get_current_function_mode_stack
from torch.utils.module_tracker import ModuleTracker

import emul
from emul import Recipe
from emul.functional.early import HOOKS
from tests.emul.callers import ALL, A, Attend, product, swapped

SQUARE = product(A, A.T)
TOLD = (
    r"module '' \(Model\) has forward pre-hooks of all modules before it that came after swap_: what they compute in "
)


@pytest.fixture
def hook():
    """Registers a hook by a function of torch's; all are gone after the test."""
    handles = []
    yield lambda register, call, **options: handles.append(register(call, **options)) or handles[-1]
    for handle in handles:
        handle.remove()
    HOOKS.clear()


def of_root(module: nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...] | None:
    return (args[0] @ args[0].mT,) if type(module).__name__ == "Model" else None


def seen(model: nn.Module) -> dict[tuple[str, str], int]:
    calls = emul.swap_report(model).calls
    assert all(call.rule == 0 for call in calls)
    return {(call.module, call.function): call.count for call in calls}


def test_those_before_a_forward_are_seen_where_they_came_before_the_swap(hook):
    handle = hook(register_module_forward_pre_hook, of_root)
    model = swapped(lambda x: x @ x.mT, functional="refuse")
    for _ in range(2):
        assert torch.equal(model(A), product(SQUARE, SQUARE.T))
    assert seen(model) == {("", "matmul"): 2, ("inner", "matmul"): 2}
    assert emul.swap_report(model).forwards == 2
    hook(register_module_forward_pre_hook, of_root)  # behind the others: seen too
    fourth = product(SQUARE, SQUARE.T)
    assert torch.equal(model(A), product(fourth, fourth.T))
    handle.remove()
    assert torch.equal(model(A), product(SQUARE, SQUARE.T))
    assert emul.swap_report(model).forwards == 4
    assert not _get_current_function_mode_stack()


def test_those_that_came_after_it_are_told_and_seen_from_the_next_call_on(hook):
    model = swapped(lambda x: x @ x.mT)
    hook(register_module_forward_pre_hook, of_root)
    with pytest.warns(RuntimeWarning, match=TOLD):
        native = model(A)
    assert torch.equal(native, product(A @ A.T, (A @ A.T).T))
    assert torch.equal(model(A), product(SQUARE, SQUARE.T))
    assert seen(model) == {("", "matmul"): 1, ("inner", "matmul"): 2}


def test_they_are_refused_where_native_products_are(hook):
    model = swapped(lambda x: x @ x.mT, functional="refuse")
    hook(register_module_forward_pre_hook, of_root)
    with pytest.raises(ValueError, match=r"call torch.nn.modules.module.register_module_forward_pre_hook before swap_"):
        model(A)
    assert not _get_current_function_mode_stack()
    assert torch.equal(model(A), product(SQUARE, SQUARE.T))


def test_ours_goes_when_the_others_have_gone(hook):
    handle = hook(register_module_forward_pre_hook, of_root)
    model = swapped(lambda x: x @ x.mT)
    assert len(HOOKS) == 2
    handle.remove()
    assert torch.equal(model(A), SQUARE) and not HOOKS
    emul.restore_(model)
    hook(register_module_forward_pre_hook, of_root)
    model(A)
    assert len(HOOKS) == 1


def test_those_behind_a_forward_are_seen_whenever_they_came(hook):
    model = swapped(lambda x: x @ x.mT)
    hook(register_module_forward_hook, lambda module, args, output: output @ output.mT)
    again = product(SQUARE, SQUARE.T)
    assert torch.equal(model(A), product(again, again.T))
    assert seen(model) == {("inner", "matmul"): 2, ("", "matmul"): 1}


def test_one_that_raises_and_a_model_that_calls_itself(hook):
    def call(module, args):
        if not args:
            raise KeyError
        of_root(module, args)

    hook(register_module_forward_pre_hook, call)
    model = swapped(lambda x, times: x @ x.mT if not times else model(x, times - 1))
    with pytest.raises(KeyError):
        model()
    assert not _get_current_function_mode_stack()
    with emul.inside(model):
        assert torch.equal(model(A, 2), SQUARE)
        assert torch.equal(A @ A.T, SQUARE)
    assert seen(model) == {("", "matmul"): 4, ("inner", "matmul"): 1}
    assert not _get_current_function_mode_stack()


def test_those_of_torch_count_and_are_not_told():
    model = swapped(lambda x: x @ x.mT, functional="refuse")
    with ModuleTracker() as tracker:
        assert torch.equal(model(A), SQUARE)
        assert tracker.parents == {"Global"}
    assert not HOOKS


@pytest.mark.filterwarnings("ignore:Using `torch.compile.module.` when there are global hooks")
def test_a_compiled_model_gives_the_eager_bits(hook):
    torch._dynamo.reset()
    hook(
        register_module_forward_pre_hook, lambda module, args: (args[0] @ args[0],) if type(module) is Attend else None
    )
    model = emul.swap_(nn.Sequential(Attend(), nn.Linear(3, 3)), Recipe((ALL,)))
    with torch.no_grad():
        eager = model(SQUARE)
        assert torch.equal(torch.compile(model, backend="aot_eager")(SQUARE), eager)
    assert seen(model) == {("0", "matmul"): 6}


def test_a_layer_that_is_the_model_sees_what_hooks_beside_it_compute(hook):
    def layer():
        return nn.Linear(3, 3, bias=False)

    def square(module, args, output):
        return output @ output.mT

    def wanted(model: nn.Linear) -> torch.Tensor:
        first = product(SQUARE, model.weight.mT)
        return product(first, first.T)

    own, late, everywhere = layer(), layer(), layer()
    own.register_forward_hook(square)
    emul.swap_(own, Recipe((ALL,)), functional="refuse")
    assert torch.equal(own(SQUARE), wanted(own))
    assert seen(own) == {("", "matmul"): 1}
    emul.swap_(late, Recipe((ALL,)))
    assert emul.swap_report(late).forwards is None and not late._forward_hooks
    late.register_forward_hook(square)
    with pytest.warns(
        RuntimeWarning,
        match=r"module '' \(Linear\) has forward hooks or parametrizations that came after swap_: what they",
    ):
        late(SQUARE)
    assert torch.equal(late(SQUARE), wanted(late))
    with pytest.warns(UserWarning, match="call the module itself"):
        late.forward(SQUARE)
    assert len(late._forward_hooks) == 2
    emul.restore_(late)
    assert len(late._forward_hooks) == 1 and not late._forward_pre_hooks
    emul.swap_(everywhere, Recipe((ALL,)), functional="refuse")
    hook(register_module_forward_hook, square)
    with pytest.raises(ValueError, match="seen; register them before swap_"):
        everywhere(SQUARE)
    assert torch.equal(everywhere(SQUARE), wanted(everywhere))


def test_the_products_of_a_layer_s_own_spectral_norm_are_seen_where_the_layer_is_the_model():
    model = emul.swap_(nn.utils.spectral_norm(nn.Linear(3, 3)), Recipe((ALL,)))
    model(SQUARE)
    assert seen(model) == {("", "mv"): 3, ("", "dot"): 1}


def test_a_layer_that_is_the_model_and_is_parametrized_after_the_swap():
    model = emul.swap_(nn.Linear(3, 3), Recipe((ALL,)))
    model(SQUARE)
    nn.utils.parametrizations.spectral_norm(model)
    with pytest.warns(
        RuntimeWarning, match="hooks or parametrizations that came after swap_: what they compute in this"
    ):
        model(SQUARE)
    model(SQUARE)
    assert seen(model) == {("", "mv"): 3, ("", "vdot"): 1}
