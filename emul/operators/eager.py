"""When an operator may be called past torch's dispatcher, which takes longer than a small tensor's arithmetic."""

import torch
from torch import Tensor
from torch.autograd import forward_ad

_PLAIN = (Tensor, torch.nn.Parameter)
_dispatch_modes = torch._C._len_torch_dispatch_stack  # type: ignore[attr-defined]
_function_modes = torch._C._len_torch_function_stack
#: None outside torch.func's transforms, torch.vmap among them.
transforms = torch._C._functorch.peek_interpreter_stack  # type: ignore[attr-defined]
_traced = torch._C._get_tracing_state
_profiled = torch._C._autograd._profiler_enabled


def unwatched(tensor: Tensor) -> bool:
    """Whether nobody but the kernel wants to know of a call on this tensor: a plain CPU tensor, no gradient asked for.

    Compilers, modes, transforms, tracers and the profiler see operators, and so does autograd; then this is False.
    """
    return (
        not torch.compiler.is_compiling()
        and type(tensor) in _PLAIN
        and tensor.is_cpu
        and not (tensor.requires_grad and torch.is_grad_enabled())
        and not tensor.is_neg()
        and not _dispatch_modes()
        and not _function_modes()
        and transforms() is None
        and forward_ad._current_level < 0
        and _traced() is None
        and not _profiled()
    )
