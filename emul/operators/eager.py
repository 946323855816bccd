"""When an operator may be called past torch's dispatcher, which takes longer than a small tensor's arithmetic."""

import torch
from torch import Tensor
from torch.autograd import forward_ad

_PLAIN = (Tensor, torch.nn.Parameter)
_dispatch_modes = torch._C._len_torch_dispatch_stack
_function_modes = torch._C._len_torch_function_stack
#: None outside torch.func's transforms, torch.vmap among them.
transforms = torch._C._functorch.peek_interpreter_stack
_traced = torch._C._get_tracing_state
_profiled = torch._C._autograd._profiler_enabled


def unwatched(*tensors: Tensor) -> bool:
    """Whether nobody but the kernel, and autograd, wants to know of a call on these: plain dense CPU tensors.

    Compilers, modes, transforms, tracers and the profiler see operators, and forward-mode gradients are refused there.
    """
    if torch.compiler.is_compiling():
        return False
    for tensor in tensors:
        plain = type(tensor) in _PLAIN and tensor.is_cpu and tensor.layout is torch.strided
        if not plain or tensor.is_neg():
            return False
    return (
        not _dispatch_modes()
        and not _function_modes()
        and transforms() is None
        and forward_ad._current_level < 0
        and _traced() is None
        and not _profiled()
    )


def followed(tensor: Tensor) -> bool:
    """Whether autograd follows what is computed from the tensor."""
    return tensor.requires_grad and torch.is_grad_enabled()
