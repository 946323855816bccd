"""The rows of a comparison: what is emulated, where the net starts, and which native row is its fair opponent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from . import recipes
from .recipe import Recipe

#: "train": from scratch, with the initial weights and the data order of the native row.
#: "evaluate": the trained native net of the same seed, its arithmetic swapped, no training.
#: "fine-tune": the same net, trained shortly with its arithmetic swapped.
Phase = Literal["train", "evaluate", "fine-tune"]


@dataclass(frozen=True)
class Row:
    """One row: a short `key`, the printed `name`, the arithmetic and the phase it is applied in.

    `recipe` is a name known to `emul.recipes`, a Recipe (its seed is replaced by that of each run), or None for
    torch's native float32.
    """

    key: str
    name: str
    recipe: str | Recipe | None
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

    def resolve(self, seed: int) -> Recipe | None:
        """The recipe of the run `seed`, None for a native row."""
        if isinstance(self.recipe, str):
            return recipes.get(self.recipe, seed=seed)
        return None if self.recipe is None else replace(self.recipe, seed=seed)


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


def select(wanted: Sequence[str | Row | Recipe] | None) -> tuple[Row, ...]:
    """The rows asked for, the native row first, and the native control wherever a row is fine-tuned.

    A string is the key or the printed name of a standard row, or the name of a recipe: that gives the standard rows
    of the recipe or, where there are none, a row trained from scratch with it. A Recipe gives such a row too. None
    gives the standard rows. A string that is none of these is refused with a ValueError that lists the known ones.
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


def _rows_of(item: str | Row | Recipe) -> list[Row]:
    if isinstance(item, Row):
        return [item]
    if isinstance(item, Recipe):
        name = item.name or "recipe"
        return [Row(name, f"{name}, trained from scratch", item, "train")]
    for row in ROWS:
        if item in (row.key, row.name):
            return [row]
    if item not in recipes.names():
        raise ValueError(f"there is no row or recipe called {item!r}; the known ones are {', '.join(known())}")
    return [row for row in ROWS if row.recipe == item] or [Row(item, f"{item}, trained from scratch", item, "train")]
