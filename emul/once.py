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


def once_differentiable(backward: Callable[..., Any]) -> Callable[..., Any]:
    """A backward whose results raise RuntimeError where they are differentiated.

    torch's decorator of this name says less, and returns constants where the incoming gradient is one, though they depend on
    the operands: a second derivative would then silently lack them.
    """

    @functools.wraps(backward)
    def wrapper(ctx: Any, *gradients: Any) -> Any:
        with torch.no_grad():
            outputs = backward(ctx, *gradients)
        if not torch.is_grad_enabled():  # nobody asks for more
            return outputs
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        error: Callable[..., Any] = torch._C._functions.DelayedError(_SENTENCE, len(outputs))
        return error(*(_leaf(output) for output in outputs))

    return wrapper


def _leaf(output: Tensor | None) -> Tensor | None:
    return None if output is None else output.detach().requires_grad_()
