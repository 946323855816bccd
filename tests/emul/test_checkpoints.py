"""Gradient checkpoints around what swap_ does not see as a layer, and around layers that have the same input twice."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import emul
import emul.memory
from emul import Product, Recipe, Rule, checkpoints
from emul.operands import Scaled
from numerics import Accumulator, FloatFormat, Quantizer, Rounding, catalog

COARSE = Product(accumulator=Accumulator(FloatFormat(5, 4)))
SR = Quantizer(catalog.E4M3, Rounding.SR)
PLAIN = Rule(".*", forward=COARSE, grad_input=COARSE, grad_weight=COARSE)
DRAWN = Rule(".*", forward=Product(activation=SR, weight=Scaled(SR, history=2)), grad_input=COARSE, grad_weight=COARSE)
X = torch.randn(4, 8, generator=torch.Generator().manual_seed(1))

pytestmark = pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad=True:UserWarning")


def again(function, x: torch.Tensor, how: bool | None) -> torch.Tensor:
    return function(x) if how is None else checkpoint(function, x, use_reentrant=how)


class Inner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.u = nn.Parameter(torch.linspace(-1, 1, 64).reshape(8, 8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x @ self.u) @ self.u


class Closures(nn.Module):
    """Functions of its own in a checkpoint, beside layers and a module that calls functions too."""

    def __init__(self, how: bool | None) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.w, self.fc, self.inner = nn.Parameter(torch.randn(8, 8)), nn.Linear(8, 8), Inner()
        self.how = how

    def part(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.fc(self.inner(x) @ self.w)) @ self.w.mT

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x @ self.w  # the first call of the module is outside
        return again(self.part, again(self.part, x, self.how), self.how).square() @ self.w


def outcome(model: nn.Module, passes: int = 1) -> list[torch.Tensor]:
    found = []
    for _ in range(2):
        output = model(X.clone().requires_grad_())
        for number in range(passes):
            model.zero_grad()
            output.sum().backward(retain_graph=number + 1 < passes)
            found += [output.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)]
    return found


def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("how", [False, True], ids=["new", "reentrant"])
@pytest.mark.parametrize("rule", [PLAIN, DRAWN], ids=["plain", "drawn"])
def test_functions_in_a_checkpointed_closure_are_emulated_again(rule, how):
    through, again = (emul.swap_(Closures(kind), Recipe((rule,), 1), functional="refuse") for kind in (None, how))
    assert same(outcome(through), outcome(again))
    assert emul.swap_report(again).calls == emul.swap_report(through).calls
    assert emul.swap_report(again).forwards == 2
    assert torch._C._len_torch_function_stack() == 0
    for twin in (copy.deepcopy(again), pickle.loads(pickle.dumps(again))):
        assert same(outcome(twin), outcome(copy.deepcopy(through)))


def test_a_second_backward_pass_through_a_closure():
    through, again = (emul.swap_(Closures(kind), Recipe((DRAWN,), 1)) for kind in (None, False))
    assert same(outcome(through, 2), outcome(again, 2))


class Twins(nn.Module):
    """One layer that has the same input several times."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 4, bias=False)
        with torch.no_grad():
            self.fc.weight.copy_(torch.linspace(-1, 1, 32).reshape(4, 8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second = self.fc(x).square(), self.fc(x).exp()
        return first * second


def twins() -> Twins:
    return emul.swap_(Twins(), Recipe((Rule(".*", forward=Product(activation=SR)),), 1))


# A reentrant checkpoint frees what a second pass needs.
@pytest.mark.parametrize(("how", "passes"), [(False, 1), (False, 2), (True, 1)], ids=["new", "new twice", "reentrant"])
def test_of_equal_inputs_in_one_checkpoint_each_has_its_own_words_again(how, passes):
    found = []
    for kind in (None, how):
        model = twins()
        x = X.clone().requires_grad_()
        output = again(model, x, kind)
        for number in range(passes):
            model.zero_grad()
            output.sum().backward(retain_graph=number + 1 < passes)
            found.append(model.fc.weight.grad.clone())
    assert same(found[:passes], found[passes:])


@pytest.mark.parametrize("how", [False, True], ids=["new", "reentrant"])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_of_equal_inputs_in_several_checkpoints_too_whatever_comes_first(how, order):
    found = []
    for kind in (None, how):
        model = twins()
        outputs = [again(model, X.clone().requires_grad_(), kind) for _ in range(3)]
        for i in order:
            model.zero_grad()
            outputs[i].sum().backward()
            found.append(model.fc.weight.grad.clone())
    assert same(found[:3], found[3:])
    assert not torch.equal(found[0], found[1])


@pytest.mark.parametrize(
    ("outer", "inner", "passes"),
    [
        *((outer, inner, 1) for outer in (False, True) for inner in (None, False, True)),
        *((False, inner, 2) for inner in (None, False)),  # a reentrant checkpoint frees what a second pass needs
    ],
)
def test_of_equal_inputs_in_checkpoints_within_checkpoints_too(outer, inner, passes):
    found = []
    for kinds in ((None, None), (outer, inner)):
        model = twins()
        x = X.clone().requires_grad_()

        def part(x, how=kinds[1], model=model):
            return again(model.fc, x, how).square() * again(model.fc, x, how).exp()

        output = again(part, x, kinds[0]) + again(part, x, kinds[0])
        for number in range(passes):
            model.zero_grad()
            output.sum().backward(retain_graph=number + 1 < passes)
            found.append(model.fc.weight.grad.clone())
    for x, y in zip(found[:passes], found[passes:], strict=True):  # a sum in another order
        torch.testing.assert_close(y, x, rtol=1e-5, atol=1e-5 * float(x.abs().max()))


def test_numbers_are_of_the_checkpoint_and_of_no_other():
    seen = []

    def look(x: torch.Tensor) -> torch.Tensor:
        seen.append(checkpoints.number_of(checkpoints.region()))
        return x.exp()

    assert checkpoints.region() is None
    for how in (False, True):
        seen.clear()
        outputs = [checkpoint(look, X.clone().requires_grad_(), use_reentrant=how) for _ in range(2)]
        (outputs[0] + outputs[1]).sum().backward()
        assert len(set(seen)) == 2 and 0 not in seen
        assert sorted(seen) == sorted(2 * seen[:2])
    with torch.autograd.graph.save_on_cpu():  # hooks of another kind
        assert checkpoints.region() is None
    with torch.no_grad():
        assert checkpoints.region() is None
    assert checkpoints.number_of(None) == 0


class Nested(nn.Module):
    """Checkpoints of one kind within one of another, all of closures that call functions."""

    def __init__(self, outer: bool | None, inner: bool | None) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.w, self.v = nn.Parameter(torch.randn(8, 8)), nn.Parameter(torch.randn(8, 8))
            self.fc = nn.Linear(8, 8)
        self.outer, self.inner = outer, inner

    def within(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x @ self.v) @ self.v

    def part(self, x: torch.Tensor) -> torch.Tensor:
        x = again(self.within, self.fc(x @ self.w), self.inner)
        return again(self.within, x @ self.w, self.inner) @ self.w

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return again(self.part, again(self.part, x, self.outer), self.outer).square() @ self.w


@pytest.mark.parametrize("inner", [None, False, True], ids=["plain in", "new in", "reentrant in"])
@pytest.mark.parametrize("outer", [False, True], ids=["new", "reentrant"])
@pytest.mark.parametrize("rule", [PLAIN, DRAWN], ids=["plain", "drawn"])
def test_closures_in_checkpoints_within_checkpoints_are_emulated_again(rule, outer, inner):
    through, nested = (
        emul.swap_(Nested(*kinds), Recipe((rule,), 1), functional="refuse") for kinds in ((None, None), (outer, inner))
    )
    expected, found = outcome(through), outcome(nested)
    assert len(found) == len(expected) > 8
    for x, y in zip(expected, found, strict=True):  # a weight's gradient is a sum in another order
        torch.testing.assert_close(y, x, rtol=1e-5, atol=1e-5 * float(x.abs().max()))
    assert emul.swap_report(nested).calls == emul.swap_report(through).calls
    assert torch._C._len_torch_function_stack() == 0


@pytest.mark.parametrize("equal", [True, False])
def test_a_checkpoint_with_more_calls_than_are_remembered_is_refused_with_the_limit(equal, monkeypatch):
    monkeypatch.setattr(emul.memory, "REMEMBERED", 4)
    for calls in (4, 5):
        layer = emul.nn.Linear(8, 8, rule=DRAWN, name="cell")

        def unrolled(x: torch.Tensor, cell: nn.Module = layer, calls: int = calls) -> torch.Tensor:
            inputs = [x if equal else x + number for number in range(calls)]
            return sum(cell(one).square().sum() for one in inputs)

        output = checkpoint(unrolled, X.clone().requires_grad_(), use_reentrant=False)
        if calls == 4:
            twin = emul.nn.Linear(8, 8, rule=DRAWN, name="cell")
            twin.load_state_dict(dict(layer.named_parameters()))
            unrolled(X, twin).backward()
            output.backward()
            assert torch.equal(layer.weight.grad, twin.weight.grad)
        else:
            with pytest.raises(RuntimeError, match=r"layer 'cell' runs inside .* or not in its last 4096 calls"):
                output.backward()
