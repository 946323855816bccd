"""Rules of torch.vmap: what a loop over the batch gives, at once where that is the same bits.

A stochastic operator is a pure function of (seed, stream, offset), so under vmap every slice of the batch draws the same
words, whatever vmap's `randomness`: give the batch as a dimension, or a seed for each slice, where they shall differ.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from numerics import Quantizer
from numerics.formats import BlockFormat


def loop(operator: Callable[..., Any], info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> tuple[Any, Any]:
    """The operator on each slice, results stacked along a first dimension."""
    size = info.batch_size
    slices = [
        operator(*(sliced(argument, place, i) for argument, place in zip(arguments, in_dims, strict=True)))
        for i in range(size)
    ]
    if not slices:  # one slice of zeros tells the shapes
        slices = [operator(*(_zeros(argument, place) for argument, place in zip(arguments, in_dims, strict=True)))]
    if isinstance(slices[0], Tensor):
        return torch.stack(slices)[:size], 0
    return tuple(torch.stack(parts)[:size] for parts in zip(*slices, strict=True)), (0,) * len(slices[0])


def sliced(argument: Any, place: int | None, i: int) -> Any:
    """Slice i of an argument, or the argument where it has no batch."""
    return argument if place is None else argument.select(place, i)


def _zeros(argument: Any, place: int | None) -> Any:
    return argument if place is None else argument.new_zeros(argument.movedim(place, 0).shape[1:])


def in_front(x: Tensor, place: int | None, rank: int) -> Tensor:
    """x, whose slices have fewer dimensions than `rank`, with the batch first, so that batch dimensions broadcast."""
    if place is None:
        return x
    moved = x.movedim(place, 0)
    return moved.reshape(moved.shape[0], *(1,) * (rank - moved.dim() + 1), *moved.shape[1:])


def axis_behind(axis: int) -> int:
    """An axis of a slice in the tensor that has the batch in front."""
    return axis + 1 if axis >= 0 else axis


def moved_axis(quantizer: Quantizer) -> Quantizer:
    """The quantizer for a tensor that has the batch in front."""
    axis = axis_behind(quantizer.axis)
    return quantizer if axis == quantizer.axis else replace(quantizer, axis=axis)


def at_once(quantizer: Quantizer) -> bool:
    """Whether a slice is rounded the same way beside others: no word and no scale belongs to the whole tensor."""
    return not quantizer.stochastic and not (isinstance(quantizer.fmt, BlockFormat) and quantizer.fmt.tensor_scale)
