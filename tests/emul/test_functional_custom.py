"""Gradients that a user's own code computes, in a torch.autograd.Function."""

import copy
import pickle
import threading

import pytest
import torch
from torch import nn
from torch._functorch.aot_autograd import aot_function
from torch.overrides import _get_current_function_mode_stack
from torch.utils.checkpoint import checkpoint

import emul
from emul import Recipe, Rule
from emul.swap import CallReport
from tests.emul.callers import ALL, FORWARD, SR, SUMS, A, B, Caller, Model, product, swapped

UNSEEN = "what its backward computes is not seen: write it with torch's functions, which can be emulated, or a rule"


class Times(torch.autograd.Function):
    """A product whose gradient is a user's."""

    @staticmethod
    def forward(ctx, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, w)
        return x @ w

    @staticmethod
    def backward(ctx, gradient: torch.Tensor):
        x, w = ctx.saved_tensors
        return gradient @ w.T, x.T @ gradient


class Single(torch.autograd.Function):
    """One that torch.func takes."""

    @staticmethod
    def forward(x: torch.Tensor) -> torch.Tensor:
        return x.square()

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> torch.Tensor:
        return 2 * gradient * ctx.saved_tensors[0]


class Linear(Times):
    """With the name of a layer."""


bound = Times.apply  # as scripts have it, from before any swap


def times(w: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return bound(x, w)


@pytest.fixture(autouse=True)
def clean():
    """No mode is left behind."""
    yield
    assert not _get_current_function_mode_stack()


def told(model: nn.Module) -> list[tuple[str, str, int]]:
    return [(call.module, call.function, call.count) for call in emul.swap_report(model).calls if call.backward]


def test_a_function_of_the_users_is_reported_by_name_and_its_forward_call_by_call():
    model = swapped(times, (4, 5))
    for _ in range(2):
        output = model(A)
        assert torch.equal(output, product(A, model.inner.given[0]))
        output.sum().backward()
    report = emul.swap_report(model)
    assert report.calls == (
        CallReport("inner", "Times", None, f"{UNSEEN} with keep=True", 2),
        CallReport("inner", "matmul", 0, "", 2),
    )
    assert f"inner, 2 calls of Times: gradients native, {UNSEEN} with keep=True\n" in str(report)
    with torch.no_grad():
        model(A)
    model.inner.given.requires_grad_(False)
    model(A)
    assert told(model) == [("inner", "Times", 2)]  # no backward pass will come
    assert told(copy.deepcopy(model)) == told(model)
    emul.restore_(model)
    assert torch.equal(model(A), A @ model.inner.given[0])


def test_what_no_output_leads_to_is_seen_too():
    class Keeps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.fc(x)
            self.loss = bound(x, x.T).sum()
            return x.detach()

    model = emul.swap_(Keeps(), Recipe((ALL,)))
    model(A)
    assert told(model) == [("", "Times", 1)]


def test_refused_unless_a_rule_keeps_it():
    model = swapped(times, (4, 5), functional="refuse")
    with pytest.raises(
        ValueError,
        match=rf"module 'inner' \(Caller\) calls Times, of which the gradient is native and functional='refuse': {UNSEEN}",
    ):
        model(A)
    with torch.no_grad():
        assert torch.equal(model(A), product(A, model.inner.given[0]))
    kept = swapped(times, (4, 5), rules=(Rule(".*", types=("Times",), keep=True), ALL), functional="refuse")
    assert torch.equal(kept(A), product(A, kept.inner.given[0]))
    assert emul.swap_report(kept).calls[0] == CallReport("inner", "Times", None, "kept by rule 0", 1)
    assert emul.swap_report(kept).unused == ()
    unmatched = swapped(times, (4, 5), rules=(Rule("fc", forward=FORWARD),), functional="refuse")
    with pytest.raises(ValueError, match="'refuse': no rule matches; give one that does, or one with keep=True"):
        unmatched(A)


def test_a_rule_that_names_one_keeps_it_or_is_refused():
    rule = Rule(".*", types=("Times", "Linear"), forward=FORWARD)
    with pytest.raises(ValueError, match="calls Times, of which the gradient is native and rule 0 names it: what its"):
        swapped(times, (4, 5), rules=(rule,))(A)
    alike = swapped(
        lambda w, x: Linear.apply(x, w), (4, 5), rules=(Rule(".*", types=("Linear",), forward=FORWARD), ALL)
    )
    alike(A)  # the rule means the layer
    assert told(alike) == [("inner", "Linear", 1)]
    with pytest.raises(ValueError, match="no module has the type 'Tines' of its types"):
        swapped(times, (4, 5), rules=(Rule(".*", types=("Tines",), keep=True), ALL))
    waiting = swapped(times, (4, 5), rules=(Rule(".*", types=("Times",), keep=True), ALL))
    assert "rule 0 has decided about nothing yet" in str(emul.swap_report(waiting))


def test_restored_parts_and_reports_of_layers_alone_say_why():
    model = swapped(times, (4, 5), functional="report")
    model(A)
    assert {call.native for call in emul.swap_report(model).calls} == {"functional='report' emulates layers alone"}
    model = emul.swap_(
        nn.Sequential(nn.Linear(4, 4), Model(Caller(times, (4, 5)))), Recipe((ALL,)), functional="refuse"
    )
    emul.restore_(model[1])
    model(A)
    (call,) = [call for call in emul.swap_report(model).calls if call.backward]
    assert (call.module, call.native) == ("1.inner", "restored")


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_checkpoint_counts_once(reentrant):
    model = swapped(times, (4, 5))
    output = checkpoint(model, A.clone().requires_grad_(), use_reentrant=reentrant)
    output.sum().backward()
    assert told(model) == [("inner", "Times", 1)]


def test_those_of_emul_of_torch_and_outside_of_a_forward_are_not_told():
    def call(x: torch.Tensor) -> torch.Tensor:
        x = emul.chain.matmul(emul.quantize(x, SR, seed=1), torch.eye(4), SUMS)
        return checkpoint(torch.sin, x, use_reentrant=True)

    model = swapped(call)
    model(A.clone().requires_grad_())
    other = threading.Thread(target=lambda: bound(A, B.clone().requires_grad_()))
    model.inner.call = lambda x: (other.start(), other.join(), model.fc(x[:, :2]))[2]
    model(A)
    assert torch.equal(bound(A, B.clone().requires_grad_()), A @ B)
    assert told(model) == []


def test_what_runs_after_an_interrupt_is_outside():
    def interrupted(x: torch.Tensor) -> torch.Tensor:
        raise KeyboardInterrupt

    model = swapped(interrupted)
    with pytest.raises(KeyboardInterrupt):
        model(A)
    bound(A, B.clone().requires_grad_())
    assert told(model) == []
    model.inner.call = lambda x: x
    model(A)


def compiles() -> bool:
    """Whether torch.compile compiles."""
    met = []
    torch._dynamo.reset()
    compiled = torch.compile(lambda x: x @ x.T, backend=lambda graph, _: met.append(graph) or graph.forward)
    compiled(A)
    return bool(met)


@pytest.mark.parametrize("then", ["restored", "run again", "another run"])
def test_after_an_interrupt_what_is_compiled_is_compiled_again(then):
    def interrupted(x: torch.Tensor) -> torch.Tensor:
        assert not compiles()
        raise KeyboardInterrupt

    model = swapped(interrupted)
    with pytest.raises(KeyboardInterrupt):
        model(A)
    if then == "restored":
        emul.restore_(model)
    elif then == "run again":
        model.inner.call = lambda x: (x, compiles())[1]
        assert not model(A)
    else:
        assert not swapped(lambda x: compiles())(A)
    assert not torch.overrides._get_current_function_mode_stack()
    assert compiles()


def test_forwards_of_two_threads_that_overlap_leave_torch_compile_as_it_was():
    begun, ended, compiled = threading.Event(), threading.Event(), []
    one, other = swapped(lambda x: (begun.set(), ended.wait(60))[1]), swapped(lambda x: x @ x.T)
    first = threading.Thread(target=one, args=(A,))
    first.start()
    assert begun.wait(60)

    def call(x: torch.Tensor) -> torch.Tensor:
        ended.set()
        first.join()
        compiled.append(compiles())
        return x

    other.inner.call = call
    other(A)
    assert compiled == [False]
    assert compiles()


def test_what_was_compiled_ahead_of_time_is_told():
    compiled = aot_function(lambda x: (x @ x.T).sin(), fw_compiler=lambda graph, _: graph)
    x = A.clone().requires_grad_()
    compiled(x)  # outside, where a layer's steps cannot become constants
    model = swapped(compiled)
    model(x)
    assert told(model) == [("inner", "CompiledFunction", 1)]


def test_one_inside_of_another_has_no_gradient_of_its_own():
    class Around(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x: torch.Tensor) -> torch.Tensor:
            return Single.apply(x)

        @staticmethod
        def backward(ctx, gradient: torch.Tensor) -> torch.Tensor:
            return gradient

    model = swapped(Around.apply)
    model(A.clone().requires_grad_()).sum().backward()
    assert told(model) == [("inner", "Around", 1)]


def test_under_a_transform_its_forward_is_not_seen_either():
    model = swapped(torch.func.grad(lambda x: Single.apply(x).sum()))
    assert torch.equal(model(A), 2 * A)
    (call,) = emul.swap_report(model).calls
    assert (call.function, call.backward, call.count) == ("Single", False, 1)
    assert call.native.startswith("what it and its backward compute is not seen")


def test_a_pickle_in_a_process_without_a_swap_is_watched(tmp_path):
    """The hooks alone see to it."""
    model = pickle.loads(pickle.dumps(emul.swap_(Model(Pickled()), Recipe((ALL,)))))
    plain = torch.autograd.function._SingleLevelFunction
    watching = plain.__dict__["apply"]
    try:
        del plain.apply
        model(A)
        assert told(model) == [("inner", "Times", 1)]
    finally:
        plain.apply = watching


class Pickled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(B.clone())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return bound(x, self.w)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch itself does
def test_compilers_take_functions_as_before():
    model = swapped(times, (4, 5))
    model(A)
    x, w = A.clone().requires_grad_(), B.clone().requires_grad_()
    compiled = torch.compile(lambda x, w: Times.apply(x.sin(), w), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x, w), x.sin() @ w)
