"""Adam whose moments are kept in FP8 and whose weights in FP16, as a pure step: everything is stored anew in each.

The script of the source keeps the first moment in E4M3, the second in E5M2 and the weights in FP16; the plain scale
max/amax of the weights was seen in its code, that of the moments is assumed to be the same: `Storage.power_of_two`.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .. import catalog, luq
from ..formats import FloatFormat
from ..means import finite
from ..operands import as_array
from ..quantizer import Quantizer
from ..words import stream_after
from .tensor import Scaled, amax, check_largest, check_scale, scale_of, unscale


@dataclass(frozen=True)
class Storage:
    """How a tensor is stored: its quantizer, the number that its largest magnitude is scaled to, and underflow.

    largest: None for the format's largest number. power_of_two: of the scale, see `scale_of`. flush: magnitudes t below
    the smallest number a of the format (2**-9 of E4M3, 2**-16 of E5M2) become a with probability t/a, else 0, without
    bias: LUQ's underflow; else they are rounded as the quantizer says.
    Errors: TypeError for anything but a Quantizer of a FloatFormat; ValueError for flush beside stochastic
    rounding, which does the same, and for a format without a zero.
    """

    quantizer: Quantizer
    largest: float | None = None
    power_of_two: bool = False
    flush: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.quantizer, Quantizer):
            raise TypeError(f"quantizer = {self.quantizer!r}: give a Quantizer")
        fmt = self.quantizer.fmt
        if not isinstance(fmt, FloatFormat):
            raise TypeError(f"{fmt} is no FloatFormat: a tensor of one scale is stored in one")
        if self.largest is not None:
            check_largest(self.largest)
        if self.flush and (self.quantizer.stochastic or not fmt.has_zero):
            raise ValueError(f"flush with {self.quantizer}: give a deterministic rounding and a format with a zero")

    @property
    def random(self) -> bool:
        """Whether storing needs random words."""
        return self.flush or self.quantizer.stochastic


def store(
    x: Any,
    storage: Storage,
    *,
    scale: float | None = None,
    seed: int | None = None,
    words: Any = None,
    random_bits: int = 32,
    stream: int = 0,
    offset: int = 0,
) -> Scaled:
    """x as it is stored: finite float32 or float64 [...] -> values of the same dtype and shape, and their scale.

    scale: None for that of x's own largest magnitude. x * scale is rounded to the dtype, then to the format: by words
    of (seed, stream), or words[i] in [0, 2**random_bits), where `Storage.random`. random_bits are those of the flush;
    a stochastic quantizer has its own. `unscale` gives the tensor back.
    Errors: as `Quantizer.quantize`, `numerics.luq.quantize` and `scale_of`.
    Source: as `fp8_adam`; the flush is an option of its code.
    """
    array = finite(x)
    fmt = storage.quantizer.fmt
    assert isinstance(fmt, FloatFormat)
    top = fmt.max if storage.largest is None else storage.largest
    factor = scale_of(amax(array), top, power_of_two=storage.power_of_two) if scale is None else float(scale)
    check_scale(factor)
    ends = np.finfo(array.dtype)
    with np.errstate(over="ignore", under="ignore"):
        scaled = np.clip(array * array.dtype.type(factor), ends.min, ends.max)
    if not storage.flush:
        rounded = storage.quantizer.quantize(scaled, seed=seed, words=words, stream=stream, offset=offset)
        return Scaled(rounded, factor)
    least = fmt.smallest_subnormal
    small = np.abs(scaled) < least
    flushed = luq.quantize(
        np.where(small, scaled, 0).astype(array.dtype),
        1,
        alpha=least,
        seed=seed,
        words=words,
        random_bits=random_bits,
        stream=stream,
        offset=offset,
    )
    return Scaled(storage.quantizer.quantize(np.where(small, flushed, scaled)), factor)


@dataclass(frozen=True)
class AdamStorage:
    """How Adam's three tensors are stored; the defaults are the source's: E4M3, E5M2 and FP16, each with a scale."""

    first: Storage = Storage(Quantizer(catalog.E4M3))
    second: Storage = Storage(Quantizer(catalog.E5M2))
    master: Storage = Storage(Quantizer(catalog.BINARY16))


FP8_ADAM = AdamStorage()


class AdamState(NamedTuple):
    """Weights and both moments as they are stored, and the number of steps done. `unscale(state.master)`: the weights."""

    master: Scaled
    first: Scaled
    second: Scaled
    steps: int


def adam_start(
    theta: Any,
    storage: AdamStorage = FP8_ADAM,
    *,
    seed: int | None = None,
    words: Any = None,
    random_bits: int = 32,
    stream: int = 0,
    offset: int = 0,
) -> AdamState:
    """The state before the first step: weights theta, float32 or float64 [...], as stored, moments 0.

    seed, words and so on: used only where the weights are stored at random. Errors: as `store`. Source: as `fp8_adam`.
    """
    array = finite(theta, "theta")
    zero = Scaled(np.zeros_like(array), 1.0)
    drawn = words if storage.master.random else None
    stored = store(array, storage.master, seed=seed, words=drawn, random_bits=random_bits, stream=stream, offset=offset)
    return AdamState(stored, zero, zero, 0)


def fp8_adam(
    gradient: Any,
    state: AdamState,
    *,
    rate: float,
    beta1: float = 0.9,
    beta2: float = 0.95,
    epsilon: float = 1e-8,
    weight_decay: float = 0.0,
    storage: AdamStorage = FP8_ADAM,
    seed: int | None = None,
    words: Any = None,
    random_bits: int = 32,
    stream: int = 0,
    offset: int = 0,
) -> AdamState:
    """One step: the state is unscaled, moved in the gradient's dtype, and stored again: float32 or float64 [...].

    m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g**2, and with c = 1 - beta**t
    theta = theta - rate (m/c1 / (sqrt(v/c2) + epsilon) + weight_decay theta), each operation rounded to the dtype; the
    moments in it are those before they are stored. With epsilon = 0 an element whose v is 0 moves by the decay alone.
    words: [3, ...], for m, v and theta in this order; or from seed, of stream, stream + 1 and stream + 2. Neither is
    needed where nothing is stored at random, and words are refused there. t counts from 1.
    Errors: as `store`; ValueError for rates out of range, and for shapes or dtypes that differ; OverflowError where a
    moment or a weight is beyond the dtype.
    Source: Fishman, Chmiel, Banner and Soudry, arXiv 2409.12517 (weight decay apart, as in AdamW, and beta2 = 0.95).
    """
    g = finite(gradient, "gradient")
    if g.shape != state.master.values.shape or g.dtype != state.master.values.dtype:
        found = f"{state.master.values.dtype} {state.master.values.shape}"
        raise ValueError(f"gradient {g.dtype} {g.shape} for weights {found}: give one shape and dtype")
    ends = 0 <= beta1 < 1 and 0 <= beta2 < 1
    if not (ends and 0 <= rate < np.inf and 0 <= epsilon < np.inf and 0 <= weight_decay < np.inf):
        raise ValueError(
            f"rate = {rate}, beta1 = {beta1}, beta2 = {beta2}, epsilon = {epsilon}, weight_decay = {weight_decay}:"
            " give betas in [0, 1) and the others finite and at least 0"
        )
    rows = _rows(words, g.shape, storage)
    number, steps = g.dtype.type, state.steps + 1
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        m = number(beta1) * unscale(state.first) + number(1 - beta1) * g
        v = number(beta2) * unscale(state.second) + number(1 - beta2) * (g * g)
        if not (np.isfinite(m).all() and np.isfinite(v).all()):
            raise OverflowError(f"a gradient of {amax(g)} makes a moment beyond {g.dtype}: clip or scale it first")
        root = np.sqrt(v / number(1 - beta2**steps)) + number(epsilon)
        move = np.divide(m / number(1 - beta1**steps), root, where=root > 0, out=np.zeros_like(m))
        theta = unscale(state.master)
        theta = theta - number(rate) * (move + number(weight_decay) * theta)
        if not np.isfinite(theta).all():
            raise OverflowError(
                f"rate = {rate}, weight_decay = {weight_decay} make a weight beyond {g.dtype}: lower them"
            )
    kept = [
        store(
            tensor,
            how,
            seed=seed,
            words=row if how.random else None,
            random_bits=random_bits,
            stream=stream_after(stream, place),
            offset=offset,
        )
        for place, (tensor, how, row) in enumerate(
            zip((m, v, theta), (storage.first, storage.second, storage.master), rows, strict=True)
        )
    ]
    return AdamState(kept[2], kept[0], kept[1], steps)


def _rows(words: Any, shape: tuple[int, ...], storage: AdamStorage) -> list[Any]:
    if words is None:
        return [None] * 3
    given = as_array(words, "words", f"integers of shape {(3, *shape)}")
    if given.shape != (3, *shape):
        raise ValueError(f"words of shape {given.shape} for moments and weights of {shape}: give {(3, *shape)}")
    if not (storage.first.random or storage.second.random or storage.master.random):
        raise ValueError("words given, and nothing is stored at random: leave them out, or give a Storage that draws")
    return list(given)
