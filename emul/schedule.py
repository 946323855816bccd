"""Schedules: which recipe a training follows when, and at which learning rate. Frozen records; torch is not needed.

`emul.Course` follows one in a training loop.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction

from numerics.formats.integers import whole
from numerics.formats.spelling import spelled
from numerics.scaling import SWITCH_RATIO

from .recipe import Recipe

SHAPES = ("cosine", "triangle", "constant")
STARTS = ("scratch", "trained")


@dataclass(frozen=True)
class LearningRate:
    """The learning rate over a phase of its own, in multiples of the training's peak.

    shape: "cosine", from `factor` down to `low` by half a cosine; "triangle", from `low` up to `factor` over half of the
    phase and down again with the same slope; "constant", `factor`. warm_up: steps of a straight climb before the cosine
    or the constant, at most half of the phase. Errors: ValueError for other shapes and numbers, and for a triangle that
    warms up.
    """

    shape: str = "cosine"
    factor: float = 1.0
    low: float = 0.0
    warm_up: int = 0

    __repr__ = spelled

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise ValueError(f"shape = {self.shape!r}: give {', '.join(SHAPES)}")
        if not 0 < self.factor < math.inf or not 0 <= self.low <= self.factor:
            raise ValueError(f"factor = {self.factor}, low = {self.low}: give 0 <= low <= factor, factor above 0")
        steps = whole(self.warm_up)
        if steps is None or steps < 0:
            raise ValueError(f"warm_up = {self.warm_up!r}: give a number of steps, at least 0")
        if steps and self.shape == "triangle":
            raise ValueError(f"warm_up = {steps} of a triangle, which climbs by itself: leave it out")

    def at(self, step: int, steps: int, peak: float) -> float:
        """That of step 0, 1, ... of a phase of `steps`; a triangle is taken at the middle of each step."""
        if self.shape == "triangle":
            half = steps / 2
            return peak * (self.low + (self.factor - self.low) * (1 - abs(step + 0.5 - half) / half))
        warm = min(self.warm_up, steps // 2)
        if step < warm:
            return peak * self.factor * (step + 1) / warm
        if self.shape == "constant":
            return peak * self.factor
        fall = 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm)))
        return peak * (self.low + (self.factor - self.low) * fall)


@dataclass(frozen=True)
class GradientToNoise:
    """Ends a phase where the gradient no longer stands out of the noise that its quantization adds.

    Every `every` steps the gradient of the loss is computed twice at the same weights and batch, in the arithmetic of
    this phase and in that of the next. With g the latter, of d entries, and s the root mean square of their difference,
    the phase ends once ||g|| / (s sqrt d) < `below`. g is that of the weights, biases and gains of norms not among them, of
    all emulated layers and of modules whose calls are emulated, as one vector.
    Source: Chmiel, Fishman, Banner and Soudry, FP4 All the Way, arXiv 2505.19115: below = sqrt 3; how often and over
    which tensors it is measured was not seen. Errors: ValueError for numbers out of range.
    """

    below: float = SWITCH_RATIO
    every: int = 100

    __repr__ = spelled

    def __post_init__(self) -> None:
        if not 0 < self.below < math.inf:
            raise ValueError(f"below = {self.below!r}: give a finite number above 0, such as 3**0.5")
        every = whole(self.every)
        if every is None or every < 1:
            raise ValueError(f"every = {self.every!r}: give a number of steps, at least 1")


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A stretch of a training: its recipe, its length, and what else is particular to it.

    recipe: None for torch's own arithmetic. steps: how many; or share: of the steps that phases with `steps` leave, in
    proportion to the shares of the others. learning_rate: None for the training's own, which goes on through all phases.
    until: what ends the phase earlier; its steps are then the next one's. clip_weights: weights of emulated layers,
    and of modules whose calls are emulated, are kept in [-clip_weights, clip_weights] after each step; no biases, and no
    gains of norms.
    Errors: ValueError for steps beside a share, numbers out of range, until without a recipe; TypeError for other types.
    """

    recipe: Recipe | None
    name: str = ""
    steps: int | None = None
    share: float | None = None
    learning_rate: LearningRate | None = None
    until: GradientToNoise | None = None
    clip_weights: float | None = None

    __repr__ = spelled

    def __post_init__(self) -> None:
        if self.recipe is not None and not isinstance(self.recipe, Recipe):
            raise TypeError(f"recipe = {self.recipe!r}: give an emul.Recipe, or None for torch's own arithmetic")
        if self.steps is not None and self.share is not None:
            raise ValueError(f"steps = {self.steps} and share = {self.share} of one phase: give one of the two")
        if self.steps is None and self.share is None:
            object.__setattr__(self, "share", 1.0)
        if self.steps is not None and (whole(self.steps) is None or self.steps < 1):
            raise ValueError(f"steps = {self.steps!r}: give a number of steps, at least 1")
        for label in ("share", "clip_weights"):
            value = getattr(self, label)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{label} = {value!r}: give a finite number above 0")
        for label, kind in (("learning_rate", LearningRate), ("until", GradientToNoise)):
            if getattr(self, label) is not None and not isinstance(getattr(self, label), kind):
                raise TypeError(f"{label} = {getattr(self, label)!r}: give an emul.schedule.{kind.__name__}, or None")
        if self.until is not None and self.recipe is None:
            raise ValueError(
                f"until = {self.until} of a phase in torch's own arithmetic, which adds no noise: leave it out"
            )
        if not self.name:
            object.__setattr__(self, "name", "native" if self.recipe is None else self.recipe.name or "recipe")


@dataclass(frozen=True)
class Schedule:
    """The phases of a training, one after the other.

    start: "scratch", or "trained", a net that was trained natively before. Errors: ValueError for no phase, an unknown
    start, phases without any recipe, and a condition that ends the last phase; TypeError for other types.
    """

    phases: tuple[Phase, ...]
    start: str = "scratch"
    name: str = ""

    __repr__ = spelled

    def __post_init__(self) -> None:
        if isinstance(self.phases, Phase) or not all(isinstance(phase, Phase) for phase in self.phases):
            raise TypeError(f"phases = {self.phases!r}: give a tuple of emul.schedule.Phase")
        object.__setattr__(self, "phases", tuple(self.phases))
        if all(phase.recipe is None for phase in self.phases):
            raise ValueError("a schedule without a recipe emulates nothing: give it a phase that has one")
        if self.start not in STARTS:
            raise ValueError(f"start = {self.start!r}: give {' or '.join(map(repr, STARTS))}")
        if self.phases[-1].until is not None:
            raise ValueError(
                f"the last phase has until = {self.phases[-1].until}: no phase follows it; leave until out"
            )

    def with_seed(self, seed: int) -> Schedule:
        """The same with another seed of all random words, that of every recipe in it."""
        phases = [
            phase if phase.recipe is None else replace(phase, recipe=replace(phase.recipe, seed=seed))
            for phase in self.phases
        ]
        return replace(self, phases=tuple(phases))

    def ends(self, steps: int) -> tuple[int, ...]:
        """The step at which each phase ends at the latest, in a training of so many; the last is `steps`.

        Shares are divided exactly and rounded to the nearest step, and every phase has one at least. Errors: ValueError
        for too few steps, for steps that are left over, and for steps that are no integer.
        """
        whole_steps = whole(steps)
        if whole_steps is None:
            raise ValueError(f"steps = {steps!r}: give the number of steps of the training, an integer")
        steps = whole_steps
        fixed = sum(phase.steps or 0 for phase in self.phases)
        shares = [Fraction(phase.share) for phase in self.phases if phase.share is not None]
        left = steps - fixed
        if left < len(shares):
            raise ValueError(
                f"a training of {steps} steps is too short for the {len(self.phases)} phases of {self._title}:"
                f" give at least {fixed + len(shares)}"
            )
        if left and not shares:
            raise ValueError(
                f"the phases of {self._title} have {fixed} steps and the training {steps}: train as many, or give one a"
                " share"
            )
        total, passed, given, place, done = sum(shares, Fraction(0)), Fraction(0), 0, 0, 0
        ends = []
        for phase in self.phases:
            if phase.share is None:
                assert phase.steps is not None
                place += phase.steps
            else:
                done += 1
                passed += Fraction(phase.share)
                wanted = math.floor(left * passed / total + Fraction(1, 2))
                upto = max(given + 1, min(wanted, left - (len(shares) - done)))
                place += upto - given
                given = upto
            ends.append(place)
        return tuple(ends)

    @property
    def _title(self) -> str:
        return f"the schedule {self.name!r}" if self.name else "the schedule"


def single(recipe: Recipe, start: str = "scratch") -> Schedule:
    """The schedule of one phase."""
    return Schedule((Phase(recipe=recipe),), start, recipe.name)
