"""On a card: the same bits as on the CPU, in torch's memory, on its stream. Skipped where there is none."""

import copy

import pytest
import torch

import emul
from numerics import Accumulator, FixedFormat, Overflow, Quantizer, Rounding, catalog, parse_format

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
E4M3 = Quantizer(catalog.E4M3)
SR = Quantizer(catalog.E5M2, Rounding.SR, random_bits=12)
SUMS = Accumulator(catalog.BINARY16)
DRAWN = Accumulator(catalog.E5M2, Rounding.SR, random_bits=8, chunk=16)


def bits(x):
    return x.detach().cpu().contiguous().view(torch.int32 if x.dtype == torch.float32 else torch.int64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("quantizer", [E4M3, SR])
def test_quantize(quantizer, dtype):
    x = torch.randn(257, 1031, dtype=dtype).t() * 30
    keys = {"seed": 5, "stream": 2**63, "offset": 3} if quantizer.stochastic else {}
    found = emul.quantize(x.cuda(), quantizer, **keys)
    assert found.device.type == "cuda"
    assert torch.equal(bits(found), bits(emul.quantize(x, quantizer, **keys)))


UNIT = catalog.MATRIX_UNITS["h100.e4m3.f32"]
GRID = Accumulator(FixedFormat(16, 6), Rounding.SR, random_bits=8)
TREE = Accumulator(FixedFormat(16, 6), order="pairwise", chunk=16)


@pytest.mark.parametrize("accumulator", [SUMS, DRAWN, UNIT, GRID, TREE])
def test_matmul(accumulator):
    a, b = emul.quantize(torch.randn(2, 1, 65, 77), E4M3), emul.quantize(torch.randn(3, 91, 77), E4M3).mT
    keys = {"seed": 5} if accumulator in (DRAWN, GRID) else {}
    found = emul.matmul(a.cuda(), b.cuda(), accumulator, **keys)
    assert torch.equal(bits(found), bits(emul.matmul(a, b, accumulator, **keys)))


def test_sentences_name_the_element():
    x = torch.ones(3, 5)
    x[1, 2] = 1e9
    with pytest.raises(OverflowError, match="at element 7 is beyond 448"):
        emul.quantize(x.cuda(), Quantizer(catalog.E4M3, overflow=Overflow.ERROR))
    x[1, 2] = torch.nan
    with pytest.raises(ValueError, match=r"a\[1, 2\] is nan"):
        emul.matmul(x.cuda(), x.t().cuda(), SUMS)


def test_work_goes_to_the_current_stream():
    x = torch.randn(1 << 22)
    wanted = emul.quantize(x * 3, E4M3)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        there = x.to("cuda", non_blocking=True)
        for _ in range(64):
            slow = there * 3
        found = emul.quantize(slow, E4M3)
    stream.synchronize()
    assert torch.equal(bits(found), bits(wanted))


@pytest.mark.parametrize("recipe", ["fp8", "lba12"])
def test_a_swapped_model_moves_and_trains(recipe):
    here = torch.nn.Sequential(torch.nn.Linear(24, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))
    there = copy.deepcopy(here)
    emul.swap_(here, emul.recipes.get(recipe))
    emul.swap_(there, emul.recipes.get(recipe))
    there.cuda()
    x = torch.randn(8, 24)
    first, second = here[0](x), there[0](x.cuda())
    # Emulated products are the same bits; the bias is one float32 addition, which is too.
    assert torch.equal(bits(first), bits(second))
    there(x.cuda()).square().sum().backward()
    assert all(torch.isfinite(p.grad).all() and p.grad.device.type == "cuda" for p in there.parameters())


def test_a_comparison_runs_and_runs_again_with_the_same_bytes():
    pytest.importorskip("sklearn")
    pytest.importorskip("scipy")
    from emul import digits
    from emul.training import Settings

    settings = Settings(epochs=1, fine_tune_epochs=1, batch=16, device="cuda")
    data = digits.load().head(48, 32)
    first, second = (emul.compare("mlp", ["fp8"], 2, settings=settings, data=data).to_json() for _ in range(2))
    assert first == second
    assert not any(
        run.diverged for row in emul.compare("cnn", ["fp8"], 2, settings=settings, data=data).rows for run in row.runs
    )


def test_empty_tensors():
    assert emul.quantize(torch.empty(0, 3, device="cuda"), E4M3).shape == (0, 3)
    assert not emul.matmul(torch.empty(2, 0, device="cuda"), torch.empty(0, 3, device="cuda"), SUMS).any()


@pytest.mark.parametrize("quantizer", [E4M3, SR, Quantizer(parse_format("mxfp8_e4m3"))])
def test_quantizers_inside_a_cuda_graph(quantizer):
    x, keys = torch.randn(1 << 12, device="cuda"), {"seed": 5} if quantizer.stochastic else {}
    emul.quantize(x, quantizer, **keys)  # compiled, and its tables on the device
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = emul.quantize(x, quantizer, **keys)
    x.copy_(torch.randn(1 << 12))
    graph.replay()
    torch.cuda.synchronize()
    assert torch.equal(bits(found), bits(emul.quantize(x.cpu(), quantizer, **keys)))


def test_products_are_refused_inside_a_cuda_graph():
    x = torch.eye(4, device="cuda")
    with (
        pytest.raises(RuntimeError, match=r"emul\.matmul inside a CUDA graph"),
        torch.cuda.graph(torch.cuda.CUDAGraph()),
    ):
        emul.matmul(x, x, SUMS)
