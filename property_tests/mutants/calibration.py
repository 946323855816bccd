"""How often right functions are accused, and how surely a shift is found: what the statistical checks promise, measured."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from numerics import FixedFormat, FloatFormat, NanEncoding, Rounding
from numerics.properties import MaskUnderTest, QuantizerUnderTest, as_quantizer, checks
from numerics.properties.tails import most_alarms

from . import masks, own, samplers

ALPHAS = (0.01, 0.001, 1e-9)
BUDGET = 1 << 11
POWER = 0.9


@dataclass(frozen=True)
class Alarms:
    """Of so many runs of a right function, how many were called wrong at each rate, and the most that chance explains."""

    subject: str
    runs: int
    seen: tuple[int, ...]
    most: tuple[int, ...]

    @property
    def kept(self) -> bool:
        """Whether every rate was kept, and there was no alarm at the smallest."""
        return self.seen[-1] == 0 and all(s <= m for s, m in zip(self.seen, self.most, strict=True))


def right_samplers() -> dict[str, Any]:
    """make(seed) of right samplers: floats, powers of two, fixed point; ideal and r-bit; two-sided p-values of all kinds."""
    small, powers = samplers.SMALL, samplers.POWERS
    fixed = FixedFormat(8, 4)
    fp8 = FloatFormat(4, 3, nan=NanEncoding.TOP_CODE, infinities=False)
    in_fixed = {"end": own.saturate_fixed, "grid": own.split_fixed}
    return {
        "e3m2, ideal": samplers.sampler(samplers.uniform, small),
        "e3m0, ideal": samplers.sampler(samplers.uniform, powers),
        "e4m3, 8 bits": samplers.sampler(samplers._few(8), fp8, 8),
        "e3m2, 3 bits": samplers.sampler(samplers._few(3), small, 3),
        "fixed point, ideal": samplers.sampler(samplers.uniform, fixed, **in_fixed),
        "fixed point, 16 bits": samplers.sampler(samplers._few(16), fixed, 16, **in_fixed),
    }


def _alarms(name: str, values: list[float]) -> Alarms:
    seen = tuple(sum(value <= alpha for value in values) for alpha in ALPHAS)
    return Alarms(name, len(values), seen, tuple(most_alarms(len(values), alpha) for alpha in ALPHAS))


def calibrate_draws(runs: int) -> Iterator[Alarms]:
    """Alarms of `checks.draws` on right samplers, `runs` in all, each with its own generator."""
    makers = right_samplers()
    every: list[float] = []
    for number, (name, make) in enumerate(makers.items()):
        share = runs // len(makers) + (number < runs % len(makers))
        values = [checks.p_value_of_draws(make(1000 * number + seed + 1), budget=BUDGET) for seed in range(share)]
        every += values
        yield _alarms(name, values)
    yield _alarms("all samplers", every)


def calibrate_masks(runs: int) -> Alarms:
    """The same for `checks.mask_draws`."""
    values = []
    for seed in range(runs):
        mask = masks.DRAWN.make(seed)
        assert isinstance(mask, MaskUnderTest)
        values.append(checks.p_value_of_mask_draws(mask))
    return _alarms("2:4 mask", values)


def shifted(shift: float) -> Any:
    """make(seed) of a sampler that is right but for ties, which go up with probability 1/2 + shift."""

    def make(seed: int) -> QuantizerUnderTest:
        rng = np.random.default_rng(seed)

        def draws_for_itself(x: Any) -> Any:
            def up(part: Any, whole: Any, _: Any) -> Any:
                return rng.random(x.shape) < np.where(part == 0.5, 0.5 + shift, part)

            return own.rounder(samplers.SMALL, up)(x)

        return as_quantizer(draws_for_itself, fmt=samplers.SMALL, rounding=Rounding.SR)

    return make


@dataclass(frozen=True)
class Power:
    """Of so many runs of a sampler shifted by what should be found with power 0.9, how many were called wrong."""

    draws: int
    shift: float
    runs: int
    found: int

    @property
    def least(self) -> int:
        """The count that a power of 0.9 falls below with probability at most 1e-9."""
        return self.runs - most_alarms(self.runs, float(Fraction(1) - Fraction(9, 10)))

    @property
    def kept(self) -> bool:
        return self.found >= self.least


def measure_power(draws: int, runs: int) -> Power:
    """Runs `checks.draws` at its own rate of false alarms on samplers shifted by `checks.smallest_shift`."""
    shift = checks.smallest_shift(draws, power=POWER)
    make = shifted(shift)
    found = sum(checks.p_value_of_draws(make(seed), budget=draws) <= 1e-9 for seed in range(runs))
    return Power(draws, shift, runs, found)
