"""Published functions on CUDA tensors: their path, with CPU tensors in the simulator, whose memory is numpy's there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import emul

ROOT = Path(__file__).resolve().parents[2]
SIMULATED = """
import os
os.environ["NUMBA_ENABLE_CUDASIM"] = "1"
import json
import numpy, torch
import emul
from emul import device, published, published_device
from emul.operators import masks
from numerics import binary, luq, random_words, sparsity
from numerics.device import own_queue
from numerics.kernels.cuda import launch

own = launch.array
launch.array = lambda x: own(x.numpy() if isinstance(x, torch.Tensor) else x)
launch.get = lambda x, queue: x.numpy() if isinstance(x, torch.Tensor) else x
device.queue = lambda where: own_queue()._replace(zeros=lambda shape, dtype: torch.from_numpy(numpy.zeros(shape, dtype)))
published._elsewhere = lambda tensor: True
forms = {"luq_quantize": masks.luq_there, "mvue": masks.mvue_there, "top_n": masks.top_n_there}
ways = masks.unwatched, masks.call  # the operators, which have the gradients
on_the_device = lambda *tensors: False, lambda name, *arguments: forms[name](*arguments)
masks.unwatched, masks.call = on_the_device
kernels = []
for name in ("luq_alpha_on", "luq_on", "luq_decode_on", "sign_on", "ap2_on", "top_n_on", "mvue_on", "pack_on", "product_on"):
    def called(*args, name=name, own=getattr(published_device, name), **keys):
        kernels.append(name)
        return own(*args, **keys)
    setattr(published_device, name, called)

torch.manual_seed(3)
x, done = torch.randn(6, 10), {}
array = x.numpy()


def same(name, found, wanted):
    wanted = torch.from_numpy(numpy.ascontiguousarray(wanted))
    done[name] = bool(found.dtype == wanted.dtype and torch.equal(found, wanted))


done["alpha"] = emul.luq.alpha(x) == luq.alpha(array)
same("quantize", emul.luq.quantize(x, seed=1), luq.quantize(array, seed=1))
words = torch.arange(60).reshape(6, 10)
given = {"words": words.numpy(), "random_bits": 8}
same("turned", emul.luq.quantize(x.mT, alpha=torch.tensor(0.25), words=words.mT, random_bits=8),
     luq.quantize(array.T, alpha=0.25, words=words.numpy().T, random_bits=8))
codes = emul.luq.encode(x, alpha=0.25, seed=2)
same("encode", codes, luq.encode(array, alpha=0.25, seed=2))
same("decode", emul.luq.decode(codes, 0.25, dtype=torch.float32), luq.decode(codes.numpy(), 0.25, dtype=numpy.float32))
same("sign", emul.binary.sign(x), binary.sign(array))
same("stochastic sign", emul.binary.stochastic_sign(x, seed=4), binary.stochastic_sign(array, seed=4))
same("ap2", emul.binary.ap2(x), binary.ap2(array))
for axis in (-1, 0):
    same(f"top_n {axis}", emul.sparsity.top_n(x, axis=axis), sparsity.top_n(array, axis=axis))
    same(f"mvue {axis}", emul.sparsity.mvue(x, axis=axis, seed=5, offset=3), sparsity.mvue(array, axis=axis, seed=5, offset=3))
    shape = (6, 3) if axis else (2, 10)
    drawn = random_words(shape[0] * shape[1], 8, seed=1).reshape(shape)
    found = emul.sparsity.mvue(x, axis=axis, words=torch.from_numpy(drawn), random_bits=8)
    same(f"mvue by words {axis}", found, sparsity.mvue(array, axis=axis, words=drawn, random_bits=8))
out = torch.empty_like(x)
done["out"] = emul.sparsity.top_n(x, out=out) is out and out.numpy().tobytes() == sparsity.top_n(array).tobytes()
a, b = emul.binary.sign(x), emul.binary.sign(x.mT)
same("xnor", emul.binary.xnor_matmul(a, b), binary.xnor_matmul(a.numpy(), b.numpy()))
packed = emul.binary.pack(b.mT)
done["pack"] = bool((packed.words == binary.pack(b.mT.numpy()).words).all())
same("xnor packed", emul.binary.xnor_matmul(a, packed), binary.xnor_matmul(a.numpy(), b.numpy()))
same("bits", emul.binary.matmul_bits((a > 0).float(), (b > 0).float()), binary.matmul_bits(a.numpy() > 0, b.numpy() > 0))
done["kernels"] = sorted(set(kernels))

masks.unwatched, masks.call = ways
for name, call in {
    "luq": lambda t: emul.luq.quantize(t, seed=1),
    "sign": emul.binary.sign,
    "top_n": emul.sparsity.top_n,
    "mvue": lambda t: emul.sparsity.mvue(t, seed=1),
}.items():
    gradients = []
    for there in (True, False):
        published._elsewhere = lambda tensor: there
        leaf = (2 * x).round().div(2).requires_grad_()  # some zeros, some beyond 1
        result = call(leaf)
        (result * torch.arange(60.0).reshape(6, 10)).sum().backward()
        gradients.append(leaf.grad)
    done["gradient of " + name] = bool(torch.equal(*gradients)) and result.requires_grad
published._elsewhere = lambda tensor: True
masks.unwatched, masks.call = on_the_device

kernels.clear()
sentences = {}
for name, call in {
    "neither": lambda: emul.luq.quantize(x),
    "no number": lambda: emul.sparsity.top_n(x * torch.nan),
    "infinite": lambda: emul.sparsity.mvue(x / 0, seed=1),
    "not a sign": lambda: emul.binary.xnor_matmul(x, b),
    "shapes": lambda: emul.binary.xnor_matmul(a, a),
    "half": lambda: emul.luq.quantize(x.half(), seed=1),
    "out": lambda: emul.sparsity.top_n(x.clone().requires_grad_(), out=out),
}.items():
    try:
        sentences[name] = str(call())
    except (ValueError, TypeError) as error:
        sentences[name] = str(error)
done["sentences"] = sentences
done["over the host"] = [emul.luq.quantize(x[:0], seed=1).shape == (0, 10), emul.sparsity.top_n(x, 1, 40).shape == x.shape]
same("smp", emul.luq.smp(x, seed=1), luq.smp(array, seed=1))
print(json.dumps(done))
"""


def test_the_simulator_gives_the_bits_of_the_cpu():
    pytest.importorskip("numba.cuda")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", SIMULATED]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    sentences = found.pop("sentences")
    assert found.pop("over the host") == [True, True]
    assert found.pop("kernels") == sorted(
        ["luq_alpha_on", "luq_on", "luq_decode_on", "sign_on", "ap2_on", "top_n_on", "mvue_on", "pack_on", "product_on"]
    )
    assert {name for name, ok in found.items() if ok is not True} == set()
    assert sentences["neither"] == "LUQ needs random words: give seed=, or words= of shape (6, 10)"
    assert sentences["no number"].startswith("NaN at element 0 has no magnitude to compare")
    assert "inf at element" in sentences["infinite"]
    assert "is neither -1 nor 1: sign(x) gives +-1" in sentences["not a sign"]
    assert sentences["shapes"].startswith("a has 10 columns and b 6 rows")
    assert sentences["half"].startswith("x is torch.float16")
    assert sentences["out"].startswith("out does not go with requires_grad")


CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@CUDA
def test_a_card_gives_the_bits_of_the_cpu():
    x = torch.randn(64, 96, generator=torch.Generator().manual_seed(0))
    there = x.cuda()
    for call in (
        lambda t: emul.luq.quantize(t, seed=1),
        lambda t: emul.luq.encode(t, seed=1),
        lambda t: emul.binary.stochastic_sign(t, seed=1),
        emul.binary.ap2,
        emul.sparsity.top_n,
        lambda t: emul.sparsity.mvue(t, seed=1, axis=0),
        lambda t: emul.sparsity.mvue(t, 3, 8, seed=1),
        lambda t: emul.binary.xnor_matmul(emul.binary.sign(t), emul.binary.sign(t.mT)),
    ):
        found, wanted = call(there), call(x)
        assert found.device == there.device
        assert np.array_equal(found.cpu().numpy(), wanted.numpy())
