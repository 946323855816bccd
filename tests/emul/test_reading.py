"""The memory of tensors as arrays: the same bytes, and nothing about the tensor is changed by it."""

import numpy as np
import pytest
import torch
from torch import nn

import emul
import emul.state
from emul import Recipe
from emul.operators.reading import read
from numerics import Accumulator, Quantizer, catalog
from tests.emul.callers import ALL, DRAWN, draw

E4M3 = Quantizer(catalog.E4M3)
USES = {
    "quantize": lambda w: emul.quantize(w, E4M3),
    "matmul": lambda w: emul.matmul(w, w.mT, Accumulator(catalog.BINARY32)),
    "luq": lambda w: emul.luq.quantize(w, seed=1),
    "top_n": emul.sparsity.top_n,
    "clipping": lambda w: emul.clipping.sawb(w, 4),
    "sign": emul.binary.sign,
    "alpha": emul.luq.alpha,
    "journal": lambda w: emul.state.what_ran("", w, w),
    "chain": lambda w: emul.chain.chain_gradients(w, w.mT, torch.ones(8, 8), Accumulator(catalog.BINARY16)),
}


def resizable(tensor: torch.Tensor) -> bool:
    return tensor.untyped_storage().resizable()


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.parametrize(
    "seen", [lambda w: w, lambda w: w.requires_grad_(False), lambda w: w[:, :4]], ids=["it", "frozen", "part"]
)
def test_a_parameter_can_be_freed_after_it_was_read(use, seen):
    # Fully sharded training frees gathered parameters so; Tensor.numpy() would forbid it.
    weight = nn.Parameter(draw(8, 8))
    use(seen(weight))
    assert resizable(weight)
    weight.untyped_storage().resize_(0)


@pytest.mark.parametrize("rule", [ALL, DRAWN], ids=["sums", "drawn"])
@pytest.mark.parametrize("layer", [nn.Linear(4, 4), nn.Conv1d(4, 4, 3, padding=1), nn.MultiheadAttention(4, 2)])
def test_the_parameters_of_layers_too(layer, rule):
    model = emul.swap_(layer, Recipe((rule,)))
    x = draw(2, 4, 4)
    output = model(x, x, x)[0] if isinstance(model, nn.MultiheadAttention) else model(x)
    output.sum().backward()
    assert [resizable(parameter) for parameter in model.parameters()] == [True] * len(list(model.parameters()))
    emul.restore_(model)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "view",
    [
        lambda x: x,
        lambda x: x.mT,
        lambda x: x[1:, ::2],
        lambda x: x[0, 0],
        lambda x: x[:0],
        lambda x: x[:1].expand(3, 4),
    ],
    ids=["whole", "turned", "strided", "number", "empty", "repeated"],
)
def test_the_array_is_the_tensors_memory(dtype, view):
    for x in (draw(3, 4).to(dtype), nn.Parameter(draw(3, 4).to(dtype))):
        seen = view(x)
        array = read(seen)
        assert (array.shape, array.dtype) == (tuple(seen.shape), np.dtype(str(dtype).removeprefix("torch.")))
        assert array.tolist() == seen.tolist()
        assert array.flags.writeable  # read-only arrays would be compiled for once more
        if seen.numel():
            assert array.__array_interface__["data"][0] == seen.data_ptr()
