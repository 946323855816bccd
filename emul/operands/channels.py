"""Stages of post-training quantization: a grid for each channel of a weight, and one that a calibration has fixed."""

import math
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from numerics import clipping
from numerics.clipping.aciq import check_distribution

from .stage import Applied, Factor, Stage, check_bits

#: (stage, dtype, shape, digest of the bits) -> values, the oldest first.
_KNOWN: dict[tuple[Any, ...], NDArray[Any]] = {}
_MOST_KNOWN = 64


@dataclass(frozen=True, repr=False)
class Channels(Stage):
    """Every channel along the first axis in integers of its own bits and clip, then its mean and deviation put back.

    The clips are `numerics.clipping.clip_range` (ACIQ) of each channel at `bits`. allocate: the bits of the channels by
    `bit_allocation`, their mean aiming at `bits`, by the magnitudes of the clips; else `bits` for all. A channel is
    rounded by `affine` to nearest, one of no bits at all becomes its own mean; correct: `bias_correction` afterwards.
    Values are numbers of x's dtype and no integers: scales differ by channel.
    Errors: ValueError for bits outside 1 to 8 and an unknown distribution.
    """

    bits: int = 4
    distribution: str = "laplace"
    allocate: bool = field(default=True, kw_only=True)
    correct: bool = field(default=True, kw_only=True)
    gradient: str = field(default="straight", kw_only=True)

    def __post_init__(self) -> None:
        check_bits(self.bits, 1, 8)
        check_distribution(self.distribution)
        self._check_gradient()

    def bits_of(self, x: NDArray[Any]) -> NDArray[np.int64]:
        """The bits of each channel of x [C, ...]."""
        if not self.allocate:
            return np.full(len(x), self.bits)
        low, high = clipping.clip_range(x, self.bits, self.distribution, axis=0)
        return clipping.bit_allocation((high - low) / 2, self.bits)

    def _apply(self, x: NDArray[Any], used: float, axis: int, **words: Any) -> Applied:
        if x.ndim == 0 or x.size == 0:
            return Applied(x)
        # A weight after training is the same in every batch, and this the slow part of the forward.
        key = (self, x.dtype.str, x.shape, blake2b(np.ascontiguousarray(x).tobytes()).digest())
        if key not in _KNOWN:
            if len(_KNOWN) >= _MOST_KNOWN:
                _KNOWN.pop(next(iter(_KNOWN)))
            _KNOWN[key] = self._values(x)
        return Applied(_KNOWN[key].copy())

    def _values(self, x: NDArray[Any]) -> NDArray[Any]:
        rounded = np.empty_like(x)
        for channel, bits in enumerate(self.bits_of(x).tolist()):
            rounded[channel] = self._rounded(x[channel], bits)
        values: NDArray[Any] = clipping.bias_correction(x, rounded) if self.correct else rounded
        return values

    def _rounded(self, x: NDArray[Any], bits: int) -> NDArray[Any]:
        if bits == 0:
            return np.full_like(x, math.fsum(x.ravel().tolist()) / x.size)
        low, high = clipping.clip_range(x, bits, self.distribution)
        codes, scale, zero_point = clipping.affine(x, bits, lo=low, hi=high)
        return clipping.dequantize(codes, scale, zero_point, dtype=x.dtype)


@dataclass(frozen=True, repr=False)
class Calibrated(Stage):
    """GEMMLOWP's integers over a range that is known beforehand: `numerics.clipping.affine` with lo and hi.

    values: code - zero_point; the product is multiplied by the scale rounded to its dtype. Errors: ValueError for bits
    outside 1 to 20 and for ends that are not finite or not in order.
    """

    passing: ClassVar[tuple[str, ...]] = ("straight", "clipped")
    bits: int
    low: float
    high: float
    gradient: str = field(default="straight", kw_only=True)

    def __post_init__(self) -> None:
        clipping.affine(np.zeros(0), self.bits, lo=self.low, hi=self.high)
        self._check_gradient()

    def _apply(self, x: NDArray[Any], used: float, axis: int, **words: Any) -> Applied:
        codes, scale, zero_point = clipping.affine(x, self.bits, lo=self.low, hi=self.high)
        return Applied((codes.astype(np.int64) - zero_point).astype(x.dtype), Factor(scale) if scale else None)

    def _ends(self, x: NDArray[Any], used: float) -> tuple[float, float]:
        return min(self.low, 0.0), max(self.high, 0.0)
