"""Recipes that are made for a trained model from some of its data: post-training quantization."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from numerics import clipping
from numerics.clipping.aciq import check_distribution

from .nn import EMULATED
from .operands import Calibrated, Channels, stages_of
from .operands.stage import check_bits
from .ops import check_operand
from .recipe import Recipe
from .recipes.parts import WEIGHTED
from .recipes.registry import get

__all__ = ["Clip", "aciq_ptq", "clips", "recipe_of"]


@dataclass(frozen=True)
class Clip:
    """What a calibration found for the activations of a layer: [low, high], the distribution, and the bits."""

    layer: str
    low: float
    high: float
    distribution: str
    bits: int


def clips(
    model: torch.nn.Module,
    batches: Iterable[Tensor],
    *,
    bits: int = 4,
    first_bits: int = 8,
    distribution: str | None = None,
) -> tuple[Clip, ...]:
    """Where to clip what each layer is given, from one pass of `batches` through the native model in evaluation mode.

    A layer whose inputs are nowhere negative has the half range of a ReLU: its positive inputs and their negatives
    stand for what the ReLU was given, and the range begins at 0. distribution: "laplace", "gauss", or None for the one
    that fits each layer better. first_bits: of the layer that comes first in the model, whose inputs are the net's own
    and keep their range, a choice of no paper. Layers: those of `emul.nn` that the pass
    reaches, attention aside. Errors: ValueError for a model without such layers or none reached, for layers that are given
    NaN or infinities, bits outside 1 to 20, and as `numerics.clipping.clip_range`; TypeError for batches that the
    model does not take and are no tensors, and layers that are given other types than float32 and float64.
    """
    for count in (bits, first_bits):
        check_bits(count, 1, 20)
    if distribution is not None:
        check_distribution(distribution)
    kinds = tuple(kind for kind in EMULATED if kind.__name__ in WEIGHTED)
    layers = {name: module for name, module in model.named_modules() if type(module) in kinds}
    if not layers:
        raise ValueError(f"{type(model).__name__} has no layer to calibrate: give a native model with Linear or Conv")
    seen: dict[str, list[NDArray[Any]]] = {name: [] for name in layers}

    def look(name: str) -> Any:
        def hook(module: torch.nn.Module, given: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
            x = given[0] if given else named["input"]
            check_operand(x, f"the input of layer {name!r}")
            if x.numel():
                seen[name].append(x.detach().numpy(force=True).copy())

        return hook

    handles = [module.register_forward_pre_hook(look(name), with_kwargs=True) for name, module in layers.items()]
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            for batch in batches:
                try:
                    model(batch)
                except (AttributeError, TypeError, RuntimeError) as error:
                    if isinstance(batch, Tensor):
                        raise
                    raise TypeError(
                        f"the model does not take a batch that is a {type(batch).__name__}, {error}: give inputs alone, such"
                        " as (x for x, _ in loader)"
                    ) from error
    finally:
        for handle in handles:
            handle.remove()
        model.train(training)
    reached = [name for name in layers if seen[name]]
    if not reached:
        raise ValueError("no batch reached a layer: give batches= some of the training inputs")
    found = []
    for place, name in enumerate(reached):
        x = np.concatenate([one.reshape(-1) for one in seen[name]])
        if not np.isfinite(x).all():
            raise ValueError(
                f"layer {name!r} is given {x[~np.isfinite(x)][0]}: a range wants finite numbers; mend the model or the data"
            )
        if place == 0:
            found.append(Clip(name, min(float(x.min()), 0.0), max(float(x.max()), 0.0), "range", first_bits))
        else:
            found.append(_clip(name, x, bits, distribution))
    return tuple(found)


def aciq_ptq(
    model: torch.nn.Module,
    batches: Iterable[Tensor],
    seed: int = 0,
    *,
    bits: int = 4,
    first_bits: int = 8,
    distribution: str | None = None,
    **weights: Any,
) -> Recipe:
    """The recipe `aciq_ptq` for this model: each layer's activations have the range that `clips` found in one pass.

    weights: weight_bits, allocate, correct and keep, as `emul.recipes.aciq_ptq` has them. Weights are quantized by
    channel each time from the model's own, so that `restore_` gives these back. Errors: as `clips`.
    """
    found = clips(model, batches, bits=bits, first_bits=first_bits, distribution=distribution)
    return recipe_of(found, seed, bits=bits, distribution=distribution or "laplace", **weights)


def recipe_of(found: tuple[Clip, ...], seed: int = 0, **options: Any) -> Recipe:
    """A rule for each layer of a calibration, then those of `emul.recipes.aciq_ptq` with these options for the others.

    The weights of a layer that kept its range have as many bits as its activations, all channels alike.
    """
    rest = get("aciq_ptq", seed, **options)
    (general,) = (rule for rule in rest.rules if not rule.keep)
    (weight,) = stages_of(general.forward.weight)
    assert isinstance(weight, Channels)
    rules = [
        replace(
            general,
            pattern=re.escape(clip.layer),
            forward=replace(
                general.forward,
                activation=Calibrated(clip.bits, clip.low, clip.high),
                weight=weight if clip.distribution != "range" else replace(weight, bits=clip.bits, allocate=False),
            ),
        )
        for clip in found
    ]
    kept = tuple(rule for rule in rest.rules if rule.keep)
    return Recipe((*kept, *rules, general), seed, rest.name)


def _clip(name: str, x: NDArray[Any], bits: int, distribution: str | None) -> Clip:
    half = not (x < 0).any()
    if half:
        positive = x[x > 0]
        x = np.concatenate([positive, -positive])
    chosen = distribution or clipping.choose_distribution(x)
    low, high = clipping.clip_range(x, bits, chosen, half_range=half)
    low, high = (low, high) if half else (max(low, float(x.min())), high)
    return Clip(name, min(low, 0.0), max(min(high, float(x.max(initial=0))), 0.0), chosen, bits)
