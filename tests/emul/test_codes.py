"""Codes of tensors and back: those of numpy, and decode(encode(x)) is quantize(x), bit for bit."""

from functools import cache

import numpy as np
import pytest
import torch

import emul
from emul.interop import view_as, view_codes
from numerics import FixedFormat, FloatFormat, LogFormat, Overflow, Quantizer, Rounding, catalog, parse_format
from tests.sampling import but_at_night

BITS = {torch.float32: torch.int32, torch.float64: torch.int64, torch.bfloat16: torch.int16, torch.float16: torch.int16}
R = Rounding
QUANTIZERS = {
    "e4m3": Quantizer(catalog.E4M3),
    "binary16": Quantizer(catalog.BINARY16, R.RTZ, Overflow.IEEE),
    "e5m2 SR": Quantizer(catalog.E5M2, R.SR),
    "unsigned": Quantizer(catalog.E8M0),
    "fixed": Quantizer(FixedFormat(8, 4)),
    "log": Quantizer(LogFormat(3, 2), R.RNL),
    "posit": Quantizer(parse_format("posit8")),
    "mxfp4": Quantizer(parse_format("mxfp4_e2m1")),
    "mxint8": Quantizer(parse_format("mxint8"), axis=0),
    "nvfp4": Quantizer(parse_format("nvfp4")),
}
X = torch.randn(5, 40, generator=torch.Generator().manual_seed(2)) * 3


def same_bits(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a.view(BITS[a.dtype]), b.view(BITS[b.dtype]))


def drawn(quantizer):
    return {"seed": 3, "stream": 2**63, "offset": 9} if quantizer.stochastic else {}


@pytest.mark.parametrize("name", but_at_night(QUANTIZERS, ["mxfp4"]))
@pytest.mark.parametrize("dtype", but_at_night([torch.float32, torch.float64], [torch.float64]))
def test_codes_are_those_of_numpy_and_go_back_to_the_values(name, dtype):
    quantizer, x = QUANTIZERS[name], X.to(dtype)
    codes, wanted = emul.encode(x, quantizer, **drawn(quantizer)), quantizer.encode(x.numpy(), **drawn(quantizer))
    if isinstance(codes, tuple):
        assert codes.tensor_scale.item() == wanted.tensor_scale and codes.tensor_scale.dtype == torch.float32
        pairs = [(codes.elements, wanted.elements), (codes.scales, wanted.scales)]
    else:
        pairs = [(codes, wanted)]
    for mine, theirs in pairs:
        assert mine.is_contiguous() and mine.numpy().dtype == theirs.dtype and np.array_equal(mine.numpy(), theirs)
    back = emul.decode(codes, quantizer, dtype=dtype)
    assert same_bits(back, emul.quantize(x, quantizer, **drawn(quantizer)))
    turned = emul.encode(x.mT.contiguous().mT, quantizer, **drawn(quantizer))  # other strides, the same codes
    for mine, theirs in zip(turned if isinstance(turned, tuple) else [turned], pairs, strict=False):
        assert torch.equal(mine, theirs[0])


WIDE = {torch.uint64: FixedFormat(40, 8), torch.uint32: FixedFormat(20, 8)}


@pytest.mark.parametrize("kind", but_at_night(WIDE, [torch.uint32]))
def test_wide_codes(kind):
    quantizer = Quantizer(WIDE[kind])
    codes = emul.encode(X.double(), quantizer)
    assert codes.dtype == kind
    assert same_bits(emul.decode(codes, quantizer, dtype=torch.float64), emul.quantize(X.double(), quantizer))


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (0, 32)])
@pytest.mark.parametrize("name", ["e4m3", "nvfp4"])
def test_empty_tensors_and_numbers(name, shape):
    x = torch.full(shape, 1.3)
    if name == "nvfp4" and not shape:
        with pytest.raises(ValueError, match="choose another"):
            emul.encode(x, QUANTIZERS[name])
        return
    back = emul.decode(emul.encode(x, QUANTIZERS[name]), QUANTIZERS[name])
    assert same_bits(back, emul.quantize(x, QUANTIZERS[name]))


@pytest.mark.parametrize("kind", [torch.float8_e4m3fn, torch.float8_e5m2, torch.bfloat16, torch.float16])
def test_codes_are_seen_as_torch_types(kind):
    _, fmt = view_codes(torch.zeros(1).to(kind))
    quantizer = Quantizer(fmt, overflow=Overflow.IEEE if fmt.infinities else Overflow.SATURATE)
    narrow = view_as(emul.encode(X, quantizer), kind)
    assert same_bits(narrow.float(), emul.quantize(X, quantizer))
    assert same_bits(narrow.float(), X.to(kind).float())  # torch's own cast, of finite numbers in range
    assert same_bits(emul.decode(narrow, quantizer), narrow.float())


def test_narrow_tensors_are_encoded_and_decoded():
    for kind in (torch.bfloat16, torch.float16):
        codes = emul.encode(X.to(kind), QUANTIZERS["e4m3"])
        assert torch.equal(codes, emul.encode(X.to(kind).float(), QUANTIZERS["e4m3"]))
        wanted = emul.quantize(X.to(kind), QUANTIZERS["e4m3"])
        assert same_bits(emul.decode(codes, QUANTIZERS["e4m3"], dtype=kind), wanted)


def test_codes_are_detached():
    x = X.clone().requires_grad_()
    assert not emul.encode(x, QUANTIZERS["e4m3"]).requires_grad
    assert not any(part.requires_grad for part in emul.encode(x, QUANTIZERS["nvfp4"]))


E4M3, NV = QUANTIZERS["e4m3"], QUANTIZERS["nvfp4"]
CODES = torch.zeros(4, 32, dtype=torch.uint8)


@cache
def parts():
    """Made when a test asks for it: every process that collects would compile for it."""
    return emul.encode(torch.ones(4, 32), NV)


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: emul.encode(X, catalog.E4M3), TypeError, r"quantizer = .*e4m3fn.*: give numerics.Quantizer\(e4m3fn\)"),
        (lambda: emul.decode(CODES, "e4m3"), TypeError, r"'e4m3': give numerics.Quantizer\(parse_format\('e4m3'\)\)"),
        (lambda: emul.encode(X.int(), E4M3), TypeError, r"tensor is torch.int32"),
        (lambda: emul.encode(X, QUANTIZERS["e5m2 SR"]), ValueError, r"SR needs random words: give seed="),
        (lambda: emul.encode(X, Quantizer(catalog.BINARY64)), ValueError, r"use float64 arrays"),
        (lambda: emul.decode(X, E4M3), TypeError, r"codes are torch.float32, codes of binary32: give codes of e4m3fn"),
        (lambda: emul.decode(CODES.bool(), E4M3), TypeError, r"codes are torch.bool: give unsigned integers"),
        (lambda: emul.decode(X.to(torch.float8_e5m2), E4M3), TypeError, r"codes of e5m2: give codes of e4m3fn"),
        (lambda: emul.decode(CODES.short() + 256, E4M3), ValueError, r"code 256 is outside the 8 bits"),
        (lambda: emul.decode(CODES, E4M3, dtype=torch.int8), TypeError, r"dtype = torch.int8: give torch.float32"),
        (
            lambda: emul.decode(CODES, QUANTIZERS["unsigned"], dtype=torch.float16),
            ValueError,
            r"does not hold: give dt",
        ),
        (lambda: emul.decode(CODES, NV), TypeError, r"codes are a Tensor: .* \(elements, scales, tensor_scale\)"),
        (lambda: emul.decode((CODES, CODES, 1.0), NV), TypeError, r"tensor_scale is a float: give a torch.Tensor"),
        (
            lambda: emul.decode(parts()._replace(tensor_scale=CODES), NV),
            TypeError,
            r"tensor_scale is torch.uint8 \[4, 32\]",
        ),
        (lambda: emul.decode(parts()._replace(scales=CODES), NV), ValueError, r"scales of shape \(4, 32\)"),
        (lambda: emul.decode(CODES.to("meta"), E4M3), ValueError, r"codes is a meta tensor"),
    ],
)
def test_refused(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()


def test_formats_of_own_making():
    quantizer = Quantizer(FloatFormat(4, 5))
    codes = emul.encode(X, quantizer)
    assert codes.dtype == torch.uint16
    assert same_bits(emul.decode(codes, quantizer), emul.quantize(X, quantizer))
