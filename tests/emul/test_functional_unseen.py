"""What computes where a function mode does not see: operators of other libraries, scripted functions, torch.cond."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._higher_order_ops import scan, while_loop

import emul
from emul import Recipe, Rule
from emul.functional.names import product_name
from emul.functional.watch import REST
from emul.swap import CallReport
from numerics import Quantizer, catalog
from tests.emul.callers import ALL, A, B, product, swapped

SQUARE, NARROW = A @ A.T, Quantizer(catalog.BFLOAT16)
FORWARD = (
    "what it computes is not seen: write it with torch's functions, which can be emulated, or a rule with keep=True"
)
BOTH = FORWARD.replace("it computes", "it and its backward compute")
GIVEN = "what the functions given to it compute is not seen: write it with Python's own if, for and while, which can"
SCRIPTED = (
    "what it computes outside Python is not seen: call the function that it was scripted or traced from, which can"
)


@pytest.fixture(scope="module")
def operator():
    """Operators of another library: by a kernel for the CPU alone, of functions of torch's, and with a gradient of its own."""
    library = torch.library.Library("emul_tests", "FRAGMENT")
    kernels = {
        "twice": (lambda x: x + x, "CPU"),
        "squared": (lambda x: x @ x.mT, "CPU"),
        "composed": (lambda x: x @ x.mT, "CompositeImplicitAutograd"),
        "explicit": (lambda x: x @ x.mT, "CompositeExplicitAutograd"),
    }
    for name, (kernel, key) in kernels.items():
        library.define(f"{name}(Tensor x) -> Tensor")
        library.impl(name, kernel, key)
    torch.library.register_autograd("emul_tests::twice", lambda ctx, gradient: 2 * gradient, lib=library)
    yield torch.ops.emul_tests
    library._destroy()


def calls(model: nn.Module) -> list[tuple[str, int, str]]:
    return [(call.function, call.count, call.native) for call in emul.swap_report(model).calls]


def test_an_operator_with_a_gradient_of_its_own_is_told(operator):
    model = swapped(lambda x: operator.twice(x) + operator.twice.default(x))
    x = A.clone().requires_grad_()
    model(x).sum().backward()
    assert torch.equal(x.grad, torch.full_like(A, 4))
    assert calls(model) == [("emul_tests::twice", 2, BOTH)]
    refusing = swapped(operator.twice, functional="refuse")
    with pytest.raises(
        ValueError, match="calls emul_tests::twice, which is native and functional='refuse': what it and"
    ):
        refusing(x)
    rules = (Rule(".*", types=("emul_tests::twice",), keep=True), ALL)
    assert torch.equal(swapped(operator.twice, rules=rules, functional="refuse")(x), x + x)


@pytest.mark.parametrize("name", ["squared", "composed", "explicit"])
def test_an_operator_without_a_gradient_is_told_too_by_its_name(operator, name):
    found = getattr(operator, name)
    model = swapped(lambda x: found(x) + found.default(x))
    assert torch.equal(model(A), SQUARE + SQUARE)
    with torch.no_grad():
        model(A)
    assert calls(model) == [(f"emul_tests::{name}", 4, FORWARD)]
    with pytest.raises(ValueError, match=f"module 'inner' .Caller. calls emul_tests::{name}, which is native and func"):
        swapped(found, functional="refuse")(A)
    kept = (Rule("inner", types=(f"emul_tests::{name}",), keep=True), ALL)
    model = swapped(found, rules=kept, functional="refuse")
    assert torch.equal(model(A), SQUARE)
    assert calls(model) == [(f"emul_tests::{name}", 1, "kept by rule 0")]


def test_what_torch_itself_moves_and_records_is_not_told():
    def call(x: torch.Tensor) -> torch.Tensor:
        with torch.profiler.record_function("part"):
            x = torch.ops.aten.relu(torch.ops.prims.sin(emul.quantize(x, NARROW)))
        return torch.ops._c10d_functional.wait_tensor(x)

    model = swapped(call)
    model(A)
    assert calls(model) == []


CONTROL = {
    "cond": lambda x: torch.cond(x.sum() > 0, lambda a: a @ a, lambda a: a @ a + 1, (x,)),
    "while_loop": lambda x: while_loop(lambda i, a: i < 2, lambda i, a: (i + 1, a @ a), (torch.tensor(0), x))[1],
    "scan": lambda x: scan(lambda total, a: (total @ a, total.clone()), x, torch.stack([x, x]), dim=0)[0],
}


@pytest.mark.parametrize("name", CONTROL)
def test_functions_given_to_control_flow_are_told(name):
    """torch.cond is no condition number, and its products are no silent ones."""
    native = CONTROL[name](SQUARE)
    model = swapped(CONTROL[name])
    torch.testing.assert_close(model(SQUARE), native)
    ((function, count, reason),) = calls(model)
    assert (function, count) == (f"higher_order::{name}", 1)
    assert reason.startswith(GIVEN)
    with pytest.raises(ValueError, match=f"calls higher_order::{name}, which is native and functional='refuse'"):
        swapped(CONTROL[name], functional="refuse")(SQUARE)
    rules = (Rule(".*", types=(f"higher_order::{name}",), keep=True), ALL)
    swapped(CONTROL[name], rules=rules, functional="refuse")(SQUARE)


def squared(x: torch.Tensor) -> torch.Tensor:
    return x @ x.mT


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_scripted_and_traced_functions_are_told():
    scripted, traced = torch.jit.script(squared), torch.jit.trace(squared, (A,))
    model = swapped(lambda x: scripted(x) + traced(x) + squared(x))
    assert torch.equal(model(A), SQUARE + SQUARE + product(A, A.T))
    found = emul.swap_report(model).calls
    assert found[0].native.startswith(SCRIPTED)
    assert found == (
        CallReport("inner", "ScriptFunction", None, found[0].native, 2),
        CallReport("inner", "matmul", 0, "", 1),
    )
    assert emul.swap_report(copy.deepcopy(model)).calls == found
    scripted(A)  # in no forward
    assert emul.swap_report(model).calls == found
    with pytest.raises(ValueError, match="calls ScriptFunction, which is native and functional='refuse': what it comp"):
        swapped(scripted, functional="refuse")(A)
    kept = swapped(scripted, rules=(Rule(".*", types=("ScriptFunction",), keep=True), ALL), functional="refuse")
    assert torch.equal(kept(A), SQUARE)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_a_scripted_module_is_refused_where_native_products_are():
    model = nn.Sequential(torch.jit.script(nn.Linear(4, 4)), nn.Linear(4, 4))
    with pytest.raises(
        ValueError, match=r"module '0' .RecursiveScriptModule. is native and functional='refuse': it runs"
    ):
        emul.swap_(model, Recipe((ALL,)), functional="refuse")
    with pytest.raises(
        ValueError, match=r"no layer of RecursiveScriptModule is emulated .*: give the module that it was"
    ):
        emul.swap_(model[0], Recipe((ALL,)))
    emul.restore_(emul.swap_(model, Recipe((ALL,))))
    emul.swap_(model, Recipe((Rule("0", keep=True), ALL)), functional="refuse")
    model(A)


ALGEBRA = {
    "pca_lowrank": lambda w, x: torch.pca_lowrank(w, 2)[0],
    "svd_lowrank": lambda w, x: torch.svd_lowrank(w, 2)[0],
    "cosine_similarity": lambda w, x: F.cosine_similarity(x, x),
    "cosine_embedding_loss": lambda w, x: F.cosine_embedding_loss(x, x, torch.ones(3)),
    "fft_rfft": lambda w, x: torch.fft.rfft(x),
    "fft_ifft2": lambda w, x: torch.fft.ifft2(x),
    "stft": lambda w, x: torch.stft(x.reshape(-1), 4, window=torch.ones(4), return_complex=True),
    "_fft_r2c": lambda w, x: torch.ops.aten._fft_r2c(torch.fft.fftshift(x), [0], 0, True),
    "cond": lambda w, x: torch.linalg.cond(w),
}


@pytest.mark.parametrize("name", ALGEBRA)
def test_products_under_other_names_are_told(name):
    model = swapped(ALGEBRA[name], (4, 4))
    model(A)
    ((function, count, reason),) = calls(model)
    assert (function, count) == (name, 1)
    assert reason.endswith(("with @, which can be emulated, or a rule with keep=True", f"einsum, {REST}"))


class Doubled(torch.Tensor):
    """Of its products by @ twice what another would be; all else is a tensor's."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if product_name(func) != "matmul":
            return super().__torch_function__(func, types, args, kwargs or {})
        return 2 * torch.mm(*(x.as_subclass(torch.Tensor) for x in args))


class Told(torch.Tensor):
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return NotImplemented


def test_a_tensor_with_functions_of_its_own_has_them_and_their_products_are_seen():
    for kind, call, seen, factor in (
        (Doubled, lambda x: x @ x.mT, "mm", 2),
        (Doubled, lambda x: torch.mm(x, x.mT), "mm", 1),
        (nn.Parameter, lambda x: x @ x.mT, "matmul", 1),
    ):
        model = swapped(lambda x, kind=kind, call=call: call(x.as_subclass(kind) if kind is Doubled else kind(x)))
        found = model(A)
        assert type(found) is (Doubled if (kind, factor) == (Doubled, 1) else torch.Tensor)
        assert torch.equal(found.as_subclass(torch.Tensor), factor * product(A, A.T))
        assert calls(model) == [(seen, 1, "")]
    with pytest.raises(TypeError, match="Multiple dispatch failed"):
        swapped(lambda x: torch.mm(x, x.as_subclass(Told)))(A)


def nested(layout: torch.layout) -> torch.Tensor:
    return torch.nested.nested_tensor([A, A[:2]], layout=layout)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
def test_nested_tensors_are_refused_with_a_remedy(layout):
    pad = r"nested tensor: pad it with torch\.nested\.to_padded_tensor\(x, 0\)"
    x = nested(layout)
    for call in (lambda: emul.quantize(x, NARROW), lambda: emul.matmul(x, B, ALL.forward.accumulator)):
        with pytest.raises(ValueError, match=pad):
            call()
    layer = emul.swap_(nn.Sequential(nn.Linear(4, 4)), Recipe((ALL,)))
    with pytest.raises(ValueError, match=f"the input of Linear '0' is a {pad}"):
        layer(x)
    for call in (lambda y: F.linear(y, B.T), lambda y: F.scaled_dot_product_attention(y, y, y)):
        model = swapped(call)
        with pytest.raises(ValueError, match=pad):
            model(x)
    kept = swapped(lambda y: F.linear(y, B.T), rules=(Rule("inner", keep=True), ALL))
    assert kept(x).is_nested
