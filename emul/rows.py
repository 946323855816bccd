"""The rows of a comparison: what is emulated, where the net starts, and which native row is its fair opponent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from numerics.formats.naming import named

from . import recipes
from .named import found
from .recipe import Recipe
from .schedule import Schedule, single

#: "train": from scratch, with the initial weights and the data order of the native row.
#: "evaluate": the trained native net of the same seed, its arithmetic swapped, no training.
#: "fine-tune": the same net, trained shortly with its arithmetic swapped.
Phase = Literal["train", "evaluate", "fine-tune"]


@dataclass(frozen=True)
class Row:
    """One row: a short `key`, the printed `name`, the arithmetic and the phase it is applied in.

    `recipe` is a name known to `emul.recipes`, which stands for its schedule, a Recipe or a Schedule (their seed is
    replaced by that of each run), or None for torch's native float32.
    """

    key: str
    name: str
    recipe: str | Recipe | Schedule | None
    phase: Phase

    def __post_init__(self) -> None:
        if self.phase not in ("train", "evaluate", "fine-tune"):
            raise ValueError(
                f"the row {self.key!r} has the phase {self.phase!r}; give 'train', 'evaluate' or 'fine-tune'"
            )

    @property
    def against(self) -> str | None:
        """Key of the native row with the same training budget; None for the native row itself."""
        if self.key == NATIVE.key:
            return None
        return TUNED.key if self.phase == "fine-tune" and self.key != TUNED.key else NATIVE.key

    def schedule(self, seed: int, model: Any = None) -> Schedule | None:
        """The phases of the run `seed`, None for a native row; of a row that is not trained, its one recipe.

        model: a torch.nn.Module, for recipes that ask which layer is its first.
        """
        if self.recipe is None:
            return None
        if isinstance(self.recipe, Recipe):
            return single(replace(self.recipe, seed=seed))
        if isinstance(self.recipe, Schedule):
            return self.recipe.with_seed(seed)
        options = {} if model is None else recipes.options_for(self.recipe, model)
        if self.phase == "evaluate":
            return single(recipes.get(self.recipe, seed, **options), "trained")
        return recipes.schedule(self.recipe, seed, **options)

    def resolve(self, seed: int, model: Any = None) -> Recipe | None:
        """The recipe that the run `seed` begins with, None for a native row. model: as in `schedule`."""
        schedule = self.schedule(seed, model)
        return None if schedule is None else opening(schedule)

    @property
    def calibrated(self) -> bool:
        """Whether its recipe is made for each net from some of the training data."""
        return isinstance(self.recipe, str) and self.phase == "evaluate" and bool(recipes.entry(self.recipe).calibrate)


def opening(schedule: Schedule) -> Recipe | None:
    """The first recipe of a schedule."""
    return next(phase.recipe for phase in schedule.phases if phase.recipe is not None)


NATIVE = Row("native", "native float32", None, "train")
#: A fine-tuned net has seen more steps than the native row; what they alone are worth, this control tells.
TUNED = Row("native-tuned", "native float32, fine-tuned", None, "fine-tune")

ROWS: tuple[Row, ...] = (
    NATIVE,
    Row("fp8", "FP8 (E4M3 forward, E5M2 SR gradients)", "fp8", "train"),
    Row("lba12-untuned", "12-bit accumulators, no fine-tuning", "lba12", "evaluate"),
    TUNED,
    Row("lba12-tuned", "12-bit accumulators, fine-tuned", "lba12", "fine-tune"),
    Row("lba8-tuned", "8-bit accumulators, fine-tuned, identity gradients", "lba8", "fine-tune"),
)


def known() -> tuple[str, ...]:
    """What `select` understands: the keys of the standard rows and the names of all recipes."""
    return tuple(dict.fromkeys([*(row.key for row in ROWS), *recipes.names()]))


def select(wanted: Sequence[str | Row | Recipe | Schedule] | None) -> tuple[Row, ...]:
    """The rows asked for, the native row first, and the native control wherever a row is fine-tuned.

    A string is the key or the printed name of a standard row, or the name of a recipe: that gives the standard rows
    of the recipe or, where there are none, one with it, trained as its paper does: from scratch, from the native net,
    or not at all. "module:name" is a Recipe or a Schedule of your own, or a function without arguments that returns one.
    A Recipe gives a row trained from scratch, a Schedule one from where it starts. None gives the standard rows.
    Errors: ValueError for a string that is none of these, with the nearest ones, and for a name that a module does not
    have; ImportError for a module that cannot be imported; TypeError for what is no Recipe and no Schedule.
    """
    if wanted is None:
        return ROWS
    if isinstance(wanted, str):
        raise TypeError(f"rows is the string {wanted!r}; give a list of names, such as [{wanted!r}]")
    chosen: list[Row] = [NATIVE]
    for item in wanted:
        chosen += _rows_of(item)
    if any(row.against == TUNED.key for row in chosen):
        chosen.append(TUNED)
    unique = list(dict.fromkeys(chosen))
    keys = [row.key for row in unique]
    for key in keys:
        if keys.count(key) > 1:
            raise ValueError(f"two different rows have the key {key!r}; give each its own")
    standard = [row for row in ROWS if row in unique]
    extra = [row for row in unique if row not in ROWS]
    return (*standard, *extra)


#: What a row is called after the phase of its recipe.
_HOW = {"train": "trained from scratch", "fine-tune": "fine-tuned", "evaluate": "without training"}
_PHASES: dict[str, Phase] = {"scratch": "train", "trained": "fine-tune", "evaluate": "evaluate"}


def own(target: str) -> Recipe | Schedule:
    """What module:name is, or returns, with that for a name where it has none.

    Errors: ValueError for a name that the module does not have, ImportError for a module that cannot be imported,
    TypeError for what is no Recipe and no Schedule.
    """
    made = found(target)
    if callable(made):
        made = made()
    if not isinstance(made, Recipe | Schedule):
        raise TypeError(
            f"{target!r} is {named(made)}: give module:name of an emul.Recipe, of an emul.schedule.Schedule, or of a"
            " function without arguments that returns one"
        )
    return made if made.name else replace(made, name=target)


def _rows_of(item: str | Row | Recipe | Schedule) -> list[Row]:
    if isinstance(item, Row):
        return [item]
    if isinstance(item, Recipe | Schedule):
        name = item.name or "recipe"
        phase = _PHASES[item.start] if isinstance(item, Schedule) else "train"
        return [Row(name, f"{name}, {_HOW[phase]}", item, phase)]
    for row in ROWS:
        if item in (row.key, row.name):
            return [row]
    if isinstance(item, str) and ":" in item:
        return _rows_of(own(item))
    try:
        entry = recipes.entry(item)
    except ValueError:
        raise ValueError(
            f"there is no row or recipe called {item!r}; {recipes.nearest(str(item), known())}; emul recipes lists all"
        ) from None
    phase = _PHASES[entry.start]
    return [row for row in ROWS if row.recipe == item] or [Row(item, f"{item}, {_HOW[phase]}", item, phase)]
