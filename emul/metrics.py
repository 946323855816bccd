"""What a comparison measures on the test part: accuracy, or the bits that the next token costs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .datasets import Dataset
    from .results import Run


@dataclass(frozen=True)
class Metric:
    """How a run is scored: `name` and `unit` for tables, `key` and `difference` for JSON, decimals that are printed.

    unit: that of differences. better: "higher" or "lower".
    """

    name: str
    unit: str
    key: str
    difference: str
    decimals: int
    better: str

    def score(self, run: Run, data: Dataset) -> float | None:
        """Of one run; None where it diverged."""
        if run.correct is None or run.test_loss is None:
            return None
        if self.key == "accuracy_percent":
            return 100 * run.correct / len(data.test_labels)
        return run.test_loss / math.log(2)

    def apart(self, run: Run, other: Run, data: Dataset) -> float | None:
        """The score of one run minus that of another; None where one diverged."""
        mine, theirs = self.score(run, data), self.score(other, data)
        if mine is None or theirs is None or run.correct is None or other.correct is None:
            return None
        if self.key == "accuracy_percent":  # whole numbers are subtracted first: equal counts differ by exactly 0
            return 100 * (run.correct - other.correct) / len(data.test_labels)
        return mine - theirs


def metric_of(data: Dataset) -> Metric:
    """Accuracy in per cent for classification; for next tokens bits per token, the cross-entropy over ln 2.

    Two to the bits is the perplexity of a token.
    """
    if data.task == "classification":
        return Metric("accuracy, %", "percentage points", "accuracy_percent", "points", 2, "higher")
    return Metric(f"bits per {data.token}", f"bits per {data.token}", f"bits_per_{data.token}", "bits", 4, "lower")


def perplexity(bits: float) -> float:
    """Of a token that costs so many bits; infinite where float64 ends."""
    return 2.0**bits if bits < 1024 else math.inf
