"""Every operator in all its forms: opcheck, compiled graphs, vmap and torch.func, modes and profilers, autocast."""

import shutil

import pytest
import torch
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import emul
import emul.chain
import emul.codes
import emul.luq
import emul.sparsity
from emul.operators import library
from numerics import Accumulator, Quantizer, Rounding, catalog, parse_format, spec

E4M3, SR = Quantizer(catalog.E4M3), Quantizer(catalog.E5M2, Rounding.SR)
MX = Quantizer(parse_format("mxfp4_e2m1"))
NV = Quantizer(parse_format("nvfp4"))
SUMS = Accumulator(
    parse_format("lba_m7e4_b10_paper"),
    Rounding.RTZ,
    product=Quantizer(parse_format("lba_m7e4_b12_paper"), Rounding.RTZ),
    chunk=4,
)
NOISY = Accumulator(catalog.BINARY16, Rounding.SR, random_bits=8)


def values(*shape, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=dtype)


X = values(4, 32)
WORDS = torch.arange(128).reshape(4, 32) % 256
ALPHA = torch.tensor(0.125, dtype=torch.float64)
#: Arguments after the tensor.
CASES = {
    "encode": (spec.dumps(E4M3), -1, 3, 0),
    "encode SR": (spec.dumps(SR), 1, 3, -(2**40)),
    "encode_blocks": (spec.dumps(NV), 0, 0, 0),
    "luq_quantize": (7, None, None, None, 32, 1, 0, 0),
    "luq_quantize words": (7, ALPHA, None, WORDS, 8, None, 0, 0),
    "mvue": (2, 4, "exact", -1, None, 32, -1, 0, 0),
    "mvue words": (1, 2, "exact", 0, WORDS[:2], 8, None, 0, 0),
    "top_n": (2, 4, 0),
    "transposable_mask": (2, 4, "exact"),
}


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_opcheck(case, requires_grad):
    operator = getattr(torch.ops.emul, case.split()[0]).default
    torch.library.opcheck(operator, (X.clone().requires_grad_(requires_grad), *CASES[case]))
    strided = X.mT.contiguous().mT.requires_grad_(requires_grad)
    torch.library.opcheck(operator, (strided, *CASES[case]), test_utils=("test_schema", "test_faketensor"))


def test_opcheck_of_decoding():
    torch.library.opcheck(torch.ops.emul.decode.default, (emul.encode(X, E4M3), spec.dumps(E4M3), torch.float64))
    parts = emul.encode(X, NV)
    torch.library.opcheck(torch.ops.emul.decode_blocks.default, (*parts, spec.dumps(NV), torch.float32))


def everything(x, w):
    """All operators in one graph."""
    coded = emul.decode(emul.encode(x, E4M3), E4M3) + emul.decode(emul.encode(x, NV), NV)
    drawn = emul.luq.quantize(x, seed=3) + emul.luq.quantize(x, alpha=0.25, seed=2**63) + emul.quantize(x, SR, seed=5)
    masked = emul.sparsity.top_n(x) + emul.sparsity.mvue(x, seed=1)
    kept = w * emul.sparsity.transposable_mask(w)
    narrow = emul.quantize(x.bfloat16(), E4M3)
    product = emul.matmul(emul.quantize(x, E4M3), emul.quantize(kept, E4M3), SUMS)
    return coded + drawn + masked + narrow.float(), torch.relu(product)


@pytest.mark.parametrize("dynamic", [None, True])
def test_a_compiled_graph_of_all_operators_gives_the_eager_bits(dynamic):
    torch._dynamo.reset()
    compiled = torch.compile(everything, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    for batch in (4, 6):
        outcomes = []
        for function in (everything, compiled):
            x, w = values(batch, 32).requires_grad_(), values(32, 8).requires_grad_()
            results = function(x, w)
            sum(result.sum() for result in results).backward()
            outcomes.append([*results, x.grad, w.grad])
        for mine, theirs in zip(*outcomes, strict=True):
            assert torch.equal(mine, theirs) and torch.equal(mine.signbit(), theirs.signbit())


@pytest.mark.nightly
@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor wants a C++ compiler, g++")
@pytest.mark.filterwarnings("ignore")  # torch's own, of what it finds on a machine
def test_inductor_gives_the_eager_bits():
    torch._dynamo.reset()

    def step(x, w):
        return torch.relu(emul.matmul(emul.quantize(x, E4M3), emul.quantize(w, E4M3), SUMS))

    compiled = torch.compile(step, fullgraph=True, backend="inductor")
    outcomes = []
    for function in (step, compiled):
        x, w = values(4, 6).requires_grad_(), values(6, 5).requires_grad_()
        result = function(x, w)
        result.sum().backward()
        outcomes.append((result, x.grad, w.grad))
    assert torch.equal(outcomes[0][0], outcomes[1][0])
    for mine, theirs in zip(*outcomes, strict=True):  # gradients are torch's own products
        torch.testing.assert_close(mine, theirs)


def a_loop(function, operands, places):
    size = next(x.shape[d] for x, d in zip(operands, places, strict=True) if d is not None)
    slices = [
        function(*(x if d is None else x.select(d, i) for x, d in zip(operands, places, strict=True)))
        for i in range(size)
    ]
    if isinstance(slices[0], tuple):
        return tuple(torch.stack(parts) for parts in zip(*slices, strict=True))
    return torch.stack(slices)


Y = values(3, 4, 32)
A, B = emul.quantize(values(3, 4, 5), E4M3), emul.quantize(values(3, 5, 2), E4M3)
BATCHED = {
    "quantize": (lambda x: emul.quantize(x, E4M3), (Y,), (1,)),
    "quantize, drawn": (lambda x: emul.quantize(x, SR, seed=1), (Y,), (1,)),
    "blocks along 0": (lambda x: emul.quantize(x, Quantizer(MX.fmt, axis=0)), (Y,), (2,)),
    "a tensor scale": (lambda x: emul.quantize(x, NV), (Y * torch.tensor([1e-3, 1.0, 1e3])[:, None, None],), (0,)),
    "codes": (lambda x: emul.encode(x, E4M3), (Y,), (2,)),
    "codes, drawn": (lambda x: emul.encode(x, SR, seed=1), (Y,), (0,)),
    "codes of blocks": (lambda x: emul.encode(x, NV), (Y,), (1,)),
    "there and back": (lambda x: emul.decode(emul.encode(x, E4M3), E4M3), (Y,), (1,)),
    "blocks there and back": (lambda x: emul.decode(emul.encode(x, NV), NV), (Y,), (1,)),
    "LUQ": (lambda x: emul.luq.quantize(x, seed=1), (Y,), (1,)),
    "LUQ, words": (lambda x, w: emul.luq.quantize(x, words=w, random_bits=8), (Y, WORDS.expand(3, 4, 32)), (0, 0)),
    "mvue": (lambda x: emul.sparsity.mvue(x, seed=1), (Y,), (1,)),
    "top_n along 0": (lambda x: emul.sparsity.top_n(x, axis=0), (Y,), (2,)),
    "transposable": (lambda x: emul.sparsity.transposable_mask(x), (Y,), (0,)),
    "products": (lambda a, b: emul.matmul(a, b, SUMS), (A, B), (0, 0)),
    "one b": (lambda a, b: emul.matmul(a, b, SUMS), (A.movedim(0, 1), B[0]), (1, None)),
    "one a": (lambda a, b: emul.matmul(a, b, SUMS), (A[0], B), (None, 0)),
    "more dimensions": (lambda a, b: emul.matmul(a, b, SUMS), (A.expand(2, 3, 4, 5), B), (0, None)),
    "fewer dimensions": (lambda a, b: emul.matmul(a, b, SUMS), (A, B.expand(2, 3, 5, 2)), (0, 1)),
    "products, drawn": (lambda a, b: emul.matmul(a, b, NOISY, seed=1), (A, B), (0, 0)),
    "a gradient each": (torch.func.grad(lambda a, b: (emul.matmul(a, b, SUMS) ** 2).sum()), (A, B), (0, 0)),
    "a gradient of masks": (torch.func.grad(lambda x: (emul.sparsity.top_n(x) ** 2).sum()), (Y,), (1,)),
    "a gradient of LUQ": (torch.func.grad(lambda x: (emul.luq.quantize(x, seed=1) ** 2).sum()), (Y,), (1,)),
}


@pytest.mark.parametrize("case", BATCHED)
def test_vmap_gives_what_a_loop_gives(case):
    function, operands, places = BATCHED[case]
    found, wanted = torch.vmap(function, in_dims=places)(*operands), a_loop(function, operands, places)
    for mine, theirs in zip(*((x if isinstance(x, tuple) else (x,)) for x in (found, wanted)), strict=True):
        assert mine.dtype == theirs.dtype and torch.equal(mine, theirs)


def test_vmap_of_no_slices_and_of_slices_of_slices():
    assert torch.vmap(lambda x: emul.quantize(x, SR, seed=1))(torch.zeros(0, 3)).shape == (0, 3)
    assert [part.shape for part in torch.vmap(lambda x: emul.encode(x, NV))(torch.zeros(0, 32))] == [
        (0, 32),
        (0, 2),
        (0,),
    ]
    twice = torch.vmap(torch.vmap(lambda x: emul.quantize(x, SR, seed=1)))(Y)
    assert torch.equal(twice, torch.stack([a_loop(lambda x: emul.quantize(x, SR, seed=1), (y,), (0,)) for y in Y]))


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # which torch.func.jvp calls
def test_derivatives_of_torch_func():
    x = torch.tensor([0.3, -1.7, 1000.0])
    assert torch.equal(torch.func.jacrev(lambda x: emul.quantize(x, E4M3))(x), torch.eye(3))
    with pytest.raises(NotImplementedError, match=r"emul::quantize has no forward-mode gradient: use backward\(\)"):
        torch.func.jvp(lambda x: emul.quantize(x, E4M3), (x,), (x,))
    with pytest.raises(NotImplementedError, match=r"emul::quantize has no forward-mode gradient: use backward\(\)"):
        torch.func.hessian(lambda x: emul.quantize(x, E4M3).square().sum())(x)
    with forward_ad.dual_level():
        for primal in (x, x.clone().requires_grad_()):
            dual = forward_ad.make_dual(primal, torch.ones(3))
            with pytest.raises(NotImplementedError, match="no forward-mode gradient"):
                emul.quantize(dual, E4M3)
        assert torch.equal(emul.quantize(x, E4M3), emul.quantize(x.clone(), E4M3))


class Seen(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(str(function))
        return function(*args, **(kwargs or {}))


class Called(TorchFunctionMode):
    names = ()

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.names = (*self.names, str(function))
        return function(*args, **(kwargs or {}))


def test_who_watches_sees_the_operators():
    """A small tensor's call goes past the dispatcher, but not past anybody who looks."""
    a, b = A[0], B[0]
    with Seen() as mode:
        rounded, product = emul.quantize(a, E4M3), emul.matmul(a, b, SUMS)
    assert mode.names == ["emul.quantize.default", "emul.matmul.default"]
    assert torch.equal(rounded, emul.quantize(a, E4M3)) and torch.equal(product, emul.matmul(a, b, SUMS))
    with Called() as called:
        emul.quantize(a, E4M3)
    assert any("emul.quantize" in name for name in called.names)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        emul.matmul(a, b, SUMS)
    assert any(event.key == "emul::matmul" for event in profile.key_averages())
    traced = make_fx(lambda x: emul.quantize(x, E4M3))(a)
    assert torch.ops.emul.quantize.default in {node.target for node in traced.graph.nodes}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_direct_way_and_the_operator_give_the_same(dtype):
    a, b, x = (t.to(dtype) for t in (A, B, values(5, 7)))
    text, sums = spec.dumps(SR), spec.dumps(SUMS)
    for grad in (False, True):
        outcomes = []
        for way in (
            lambda x, a, b: (emul.quantize(x, SR, seed=2**64 - 1, offset=3), emul.matmul(a, b, SUMS)),
            lambda x, a, b: (torch.ops.emul.quantize(x, text, -1, 0, 3), torch.ops.emul.matmul(a, b, sums, 0, 0)),
        ):
            leaves = [t.mT.contiguous().mT.requires_grad_(grad) for t in (x, a, b)]
            results = way(*leaves)
            assert all(result.requires_grad == grad and result.is_contiguous() for result in results)
            if grad:
                sum((result**2).sum() for result in results).backward()
            outcomes.append([*results, *(leaf.grad for leaf in leaves if grad)])
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(*outcomes, strict=True))


BLOCKS = Quantizer(parse_format("mxfp4_e2m1"))
MEMBERS = emul.quantize(values(8, 8), E4M3)
CODES, PARTS = emul.encode(MEMBERS, E4M3), emul.encode(MEMBERS, BLOCKS)
#: An operator, a call of it, and the same by torch.ops.
OPERATORS = {
    "quantize": (
        lambda x: emul.quantize(x, SR, seed=2**64 - 1),
        lambda x: torch.ops.emul.quantize(x, spec.dumps(SR), -1, 0, 0),
    ),
    "matmul": (lambda x: emul.matmul(x, x, SUMS), lambda x: torch.ops.emul.matmul(x, x, spec.dumps(SUMS), 0, 0)),
    "chain_matmul": (
        lambda x: emul.chain.matmul(x, x, SUMS),
        lambda x: torch.ops.emul.chain_matmul(x, x, spec.dumps(SUMS), "immediate", "diff", 0.0, 0, 0),
    ),
    "encode": (lambda x: emul.encode(x, E4M3), lambda x: torch.ops.emul.encode(x, spec.dumps(E4M3), 0, 0, 0)),
    "decode": (
        lambda x: emul.decode(CODES, E4M3),
        lambda x: torch.ops.emul.decode(CODES, spec.dumps(E4M3), torch.float32),
    ),
    "decode_blocks": (
        lambda x: emul.decode(PARTS, BLOCKS),
        lambda x: torch.ops.emul.decode_blocks(*PARTS, spec.dumps(BLOCKS), torch.float32),
    ),
    "top_n": (lambda x: emul.sparsity.top_n(x), lambda x: torch.ops.emul.top_n(x, 2, 4, -1)),
    "mvue": (
        lambda x: emul.sparsity.mvue(x, seed=5),
        lambda x: torch.ops.emul.mvue(x, 2, 4, "exact", -1, None, 32, 5, 0, 0),
    ),
    "luq_quantize": (
        lambda x: emul.luq.quantize(x, seed=5),
        lambda x: torch.ops.emul.luq_quantize(x, 7, None, None, None, 32, 5, 0, 0),
    ),
    "transposable_mask": (
        lambda x: emul.sparsity.transposable_mask(x),
        lambda x: torch.ops.emul.transposable_mask(x, 2, 4, "exact"),
    ),
    "encode_blocks": (
        lambda x: emul.encode(x, BLOCKS).elements,
        lambda x: torch.ops.emul.encode_blocks(x, spec.dumps(BLOCKS), 0, 0, 0)[0],
    ),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_go_past_the_dispatcher_unless_somebody_looks(name, monkeypatch):
    call, operator = OPERATORS[name]
    form, differentiable = library._DIRECT[name]
    taken = []
    monkeypatch.setitem(library._DIRECT, name, (lambda *given: taken.append(name) or form(*given), differentiable))
    x = MEMBERS
    direct = call(x)
    assert taken == [name]
    with Seen() as mode:
        watched = call(x)
    assert (taken, mode.names) == ([name], [f"emul.{name}.default"])
    assert torch.equal(direct, watched) and torch.equal(direct, operator(x))
    outcomes = []
    for way in (call, operator):
        leaf = x.clone().requires_grad_()
        result = way(leaf)
        assert result.requires_grad == (differentiable is not None)
        if result.requires_grad:
            (result * x).sum().backward()
            outcomes.append(leaf.grad)
            with torch.no_grad():
                assert not way(leaf).requires_grad
    assert not outcomes or torch.equal(*outcomes)


def test_what_is_left_of_a_transform_has_the_gradient_that_torch_gives_it():
    weight, left = torch.ones(4, requires_grad=True), []

    def leaking(x):
        left.extend((x * 2, x * weight))
        return x.sum()

    torch.func.grad(leaking)(torch.ones(4))
    inside, outside = left
    for tensor in left:
        assert emul.quantize(tensor, E4M3).requires_grad == (tensor * 2).requires_grad == (tensor is outside)
    assert torch.equal(torch.autograd.grad(emul.quantize(outside, E4M3).sum(), weight)[0], torch.ones(4))
    assert torch.equal(emul.quantize(inside, E4M3), torch.full((4,), 2.0))


def test_second_derivatives():
    x = X.clone().double().requires_grad_()
    (first,) = torch.autograd.grad((emul.quantize(x, E4M3) ** 3).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    assert torch.equal(second, 6 * emul.quantize(x.detach(), E4M3))


EMPTY = [((0, 5), (5, 2)), ((3, 0), (0, 2)), ((3, 5), (5, 0)), ((0, 3, 5), (5, 2)), ((2, 0), (0, 0))]


@pytest.mark.parametrize("shapes", EMPTY)
def test_products_of_empty_tensors(shapes):
    a, b = (torch.zeros(shape, requires_grad=True) for shape in shapes)
    native = torch.matmul(a, b)
    for product in (emul.matmul(a, b, SUMS), torch.ops.emul.matmul(a, b, spec.dumps(SUMS), 0, 0)):
        assert torch.equal(product, native) and product.shape == native.shape
        product.sum().backward()


@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 4)])
def test_masks_of_empty_tensors(shape):
    x = torch.ones(shape)
    assert emul.luq.quantize(x, seed=1).shape == shape
    if shape:
        assert emul.sparsity.top_n(x).shape == emul.sparsity.mvue(x, seed=1).shape == shape
    assert emul.sparsity.transposable_mask(torch.ones(0, 4)).shape == (0, 4)
