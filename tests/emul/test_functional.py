"""Products that a forward calls for by functions: emulated, kept, reported or refused, never silently native."""

import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import _get_current_function_mode_stack, get_overridable_functions
from torch.utils._python_dispatch import TorchDispatchMode

import emul
from emul import Product, Recipe, Rule
from emul.functional.names import EMULATED, FOREIGN, NATIVE, product_name
from emul.functional.products import ADAPTERS
from emul.swap import CallReport
from numerics import Accumulator, Quantizer, catalog
from tests.emul.callers import (
    ALL,
    BATCH,
    FORWARD,
    OTHER,
    A,
    B,
    Caller,
    K,
    Mixed,
    Model,
    Q,
    V,
    W,
    draw,
    mixed,
    product,
    swapped,
)

IMAGE, KERNEL, BIAS = draw(2, 4, 5, 6), draw(6, 2, 3, 2), draw(6, seed=2)


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
    "grouped_mm": (
        "grouped_mm",
        lambda a, b: F.grouped_mm(a, b.mT, offs=torch.tensor([1, 3], dtype=torch.int32)),
        (A, draw(2, 4, 4)),
        lambda: torch.cat([product(A[:1], draw(2, 4, 4)[0].T), product(A[1:], draw(2, 4, 4)[1].T)]),
    ),
    "grouped_mm, batches": (
        "grouped_mm",
        F.grouped_mm,
        (draw(2, 3, 4), draw(2, 4, 4)),
        lambda: product(draw(2, 3, 4), draw(2, 4, 4)),
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


@pytest.mark.parametrize("name", CALLS)
def test_what_a_call_gives_may_be_changed_in_place(name):
    _, call, operands, _ = CALLS[name]
    found = []
    for change in (torch.relu, torch.relu_):
        leaves = [x.clone().requires_grad_() for x in operands]
        output = change(swapped(call)(*leaves))
        found.append([output, *torch.autograd.grad(output.sum(), leaves)])
    assert all(map(torch.equal, *found))


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


VIEWS = {
    "a view": lambda w, x: w.T @ x,
    "a view of a part": lambda w, x: w[:2].mT @ x[:2],
    "a batch of views": lambda w, x: w.T.expand(2, 4, 3) @ x.expand(2, 3, 5),
    "a batch beside a matrix of data": lambda w, x: x.T @ w.expand(2, 3, 4),
    "an einsum": lambda w, x: torch.einsum("ij,jk", w.T, x),
}


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("given", ["parameters", "others", "views of others", "inference"])
def test_what_is_a_view_of_a_parameter_or_in_its_place_has_the_role_of_the_weight(name, given):
    rule = Rule(".*", types=("matmul", "einsum"), forward=Product(weight=Quantizer(catalog.E2M1)))
    call, x = VIEWS[name], draw(3, 5, seed=2)
    model = swapped(call, (3, 4), rules=(rule,))
    weight = model.inner.given[0].detach().clone()
    rounded = torch.from_numpy(Quantizer(catalog.E2M1).quantize(weight.numpy()))
    replaced = torch.stack([weight, weight])[0] if given == "views of others" else weight
    if given in ("parameters", "inference"):
        with torch.inference_mode(given == "inference"):
            found = model(x)
    else:  # as a mean of weights is tried
        found = torch.func.functional_call(model, {"inner.given.0": replaced}, (x,))
    torch.testing.assert_close(found, call(rounded, x), rtol=1e-6, atol=1e-6)
    assert not torch.allclose(found, call(weight, x), rtol=1e-3)


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
    assert "(root), 4 calls of matmul: rule 0, forward, grad_input and grad_weight emulated\n" in str(report)
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
        "grouped_mm": (
            lambda x: F.grouped_mm(draw(4, 8), draw(8, 4), offs=torch.tensor([3, 8], dtype=torch.int32)),
            "its groups are not rows of the first operand",
        ),
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
        (
            lambda x: torch.fft.fft(x) @ torch.fft.fft(x.T),
            r"an operand of matmul in module 'inner' .Caller. is torch.complex64: .*; take x\.real and x\.imag, its",
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


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x.numpy() @ x.T,
        lambda x: [[1.0] * 3] @ x,
        lambda x: torch.einsum("ij,jk->ik", x.T.numpy(), x),
        lambda x: F.linear(x, x, x[0, :2]),
        lambda x: F.linear(x, x, x[0, :3].double()),
        lambda x: torch.addmm(torch.ones(2, 3, 3), x, x.T),
        lambda x: torch.addmm(torch.ones(3, 3, dtype=torch.int64), x, x.T),
        lambda x: torch.baddbmm(torch.tensor(1), x[None], x.T[None]),
        lambda x: F.conv1d(x[None], torch.ones(2, 3, 2), torch.ones(1)),
        lambda x: F.conv1d(x[None], torch.ones(2, 3, 2), padding="same", stride=2),
        lambda x: F.conv1d(x[None], torch.ones(2, 3, 2), padding="full"),
        lambda x: F.conv1d(x[None], torch.ones(2, 3, 2), padding=(1, 1)),
    ],
)
def test_what_torch_refuses_is_refused_in_its_words(call):
    with pytest.raises((RuntimeError, TypeError)) as native:
        call(A)
    with pytest.raises(native.type, match=re.escape(str(native.value))):
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


#: What has such a name and no product of matrices.
PLAIN = re.compile(
    r".*(backward|quantize|pack_.*matrix|convert|sparse_(mask|dim|resize|coo|cs|bs|compressed)|to_sparse|sparse_sum|softmax"
    r"|grid_sampl|upsample|command|gamma|dist$|distance|hamming|histogram|meshgrid|flatten|cumm|comm|norm|rank|is_|_combination"
    r"|interpolate|cos|matrix_exp|is_sparse|nested|broadcast|prod$|search|affine_quant).*"
)


def test_every_function_of_torch_with_the_name_of_a_product_is_known():
    named = re.compile(
        r"mm(?!on)|mv(?!l)|matmul|matrix|conv|linear|dot|einsum|atten|lstm|gru|rnn|cdist|inner|bag|kron|cov|corr|outer|ger$|addr|householder|orgqr|ormqr"
        r"|(?<!re)solve|(?<!erf)(?<!slice_)inv(?!ert)|chol|svd|qr(?!t)|eig|det(?!ach)|lstsq|(^|_)lu($|_(?!unpack))|ldl|rank|cond|(?<!de)norm$"
    )
    found = {function.__name__ for functions in get_overridable_functions().values() for function in functions}
    unknown = {name for name in found if named.search(name) and product_name(named_like(name)) is None}
    assert {name for name in unknown if not PLAIN.fullmatch(name)} == set()
    assert set(EMULATED) == set(ADAPTERS)
    assert product_name(torch.ops.quantized.linear) == FOREIGN
    assert product_name(torch.ops.emul.matmul) is None
    assert not set(EMULATED) & set(NATIVE)


def named_like(name: str):
    def function() -> None: ...

    function.__name__ = name
    return function
