"""The torch operators: `emul::quantize` and `emul::matmul`, on CPU tensors over the numpy front of `numerics`.

On CUDA tensors they are those of `.device`, imported when the first one arrives: a CPU-only install has no part of it.

Records cross the dispatcher as their canonical text, unsigned 64-bit numbers as int64 in two's complement.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from numerics import Accumulator, MatrixUnit, Quantizer, spec
from numerics import matmul as numpy_matmul
from numerics.formats.naming import made_from, named

_LIBRARY = torch.library.Library("emul", "DEF")  # type: ignore[no-untyped-call]
_TAGS = (torch.Tag.pt2_compliant_tag,)
for _schema in (
    "quantize(Tensor x, str quantizer, int seed, int stream, int offset) -> Tensor",
    "matmul(Tensor a, Tensor b, str accumulator, int seed, int stream) -> Tensor",
):
    _LIBRARY.define(_schema, tags=_TAGS)  # type: ignore[no-untyped-call]


def quantize(
    tensor: Tensor, quantizer: Quantizer, *, seed: int | None = None, stream: int = 0, offset: int = 0
) -> Tensor:
    """The members of the quantizer's format that `tensor` rounds to; its gradient is straight-through, the identity.

    tensor: float32 or float64 [...], on the CPU or a CUDA device, any strides; the result is there too, has its dtype
    and shape and is contiguous. Both devices give the same bits.
    seed, stream, offset: integers in [0, 2**64), as in `Quantizer.quantize`; a stochastic quantizer needs a seed.
    Errors: TypeError for another dtype or type; ValueError for another device, a missing seed, and what
    `Quantizer.quantize` refuses; on CUDA besides NotImplementedError for block and unsigned formats, RuntimeError
    without a driver or on a device older than Volta, torch.OutOfMemoryError.
    """
    if not isinstance(quantizer, Quantizer):
        raise TypeError(f"quantizer = {named(quantizer)}: give {made_from(quantizer, 'numerics.Quantizer')}")
    check_operand(tensor, "tensor")
    if quantizer.stochastic and seed is None:
        raise ValueError(f"{quantizer.rounding.name} needs random words: give seed=, an integer in [0, 2**64)")
    result: Tensor = torch.ops.emul.quantize(
        tensor, spec.dumps(quantizer), _signed("seed", seed or 0), _signed("stream", stream), _signed("offset", offset)
    )
    return result


def matmul(
    a: Tensor, b: Tensor, accumulator: Accumulator | MatrixUnit, *, seed: int | None = None, stream: int = 0
) -> Tensor:
    """a @ b, every step rounded as the accumulator says; its gradient is that of the exact product.

    a [..., M, K], b [..., K, N]: float32 or float64, both the same, on the CPU or on one CUDA device, any strides, taken
    as given (quantize first); batch dimensions broadcast. The result [..., M, N] is contiguous. Both devices give the
    same bits. The gradient is the identity straight-through estimator: torch's own products of the incoming gradient
    with a and b.
    seed, stream: as in `numerics.matmul`; a stochastic accumulator needs a seed, a matrix unit has no use for one.
    Errors: TypeError for other or different dtypes; ValueError for another device, or two of them, shapes that do not
    match, a missing seed, and what `numerics.matmul` refuses, units with scales among it; on CUDA besides
    NotImplementedError for what has no kernel there, RuntimeError without a driver or on a device older than Volta,
    torch.OutOfMemoryError.
    """
    if not isinstance(accumulator, Accumulator | MatrixUnit):
        raise TypeError(f"accumulator = {named(accumulator)}: give {made_from(accumulator, 'numerics.Accumulator')}")
    check_operand(a, "a")
    check_operand(b, "b")
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
    result: Tensor = torch.ops.emul.matmul(
        a, b, spec.dumps(accumulator), _signed("seed", seed or 0), _signed("stream", stream)
    )
    return result


def check_operand(tensor: Tensor, label: str) -> None:
    """Refuse, with a sentence that starts with `label`, what the operators do not compute on."""
    check_place(tensor, label)
    if tensor.dtype not in (torch.float32, torch.float64):
        raise TypeError(
            f"{label} is {tensor.dtype}: emul takes torch.float32 and torch.float64; convert it with .float(), which is"
            " exact for 16-bit floats (and switch autocast off around emulated layers)"
        )


def check_place(tensor: Tensor, label: str) -> None:
    """Refuse, with a sentence that starts with `label`, what has no values in rows on the CPU or a CUDA device."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{label} is a {type(tensor).__name__}: give a torch.Tensor")
    if tensor.device.type == "meta":
        raise ValueError(f"{label} is a meta tensor, which has no values: materialise it on the CPU, with to_empty()")
    if tensor.device.type not in ("cpu", "cuda"):
        raise ValueError(f"{label} is on {tensor.device}: emul computes on the CPU and on CUDA; move it with .cpu()")
    if tensor.layout != torch.strided:
        raise ValueError(f"{label} has layout {tensor.layout}: make it dense with .to_dense()")


def check_together(first: Tensor, second: Tensor, label: str, other: str) -> None:
    """Refuse, with a sentence that names both, tensors on two devices."""
    if first.device != second.device:
        raise ValueError(f"{label} is on {first.device} and {other} on {second.device}: move one to the other's device")


def _signed(label: str, value: int) -> int:
    if not 0 <= value < 1 << 64:
        raise ValueError(f"{label} = {value}: give an integer in [0, 2**64)")
    return value - (1 << 64) if value >= 1 << 63 else value


def _unsigned(value: int) -> int:
    return value + (1 << 64) if value < 0 else value


def _quantize_cpu(x: Tensor, quantizer: str, seed: int, stream: int, offset: int) -> Tensor:
    record: Quantizer = spec.loads(quantizer)
    values = record.quantize(
        x.detach().numpy(), seed=_unsigned(seed), stream=_unsigned(stream), offset=_unsigned(offset)
    )
    return torch.from_numpy(values)


def _matmul_cpu(a: Tensor, b: Tensor, accumulator: str, seed: int, stream: int) -> Tensor:
    record = spec.loads(accumulator)
    keys: dict[str, Any] = (
        {} if isinstance(record, MatrixUnit) else {"seed": _unsigned(seed), "stream": _unsigned(stream)}
    )
    values = numpy_matmul(a.detach().numpy(), b.detach().numpy(), record, **keys)
    return torch.from_numpy(np.ascontiguousarray(values))


def _quantize_cuda(x: Tensor, quantizer: str, seed: int, stream: int, offset: int) -> Tensor:
    if not x.numel():  # nothing to compute, but everything to refuse
        return _quantize_cpu(x.cpu(), quantizer, seed, stream, offset).to(x.device)
    from . import device

    keys = {"seed": _unsigned(seed), "stream": _unsigned(stream), "offset": _unsigned(offset)}
    return device.quantize(x, spec.loads(quantizer), **keys)


def _matmul_cuda(a: Tensor, b: Tensor, accumulator: str, seed: int, stream: int) -> Tensor:
    check_together(a, b, "a", "b")
    if not a.numel() or not b.numel():
        return _matmul_cpu(a.cpu(), b.cpu(), accumulator, seed, stream).to(a.device)
    from . import device

    return device.matmul(a, b, spec.loads(accumulator), seed=_unsigned(seed), stream=_unsigned(stream))


def _quantize_fake(x: Tensor, quantizer: str, seed: int, stream: int, offset: int) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def _matmul_fake(a: Tensor, b: Tensor, accumulator: str, seed: int, stream: int) -> Tensor:
    batch = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])  # type: ignore[no-untyped-call]
    return a.new_empty((*batch, a.shape[-2], b.shape[-1]), dtype=torch.promote_types(a.dtype, b.dtype))


def _quantize_backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    return gradient, None, None, None, None


def _keep_operands(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:2])


def _matmul_backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    a, b = ctx.saved_tensors
    with torch.autocast(gradient.device.type, enabled=False):
        of_a = torch.matmul(gradient, b.mT).sum_to_size(a.shape) if ctx.needs_input_grad[0] else None
        of_b = torch.matmul(a.mT, gradient).sum_to_size(b.shape) if ctx.needs_input_grad[1] else None
    return of_a, of_b, None, None, None


def _refuse_device(*arguments: Any) -> Tensor:
    check_operand(arguments[0], "the operand")
    raise ValueError(
        f"the operands are on {[str(t.device) for t in arguments[:2]]}: move all of them to the CPU or to one CUDA device"
    )


def _refuse_vmap(*arguments: Any) -> tuple[Tensor, int]:
    raise NotImplementedError("emul's operators have no vmap: give the batch as a dimension of the tensor")


for _name, _cpu, _cuda, _fake in (
    ("quantize", _quantize_cpu, _quantize_cuda, _quantize_fake),
    ("matmul", _matmul_cpu, _matmul_cuda, _matmul_fake),
):
    _LIBRARY.impl(_name, _cpu, "CPU")  # type: ignore[no-untyped-call]
    _LIBRARY.impl(_name, _cuda, "CUDA")  # type: ignore[no-untyped-call]
    # Every other device.
    _LIBRARY.impl(_name, _refuse_device, "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]
    torch.library.register_fake(f"emul::{_name}", _fake, lib=_LIBRARY)
    torch.library.register_vmap(f"emul::{_name}", _refuse_vmap, lib=_LIBRARY)
torch.library.register_autograd("emul::quantize", _quantize_backward, lib=_LIBRARY)
torch.library.register_autograd("emul::matmul", _matmul_backward, setup_context=_keep_operands, lib=_LIBRARY)
