"""Calls of a swapped model's other methods, as if in its forward."""

from contextlib import AbstractContextManager, ContextDecorator
from typing import Any

import torch

from ..state import runs_again
from .mode import Running, enter, leave, uncompiled
from .watch import Enter, place_of


def inside(model: torch.nn.Module) -> "Inside":
    """A context manager: what is called in its block is called in a forward of the swapped model, by the model itself.

    For methods other than forward that are called from outside, such as an encode(x) that calls layers and functions: in
    the block the functions are emulated, kept, told or refused as those of forward are, and take part in what the model
    keeps from step to step as if forward had called them. Also a decorator: `@emul.inside(model)`. What is compiled and
    enters a block goes on eagerly, as a swapped model does.
    Errors: TypeError for anything but a module, ValueError for one that is not swapped.
    """
    found = Inside(model)
    found.place()
    return found


class Inside(ContextDecorator, AbstractContextManager[None]):
    """The block of `inside`; it may be entered again, also in itself."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.model = model
        self.entered: list[Enter] = []

    def place(self) -> Enter:
        """What watches the model now: since a decorator was made it may have been restored, or swapped anew."""
        if not isinstance(self.model, torch.nn.Module):
            raise TypeError(f"model is a {type(self.model).__name__}: give a torch.nn.Module")
        found = place_of(self.model)
        if found is None:
            raise ValueError(f"{type(self.model).__name__} is not swapped: emul.swap_ makes its functions seen")
        return found

    @uncompiled
    def __enter__(self) -> None:
        """The model is the one that calls functions."""
        place = self.place()
        if enter(place.watch, Running(place.name, self.model, place.restored)) and not runs_again():
            place.watch.forwards += 1
        self.entered.append(place)

    @uncompiled
    def __exit__(self, *raised: Any) -> None:
        """It no longer is."""
        leave(self.entered.pop().watch, self.model)
