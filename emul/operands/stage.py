"""What a stage of an operand is, and what it makes of an array."""

from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from numerics import FixedFormat, Quantizer, binary
from numerics.formats.integers import whole
from numerics.formats.naming import made_from, named
from numerics.formats.spelling import spelled


class Factor(NamedTuple):
    """What a product of values on a grid is multiplied by, or divided by, to be one of the operand's own numbers."""

    number: float
    divides: bool = False


class Applied(NamedTuple):
    """Values on the grid, of x's shape and dtype, and the factor that they lack, None for none."""

    values: NDArray[Any]
    factor: Factor | None = None


class Stage:
    """The base of the records: what the layers ask of one.

    stochastic: it needs random words. blocked: it works along the axis that the product sums over. remembers: numbers
    that it keeps from step to step, at most. A stage that remembers uses `used(past, x)`, one number, and leaves
    `after(past, x)` to the next step; past is the numbers kept so far, none at first.
    """

    passing: ClassVar[tuple[str, ...]] = ("straight",)
    default_gradient: ClassVar[str] = "straight"
    gradient: str
    stochastic: bool = False
    blocked: bool = False
    remembers: int = 0

    __repr__ = spelled

    def apply(self, x: NDArray[Any], used: float, *, axis: int = -1, **words: Any) -> Applied:
        """x on the grid. words: seed, stream and offset, or words, where the stage is stochastic."""
        return self._apply(x, used, axis, **words)

    def used(self, past: tuple[float, ...], x: NDArray[Any]) -> float:
        """The number that x is scaled by, from earlier steps or from x; 1 of a stage that does not scale."""
        return self._used(past, x)

    def after(self, past: tuple[float, ...], x: NDArray[Any]) -> tuple[float, ...]:
        """What is kept after a step with x."""
        return self._after(past, x) if self.remembers else ()

    def passes(self, x: NDArray[Any], used: float) -> NDArray[np.bool_] | None:
        """Where the gradient passes; None for everywhere."""
        if self.gradient == "hard_tanh":
            return binary.ste_mask(x)
        if self.gradient == "clipped":
            low, high = self._ends(x, used)
            return np.asarray((x >= low) & (x <= high))
        return self._kept(x) if self.gradient == "kept" else None

    def _apply(self, x: NDArray[Any], used: float, axis: int, **words: Any) -> Applied:
        raise NotImplementedError

    def _used(self, past: tuple[float, ...], x: NDArray[Any]) -> float:
        return 1.0

    def _after(self, past: tuple[float, ...], x: NDArray[Any]) -> tuple[float, ...]:
        raise NotImplementedError

    def _ends(self, x: NDArray[Any], used: float) -> tuple[float, float]:
        """The least and the largest x that is not clipped."""
        raise NotImplementedError

    def _kept(self, x: NDArray[Any]) -> NDArray[np.bool_]:
        """What a mask keeps."""
        raise NotImplementedError

    def _check_gradient(self) -> None:
        if self.gradient not in self.passing:
            raise ValueError(
                f"gradient = {self.gradient!r} of {type(self).__name__}: give {' or '.join(map(repr, self.passing))}"
            )


def check_quantizer(label: str, value: Any) -> None:
    """Errors: TypeError for anything but a Quantizer."""
    if not isinstance(value, Quantizer):
        raise TypeError(f"{label} = {named(value)}: give {made_from(value, 'numerics.Quantizer')}")


def check_bits(bits: Any, least: int, most: int) -> None:
    """Errors: ValueError for anything but an integer from `least` to `most`."""
    number = whole(bits)
    if number is None or not least <= number <= most:
        raise ValueError(f"bits = {bits!r}: give {least} to {most}")


def ends_of(quantizer: Quantizer) -> tuple[float, float]:
    """The least and the largest finite value of the format."""
    fmt: Any = quantizer.fmt
    high = float(fmt.max)
    if isinstance(fmt, FixedFormat):
        return float(fmt.min), high
    return (-high if fmt.signed else 0.0), high
