"""Which operand of which product of which layer was refused, and where in the caller's own tensor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor


class NotFiniteError(ValueError):
    """An operand that is not finite: head says which product refused it, place where it is, reason why and what to do."""

    def __init__(self, head: str, place: str, reason: str) -> None:
        super().__init__(f"{head}: {place}: {reason}")
        self.head, self.place, self.reason = head, place, reason

    def __reduce__(self) -> tuple[type[NotFiniteError], tuple[str, str, str]]:
        return NotFiniteError, (self.head, self.place, self.reason)


@contextmanager
def told(head: str, originals: Mapping[str, Tensor | None], values: Mapping[str, Tensor | None]) -> Iterator[None]:
    """Errors inside say `head`, such as "forward of layer 'fc'", and where in an operand they come from.

    originals: the operands as the layer has them, by their roles, the first that of the product's first matrix; values:
    what the stages made of them, of the same shapes, where this is known.
    """
    try:
        yield
    except NotFiniteError:
        raise
    except (ValueError, OverflowError) as error:
        reason = str(error).partition(": ")[2] or str(error)
        for role, tensor in originals.items():
            if tensor is not None and (found := _first(tensor)) is not None:
                raise NotFiniteError(head, f"its {role} is {_at(tensor, found)}", reason) from error
        for role, tensor in values.items():
            if tensor is not None and (found := _first(tensor)) is not None:
                before = originals.get(role)
                what = "" if before is None or before.shape != tensor.shape else f", from {before[found].item()}"
                place = f"its {role} becomes {_at(tensor, found)}{what}, by what is done to it before the product"
                raise NotFiniteError(head, place, reason) from error
        sides = ", ".join(f"{side} its {role}" for side, role in zip("ab", originals, strict=False))
        raise type(error)(f"{head}, as matrices ({sides}): {error}") from error


@contextmanager
def given(title: str, tensors: Mapping[str, object]) -> Iterator[None]:
    """Where an operand inside is not finite because one of the caller's tensors is not, that one is named."""
    try:
        yield
    except NotFiniteError as error:
        for name, tensor in tensors.items():
            if isinstance(tensor, Tensor) and (found := _first(tensor)) is not None:
                raise NotFiniteError(
                    error.head, f"the {name} of {title} is {_at(tensor, found)}", error.reason
                ) from error
        raise


def _first(tensor: Tensor) -> tuple[int, ...] | None:
    """The index of the first element in C order that is not finite."""
    if not tensor.dtype.is_floating_point:
        return None
    strange = (~torch.isfinite(tensor.detach())).nonzero()
    return tuple(strange[0].tolist()) if len(strange) else None


def _at(tensor: Tensor, index: tuple[int, ...]) -> str:
    return f"{tensor[index].item()} at {list(index)} of its shape {list(tensor.shape)}"
