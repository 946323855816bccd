import re
from functools import partial

import numpy as np
import pytest
import torch
from torch.overrides import BaseTorchFunctionMode

import emul
import emul.ops
from numerics import Accumulator, Overflow, Quantizer, Rounding, catalog, matmul, parse_format, spec

E4M3 = Quantizer(catalog.E4M3)
SR = Quantizer(catalog.E5M2, Rounding.SR)
SUMS = Accumulator(
    parse_format("lba_m7e4_b10_paper"),
    Rounding.RTZ,
    Overflow.SATURATE,
    product=Quantizer(parse_format("lba_m7e4_b12_paper"), Rounding.RTZ),
    chunk=4,
)
FLOAT = Accumulator(catalog.BINARY32, Rounding.RNE, Overflow.IEEE)


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    integer = {torch.float32: torch.int32, torch.float64: torch.int64}[a.dtype]
    return a.dtype == b.dtype and torch.equal(
        a.detach().contiguous().view(integer), b.detach().contiguous().view(integer)
    )


def values(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, generator=generator, dtype=dtype)


def operands(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Values with few enough bits for exact products."""
    return emul.quantize(values(*shape, dtype=dtype), E4M3)


def integers(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randint(-8, 9, shape, generator=generator).float()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(), (1,), (0,), (3, 0, 2), (5, 7)])
def test_quantize_gives_the_bits_of_numerics(shape, dtype):
    x = values(*shape, dtype=dtype)
    expected = torch.from_numpy(np.asarray(E4M3.quantize(x.numpy())))
    assert same_bits(emul.quantize(x, E4M3), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shapes", [((3, 5), (5, 4)), ((2, 3, 5), (5, 4)), ((2, 1, 3, 5), (4, 5, 2)), ((0, 5), (5, 4))])
def test_matmul_gives_the_bits_of_numerics(shapes, dtype):
    a, b = (operands(*shape, dtype=dtype) for shape in shapes)
    assert same_bits(emul.matmul(a, b, SUMS), torch.from_numpy(matmul(a.numpy(), b.numpy(), SUMS)))


def test_a_sum_of_no_products_is_zero():
    assert same_bits(emul.matmul(torch.ones(2, 0), torch.ones(0, 3), SUMS), torch.zeros(2, 3))


@pytest.mark.parametrize("key", [0, 1, 2**63 - 1, 2**63, 2**64 - 1])
def test_seed_stream_and_offset_are_unsigned_64_bit_numbers(key):
    x = values(64)
    for keys in ({"seed": key}, {"seed": 1, "stream": key}, {"seed": 1, "offset": min(key, 2**64 - 64)}):
        assert same_bits(emul.quantize(x, SR, **keys), torch.from_numpy(SR.quantize(x.numpy(), **keys)))


def strided() -> dict[str, torch.Tensor]:
    base = operands(6, 8)
    return {
        "transposed": base.mT,
        "sliced": base[::2, 1::3],
        "expanded": base[:1].expand(6, 8),
        "negated view": torch.complex(base, base).conj().imag,
    }


@pytest.mark.parametrize("layout", strided())
def test_strides_change_no_bit_and_results_are_contiguous(layout):
    x = strided()[layout]
    quantized = emul.quantize(x, E4M3)
    assert quantized.is_contiguous()
    assert same_bits(quantized, emul.quantize(x.clone(memory_format=torch.contiguous_format), E4M3))
    product = emul.matmul(x, x.mT, SUMS)
    assert product.is_contiguous()
    dense = x.clone(memory_format=torch.contiguous_format)
    assert same_bits(product, emul.matmul(dense, dense.mT.contiguous(), SUMS))


def test_quantize_reads_contiguous_memory_in_place(monkeypatch):
    seen = []
    original = Quantizer.quantize

    def spy(self, x, **keys):
        seen.append(x.__array_interface__["data"][0])
        return original(self, x, **keys)

    monkeypatch.setattr(Quantizer, "quantize", spy)
    x = values(4, 6).requires_grad_()
    emul.quantize(x, E4M3)
    emul.quantize(x.detach(), E4M3)
    assert seen == [x.data_ptr(), x.data_ptr()]


def test_matmul_hands_over_views(monkeypatch):
    seen = []

    def spy(a, b, accumulator, **keys):
        seen.extend((a.__array_interface__["data"][0], b.__array_interface__["data"][0], b.strides))
        return matmul(a, b, accumulator, **keys)

    monkeypatch.setattr(emul.ops, "numpy_matmul", spy)
    a, b = operands(4, 6).requires_grad_(), operands(5, 6)
    emul.matmul(a, b.mT, SUMS)
    assert seen == [a.data_ptr(), b.data_ptr(), (4, 24)]


def test_the_input_is_left_alone_and_the_result_shares_no_memory():
    x = operands(4, 4)
    before = x.clone()
    result = emul.quantize(x, E4M3)
    result.zero_()
    assert same_bits(x, before)


def test_requires_grad_follows_the_operands():
    x, y = operands(3, 3), operands(3, 3).requires_grad_()
    assert not emul.quantize(x, E4M3).requires_grad
    assert emul.quantize(y, E4M3).requires_grad
    assert not emul.matmul(x, x, SUMS).requires_grad
    assert emul.matmul(x, y, SUMS).requires_grad
    with torch.no_grad():
        assert not emul.quantize(y, E4M3).requires_grad
        assert not emul.matmul(y, y, SUMS).requires_grad


def test_the_gradient_of_quantize_is_the_identity():
    x = (values(4, 5) * 1000).requires_grad_()
    gradient = values(4, 5)
    emul.quantize(x, E4M3).backward(gradient)
    assert same_bits(x.grad, gradient)


@pytest.mark.parametrize(
    "shapes", [((3, 5), (5, 4)), ((2, 3, 5), (5, 4)), ((3, 5), (2, 5, 4)), ((2, 1, 3, 5), (4, 5, 2))]
)
def test_the_gradients_of_matmul_are_those_of_the_exact_product(shapes):
    first = [integers(*shape).requires_grad_() for shape in shapes]
    second = [operand.detach().clone().requires_grad_() for operand in first]
    ours, native = emul.matmul(*first, SUMS), torch.matmul(*second)
    gradient = integers(*native.shape)
    ours.backward(gradient)
    native.backward(gradient)
    for mine, other in zip(first, second, strict=True):
        assert torch.equal(mine.grad, other.grad)


def test_matmul_computes_only_the_gradients_asked_for():
    a, b = integers(2, 3), integers(3, 4).requires_grad_()
    emul.matmul(a, b, SUMS).sum().backward()
    assert a.grad is None
    assert torch.equal(b.grad, a.sum(0)[:, None].expand(3, 4))


def test_autocast_does_not_reach_inside():
    a, b = operands(4, 6).requires_grad_(), operands(6, 3)
    expected = emul.matmul(a, b, SUMS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        product = emul.matmul(a, b, SUMS)
        product.sum().backward()
    assert same_bits(product, expected)
    assert torch.equal(a.grad, torch.matmul(torch.ones(4, 3), b.mT))


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("quantizer", [E4M3, SR], ids=["RNE", "SR"])
def test_opcheck_quantize(quantizer, requires_grad):
    x = values(3, 4).requires_grad_(requires_grad)
    torch.library.opcheck(torch.ops.emul.quantize.default, (x, spec.dumps(quantizer), -1, 3, -(2**40)))
    strided = x.detach().mT.requires_grad_(requires_grad)
    torch.library.opcheck(torch.ops.emul.quantize.default, (strided, spec.dumps(quantizer), 0, 0, 0))


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("shapes", [((3, 4), (4, 5)), ((2, 3, 4), (4, 5)), ((0, 4), (4, 5))])
def test_opcheck_matmul(shapes, requires_grad):
    a, b = (operands(*shape).requires_grad_(requires_grad) for shape in shapes)
    torch.library.opcheck(torch.ops.emul.matmul.default, (a, b, spec.dumps(SUMS), 0, 0))


def step(x: torch.Tensor, w: torch.Tensor, forward: Quantizer, sums: Accumulator, seed: int) -> torch.Tensor:
    product = emul.matmul(emul.quantize(x, forward), emul.quantize(w, E4M3).mT, sums)
    return emul.quantize(torch.relu(product), SR, seed=seed, stream=2**63)


def test_a_compiled_graph_gives_the_eager_bits():
    torch._dynamo.reset()
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    # Another record, equal in type and name, must not find the graph of the first.
    for forward, sums, seed in ((E4M3, SUMS, 0), (Quantizer(catalog.E3M2), SUMS, 1), (E4M3, FLOAT, 2**64 - 1)):
        eager_x, x = (values(4, 6).requires_grad_() for _ in range(2))
        eager_w, w = (values(5, 6).requires_grad_() for _ in range(2))
        expected, result = step(eager_x, eager_w, forward, sums, seed), compiled(x, w, forward, sums, seed)
        assert same_bits(result, expected)
        expected.sum().backward()
        result.sum().backward()
        assert same_bits(x.grad, eager_x.grad)
        assert same_bits(w.grad, eager_w.grad)


def test_a_compiled_graph_takes_any_batch():
    torch._dynamo.reset()
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager", dynamic=True)
    w = values(5, 6)
    for batch in (3, 4, 9):
        x = values(batch, 6)
        assert same_bits(compiled(x, w, E4M3, SUMS, 7), step(x, w, E4M3, SUMS, 7))


X = torch.ones(2, 2)


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: emul.quantize(X.int(), E4M3), TypeError, r"tensor is torch.int32"),
        (lambda: emul.quantize([1.0], E4M3), TypeError, r"tensor is a list: give a torch.Tensor"),
        (lambda: emul.quantize(X, "e4m3fn"), TypeError, r"'e4m3fn': give numerics.Quantizer"),
        (lambda: emul.quantize(X.to("meta"), E4M3), ValueError, r"meta tensor, which has no values: .*to_empty"),
        (lambda: emul.quantize(X.to_sparse(), E4M3), ValueError, r"sparse_coo: make it dense"),
        (lambda: emul.quantize(X, SR), ValueError, r"SR needs random words: give seed="),
        (lambda: emul.quantize(X, SR, seed=-1), ValueError, r"seed = -1: give an integer in \[0, 2\*\*64\)"),
        (lambda: emul.quantize(X, SR, seed=0.0), TypeError, r"seed = 0\.0: give an integer"),
        (lambda: emul.matmul(X, X, SUMS, seed=""), TypeError, r"seed = '': give an integer"),
        (lambda: emul.encode(X, SR, seed=False), TypeError, r"seed = False: give an integer"),
        (lambda: emul.quantize(X, SR, seed=0, stream=2**64), ValueError, r"stream = 18446744073709551616"),
        (lambda: emul.quantize(X, SR, seed=0, offset=-5), ValueError, r"offset = -5"),
        (lambda: emul.quantize(X, Quantizer(catalog.BINARY64)), ValueError, r"use float64"),
        (lambda: emul.matmul(X, X.double(), SUMS), TypeError, r"a is torch.float32 and b is torch.float64"),
        (lambda: emul.matmul(X, X[0], SUMS), ValueError, r"shapes \[2, 2\] and \[2\]: give matrices"),
        (lambda: emul.matmul(X, X[:1], SUMS), ValueError, r"a's last dimension is 2, b's last but one 1"),
        (lambda: emul.matmul(X[None].expand(2, 2, 2), X.expand(3, 2, 2), SUMS), ValueError, r"do not broadcast"),
        (
            lambda: emul.matmul(X, X, E4M3),
            TypeError,
            r"accumulator = Quantizer\(e4m3fn\): give numerics.Accumulator\(e4m3fn\)",
        ),
        (lambda: emul.matmul(X, X.to("meta"), SUMS), ValueError, r"b is a meta tensor"),
        (lambda: emul.matmul(X / 0, X, SUMS), ValueError, r"is inf: .*finite"),
    ],
)
def test_refused(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()


@pytest.mark.parametrize(
    "call",
    [
        partial(emul.quantize, X, E4M3),
        partial(emul.matmul, X, X, SUMS),
        partial(emul.matmul, X, X, catalog.MATRIX_UNITS["h100.e4m3.f32"]),
        partial(emul.matmul, X.clone().requires_grad_(), X, catalog.MATRIX_UNITS["h100.e4m3.f32"]),
    ],
)
@pytest.mark.parametrize("value", [-1, 2**64, 1.5, "7"])
def test_keys_are_refused_by_one_sentence_past_the_dispatcher_and_through_it(call, value):
    error = ValueError if isinstance(value, int) else TypeError
    for keys in ({"seed": value}, {"seed": 0, "stream": value}):
        sentence = re.escape(f"{list(keys)[-1]} = {value!r}: give an integer in [0, 2**64)")
        with pytest.raises(error, match=sentence):
            call(**keys)
        with BaseTorchFunctionMode(), pytest.raises(error, match=sentence):
            call(**keys)


@pytest.mark.parametrize("name", ["quantize", "matmul"])
@pytest.mark.parametrize("key", ["MPS", "XPU", "SparseCPU"])
def test_every_device_has_a_kernel_that_refuses(name, key):
    # The raw operator, past the checks of the functions in front of it.
    assert torch._C._dispatch_has_computed_kernel_for_dispatch_key(f"emul::{name}", key)
    with pytest.raises(ValueError, match=r"the operand has layout torch.sparse_coo"):
        torch.ops.emul.quantize(X.to_sparse(), spec.dumps(E4M3), 0, 0, 0)


def test_matrix_units():
    unit = catalog.MATRIX_UNITS["h100.e4m3.f32"]
    a, b = (emul.quantize(torch.randn(shape), Quantizer(catalog.E4M3)) for shape in ((2, 3, 40), (40, 5)))
    wanted = matmul(a.numpy(), b.numpy(), unit)
    assert emul.matmul(a, b, unit).numpy().tobytes() == wanted.tobytes()
    weight = b.clone().requires_grad_()
    emul.matmul(a, weight, unit).sum().backward()
    torch.testing.assert_close(weight.grad, a.sum((0, 1))[:, None].expand(40, 5))
    with pytest.raises(ValueError, match="multiplies blocks of 32 by scales"):
        emul.matmul(a, b, catalog.MATRIX_UNITS["b200.tcgen05.mxf8_e4m3.f32"])
