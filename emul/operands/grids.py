"""Stages with a grid of their own, whatever the tensor: a quantizer's, signs, those of quantized nets."""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from numerics import BlockFormat, Quantizer, binary
from numerics.words import bits_of_words

from .stage import Applied, Stage, check_bits, check_quantizer, ends_of


@dataclass(frozen=True, repr=False)
class Rounded(Stage):
    """A Quantizer, and the gradient that passes it; the Quantizer by itself stands for gradient="straight".

    Blocks of a BlockFormat lie along the axis that the product sums over, whatever the quantizer's own axis.
    """

    passing: ClassVar[tuple[str, ...]] = ("straight", "clipped", "hard_tanh")
    quantizer: Quantizer
    gradient: str = field(default="straight", kw_only=True)

    def __post_init__(self) -> None:
        check_quantizer("quantizer", self.quantizer)
        self._check_gradient()
        if self.blocked and self.gradient != "straight":
            raise ValueError(
                f"gradient = {self.gradient!r} of {self.quantizer.fmt}: what its blocks clip differs from product to"
                " product and has no place in the operand's own tensor; give 'straight'"
            )

    @property
    def stochastic(self) -> bool:  # type: ignore[override]
        """Whether the quantizer is."""
        return self.quantizer.stochastic

    @property
    def blocked(self) -> bool:  # type: ignore[override]
        """Whether the format is one of blocks."""
        return isinstance(self.quantizer.fmt, BlockFormat)

    def along(self, axis: int) -> Quantizer:
        """The quantizer with its blocks along this axis."""
        return replace(self.quantizer, axis=axis) if self.blocked else self.quantizer

    def _apply(self, x: NDArray[Any], used: float, axis: int, **words: Any) -> Applied:
        return Applied(self.along(axis).quantize(x, **words))

    def _ends(self, x: NDArray[Any], used: float) -> tuple[float, float]:
        return ends_of(self.quantizer)


@dataclass(frozen=True, repr=False)
class Sign(Stage):
    """+1 for x >= 0 and for -0.0, else -1, `numerics.binary.sign`. Zeros that pad a convolution stay 0."""

    passing: ClassVar[tuple[str, ...]] = ("straight", "hard_tanh")
    default_gradient: ClassVar[str] = "hard_tanh"
    gradient: str = field(default="hard_tanh", kw_only=True)

    def __post_init__(self) -> None:
        self._check_gradient()

    def _apply(self, x: NDArray[Any], used: float, axis: int, **words: Any) -> Applied:
        return Applied(binary.sign(x))


@dataclass(frozen=True, repr=False)
class StochasticSign(Stage):
    """+1 with probability clip((x + 1)/2, 0, 1), else -1, `numerics.binary.stochastic_sign`."""

    passing: ClassVar[tuple[str, ...]] = ("straight", "hard_tanh")
    default_gradient: ClassVar[str] = "hard_tanh"
    random_bits: int = field(default=32, kw_only=True)
    gradient: str = field(default="hard_tanh", kw_only=True)

    stochastic = True

    def __post_init__(self) -> None:
        bits_of_words(self.random_bits)
        self._check_gradient()

    def _apply(self, x: NDArray[Any], used: float, axis: int, **words: Any) -> Applied:
        return Applied(binary.stochastic_sign(x, random_bits=self.random_bits, **words))


@dataclass(frozen=True, repr=False)
class LinearQuant(Stage):
    """clip(round(x 2**(bits-1)) 2**(1-bits), low, high), `numerics.binary.linear_quant`; high None: 1 - 2**(1-bits)."""

    passing: ClassVar[tuple[str, ...]] = ("straight", "clipped", "hard_tanh")
    bits: int
    low: float = field(default=-1.0, kw_only=True)
    high: float | None = field(default=None, kw_only=True)
    ties: str = field(default="even", kw_only=True)
    gradient: str = field(default="straight", kw_only=True)

    def __post_init__(self) -> None:
        check_bits(self.bits, 1, 24)
        binary.linear_quant(np.zeros(1), self.bits, low=self.low, high=self.high, ties=self.ties)
        self._check_gradient()

    def _apply(self, x: NDArray[Any], used: float, axis: int, **words: Any) -> Applied:
        return Applied(binary.linear_quant(x, self.bits, low=self.low, high=self.high, ties=self.ties))

    def _ends(self, x: NDArray[Any], used: float) -> tuple[float, float]:
        return self.low, 1 - 2.0 ** (1 - self.bits) if self.high is None else self.high


@dataclass(frozen=True, repr=False)
class LogQuant(Stage):
    """clip(AP2(x), low, high), `numerics.binary.log_quant`."""

    passing: ClassVar[tuple[str, ...]] = ("straight", "clipped", "hard_tanh")
    low: float
    high: float
    gradient: str = field(default="straight", kw_only=True)

    def __post_init__(self) -> None:
        binary.log_quant(np.zeros(1), self.low, self.high)
        self._check_gradient()

    def _apply(self, x: NDArray[Any], used: float, axis: int, **words: Any) -> Applied:
        return Applied(binary.log_quant(x, self.low, self.high))

    def _ends(self, x: NDArray[Any], used: float) -> tuple[float, float]:
        return self.low, self.high
