"""The torch operators: `emul::quantize` and `emul::matmul`, on CPU tensors over the numpy front of `numerics`.

On CUDA tensors they are those of `.device`, imported when the first one arrives: a CPU-only install has no part of it.
"""

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from numerics import Accumulator, MatrixUnit, Quantizer, spec
from numerics.formats.naming import made_from, named
from numerics.products import plain_matmul as numpy_matmul
from numerics.words import counter

from .operators import batching
from .operators.checks import (
    WIDE,
    check_floats,
    check_holds,
    check_operand,
    check_place,
    check_quantizer,
    check_together,
)
from .operators.eager import followed, unwatched
from .operators.library import call, define, direct, signed, straight, unsigned
from .operators.reading import read

__all__ = ["check_operand", "check_place", "check_together", "matmul", "quantize"]


def quantize(
    tensor: Tensor, quantizer: Quantizer, *, seed: int | None = None, stream: int = 0, offset: int = 0
) -> Tensor:
    """The members of the quantizer's format that `tensor` rounds to; its gradient is straight-through, the identity.

    tensor: float32 or float64 [...], on the CPU or a CUDA device, any strides; the result is there too, has its dtype
    and shape and is contiguous. Both devices give the same bits. bfloat16 and float16 tensors are taken where their
    dtype holds every member of the format: the result is one rounding of what they say.
    seed, stream, offset: integers in [0, 2**64), as in `Quantizer.quantize`; a stochastic quantizer needs a seed. Under
    torch.vmap the result is that of a loop, so that all slices of the batch draw the same words.
    Errors: TypeError for another dtype or type; ValueError for another device, a missing seed, a 16-bit dtype that lacks
    members of the format, and what `Quantizer.quantize` refuses; on CUDA besides RuntimeError without a driver or on a
    device older than Volta, torch.OutOfMemoryError.
    """
    if not isinstance(quantizer, Quantizer):
        raise TypeError(f"quantizer = {named(quantizer)}: give {made_from(quantizer, 'numerics.Quantizer')}")
    if unwatched(tensor) and tensor.dtype in WIDE:
        check_quantizer(quantizer, seed)
        rounded: Tensor = direct("quantize", followed(tensor))(
            tensor, quantizer, 0 if seed is None else seed, stream, offset
        )
        return rounded
    check_floats(tensor, "tensor")
    check_quantizer(quantizer, seed)
    if tensor.dtype not in WIDE:
        check_holds(tensor.dtype, quantizer.fmt, "tensor")
        return quantize(tensor.float(), quantizer, seed=seed, stream=stream, offset=offset).to(tensor.dtype)
    result: Tensor = call(
        "quantize",
        tensor,
        spec.dumps(quantizer),
        signed("seed", 0 if seed is None else seed),
        signed("stream", stream),
        signed("offset", offset),
    )
    return result


def matmul(
    a: Tensor, b: Tensor, accumulator: Accumulator | MatrixUnit, *, seed: int | None = None, stream: int = 0
) -> Tensor:
    """a @ b, every step rounded as the accumulator says; its gradient is that of the exact product.

    a [..., M, K], b [..., K, N]: float32 or float64, both the same, on the CPU or on one CUDA device, any strides, taken
    as given (quantize first); batch dimensions broadcast. The result [..., M, N] has their dtype and is contiguous. Both
    devices give the same bits. bfloat16 and float16 operands are taken where their dtype holds every member of the
    output format. The gradient is the identity straight-through estimator: torch's own products of the incoming
    gradient with a and b, of 16-bit operands in float32 and then rounded to their dtype.
    seed, stream: integers in [0, 2**64); a stochastic accumulator needs a seed, a matrix unit has no use for one. Under
    torch.vmap the result is that of a loop, so that all slices of the batch draw the same words.
    Errors: TypeError for other or different dtypes; ValueError for another device, or two of them, shapes that do not
    match, a missing seed, a dtype that lacks members of the output format, and what `numerics.matmul` refuses, units with
    scales among it; on CUDA besides NotImplementedError for what has no kernel there, RuntimeError without a driver or on
    a device older than Volta, torch.OutOfMemoryError.
    """
    if not isinstance(accumulator, (Accumulator, MatrixUnit)):
        raise TypeError(f"accumulator = {named(accumulator)}: give {made_from(accumulator, 'numerics.Accumulator')}")
    if unwatched(a, b) and fit(a, b, accumulator, seed):
        product: Tensor = direct("matmul", followed(a, b))(a, b, (accumulator, 0 if seed is None else seed, stream))
        return product
    check_product(a, b, accumulator, seed)
    if a.dtype not in WIDE:
        return matmul(a.float(), b.float(), accumulator, seed=seed, stream=stream).to(a.dtype)
    result: Tensor = call(
        "matmul", a, b, spec.dumps(accumulator), signed("seed", 0 if seed is None else seed), signed("stream", stream)
    )
    return result


def check_product(a: Tensor, b: Tensor, accumulator: Accumulator | MatrixUnit, seed: int | None) -> None:
    """Refuse what `matmul` refuses of its operands and of an absent seed."""
    check_floats(a, "a")
    check_floats(b, "b")
    check_together(a, b, "a", "b")
    if a.dtype != b.dtype:
        raise TypeError(f"a is {a.dtype} and b is {b.dtype}: convert one, so that no conversion goes unseen")
    if a.dim() < 2 or b.dim() < 2:
        raise ValueError(f"matmul of shapes {list(a.shape)} and {list(b.shape)}: give matrices; unsqueeze vectors")
    if a.shape[-1] != b.shape[-2]:
        raise ValueError(
            f"a {list(a.shape)} and b {list(b.shape)} do not match: a's last dimension is {a.shape[-1]},"
            f" b's last but one {b.shape[-2]}"
        )
    if isinstance(accumulator, Accumulator) and accumulator.stochastic and seed is None:
        raise ValueError("a stochastic accumulator needs random words: give seed=, an integer in [0, 2**64)")
    if a.dtype not in WIDE:
        output = accumulator.result if isinstance(accumulator, MatrixUnit) else accumulator.combining.format
        check_holds(a.dtype, output, "a")


def fit(a: Tensor, b: Tensor, accumulator: Accumulator | MatrixUnit, seed: int | None) -> bool:
    """Whether `check_product` has nothing to refuse of plain tensors, none of which is of 16 bits."""
    dtype, left, right = a.dtype, a.shape, b.shape
    if dtype is not b.dtype or dtype not in WIDE:
        return False
    if len(left) < 2 or len(right) < 2 or left[-1] != right[-2]:
        return False
    return seed is not None or isinstance(accumulator, MatrixUnit) or not accumulator.stochastic


def _rounded(x: Tensor, quantizer: Quantizer, seed: int, stream: int, offset: int) -> Tensor:
    return torch.from_numpy(quantizer.quantize(read(x), seed=seed, stream=stream, offset=offset))


def product_of(a: Tensor, b: Tensor, asked: tuple[Any, ...]) -> Tensor:
    """The product of CPU tensors; asked: accumulator, seed, stream and more, in one because autograd minds each argument."""
    accumulator, seed, stream = asked[:3]
    left, right = read(a), read(b)
    own: int | None = seed
    if isinstance(accumulator, MatrixUnit):
        own = None
        counter("seed", seed)  # of no use, and refused as of an accumulator
    values = numpy_matmul(left, right, accumulator, seed=own, stream=stream)
    return torch.from_numpy(values if values.flags.carray else np.ascontiguousarray(values))


def _quantize_cpu(x: Tensor, quantizer: str, seed: int, stream: int, offset: int) -> Tensor:
    record: Quantizer = spec.loads(quantizer)
    return _rounded(x, record, unsigned(seed), unsigned(stream), unsigned(offset))


def matmul_cpu(a: Tensor, b: Tensor, accumulator: str, seed: int, stream: int) -> Tensor:
    return product_of(a, b, (spec.loads(accumulator), unsigned(seed), unsigned(stream)))


def _quantize_cuda(x: Tensor, quantizer: str, seed: int, stream: int, offset: int) -> Tensor:
    if not x.numel():  # nothing to compute, but everything to refuse
        return _quantize_cpu(x.cpu(), quantizer, seed, stream, offset).to(x.device)
    from . import device

    keys = {"seed": unsigned(seed), "stream": unsigned(stream), "offset": unsigned(offset)}
    return device.quantize(x, spec.loads(quantizer), **keys)


def matmul_cuda(a: Tensor, b: Tensor, accumulator: str, seed: int, stream: int) -> Tensor:
    check_together(a, b, "a", "b")
    if not a.numel() or not b.numel():
        return matmul_cpu(a.cpu(), b.cpu(), accumulator, seed, stream).to(a.device)
    from . import device

    return device.matmul(a, b, spec.loads(accumulator), seed=unsigned(seed), stream=unsigned(stream))


def _quantize_fake(x: Tensor, quantizer: str, seed: int, stream: int, offset: int) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def matmul_fake(a: Tensor, b: Tensor, accumulator: str, seed: int, stream: int) -> Tensor:
    batch = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])  # type: ignore[no-untyped-call]
    return a.new_empty((*batch, a.shape[-2], b.shape[-1]), dtype=torch.promote_types(a.dtype, b.dtype))


def _quantize_batched(info: Any, in_dims: Any, x: Tensor, quantizer: str, *keys: int) -> tuple[Tensor, int]:
    record: Quantizer = spec.loads(quantizer)
    if not batching.at_once(record):
        return batching.loop(partial(call, "quantize"), info, in_dims, x, quantizer, *keys)
    moved = batching.moved_axis(record)
    return call("quantize", x.movedim(in_dims[0], 0), spec.dumps(moved), *keys), 0


def matmul_batched(
    name: str, info: Any, in_dims: Any, a: Tensor, b: Tensor, accumulator: str, *others: Any
) -> tuple[Tensor, int]:
    """The rule of torch.vmap of an operator of two matrices, the text of an accumulator, and what else it takes."""
    record = spec.loads(accumulator)
    if isinstance(record, Accumulator) and record.stochastic:
        return batching.loop(partial(call, name), info, in_dims, a, b, accumulator, *others)
    places = in_dims[:2]
    rank = max(x.dim() - (place is not None) for x, place in zip((a, b), places, strict=True))
    left, right = (batching.in_front(x, place, rank) for x, place in zip((a, b), places, strict=True))
    return call(name, left, right, accumulator, *others), 0


def _keep_operands(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:2])


def _matmul_backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    (a, b), needs = ctx.saved_tensors, ctx.needs_input_grad
    with torch.autocast(gradient.device.type, enabled=False):
        of_a = torch.matmul(gradient, b.mT).sum_to_size(a.shape) if needs[0] else None
        of_b = torch.matmul(a.mT, gradient).sum_to_size(b.shape) if needs[1] else None
    return of_a, of_b, *(None,) * (len(needs) - 2)


define(
    "quantize(Tensor x, str quantizer, int seed, int stream, int offset) -> Tensor",
    plain=_rounded,
    cpu=_quantize_cpu,
    cuda=_quantize_cuda,
    fake=_quantize_fake,
    batched=_quantize_batched,
    backward=straight,
)
define(
    "matmul(Tensor a, Tensor b, str accumulator, int seed, int stream) -> Tensor",
    plain=product_of,
    cpu=matmul_cpu,
    cuda=matmul_cuda,
    fake=matmul_fake,
    batched=partial(matmul_batched, "matmul"),
    backward=_matmul_backward,
    keep=_keep_operands,
)
