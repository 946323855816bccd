"""Calls of a swapped model's other methods, as if in its forward."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ..state import runs_again
from .mode import Running, enter, leave
from .watch import place_of


@contextmanager
def inside(model: torch.nn.Module) -> Iterator[None]:
    """What is called in this block is called in a forward of the swapped model, by the model itself.

    For methods other than forward that are called from outside, such as an encode(x) that calls layers and functions: in
    the block the functions are emulated, kept, told or refused as those of forward are, and take part in what the model
    keeps from step to step as if forward had called them. Also a decorator: `@emul.inside(model)`.
    Errors: TypeError for anything but a module, ValueError for one that is not swapped.
    """
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"model is a {type(model).__name__}: give a torch.nn.Module")
    place = place_of(model)
    if place is None:
        raise ValueError(f"{type(model).__name__} is not swapped: emul.swap_ makes its functions seen")
    if enter(place.watch, Running(place.name, model, place.restored)) and not runs_again():
        place.watch.forwards += 1
    try:
        yield
    finally:
        leave(place.watch, model)
