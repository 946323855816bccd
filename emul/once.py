"""Backward passes of emulated layers, which have no derivative of their own: asked for, it is refused and never left out."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_SENTENCE = (
    b"the gradients of emulated layers have no derivative of their own: leave create_graph=True out, or emul.restore_ the"
    b" model for second derivatives, such as those of a gradient penalty"
)


_ANCHORS = "_anchors"


def anchor(ctx: Any, *tensors: Tensor) -> None:
    """In a forward: let a derivative of the gradients find these inputs, of which autograd may keep no more than values.

    What is kept is empty. A leaf is found without it.
    """
    followed = [tensor for tensor in tensors if tensor.grad_fn is not None and tensor.dim()]
    if followed:
        with torch.enable_grad():
            setattr(ctx, _ANCHORS, [tensor.narrow_copy(0, 0, 0) for tensor in followed])


def once_differentiable(backward: Callable[..., Any]) -> Callable[..., Any]:
    """A backward whose results raise RuntimeError where they are differentiated by whatever they depend on.

    torch's decorator of this name says less, and returns constants where the incoming gradient is one, though they depend on
    the operands: a second derivative would then silently lack them. So would one that is asked for by some tensors alone, as
    that of torch.autograd.functional.hessian is, if no path led from the results to these: `anchor` and leaves lead there.
    """

    @functools.wraps(backward)
    def wrapper(ctx: Any, *gradients: Any) -> Any:
        with torch.no_grad():
            outputs = backward(ctx, *gradients)
        if not torch.is_grad_enabled():  # nobody asks for more
            return outputs
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        leaves = (getattr(node, "variable", None) for node, _ in ctx.next_functions)
        known = (*gradients, *getattr(ctx, _ANCHORS, ()), *leaves)
        sources = [tensor for tensor in known if isinstance(tensor, Tensor) and tensor.requires_grad]
        inputs = *map(_leaf, outputs), *sources
        error: Callable[..., Any] = torch._C._functions.DelayedError(_SENTENCE, len(inputs))
        found = error(*inputs)
        return found[: len(outputs)] if len(inputs) > 1 else found

    return wrapper


def _leaf(output: Tensor | None) -> Tensor | None:
    return None if output is None else output.detach().requires_grad_()
