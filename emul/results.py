"""What a comparison returns: frozen records of runs, rows and the whole, with their statistics and timings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .digits import Dataset
from .intervals import Interval, Spread
from .recipe import Recipe
from .rows import Row
from .swap import SwapReport
from .training import Settings


@dataclass(frozen=True)
class Run:
    """One row with one seed. `diverged` says why there is no accuracy, else is empty; hashes are over the weights."""

    seed: int
    correct: int | None
    test_loss: float | None
    losses: tuple[float, ...]
    start: str
    weights: str
    diverged: str


@dataclass(frozen=True)
class RowTiming:
    """Median wall time of a row's step over all seeds, and its ratio to the same step of the native row.

    None where no step was done. A row that is not trained is timed by its forward step on a batch of test samples.
    """

    step: str
    median_seconds: float | None
    steps: int
    ratio: float | None
    total_seconds: float


@dataclass(frozen=True)
class RowResult:
    """One row over all seeds. Accuracies in per cent, differences in percentage points; None where a run diverged."""

    row: Row
    recipe: Recipe | None
    layers: SwapReport | None
    runs: tuple[Run, ...]
    accuracies: tuple[float | None, ...]
    accuracy: Spread | None
    difference: Interval | None
    difference_to_native: Interval | None
    timing: RowTiming


@dataclass(frozen=True)
class Comparison:
    """What `compare` returns. Everything but the timings is a function of its arguments, the versions and the CPU."""

    model: str
    data: Dataset
    settings: Settings
    seeds: tuple[int, ...]
    rows: tuple[RowResult, ...]
    seconds: float

    def table(self, width: int | None = None) -> str:
        """The table as text in `width` columns; None: as many as it needs."""
        from .report import table_text

        return table_text(self, width)

    def to_json(self) -> str:
        """Everything that is a function of the seeds, byte for byte the same in every run; timings are not in it."""
        from .record import results_json

        return results_json(self)

    def save(self, folder: str | Path) -> Path:
        """Writes results.json, timing.json, table.txt and curves.png into the new `folder`, all of them or none.

        An existing folder is refused with a FileExistsError.
        """
        from .report import publication, write

        with publication(Path(folder)) as partial:
            write(self, partial)
        return Path(folder)
