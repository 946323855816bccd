"""bfloat16 and float16 tensors: one rounding of what they say, where the type holds the result; autocast brings them."""

import pytest
import torch

import emul
from numerics import (
    Accumulator,
    BlockFormat,
    FixedFormat,
    FloatFormat,
    NanEncoding,
    Quantizer,
    Rounding,
    catalog,
    parse_format,
)

E4M3, SR = Quantizer(catalog.E4M3), Quantizer(catalog.E5M2, Rounding.SR)
MX = Quantizer(parse_format("mxfp4_e2m1"))
NV = Quantizer(parse_format("nvfp4"))
SUMS = Accumulator(
    parse_format("lba_m7e4_b10_paper"),
    Rounding.RTZ,
    product=Quantizer(parse_format("lba_m7e4_b12_paper"), Rounding.RTZ),
    chunk=4,
)


def values(*shape, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=dtype)


X = values(4, 32)
A, B = emul.quantize(values(3, 4, 5), E4M3), emul.quantize(values(3, 5, 2), E4M3)


def test_autocast_reaches_around_and_not_inside():
    layer = torch.nn.Linear(6, 5)
    x = values(4, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        native = layer(x)  # bfloat16
        rounded = emul.quantize(native, E4M3)
        product = emul.matmul(rounded, rounded.mT, Accumulator(catalog.E4M3))
        wide = emul.matmul(A, B, SUMS)
    assert (native.dtype, rounded.dtype, product.dtype, wide.dtype) == (torch.bfloat16,) * 3 + (torch.float32,)
    assert torch.equal(rounded.float(), emul.quantize(native.detach().float(), E4M3))
    assert torch.equal(wide, emul.matmul(A, B, SUMS))


NARROW = [torch.bfloat16, torch.float16]


@pytest.mark.parametrize("dtype", NARROW)
def test_narrow_tensors_are_rounded_once(dtype):
    every = torch.arange(1 << 16).to(torch.uint16).view(dtype)
    x = every[every.isfinite()]
    for quantizer in (E4M3, Quantizer(catalog.E2M1, Rounding.RTZ)):
        rounded = emul.quantize(x, quantizer)
        assert rounded.dtype == dtype and torch.equal(rounded.float(), emul.quantize(x.float(), quantizer))
    leaf = x[:4096].clone().requires_grad_()
    gradient = x[4096:8192].clone()
    emul.quantize(leaf, SR, seed=3).backward(gradient)
    assert leaf.grad.dtype == dtype and torch.equal(leaf.grad, gradient)


@pytest.mark.parametrize("dtype", NARROW)
def test_products_of_narrow_tensors(dtype):
    a, b = A.to(dtype), B.to(dtype)
    found = emul.matmul(a, b, SUMS)
    assert found.dtype == dtype and torch.equal(found.float(), emul.matmul(A, B, SUMS))
    unit = catalog.MATRIX_UNITS["h100.f16.f16"]
    if dtype == torch.float16:
        assert torch.equal(emul.matmul(a, b, unit).float(), emul.matmul(A, B, unit))
    leaf = a.clone().requires_grad_()
    emul.matmul(leaf, b, SUMS).sum().backward()
    assert leaf.grad.dtype == dtype


BFLOAT, HALF = X.bfloat16(), X.half()
#: Scales up to 1.5 * 2**14 are numbers of float16, and so are elements up to 6; 6 * 2**14 is none.
TALL = BlockFormat(catalog.E2M1, FloatFormat(4, 1, 1, infinities=False, nan=NanEncoding.NONE), 16)


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (
            lambda: emul.quantize(HALF, Quantizer(catalog.E8M0)),
            ValueError,
            r"e8m0 has values that torch.float16 does not",
        ),
        (
            lambda: emul.quantize(BFLOAT, Quantizer(catalog.BINARY16)),
            ValueError,
            r"give tensor.float\(\), which is exact",
        ),
        (lambda: emul.quantize(BFLOAT, Quantizer(catalog.BINARY32)), ValueError, r"torch.bfloat16 does not hold"),
        (lambda: emul.quantize(HALF, MX), ValueError, r"mxfp4_e2m1.* has values that torch.float16 does not hold"),
        (lambda: emul.quantize(HALF, Quantizer(TALL)), ValueError, r"torch.float16 does not hold"),
        (lambda: emul.quantize(BFLOAT, NV), ValueError, r"nvfp4.* has values that torch.bfloat16 does not hold"),
        (lambda: emul.quantize(BFLOAT, Quantizer(FixedFormat(12))), ValueError, r"torch.bfloat16 does not hold"),
        (
            lambda: emul.quantize(BFLOAT, Quantizer(parse_format("posit16"))),
            ValueError,
            r"torch.bfloat16 does not hold",
        ),
        (lambda: emul.quantize(X.cfloat(), E4M3), TypeError, r"tensor is torch.complex64: emul takes .*; take x\.real"),
        (lambda: emul.matmul(HALF, HALF.mT, Accumulator(catalog.BINARY32)), ValueError, r"give a.float\(\), which is"),
        (lambda: emul.matmul(HALF, X.mT, SUMS), TypeError, r"a is torch.float16 and b is torch.float32: convert one"),
        (lambda: emul.matmul(X.char(), X.mT.char(), SUMS), TypeError, r"a is torch.int8"),
    ],
)
def test_refused(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()


def test_blocks_that_bfloat16_holds():
    x = values(4, 64) * torch.tensor([1e-38, 1e-3, 1.0, 1e38])[:, None]
    found = emul.quantize(x.bfloat16(), MX)
    assert found.dtype == torch.bfloat16 and torch.equal(found.float(), emul.quantize(x.bfloat16().float(), MX))
