"""The published functions on tensors: all of them, the numpy functions' bits, gradients, what is refused."""

import pickle
import subprocess
import sys
from dataclasses import astuple, is_dataclass, replace
from fractions import Fraction
from functools import partial
from importlib import import_module
from inspect import getdoc, signature
from pathlib import Path

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import emul
from emul.published import published
from numerics import random_words
from tests.emul.published_examples import BYTES, EXAMPLES, SIGNS, SR, STATE, W, X

ROOT = Path(__file__).resolve().parents[2]
MODULES = ("luq", "sparsity", "clipping", "binary", "normalization", "scaling", "diagnostics", "tempered")


def public(module):
    """The functions among the public names of a module of numerics."""
    home = import_module(f"numerics.{module}")
    return [
        name for name in home.__all__ if callable(getattr(home, name)) and not isinstance(getattr(home, name), type)
    ]


ALL = [f"{module}.{name}" for module in MODULES for name in public(module)]


def on_tensors(name):
    module, _, verb = name.partition(".")
    return getattr(getattr(emul, module), verb)


def on_arrays(name):
    return getattr(import_module(f"numerics.{name.partition('.')[0]}"), name.partition(".")[2])


def numbers_of(name, value):
    """An argument as the numpy function takes it, by rules of this file's own."""
    if isinstance(value, torch.Tensor):
        scalar = value.dim() == 0 and on_arrays(name) is not on_arrays("luq.rdnp")
        return float(value) if scalar else value.numpy()
    if value in (torch.float32, torch.float64) and isinstance(value, torch.dtype):
        return {torch.float32: np.float32, torch.float64: np.float64}[value]
    if isinstance(value, tuple) and any(isinstance(part, emul.tempered.ThresholdLayer) for part in value):
        return tuple(type(part)(part.weights.numpy(), part.signs.numpy(), part.biases.numpy()) for part in value)
    return type(value)(*(numbers_of(name, part) for part in value)) if hasattr(value, "_fields") else value


def leaves(value):
    """The parts of a result, in order."""
    if isinstance(value, emul.binary.PackedMatrix):
        return [value.words, value.length, value.signed]
    if is_dataclass(value):
        value = astuple(value)
    return [leaf for part in value for leaf in leaves(part)] if isinstance(value, tuple) else [value]


def compare(found, wanted):
    """The same bits in the same types, arrays as tensors."""
    found, wanted = leaves(found), leaves(wanted)
    assert len(found) == len(wanted)
    for mine, theirs in zip(found, wanted, strict=True):
        if callable(mine):
            mine, theirs = mine(torch.tensor([1.0, -3.0])), theirs(np.array([1.0, -3.0], np.float32))
        if isinstance(mine, torch.Tensor):
            assert not mine.requires_grad
            mine = mine.numpy()
            assert isinstance(theirs, np.ndarray | np.generic)
        else:
            assert type(mine) is type(theirs)
        if isinstance(mine, np.ndarray):
            assert (mine.dtype, mine.shape, mine.tobytes()) == (theirs.dtype, theirs.shape, theirs.tobytes())
        else:
            assert mine == theirs


def test_examples_are_of_all_functions_and_no_other():
    assert sorted(EXAMPLES) == sorted(ALL)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_offers_what_that_of_numerics_does(module):
    mine, theirs = getattr(emul, module), import_module(f"numerics.{module}")
    assert mine.__all__ == theirs.__all__
    for name in set(mine.__all__) - set(public(module)):
        assert getattr(mine, name) is getattr(theirs, name)


@pytest.mark.parametrize("name", ALL)
def test_the_bits_are_those_of_the_numpy_function(name):
    args, kwargs = EXAMPLES[name]
    before = [leaf.clone() for leaf in leaves((*args, *kwargs.values())) if isinstance(leaf, torch.Tensor)]
    found = on_tensors(name)(*args, **kwargs)
    wanted = on_arrays(name)(
        *(numbers_of(name, a) for a in args), **{k: numbers_of(name, v) for k, v in kwargs.items()}
    )
    compare(found, wanted)
    after = [leaf for leaf in leaves((*args, *kwargs.values())) if isinstance(leaf, torch.Tensor)]
    assert all(map(torch.equal, before, after))
    memories = {leaf.untyped_storage().data_ptr() for leaf in leaves(found) if isinstance(leaf, torch.Tensor)}
    assert not memories & {a.untyped_storage().data_ptr() for a in args if isinstance(a, torch.Tensor)}


@pytest.mark.parametrize("name", ALL)
def test_help_and_pickle_know_them(name):
    function = on_tensors(name)
    assert signature(function) == signature(on_arrays(name))
    assert getdoc(function).startswith(getdoc(on_arrays(name)))
    assert pickle.loads(pickle.dumps(function)) is function


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("form", [lambda x: x.mT, lambda x: x[:, ::2], lambda x: x[0].expand(3, 6), lambda x: x[:0]])
def test_strides(form, dtype):
    x = form(X.to(dtype))
    array = x.numpy().copy()
    for name in ("luq.quantize", "sparsity.mvue", "binary.stochastic_sign"):
        compare(on_tensors(name)(x, seed=3), on_arrays(name)(array, seed=3))


def test_a_number_is_a_tensor_and_stays_one():
    assert emul.luq.rdnp(torch.tensor(3.0)).shape == ()
    assert emul.luq.rdnp(torch.tensor(3.0)).item() == 4.0
    assert emul.luq.quantize(X, alpha=torch.tensor(0.1), seed=1).equal(
        emul.luq.quantize(X, alpha=float(np.float32(0.1)), seed=1)
    )


def test_a_tensor_is_read_where_it_is_and_a_fixed_result_is_copied():
    seen, fixed = [], np.arange(3.0)
    fixed.flags.writeable = False

    def look(x, *, words=None):
        seen.append((x, words))
        return fixed, x.sum(), 1.5

    look.__module__ = "numerics.luq.look"
    x, words = torch.ones(4, 6).mT, torch.arange(8)[::2]
    found, total, number = published(look)(x, words=words)
    for array, tensor in zip(seen[0], (x, words), strict=True):
        assert array.ctypes.data == tensor.data_ptr()
        assert array.strides == tuple(tensor.element_size() * stride for stride in tensor.stride())
    assert found.tolist() == [0, 1, 2] and found.data_ptr() != fixed.ctypes.data
    assert isinstance(total, torch.Tensor) and total.shape == () and type(number) is float


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.uint32])
def test_words_are_tensors_too(dtype):
    words = torch.from_numpy(random_words(12, 8, seed=5).astype(np.int64)).to(dtype).reshape(2, 6)
    array = words.numpy()
    compare(
        emul.luq.quantize(X, words=words, random_bits=8),
        on_arrays("luq.quantize")(X.numpy(), words=array, random_bits=8),
    )
    compare(
        emul.luq.smp(X, words=[words, words], random_bits=8),
        on_arrays("luq.smp")(X.numpy(), words=np.stack([array, array]), random_bits=8),
    )
    compare(
        emul.sparsity.mvue(X, words=words[:, :2], random_bits=8),
        on_arrays("sparsity.mvue")(X.numpy(), words=array[:, :2], random_bits=8),
    )
    compare(emul.luq.quantize(X, words=array, random_bits=8), emul.luq.quantize(X, words=words, random_bits=8).numpy())


def test_out_is_written_and_counted():
    out = torch.empty(6, 2).mT
    version = out._version
    assert emul.luq.quantize(X, seed=1, out=out) is out
    assert out.equal(emul.luq.quantize(X, seed=1)) and out._version > version
    x = X.clone()
    emul.sparsity.top_n(x, out=x)
    assert x.equal(emul.sparsity.top_n(X))
    leaf = X.clone().requires_grad_()
    kept = leaf * 1
    (kept**2).sum().backward()
    product = (kept * kept).sum()
    with torch.no_grad():
        emul.sparsity.top_n(kept, out=kept)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        product.backward()


def test_packed_once_multiplied_often():
    packed = emul.binary.pack(SIGNS), emul.binary.pack(SIGNS.T.mT)
    assert emul.binary.xnor_matmul(*packed).equal((SIGNS @ SIGNS.T).int())
    assert isinstance(packed[0].words, np.ndarray)
    assert emul.binary.unpack(packed[0]).equal(SIGNS)


def test_steps_of_adamax_go_on():
    theta = X.clone().requires_grad_()
    state = emul.binary.AdaMaxState(torch.zeros_like(X), torch.zeros_like(X), 0)
    for _ in range(2):
        theta, state = emul.binary.shift_adamax(theta, X / 8, state)
    home = import_module("numerics.binary")
    wanted, theirs = X.numpy(), home.AdaMaxState.zeros(X.numpy())
    for _ in range(2):
        wanted, theirs = home.shift_adamax(wanted, X.numpy() / 8, theirs)
    compare((theta, state), (wanted, theirs))
    assert state.steps == 2


def test_nets_are_made_of_tensors_and_go_on():
    home = import_module("numerics.tempered")
    x = torch.arange(8)[:, None] >> torch.arange(3) & 1
    labels = torch.tensor([0, 1, 1, 1, 0, 1, 1, 1])
    net, number = emul.tempered.sample_interpolator((3, 2, 1), x, labels, seed=3, draws=20_000)
    assert number == home.sample_interpolator((3, 2, 1), x.numpy(), labels.numpy(), seed=3, draws=20_000)[1]
    assert all(isinstance(part, torch.Tensor) for layer in net for part in (layer.weights, layer.signs, layer.biases))
    assert emul.tempered.evaluate(net, x)[:, 0].equal(labels.to(torch.uint8))
    assert emul.tempered.evaluate(net, x.bool(), packed=True)[:, 0].equal(labels.to(torch.uint8))
    assert emul.tempered.truth_table(net) == sum(int(y) << i for i, y in enumerate(labels))
    by_hand = emul.tempered.ThresholdLayer(torch.tensor([[1, 1, 0]]), torch.tensor([1]), torch.tensor([-1]))
    assert emul.tempered.evaluate((by_hand,), x)[:, 0].tolist() == [0, 0, 0, 1, 0, 0, 0, 1]
    with pytest.raises(ValueError, match=r"biases of dtype torch\.float32: give integers"):
        emul.tempered.ThresholdLayer(torch.tensor([[1]]), torch.tensor([1]), torch.tensor([0.5]))
    with pytest.raises(ValueError, match="weight 2: give an integer from 0 to 1"):
        emul.tempered.ThresholdLayer(torch.tensor([[2]]), torch.tensor([1]), torch.tensor([0]))
    with pytest.raises(ValueError, match="layers is a meta tensor"):
        emul.tempered.evaluate((replace(by_hand, biases=torch.zeros(1, dtype=torch.int64, device="meta")),), x)


def test_a_function_among_the_arguments_is_called_with_tensors():
    halves = partial(emul.luq.quantize, seed=1)
    found = emul.normalization.bifurcated_gradients(X, W, W[:2], quantizer=halves)
    theirs = partial(on_arrays("luq.quantize"), seed=1)
    arrays = (X.numpy(), W.numpy(), W[:2].numpy())
    compare(found, on_arrays("normalization.bifurcated_gradients")(*arrays, quantizer=theirs))


@pytest.mark.parametrize("name", ["luq.quantize", "sparsity.mvue", "binary.stochastic_sign"])
def test_an_error_is_that_of_the_numpy_function(name):
    with pytest.raises(ValueError, match="seed"):
        on_tensors(name)(X.clone().requires_grad_())
    with pytest.raises(ValueError, match=r"(?i)nan"):
        on_tensors(name)(X * np.nan, seed=1)


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: emul.luq.quantize(X.half(), seed=1), TypeError, r"x is torch.float16: .*\.float\(\), which is exact"),
        (lambda: emul.binary.xnor_matmul(SIGNS.bfloat16(), SIGNS.T), TypeError, r"a is torch.bfloat16: .*\.float\(\)"),
        (lambda: emul.binary.sign(X.cfloat()), TypeError, r"x is torch.complex64: emul takes torch.float32"),
        (lambda: emul.luq.alpha(X.to("meta")), ValueError, r"x is a meta tensor, which has no values: .*to_empty"),
        (lambda: emul.luq.decode(BYTES.to("meta"), 1.0), ValueError, r"codes is a meta tensor"),
        (lambda: emul.sparsity.top_n(X.to_sparse()), ValueError, r"x has layout torch.sparse_coo: .*\.to_dense\(\)"),
        (
            lambda: emul.luq.quantize(X, alpha=X, seed=1),
            ValueError,
            r"alpha is a tensor of shape \[2, 6\]: give one number",
        ),
        (
            lambda: emul.luq.decode(BYTES % 16, 1.0, dtype=torch.float16),
            TypeError,
            r"dtype = torch.float16: give torch",
        ),
        (lambda: emul.luq.quantize(BYTES, seed=1), TypeError, r"x of dtype uint8: give a float32 or float64 array"),
        (lambda: emul.luq.rdnp(), TypeError, r"missing a required argument: 'x'"),
        (
            lambda: emul.sparsity.top_n(X.clone().requires_grad_(), out=X.clone()),
            ValueError,
            r"out does not go with requires_grad: call under torch.no_grad\(\)",
        ),
        (
            lambda: emul.luq.quantize(X, words=torch.zeros_like(X, dtype=torch.int64).to("meta")),
            ValueError,
            "words is a meta tensor",
        ),
    ],
)
def test_refused(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()


def test_the_other_operands_are_checked_too():
    with pytest.raises(ValueError, match="w is a meta tensor"):
        emul.normalization.bifurcated_gradients(X, W.to("meta"), W[:2], quantizer=SR, seed=1)
    bad = STATE._replace(v=STATE.v.half())
    with pytest.raises(TypeError, match=r"state is torch\.float16"):
        emul.binary.shift_adamax(X, X, bad)


def test_two_devices_are_refused_before_anything_is_computed():
    with FakeTensorMode():
        words = torch.zeros(2, 6, dtype=torch.int64, device="cuda")
    with pytest.raises(ValueError, match="x is on cpu and words on cuda:0: move one to the other's device"):
        emul.luq.quantize(X, words=words)


def test_tensors_without_memory_are_refused():
    with FakeTensorMode():
        fake = torch.zeros(2, 6)
    for call in (
        lambda: emul.binary.ap2(fake),
        lambda: torch.vmap(emul.binary.ap2)(X),
        lambda: torch.func.grad(lambda x: emul.binary.sign(x).sum())(X),
    ):
        with pytest.raises(NotImplementedError, match=r"x is a \w*Tensor without memory that numpy could read"):
            call()


def test_moments_are_rational():
    assert emul.luq.moments(torch.tensor(0.25), 1.0, random_bits=2).mean == Fraction(1, 4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_tensors_go_to_the_host_and_back():
    x = X.cuda().requires_grad_()
    result = emul.luq.quantize(x, seed=1)
    assert result.device == x.device and result.cpu().equal(emul.luq.quantize(X, seed=1))
    result.sum().backward()
    assert x.grad.equal(torch.ones_like(x))
    out = torch.empty_like(x.detach())
    assert emul.sparsity.top_n(x.detach(), out=out) is out and out.cpu().equal(emul.sparsity.top_n(X))
    with pytest.raises(ValueError, match="x is on cuda:0 and words on cpu: move one"):
        emul.luq.quantize(x, words=torch.zeros(2, 6, dtype=torch.int64))


@pytest.mark.filterwarnings(
    "ignore:The .grad attribute of a Tensor"
)  # torch's own, which it hides unless warnings are errors
def test_torch_compile_leaves_numpy_alone():
    nodes = []

    def backend(graph, inputs):
        nodes.extend(node.target for node in graph.graph.nodes if node.op in ("call_function", "call_method"))
        return graph.forward

    def step(x):
        return emul.luq.rdnp(x * 3) + 1

    leaf = X.clone().requires_grad_()
    result = torch.compile(step, backend=backend)(leaf)
    assert result.equal(step(X))
    result.sum().backward()
    assert leaf.grad.equal(torch.full_like(X, 3.0))
    assert {getattr(node, "__name__", node) for node in nodes} == {"mul", "add"}


LAZY = """
import sys, emul
assert not {"torch", "numerics", "emul.published"} & set(sys.modules)
assert {"luq", "sparsity", "clipping", "binary", "normalization", "scaling", "diagnostics", "tempered"} <= set(dir(emul))
emul.luq
assert {"torch", "numerics", "emul.published"} <= set(sys.modules) and "emul.sparsity" not in sys.modules
from emul import sparsity
assert sparsity is emul.sparsity
"""


def test_modules_are_loaded_when_they_are_used():
    subprocess.run([sys.executable, "-W", "error", "-c", LAZY], cwd=ROOT, check=True)


def test_without_torch_a_sentence_says_what_to_install():
    code = "import emul, emul.extras as e; e.find_spec = lambda name: None; emul.recipes; emul.luq"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert 'not installed: torch; run: pip install "emul[torch,report]"' in done.stderr
