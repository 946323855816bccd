"""What tensors the operators take: places, layouts, types, and which 16-bit types hold a format."""

import numpy as np
import torch
from torch import Tensor

from numerics import Quantizer
from numerics.formats import BlockFormat, Format, LogFormat, ScaleRule
from numerics.parameters import Carrier

#: What to do with a nested tensor.
PAD = "pad it with torch.nested.to_padded_tensor(x, 0), and mask what it pads"
#: What to do with a tensor of several processes.
_SHARDED = (
    "give its .full_tensor(); layers take fully_shard, and optimizers of emul the parameters of DistributedDataParallel"
)
WIDE = (torch.float32, torch.float64)
#: Words, codes and masks.
WHOLE = (
    *(torch.bool, torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.uint8, torch.uint16, torch.uint32, torch.uint64),
)
#: The 16-bit types as carriers; of these, `holds` reads the precision and the exponents alone.
_NARROW = {
    torch.float16: Carrier(np.dtype(np.float16), np.dtype(np.uint16), 11, -14, 15),
    torch.bfloat16: Carrier(np.dtype(np.float32), np.dtype(np.uint32), 8, -126, 127),
}


def check_operand(tensor: Tensor, label: str, besides: str = "") -> None:
    """Refuse, with a sentence that starts with `label`, what is computed on in float32 and float64 alone.

    besides: what else helps, the sentence's end.
    """
    check_place(tensor, label)
    if tensor.dtype not in WIDE:
        raise TypeError(
            f"{label} is {tensor.dtype}: emul takes torch.float32 and torch.float64;"
            f" {_converted(tensor, ', which is exact for 16-bit floats')}{besides}"
        )


def check_operands(**tensors: Tensor | None) -> None:
    """Refuse, with a sentence that names it, a tensor that cannot be computed on, and tensors on two devices."""
    first: tuple[str, Tensor] | None = None
    for label, tensor in tensors.items():
        if tensor is not None:
            (check_place if tensor.dtype in WHOLE else check_operand)(tensor, label)
            first = first or (label, tensor)
            check_together(first[1], tensor, first[0], label)


def widened(tensor: Tensor) -> Tensor:
    """In an autocast region a 16-bit tensor as float32, which is exact; elsewhere, and of other types, the tensor.

    So does torch itself there for the functions that it computes in float32.
    """
    if isinstance(tensor, Tensor) and tensor.dtype in _NARROW and torch.is_autocast_enabled(tensor.device.type):
        return tensor.float()
    return tensor


def check_floats(tensor: Tensor, label: str) -> None:
    """Refuse, with a sentence that starts with `label`, what `emul.quantize` and `emul.matmul` do not take."""
    check_place(tensor, label)
    if tensor.dtype not in WIDE and tensor.dtype not in _NARROW:
        raise TypeError(
            f"{label} is {tensor.dtype}: emul takes torch.float32, torch.float64 and, where the result fits them,"
            f" torch.bfloat16 and torch.float16; {_converted(tensor, ' where that is exact')}"
        )


def _converted(tensor: Tensor, exact: str) -> str:
    """What to do with a tensor of another type."""
    if tensor.dtype.is_complex:
        return "take x.real and x.imag, its real and imaginary parts"
    return f"convert it with .float(){exact}"


def check_place(tensor: Tensor, label: str) -> None:
    """Refuse, with a sentence that starts with `label`, what has no values in rows on the CPU or a CUDA device."""
    if not isinstance(tensor, Tensor):
        if isinstance(tensor, torch.fx.Proxy):
            raise TypeError(f"{label} is one of torch.fx's symbols, which has no values: trace the model before swap_")
        raise TypeError(f"{label} is a {type(tensor).__name__}: give a torch.Tensor")
    if tensor.is_nested:
        raise ValueError(f"{label} is a nested tensor: {PAD}")
    if hasattr(tensor, "full_tensor"):  # by which torch.distributed's are known without an import of a second
        raise TypeError(f"{label} is a {type(tensor).__name__}, of which each process may hold a part: {_SHARDED}")
    device = tensor.device.type
    if device == "meta":
        raise ValueError(f"{label} is a meta tensor, which has no values: materialise it on the CPU, with to_empty()")
    if device not in ("cpu", "cuda"):
        raise ValueError(f"{label} is on {tensor.device}: emul computes on the CPU and on CUDA; move it with .cpu()")
    if tensor.layout is not torch.strided:
        raise ValueError(f"{label} has layout {tensor.layout}: make it dense with .to_dense()")


def check_together(first: Tensor, second: Tensor, label: str, other: str) -> None:
    """Refuse, with a sentence that names both, tensors on two devices."""
    if first.device != second.device:
        raise ValueError(f"{label} is on {first.device} and {other} on {second.device}: move one to the other's device")


def check_quantizer(quantizer: Quantizer, seed: int | None) -> None:
    """Refuse a stochastic quantizer without a seed."""
    if seed is None and quantizer.stochastic:
        raise ValueError(f"{quantizer.rounding.name} needs random words: give seed=, an integer in [0, 2**64)")


def check_holds(dtype: torch.dtype, fmt: Format, label: str) -> None:
    """Refuse a 16-bit type that lacks members of the format: the result would be rounded a second time.

    Decided from the format, never from the data. Errors: ValueError.
    """
    if not _holds(_NARROW[dtype], fmt):
        raise ValueError(
            f"{fmt} has values that {dtype} does not hold: give {label}.float(), which is exact, and the result is"
            " torch.float32"
        )


def _holds(carrier: Carrier, fmt: Format) -> bool:
    """Whether every result in float32 of rounding to the format is a number of the 16-bit type."""
    if isinstance(fmt, LogFormat) and fmt.fraction_bits:
        return False  # powers rounded to float32
    if isinstance(fmt, BlockFormat):
        if fmt.rule is ScaleRule.RATIO:
            return False  # products with float32 scales
        if carrier.emax < fmt.scale_exponents[1] + fmt.top_exponent and carrier.emax < 127:
            return False  # scales stop where float32 does
    return carrier.holds(fmt)
