"""CUDA tensors through the operators: what can be told without a card, in fake tensors and in the simulator."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import emul
from emul import ops, recipes
from numerics import Accumulator, Quantizer, catalog, parse_format

ROOT = Path(__file__).resolve().parents[2]
E4M3 = Quantizer(catalog.E4M3)
SUMS = Accumulator(catalog.BINARY16)

# The functions that CUDA tensors go through, with CPU tensors in the simulator: their memory is numpy's there.
SIMULATED = """
import os
os.environ["NUMBA_ENABLE_CUDASIM"] = "1"
import json
import numpy, torch
from emul import codes, device
from numerics import Accumulator, Overflow, Quantizer, Rounding, catalog
from numerics import matmul as numpy_matmul
from numerics import BlockFormat, parse_format, spec
from numerics.device import own_queue
from numerics.kernels.cuda import launch
E4M3, SUMS = Quantizer(catalog.E4M3), Accumulator(catalog.BINARY16)
own = launch.array
launch.array = lambda x: own(x.numpy() if isinstance(x, torch.Tensor) else x)
launch.get = lambda x, queue: x.numpy() if isinstance(x, torch.Tensor) else x
device.queue = lambda where: own_queue()._replace(zeros=lambda shape, dtype: torch.from_numpy(numpy.zeros(shape, dtype)))
torch.manual_seed(3)
x = torch.randn(6, 4)
turned = device.quantize(x.t(), E4M3, seed=0, stream=0, offset=0)
a, b = E4M3.quantize(torch.randn(2, 1, 3, 4).numpy()), E4M3.quantize(torch.randn(3, 5, 4).numpy())
found = device.matmul(torch.from_numpy(a), torch.from_numpy(b).mT, SUMS, seed=0, stream=0)
wanted = numpy_matmul(a, b.swapaxes(-1, -2), SUMS)
y = torch.randn(3, 40)
drawn = Quantizer(catalog.E5M2, Rounding.SR)


def same(found, wanted):
    return found.dtype == wanted.dtype and found.numpy().tobytes() == wanted.numpy().tobytes()


def coded(quantizer, *keys):  # what the operators call for CUDA tensors, beside what they call for others
    text = spec.dumps(quantizer)
    if not isinstance(quantizer.fmt, BlockFormat):
        here, there = codes._encode_cpu(y, text, *keys), codes._encode_cuda(y, text, *keys)
        back = codes._decode_cuda(there, text, torch.float32), codes._decode_cpu(there, text, torch.float32)
        return same(there, here) and same(*back)
    here, there = codes._encode_blocks_cpu(y, text, *keys), codes._encode_blocks_cuda(y, text, *keys)
    back = codes._decode_blocks_cuda(*there, text, torch.float64), codes._decode_blocks_cpu(*here, text, torch.float64)
    return all(same(*parts) for parts in zip(there, here)) and same(*back)


print(json.dumps({
    "codes": coded(E4M3, 0, 0, 0) and coded(Quantizer(catalog.BINARY32), 0, 0, 0),
    "drawn codes": coded(drawn, -5, 2, 3),
    "codes of blocks": coded(Quantizer(parse_format("nvfp4")), 0, 0, 0),
    "quantize": bool((turned.numpy() == E4M3.quantize(x.numpy().T)).all()) and turned.is_contiguous(),
    "matmul": tuple(found.shape) == (2, 3, 3, 5) and found.numpy().tobytes() == wanted.tobytes(),
}))
"""


def test_the_simulator_gives_the_bits_of_the_cpu():
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", SIMULATED], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == dict.fromkeys(
        ("codes", "drawn codes", "codes of blocks", "quantize", "matmul"), True
    )


def test_fake_cuda_tensors_have_the_shape_and_the_place_of_the_result():
    with FakeTensorMode():
        x = torch.empty(2, 3, 4, device="cuda").mT
        rounded = emul.quantize(x, E4M3)
        product = emul.matmul(x, torch.empty(3, 5, device="cuda"), SUMS)
    assert (rounded.shape, rounded.device.type, rounded.is_contiguous()) == ((2, 4, 3), "cuda", True)
    assert (product.shape, product.device.type, product.is_contiguous()) == ((2, 4, 5), "cuda", True)


def test_two_devices_are_refused_with_both_named():
    with FakeTensorMode():
        here, there = torch.empty(2, 2), torch.empty(2, 2, device="cuda")
        with pytest.raises(ValueError, match=r"a is on cpu and b on cuda:0: move one to the other's device"):
            emul.matmul(here, there, SUMS)
        layer = emul.nn.Linear(2, 2, rule=recipes.get("fp8").rules[-1], name="fc")
        with pytest.raises(ValueError, match=r"the input of Linear 'fc' is on cuda:0 and its weight on cpu"):
            layer(there)


def test_another_device_is_refused():
    with FakeTensorMode():
        x = torch.empty(2, 2, device="xpu") if hasattr(torch, "xpu") else pytest.skip("a torch without xpu")
        with pytest.raises(ValueError, match=r"tensor is on xpu:0: emul computes on the CPU and on CUDA; .*\.cpu\(\)"):
            emul.quantize(x, E4M3)


def test_no_memory_is_told_in_what_was_asked_and_what_is_free(monkeypatch):
    from emul import device

    def full(*arguments, **options):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda where: (3 << 20, 80 << 30))
    monkeypatch.setattr(device, "queue", full)
    with pytest.raises(
        torch.OutOfMemoryError,
        match=r"emul.matmul asks for 4\.0 MiB for its result on cpu.*; 3\.0 of 81920\.0 MiB are free",
    ):
        device.matmul(torch.ones(1024, 1), torch.ones(1, 1024), SUMS, seed=0, stream=0)


def test_the_operators_have_kernels_for_cuda():
    for name in ("quantize", "matmul"):
        assert torch._C._dispatch_has_kernel_for_dispatch_key(f"emul::{name}", "CUDA")


def test_the_raw_operator_refuses_two_devices():
    with pytest.raises(ValueError, match=r"a is on cpu and b on meta"):
        ops.matmul_cuda(torch.ones(2, 2), torch.ones(2, 2, device="meta"), "", 0, 0)


# What is called for a CUDA tensor, with CPU tensors in its place, in an installation without the extra: numba's own numba.cuda,
# which numba-cuda otherwise replaces, is there.
WITHOUT = """
import sys
sys.meta_path = [finder for finder in sys.meta_path if "numba" not in type(finder).__module__.lower()]
sys.modules["numba_cuda"] = None
import torch
import emul
from emul import codes, ops
from emul.operators import masks
from numerics import Accumulator, Quantizer, catalog, parse_format, spec
x = torch.ones(4, 4)
e4m3, mx, sums = (
    spec.dumps(r) for r in (Quantizer(catalog.E4M3), Quantizer(parse_format("mxfp4_e2m1")), Accumulator(catalog.BINARY16))
)
for call in (
    lambda: ops._quantize_cuda(x, e4m3, 0, 0, 0),
    lambda: ops.matmul_cuda(x, x, sums, 0, 0),
    lambda: codes._encode_cuda(x, e4m3, 0, 0, 0),
    lambda: codes._encode_blocks_cuda(x, mx, 0, 0, 0),
    lambda: codes._decode_cuda(x.to(torch.uint8), e4m3, torch.float32),
):
    try:
        call()
    except ImportError as error:
        print(error)
# Published functions have the host, whose bits are the same.
assert torch.equal(masks.top_n_there(x, 2, 4, 1), emul.sparsity.top_n(x))
assert "numba.cuda" not in sys.modules
"""


def test_a_cuda_tensor_without_the_cuda_extra_is_refused_with_what_to_install(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert len(said) == 5
    remedy = "run pip install 'emul[cuda12]' or 'emul[cuda13]', as your driver is; or move the operands with .cpu()"
    for sentence in said:
        assert sentence.startswith("CUDA tensors need numba-cuda, which is not there (no module named 'numba_cuda'")
        assert remedy in sentence


def test_the_operators_and_layers_load_no_cuda_and_neither_does_a_cpu_only_call(tmp_path):
    # They meet CUDA with the first CUDA tensor; until then no driver is looked for, and none need be there.
    program = (
        "import sys, torch, emul\n"
        "import emul.ops, emul.nn\n"
        "from numerics import Accumulator, Quantizer, catalog\n"
        "x = emul.quantize(torch.ones(2, 2), Quantizer(catalog.E4M3))\n"
        "emul.matmul(x, x, Accumulator(catalog.BINARY16))\n"
        "device = 'emul.device', 'numerics.device', 'numerics.device_products'\n"
        "ours = [n for n in sys.modules if n.startswith('numba.cuda') or n in device]\n"
        "assert not ours, ours\n"
        "assert not torch.cuda.is_initialized()\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_what_reads_numbers_back_is_refused_inside_a_cuda_graph(monkeypatch):
    from emul import device

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    x = torch.ones(2, 2)
    with pytest.raises(RuntimeError, match=r"emul\.matmul inside a CUDA graph: it waits .*; leave it out of the graph"):
        device.matmul(x, x, SUMS, seed=0, stream=0)
    with pytest.raises(RuntimeError, match=r"emul\.quantize to nvfp4 in blocks of 16 inside a CUDA graph"):
        device.quantize(x, Quantizer(parse_format("nvfp4")), seed=0, stream=0, offset=0)
