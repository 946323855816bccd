"""Products that a forward calls for by functions: emulated, kept, reported or refused, never silently native."""

import copy
import gc
import io
import pickle
import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack, get_overridable_functions
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

import emul
import numerics
from emul import Product, Recipe, Rule
from emul.functional.names import EMULATED, NATIVE, product_name
from emul.functional.products import ADAPTERS
from emul.operands import Scaled
from emul.swap import CallReport
from numerics import Accumulator, Quantizer, Rounding, catalog

SUMS = Accumulator(catalog.BFLOAT16)
FORWARD = Product(accumulator=SUMS)
ALL = Rule(".*", forward=FORWARD, grad_input=FORWARD, grad_weight=FORWARD)
SR = Quantizer(catalog.E4M3, Rounding.SR)
#: Words and an amax history, torch's own sums.
DRAWN = Rule(".*", forward=Product(activation=SR, weight=Scaled(SR, history=2)))


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """numpy's side of it."""
    return torch.from_numpy(numerics.matmul(a.detach().numpy(), b.detach().numpy(), SUMS))


class Caller(nn.Module):
    """Its forward is a function of the parameters and what comes in; beside it is a layer, which swap_ needs."""

    def __init__(self, call, *shapes: tuple[int, ...]) -> None:
        super().__init__()
        self.call = call
        self.given = nn.ParameterList([nn.Parameter(draw(*shape)) for shape in shapes])

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        return self.call(*self.given, *tensors)


class Model(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.fc = inner, nn.Linear(2, 2)

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        return self.inner(*tensors)


def swapped(call, *shapes: tuple[int, ...], rules: tuple[Rule, ...] = (ALL,), **options) -> Model:
    return emul.swap_(Model(Caller(call, *shapes)), Recipe(rules, 3), **options)


A, B, W = draw(3, 4), draw(4, 5), draw(6, 4)
BATCH, OTHER = draw(2, 3, 4), draw(2, 4, 5, seed=1)
IMAGE, KERNEL, BIAS = draw(2, 4, 5, 6), draw(6, 2, 3, 2), draw(6, seed=2)
Q, K, V = (draw(2, 3, 4, seed=seed) for seed in (5, 6, 7))


def attended() -> torch.Tensor:
    weights = torch.softmax(product(Q, K.mT) * 0.5, -1)
    return product(weights, V)


def convolved(kernel: torch.Tensor, image: torch.Tensor, groups: int, **options) -> torch.Tensor:
    """By torch's unfold, group by group."""
    parts = []
    for part, filters in zip(image.chunk(groups, 1), kernel.chunk(groups), strict=True):
        columns = F.unfold(part, kernel.shape[2:], **options)
        parts.append(product(filters.reshape(len(filters), -1), columns))
    height = image.shape[2] + 2 * options.get("padding", 0) - kernel.shape[2] + 1
    return torch.cat(parts, 1).reshape(len(image), len(kernel), height, -1)


#: name -> (function as rules name it, the call, its operands, what numpy's product says).
CALLS = {
    "linear": ("linear", F.linear, (A, W), lambda: product(A, W.T)),
    "linear with bias": ("linear", F.linear, (BATCH, W, BIAS), lambda: product(BATCH, W.T) + BIAS),
    "@": ("matmul", lambda a, b: a @ b, (A, B), lambda: product(A, B)),
    "batches @": ("matmul", lambda a, b: a @ b, (BATCH, OTHER), lambda: product(BATCH, OTHER)),
    "broadcast @": (
        "matmul",
        torch.matmul,
        (BATCH[:, None], OTHER[None]),
        lambda: product(BATCH[:, None], OTHER[None]),
    ),
    "matrix @ batch": ("matmul", lambda a, b: a @ b, (A, OTHER), lambda: product(A, OTHER)),
    "batch @ matrix": ("matmul", torch.Tensor.matmul, (BATCH, B), lambda: product(BATCH, B)),
    "vectors @": ("matmul", lambda a, b: a @ b, (A[0], B[:, 0]), lambda: product(A[:1], B[:, :1]).reshape(())),
    "vector @ matrix": ("matmul", lambda a, b: a @ b, (A[0], B), lambda: product(A[:1], B)[0]),
    "matrix @ vector": ("matmul", torch.linalg.matmul, (A, B[:, 0]), lambda: product(A, B[:, :1])[:, 0]),
    "rmatmul": ("matmul", lambda a, b: b.__rmatmul__(a), (A, B), lambda: product(A, B)),
    "mm": ("mm", torch.mm, (A, B), lambda: product(A, B)),
    "an operator": ("mm", torch.ops.aten.mm.default, (A, B), lambda: product(A, B)),
    "bmm": ("bmm", torch.bmm, (BATCH, OTHER), lambda: product(BATCH, OTHER)),
    "mv": ("mv", torch.mv, (A, B[:, 0]), lambda: product(A, B[:, :1])[:, 0]),
    "dot": ("dot", torch.dot, (A[0], B[:, 0]), lambda: product(A[:1], B[:, :1]).reshape(())),
    "addmm": (
        "addmm",
        lambda a, b: torch.addmm(BIAS[:5], a, b, beta=2, alpha=0.5),
        (A, B),
        lambda: product(A, B) * 0.5 + BIAS[:5] * 2,
    ),
    "baddbmm": (
        "baddbmm",
        lambda a, b: torch.baddbmm(torch.full((5,), torch.nan), a, b, beta=0),
        (BATCH, OTHER),
        lambda: product(BATCH, OTHER),
    ),
    "addmv": (
        "addmv",
        lambda a, b: torch.addmv(BIAS[:3], a, b),
        (A, B[:, 0]),
        lambda: product(A, B[:, :1])[:, 0] + BIAS[:3],
    ),
    "einsum": ("einsum", lambda a, b: torch.einsum("ij,jk->ki", a, b), (A, B), lambda: product(A, B).T),
    "einsum, batched": (
        "einsum",
        lambda a, b: torch.einsum("bqhd,bkhd->bhqk", a, b),
        (draw(2, 3, 2, 4), draw(2, 5, 2, 4)),
        lambda: product(draw(2, 3, 2, 4).transpose(1, 2), draw(2, 5, 2, 4).permute(0, 2, 3, 1)),
    ),
    "einsum, implicit": (
        "einsum",
        lambda a, b: torch.einsum("...zj,...jb", a, b),
        (BATCH, OTHER),
        lambda: product(BATCH, OTHER).mT,
    ),
    "einsum, two sums": (
        "einsum",
        lambda a, b: torch.einsum("nab,cba->nc", [a, b]),
        (BATCH, draw(5, 4, 3)),
        lambda: product(BATCH.reshape(2, 12), draw(5, 4, 3).mT.reshape(5, 12).T),
    ),
    "conv2d": (
        "conv2d",
        lambda image, kernel: F.conv2d(image, kernel, BIAS, padding=1, groups=2),
        (IMAGE, KERNEL),
        lambda: convolved(KERNEL, IMAGE, 2, padding=1) + BIAS[:, None, None],
    ),
    "conv1d, same": (
        "conv1d",
        lambda image, kernel: F.conv1d(image, kernel, padding="same"),
        (IMAGE[0, :, :1].reshape(4, 6), KERNEL[:3].reshape(3, 4, 3)),
        lambda: convolved(KERNEL[:3].reshape(3, 4, 1, 3), F.pad(IMAGE[:1, :, :1], (1, 1)), 1)[0, :, 0],
    ),
    "scaled_dot_product_attention": (
        "scaled_dot_product_attention",
        F.scaled_dot_product_attention,
        (Q, K, V),
        attended,
    ),
}


@pytest.fixture(autouse=True)
def clean():
    """No mode is left behind, and compilers go on."""
    yield
    assert torch._dynamo.eval_frame._stance.stance == "default"
    assert not _get_current_function_mode_stack()


@pytest.mark.parametrize("name", CALLS)
def test_a_call_is_the_product_of_numpy_bit_for_bit_and_native_where_it_is_kept(name):
    function, call, operands, wanted = CALLS[name]
    native = call(*operands)
    model = swapped(call)
    found = model(*operands)
    assert torch.equal(found, wanted())
    assert found.shape == native.shape
    assert emul.swap_report(model).calls == (CallReport("inner", function, 0, "", 1),)
    kept = swapped(call, rules=(Rule("inner", types=(function,), keep=True), ALL), functional="refuse")
    assert torch.equal(kept(*operands), native)
    assert emul.swap_report(kept).calls == (CallReport("inner", function, None, "kept by rule 0", 1),)
    for rules, options, reason in (
        ((ALL,), {"functional": "report"}, "functional='report' emulates layers alone"),
        ((Rule("fc", forward=FORWARD),), {}, "no rule matches; give one that does, or one with keep=True"),
    ):
        told = swapped(call, rules=rules, **options)
        assert torch.equal(told(*operands), native)
        assert emul.swap_report(told).calls == (CallReport("inner", function, None, reason, 1),)
    refusing = swapped(call, rules=(Rule("fc", forward=FORWARD),), functional="refuse")
    with pytest.raises(
        ValueError, match=rf"module 'inner' \(Caller\) calls {function}, which .* no rule matches; give"
    ):
        refusing(*operands)


@pytest.mark.parametrize("name", ["linear", "matrix @ batch", "broadcast @", "einsum, batched", "bmm", "conv2d"])
def test_gradients_are_products_too(name):
    """In float64 with exact sums rounded once they agree with torch's; with bfloat16's they do not."""
    _, call, operands, _ = CALLS[name]
    exact = Product(accumulator=Accumulator(catalog.BINARY64))
    gradients = {}
    for label, rule in (("native", None), ("wide", exact), ("narrow", FORWARD)):
        leaves = [x.double().requires_grad_() if rule is not FORWARD else x.clone().requires_grad_() for x in operands]
        if name == "conv2d":
            run = lambda image, kernel: F.conv2d(image, kernel, padding=1, groups=2)  # noqa: E731
        else:
            run = call
        model = (
            Model(Caller(run))
            if rule is None
            else swapped(
                run,
                rules=(Rule(".*", forward=FORWARD if rule is FORWARD else exact, grad_input=rule, grad_weight=rule),),
            )
        )
        model(*leaves).square().sum().backward()
        gradients[label] = [leaf.grad.double() for leaf in leaves]
    for native, wide, narrow in zip(*gradients.values(), strict=True):
        torch.testing.assert_close(wide, native, rtol=1e-12, atol=1e-12)
        assert not torch.equal(narrow, native)
        torch.testing.assert_close(narrow, native, rtol=0.2, atol=0.5)


def test_a_parameter_has_the_role_of_the_weight_on_either_side():
    coarse = Quantizer(catalog.E2M1)
    rule = Rule(".*", types=("matmul", "einsum"), forward=Product(weight=coarse))
    for call in (lambda w, x: w @ x, lambda w, x: torch.einsum("ij,jk", w, x)):
        model = swapped(call, (3, 4), rules=(rule,))
        weight = torch.from_numpy(coarse.quantize(model.inner.given[0].detach().numpy()))
        assert torch.equal(model(B), (B.T @ weight.T).T)
    assert not torch.equal(swapped(lambda w, x: x @ w, (4, 5), rules=(rule,))(A), A @ draw(4, 5))


class Mixed(nn.Module):
    """Five sorts of calls, a layer, a module inside."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.weight = nn.Parameter(draw(4, 4))
        self.inner = Caller(lambda x: torch.bmm(x, x.mT))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.linear(self.fc(x), self.weight) @ self.weight
        x = torch.einsum("bij,kj->bik", x, self.weight) @ self.weight
        return self.inner(F.scaled_dot_product_attention(x, x, x))


def mixed() -> Mixed:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Mixed()


def test_a_mixed_model_is_emulated_call_by_call_and_says_so():
    model = emul.swap_(mixed(), Recipe((ALL,)))
    assert "products of functions: none seen, as the model has not run" in str(emul.swap_report(model))
    found = model(BATCH)
    x = product(BATCH, model.fc.weight.T) + model.fc.bias
    x = product(product(x, model.weight.T), model.weight)
    x = product(product(x, model.weight.T), model.weight)
    x = product(torch.softmax(product(x, x.mT) * 0.5, -1), x)
    assert torch.equal(found, product(x, x.mT))
    model(BATCH)
    report = emul.swap_report(model)
    assert report.calls == (
        CallReport("", "linear", 0, "", 2),
        CallReport("", "matmul", 0, "", 4),
        CallReport("", "einsum", 0, "", 2),
        CallReport("", "scaled_dot_product_attention", 0, "", 2),
        CallReport("inner", "bmm", 0, "", 2),
    )
    assert "(root), 4 calls of matmul: rule 0, forward and grad_input and grad_weight emulated\n" in str(report)
    assert emul.swap_report(model.inner).calls == report.calls[-1:]


class Count(TorchDispatchMode):
    """Matrix products that reach torch's own kernels."""

    products = ("mm", "addmm", "bmm", "baddbmm", "dot", "mv", "convolution", "_scaled_dot_product")

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func.__name__.startswith(self.products) or "scaled_dot_product" in func.__name__
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("functional", ["emulate", "report"])
def test_no_native_product_is_silent(functional):
    """Counted where none can hide, below torch's dispatcher: those of a forward are those of the report."""
    model = mixed()
    model.planted = Caller(lambda x: torch.tensordot(x, x, 1))
    model.inner.call = lambda x: model.planted(torch.bmm(x, x.mT)[0])
    emul.swap_(model, Recipe((ALL,)), functional=functional)
    with Count() as native, torch.no_grad():
        model(BATCH)
    calls = [call for call in emul.swap_report(model).calls if call.rule is None]
    assert ("planted", "tensordot") in [(call.module, call.function) for call in calls]
    products = sum(call.count * (2 if call.function.startswith("scaled") else 1) for call in calls)
    assert native.count == products == {"emulate": 1, "report": 8}[functional]


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


def test_a_pickle_is_a_swapped_model(tmp_path):
    model = emul.swap_(nn.Sequential(nn.Linear(4, 4), Attend()), Recipe((DRAWN,), 5))
    train(model, range(2))
    twin = pickle.loads(pickle.dumps(model))
    torch.save(model, tmp_path / "model.pt")
    third = torch.load(tmp_path / "model.pt", weights_only=False)
    wanted = train(model, range(2, 3))
    assert same(train(twin, range(2, 3)), wanted)
    assert same(train(third, range(2, 3)), wanted)
    assert emul.swap_report(twin).calls == emul.swap_report(model).calls
    emul.restore_(twin)
    assert not any(module._forward_pre_hooks for module in twin.modules())


class Attend(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(x @ x.mT, -1) @ x


def test_calls_go_on_where_another_recipe_takes_over():
    one, other = Recipe((DRAWN,), 5), Recipe((Rule("nowhere", keep=True), DRAWN), 5)
    model, straight = (emul.swap_(mixed(), one, functional="refuse", replica=2) for _ in range(2))
    train(model, range(2))
    train(straight, range(2))
    emul.switch_(emul.switch_(model, other), one)
    assert same(train(model, range(2, 4)), train(straight, range(2, 4)))
    watch = model.fc.emulation.watch
    assert (watch.functional, watch.replica, len(watch.recipe.rules)) == ("refuse", 2, 1)
    with pytest.raises(ValueError, match="no layer of Mixed is emulated"):
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
        with pytest.raises(RuntimeError, match="Unexpected key"):
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


def test_gradient_checkpointing_gives_the_same_bits():
    plain, checkpointed = (emul.swap_(mixed(), Recipe((DRAWN,), 5)) for _ in range(2))
    wanted = train(plain, range(3))
    for reentrant in (False, True):
        twin = copy.deepcopy(checkpointed)

        def run(x: torch.Tensor, twin: nn.Module = twin, reentrant: bool = reentrant) -> torch.Tensor:
            output: torch.Tensor = checkpoint(twin, x.clone().requires_grad_(), use_reentrant=reentrant)
            return output

        assert same(train(twin, range(3), run), wanted)


def test_what_cannot_be_emulated_is_told_with_a_remedy():
    cases = {
        "tensordot": (lambda x: torch.tensordot(x, x.T, 1), "write it with @ or einsum"),
        "lstm": (nn.LSTM(4, 2), "write its step with linear layers"),
        "conv_transpose2d": (
            lambda x: F.conv_transpose2d(x[None, None], x[None, None]),
            "use torch.nn.functional.interp",
        ),
        "multi_head_attention_forward": (Own(4, 2), "use a torch.nn.MultiheadAttention or scaled_dot_product"),
        "einsum": (lambda x: torch.einsum("ij,kj,kl->il", x, x, x), "an einsum of 3 operands is not one product"),
        "matmul": (lambda x: x.long() @ x.long().T, "its operands are torch.int64, whose products are exact: change"),
    }
    for function, (call, reason) in cases.items():
        model = Model(call if isinstance(call, nn.Module) else Caller(call))
        emul.swap_(model, Recipe((ALL,)))
        model(A)
        (call_report,) = [found for found in emul.swap_report(model).calls if found.rule is None]
        assert (call_report.module, call_report.function) == ("inner", function)
        assert call_report.native.startswith(reason)
        assert call_report.native.endswith("a rule with keep=True")
        assert f"inner, 1 call of {function}: native with their gradients, " in str(emul.swap_report(model))
        emul.restore_(model)
        emul.swap_(model, Recipe((ALL,)), functional="refuse")
        with pytest.raises(ValueError, match=rf"calls {function}, which is native and functional='refuse': {reason}"):
            model(A)


class Own(nn.MultiheadAttention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x, x, x)[0]


EINSUMS = {
    "ii,ij->ij": "it takes a diagonal",
    "ij,jk->k": r"it sums over \['i'\]",
    "ij,jk->j": "it has no sum over a letter of both operands",
    "ij,ij->ij": "it has no sum over a letter of both operands",
    "ij,kj->": r"it sums over \['i', 'k'\]",
    "ij->ji": "an einsum of 1 operands",
}


@pytest.mark.parametrize("equation", EINSUMS)
def test_an_einsum_that_is_no_product_of_matrices_is_told(equation):
    square = draw(4, 4)
    operands = (square,) * (1 + ("," in equation))
    model = swapped(lambda *given: torch.einsum(equation, *given))
    assert torch.equal(model(*operands), torch.einsum(equation, *operands))
    assert re.match(EINSUMS[equation], emul.swap_report(model).calls[0].native)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda x: torch.mm(x, x.T, out=torch.empty(3, 3)), r"calls mm with arguments that emul does not take, .*out"),
        (
            lambda x: x.half() @ x.half().T,
            "an operand of matmul in module 'inner' .Caller. is torch.float16: emul takes",
        ),
        (lambda x: F.linear(x * torch.nan, x), "forward of layer 'inner.linear.0'"),
    ],
)
def test_refused_calls(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        swapped(call)(A)


@pytest.mark.parametrize(
    "call", [lambda x: x @ x, lambda x: torch.mm(x, x), lambda x: F.linear(x, x.T), lambda x: torch.bmm(x, x)]
)
def test_wrong_shapes_are_torchs_own_error(call):
    with pytest.raises(RuntimeError, match=r"shape|size|must be|3D"):
        swapped(call)(A)


def test_a_rule_that_names_a_function_without_emulation_is_refused():
    rules = (Rule(".*", types=("tensordot", "Linear"), forward=FORWARD),)
    model = swapped(lambda x: torch.tensordot(x, x.T, 1), rules=rules)
    with pytest.raises(ValueError, match="calls tensordot, which is native and rule 0 names it: write it with @"):
        model(A)


def test_a_model_of_functions_alone_needs_a_rule_that_names_one():
    with pytest.raises(ValueError, match="functions that its modules call need a rule whose types name them, such as"):
        emul.swap_(Caller(torch.mm), Recipe((ALL,)))
    model = emul.swap_(Caller(torch.mm), Recipe((Rule(".*", types=("mm",), forward=FORWARD),)))
    assert torch.equal(model(A, B), product(A, B))
    assert emul.swap_report(model).unused == ()
    with pytest.raises(ValueError, match="Caller is swapped already: call emul"):
        emul.swap_(model, Recipe((ALL,)))
    emul.restore_(model)
    assert torch.equal(model(A, B), A @ B)
    named = emul.swap_(Mixed(), Recipe((Rule("", types=("Mixed",), forward=FORWARD),)))
    named(BATCH)
    assert {(call.module, call.rule) for call in emul.swap_report(named).calls} == {
        ("", 0),
        ("fc", None),
        ("inner", None),
    }


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"functional": "maybe"}, "functional = 'maybe': give 'emulate', 'report', 'refuse'"),
        ({"replica": -1}, "replica = -1: give the number of this process"),
        ({"replica": True}, "replica = True: give the number"),
    ],
)
def test_refused_options(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        emul.swap_(mixed(), Recipe((ALL,)), **options)


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
    gc.collect()
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


#: What has such a name and no product of matrices.
PLAIN = re.compile(
    r".*(backward|quantize|pack_.*matrix|convert|sparse_(mask|dim|resize|coo|cs|bs|compressed)|to_sparse|sparse_sum|softmax"
    r"|grid_sampl|upsample|command|gamma|dist$|distance|hamming|histogram|meshgrid|flatten|cumm|comm|norm|rank|is_|_combination"
    r"|interpolate|cos|matrix_exp|is_sparse|nested|broadcast|prod$|search|affine_quant).*"
)


def test_every_function_of_torch_with_the_name_of_a_product_is_known():
    named = re.compile(
        r"mm(?!on)|mv(?!l)|matmul|matrix|conv|linear|dot|einsum|atten|lstm|gru|rnn|cdist|inner|bag|kron|cov|corr"
    )
    found = {function.__name__ for functions in get_overridable_functions().values() for function in functions}
    unknown = {name for name in found if named.search(name) and product_name(named_like(name)) is None}
    assert {name for name in unknown if not PLAIN.fullmatch(name)} == set()
    assert set(EMULATED) == set(ADAPTERS)
    assert not set(EMULATED) & set(NATIVE)


def named_like(name: str):
    def function() -> None: ...

    function.__name__ = name
    return function
