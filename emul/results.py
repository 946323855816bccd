"""What a comparison returns: frozen records of runs, rows and the whole, with their statistics and timings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .calibration import Clip
from .course import PhaseRecord
from .datasets import Dataset
from .intervals import Interval, Spread
from .metrics import Metric, metric_of
from .recipe import Recipe
from .rows import Row
from .schedule import Schedule
from .swap import SwapReport
from .training import Settings


@dataclass(frozen=True)
class Run:
    """One row with one seed: correct labels and mean loss (nats) of the test part, losses of the training's steps.

    `diverged` says why there is no test, else is empty; hashes are over the weights. phases: of the row's schedule, as
    they went; clips: what a calibration found.
    """

    seed: int
    correct: int | None
    test_loss: float | None
    losses: tuple[float, ...]
    start: str
    weights: str
    diverged: str
    phases: tuple[PhaseRecord, ...] = ()
    clips: tuple[Clip, ...] = ()


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
    """One row over all seeds. Scores and differences in the units of the comparison's metric; None where a run diverged."""

    row: Row
    recipe: Recipe | None
    schedule: Schedule | None
    layers: SwapReport | None
    runs: tuple[Run, ...]
    scores: tuple[float | None, ...]
    score: Spread | None
    difference: Interval | None
    difference_to_native: Interval | None
    timing: RowTiming

    @property
    def accuracies(self) -> tuple[float | None, ...]:
        """The scores, by the name they have in a classification."""
        return self.scores

    @property
    def accuracy(self) -> Spread | None:
        """The score, by the name it has in a classification."""
        return self.score


@dataclass(frozen=True)
class Comparison:
    """What `compare` returns. Everything but the timings is a function of its arguments, the versions and the CPU."""

    model: str
    data: Dataset
    settings: Settings
    seeds: tuple[int, ...]
    rows: tuple[RowResult, ...]
    seconds: float

    @property
    def metric(self) -> Metric:
        """What the scores are."""
        return metric_of(self.data)

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
