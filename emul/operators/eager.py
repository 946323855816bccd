"""When an operator may be called past torch's dispatcher, which takes longer than a small tensor's arithmetic."""

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.compiler import is_compiling

_PLAIN = (Tensor, torch.nn.Parameter)
_PLAIN_DISPATCH = Tensor.__torch_dispatch__
_dispatch_modes = torch._C._len_torch_dispatch_stack
_function_modes = torch._C._len_torch_function_stack
#: None outside torch.func's transforms, torch.vmap among them.
transforms = torch._C._functorch.peek_interpreter_stack
_traced = torch._C._get_tracing_state
_profiled = torch._C._autograd._profiler_enabled
_grad_enabled = torch.is_grad_enabled
_wrapped = torch._C._functorch.is_functorch_wrapped_tensor
#: Of several gradients at once, is_grads_batched=True, which are no tensors of torch.func's.
batched = torch._C._functorch.is_legacy_batchedtensor
_strided = torch.strided


def unwatched(*tensors: Tensor) -> bool:
    """Whether nobody but the kernel, and autograd, wants to know of a call on these: plain dense CPU tensors.

    Compilers, modes, transforms, tracers and the profiler see operators, and forward-mode gradients are refused there.
    """
    if is_compiling():
        return False
    for tensor in tensors:
        plain = type(tensor) in _PLAIN and tensor.is_cpu and tensor.layout is _strided
        if not plain or tensor.is_neg() or tensor.is_nested or batched(tensor):
            return False
        if tensor.requires_grad and _wrapped(tensor):  # left from a transform that is over, with the gradients of that
            return False
    return (
        not _dispatch_modes()
        and not _function_modes()
        and transforms() is None
        and forward_ad._current_level < 0
        and _traced() is None
        and not _profiled()
    )


def followed(*tensors: Tensor) -> bool:
    """Whether autograd follows what is computed from the tensors."""
    for tensor in tensors:
        if tensor.requires_grad:
            return _grad_enabled()
    return False


#: Why a whole graph cannot hold a layer.
EAGER = (
    "layers of emul count their steps and keep their scales in Python, and a swapped model watches the functions that it"
    " calls: they run eagerly, also in a compiled model. Leave fullgraph=True out, or compile functions of emul.quantize and"
    " emul.matmul, which are operators"
)

EXPORT = (
    "an exported graph holds no steps, scales and random words of layers: export the model before swap_ or after"
    " emul.restore_"
)


def check_eager(title: str, *tensors: Tensor) -> None:
    """Refuse, with a sentence that starts with `title`, what a layer's steps and random words would be lost to."""
    if transforms() is not None:
        raise NotImplementedError(
            f"{title} has no rule for torch.func's transforms and torch.vmap: use backward() or torch.autograd.grad, and"
            " give a batch as a dimension; emul.quantize and emul.matmul have rules"
        )
    if _traced() is not None:
        raise NotImplementedError(
            f"{title} cannot be traced by torch.jit: its steps and random words would become constants; emul.restore_ the"
            " model first"
        )
    if forward_ad._current_level >= 0 and any(forward_ad.unpack_dual(tensor)[1] is not None for tensor in tensors):  # type: ignore[no-untyped-call]
        raise NotImplementedError(f"{title} has no forward-mode gradient: use backward() or torch.autograd.grad")
    for tensor in tensors:
        if type(tensor).__torch_dispatch__ is not _PLAIN_DISPATCH:
            raise NotImplementedError(
                f"{title} got a {type(tensor).__name__}, which has no values to compute on, or not in one place: give plain"
                f" tensors; {EXPORT}"
            )
