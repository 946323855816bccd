"""Stages that scale: logarithmic, integer and floating-point grids whose size follows the tensor, or its past."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from numerics import FixedFormat, FloatFormat, Quantizer, Rounding, clipping, luq, scaling
from numerics.luq.scale import check_levels, check_power_of_two
from numerics.words import bits_of_words

from .stage import Applied, Factor, Stage, check_bits, check_quantizer, ends_of


@dataclass(frozen=True, repr=False)
class LUQ(Stage):
    """Logarithmic unbiased quantization, `numerics.luq.quantize`: values are 0 and 2**k, 0 <= k < levels; alpha follows.

    alpha is that of the largest magnitude of the tensor; with eta, of the hindsight maximum, which is
    (1 - eta) max|x| + eta m of the step before, m its own; of the tensor itself at first and where m is 0.
    power_of_two: None, "up" or "down", the direction in which alpha is rounded to one. Errors: as `numerics.luq`.
    """

    passing: ClassVar[tuple[str, ...]] = ("straight", "clipped", "hard_tanh")
    levels: int = 7
    power_of_two: str | None = field(default=None, kw_only=True)
    eta: float | None = field(default=None, kw_only=True)
    random_bits: int = field(default=32, kw_only=True)
    gradient: str = field(default="straight", kw_only=True)

    def __post_init__(self) -> None:
        check_levels(self.levels)
        check_power_of_two(self.power_of_two)
        if self.eta is not None:
            luq.hindsight_max(0.0, 0.0, self.eta)
        bits_of_words(self.random_bits)
        self._check_gradient()

    stochastic = True

    @property
    def remembers(self) -> int:  # type: ignore[override]
        """One maximum where eta is given."""
        return int(self.eta is not None)

    def _used(self, past: tuple[float, ...], x: NDArray[Any]) -> float:
        """alpha, a number of x's dtype."""
        if past and past[0]:
            x = np.array(past, np.float64).astype(x.dtype)
        return luq.alpha(x, self.levels, power_of_two=self.power_of_two)

    def _after(self, past: tuple[float, ...], x: NDArray[Any]) -> tuple[float, ...]:
        assert self.eta is not None
        observed = scaling.amax(x)
        return (luq.hindsight_max(past[0] if past and past[0] else observed, observed, self.eta),)

    def _apply(self, x: NDArray[Any], used: float, axis: int, **words: Any) -> Applied:
        values = luq.quantize(x, self.levels, alpha=used, random_bits=self.random_bits, **words)
        if not used:
            return Applied(values)
        return Applied(values / values.dtype.type(used), Factor(used))  # exact: each is a power of two times alpha

    def _ends(self, x: NDArray[Any], used: float) -> tuple[float, float]:
        top = float(np.ldexp(used, self.levels - 1))
        return -top, top


@dataclass(frozen=True, repr=False)
class SAWB(Stage):
    """Symmetric integers of `bits` bits up to the clip of `numerics.clipping.sawb`, rounded to nearest even.

    values: round(x * s), between -n and n, n = 2**(bits-1) - 1, s = n / clip rounded to float32, by
    `numerics.scaling.quantize`; the product is divided by s. coefficients: a key of `numerics.clipping.SAWB`, None for
    that of `bits`. Errors: ValueError for bits outside 2 to 16 and for unknown coefficients.
    """

    passing: ClassVar[tuple[str, ...]] = ("straight", "clipped", "hard_tanh")
    bits: int = 4
    coefficients: int | str | None = field(default=None, kw_only=True)
    gradient: str = field(default="straight", kw_only=True)

    def __post_init__(self) -> None:
        check_bits(self.bits, 2, 16)
        if self.coefficients is None:
            object.__setattr__(self, "coefficients", self.bits)
        clipping.sawb(np.zeros(0), self._key)
        self._check_gradient()

    @property
    def _key(self) -> int | str:
        assert self.coefficients is not None
        return self.coefficients

    @property
    def _quantizer(self) -> Quantizer:
        return Quantizer(FixedFormat(self.bits, symmetric=True))

    def _used(self, past: tuple[float, ...], x: NDArray[Any]) -> float:
        """s."""
        return scaling.scale_of(clipping.sawb(x, self._key), 2.0 ** (self.bits - 1) - 1, power_of_two=False)

    def _apply(self, x: NDArray[Any], used: float, axis: int, **words: Any) -> Applied:
        return Applied(scaling.quantize(x, self._quantizer, scale=used).values, Factor(used, divides=True))

    def _ends(self, x: NDArray[Any], used: float) -> tuple[float, float]:
        low, high = ends_of(self._quantizer)
        return low / used, high / used


@dataclass(frozen=True, repr=False)
class Affine(Stage):
    """GEMMLOWP's integers, `numerics.clipping.affine`: values code - zero_point; the product is multiplied by scale.

    The range is that of x; with a distribution, "laplace" or "gauss", that of `numerics.clipping.clip_range` (ACIQ).
    half_range: it begins at 0, after a ReLU. The factor is the scale rounded to the dtype of the product.
    rounding: RNE, or SR with random_bits. Errors: as these functions.
    """

    passing: ClassVar[tuple[str, ...]] = ("straight", "clipped", "hard_tanh")
    bits: int = 8
    distribution: str | None = field(default=None, kw_only=True)
    half_range: bool = field(default=False, kw_only=True)
    rounding: Rounding = field(default=Rounding.RNE, kw_only=True)
    random_bits: int | None = field(default=None, kw_only=True)
    gradient: str = field(default="straight", kw_only=True)

    def __post_init__(self) -> None:
        if self.distribution is not None:
            clipping.aciq_alpha(self.bits, self.distribution, half_range=self.half_range)
        clipping.affine(
            np.zeros(0),
            self.bits,
            half_range=self.half_range,
            rounding=self.rounding,
            random_bits=self.random_bits,
            words=np.zeros(0, np.uint32) if self.stochastic else None,
        )
        self._check_gradient()

    @property
    def stochastic(self) -> bool:  # type: ignore[override]
        """Whether it rounds so."""
        return isinstance(self.rounding, Rounding) and self.rounding.stochastic

    def _range(self, x: NDArray[Any]) -> tuple[float | None, float | None]:
        """(lo, hi) as `affine` takes them."""
        if self.distribution is None:
            return None, None
        low, high = clipping.clip_range(x, self.bits, self.distribution, half_range=self.half_range)
        return None if self.half_range else low, high

    def _codes(self, x: NDArray[Any], **words: Any) -> tuple[NDArray[Any], float, int]:
        low, high = self._range(x)
        return clipping.affine(
            x,
            self.bits,
            lo=low,
            hi=high,
            half_range=self.half_range,
            rounding=self.rounding,
            random_bits=self.random_bits,
            **words,
        )

    def _apply(self, x: NDArray[Any], used: float, axis: int, **words: Any) -> Applied:
        codes, scale, zero_point = self._codes(x, **words)
        values = (codes.astype(np.int64) - zero_point).astype(x.dtype)
        return Applied(values, Factor(scale) if scale else None)

    def _ends(self, x: NDArray[Any], used: float) -> tuple[float, float]:
        low, high = self._range(x)
        least = 0.0 if self.half_range else -np.inf if low is None else min(low, 0.0)
        return least, np.inf if high is None else max(high, 0.0)


@dataclass(frozen=True, repr=False)
class Scaled(Stage):
    """A Quantizer of x * s, s one number a tensor, `numerics.scaling.quantize`; the product is divided by s.

    s brings the largest magnitude to the format's largest number, or to `largest`: that of the tensor itself, or, with
    a history, the largest of as many steps before it, s being 1 at first (`numerics.scaling.DelayedScale`). s is a power
    of two, rounded down, or with power_of_two=False the quotient in float32. Errors: ValueError for block formats,
    which have scales of their own, and as `DelayedScale`.
    """

    passing: ClassVar[tuple[str, ...]] = ("straight", "clipped", "hard_tanh")
    quantizer: Quantizer
    history: int | None = field(default=None, kw_only=True)
    power_of_two: bool = field(default=True, kw_only=True)
    largest: float | None = field(default=None, kw_only=True)
    gradient: str = field(default="straight", kw_only=True)

    def __post_init__(self) -> None:
        check_quantizer("quantizer", self.quantizer)
        if not isinstance(self.quantizer.fmt, FloatFormat | FixedFormat):
            raise ValueError(
                f"quantizer of {self.quantizer.fmt}: a scale for the tensor goes with a FloatFormat or a FixedFormat;"
                " give the Quantizer by itself"
            )
        if self.largest is None:
            object.__setattr__(self, "largest", float(ends_of(self.quantizer)[1]))
        self._state(())
        self._check_gradient()

    def _state(self, past: tuple[float, ...]) -> scaling.DelayedScale:
        assert self.largest is not None
        length = 1 if self.history is None else self.history
        return scaling.DelayedScale(self.largest, length, self.power_of_two, history=past)

    @property
    def stochastic(self) -> bool:  # type: ignore[override]
        """Whether the quantizer is."""
        return self.quantizer.stochastic

    @property
    def remembers(self) -> int:  # type: ignore[override]
        """The length of the history."""
        return self.history or 0

    def _used(self, past: tuple[float, ...], x: NDArray[Any]) -> float:
        """s."""
        state = self._state(past)
        return (state if self.history else scaling.observe(state, x)).scale

    def _after(self, past: tuple[float, ...], x: NDArray[Any]) -> tuple[float, ...]:
        return scaling.observe(self._state(past), x).history

    def _apply(self, x: NDArray[Any], used: float, axis: int, **words: Any) -> Applied:
        values = scaling.quantize(x, self.quantizer, scale=used, **words).values
        return Applied(values, None if used == 1 else Factor(used, divides=True))

    def _ends(self, x: NDArray[Any], used: float) -> tuple[float, float]:
        low, high = ends_of(self.quantizer)
        return low / used, high / used
