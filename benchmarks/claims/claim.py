"""A claim about trainings: the rows that it compares, on what, and what would show it; and the verdict over the seeds."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import torch

from emul.datasets import Dataset
from emul.intervals import Interval, paired, sign_flips
from emul.paired import execute, prepare
from emul.results import Comparison, RowResult, Run
from emul.rows import Row
from emul.training import Settings

#: Of a p-value below which a contrast counts as shown; the interval, of 95 %, must agree.
LEVEL = 0.05


@dataclass(frozen=True)
class Contrast:
    """One row against another, by their keys: `row` is better; or, with a margin, they differ by less either way.

    margin: in the unit of the metric, chosen before the runs.
    """

    row: str
    other: str
    margin: float | None = None


@dataclass(frozen=True)
class Claim:
    """A sentence of a paper as a comparison; reproduced where every contrast is.

    shows: what its contrasts are, printed once. model: a factory as `emul.compare` takes it. Seeds are 0, 1, ...;
    settings were chosen with other seeds.
    """

    name: str
    says: str
    source: str
    model: Callable[..., torch.nn.Module]
    data: Callable[[], Dataset]
    settings: Settings
    rows: tuple[Row, ...]
    contrasts: tuple[Contrast, ...]
    setup: str
    seeds: int = 5


@dataclass(frozen=True)
class Verdict:
    """Of a contrast: differences of each seed, positive where `row` is better, their t interval, and an exact p-value.

    p: of the sign-flip test that the mean is not above 0; with a margin m the larger of those that it is not above -m,
    and not below m. reproduced: p is at most LEVEL, and the interval lies above 0, with a margin within it.
    """

    contrast: Contrast
    differences: tuple[float, ...]
    interval: Interval
    p: float
    reproduced: bool


def run(claim: Claim) -> Comparison:
    """The comparison of a claim's rows."""
    return execute(prepare(claim.model, claim.rows, claim.seeds, settings=claim.settings, data=claim.data()))


def verdicts(claim: Claim, result: Comparison) -> tuple[Verdict, ...]:
    """One of each contrast of the claim, in their order."""
    rows = {row.row.key: row for row in result.rows}
    sign = 1 if result.metric.better == "higher" else -1
    found = []
    for contrast in claim.contrasts:
        pairs = zip(*(_scores(rows[key], result) for key in (contrast.row, contrast.other)), strict=True)
        found.append(judge(contrast, [sign * (mine - other) for mine, other in pairs]))
    return tuple(found)


def judge(contrast: Contrast, differences: list[Fraction]) -> Verdict:
    """The verdict of differences that are positive where the contrast's row is better."""
    floats = tuple(map(float, differences))
    interval = paired(floats, [0.0] * len(floats))
    if contrast.margin is None:
        p = sign_flips(differences)
        reproduced = interval.low > 0
    else:
        margin = Fraction(contrast.margin)
        p = max(sign_flips([margin + one for one in differences]), sign_flips([margin - one for one in differences]))
        reproduced = -contrast.margin < interval.low and interval.high < contrast.margin
    return Verdict(contrast, floats, interval, float(p), bool(reproduced and p <= LEVEL))


def _scores(row: RowResult, result: Comparison) -> list[Fraction]:
    """Of each seed, exactly; a run that diverged counts as one that guesses."""
    return [_score(run, result) for run in row.runs]


def _score(run: Run, result: Comparison) -> Fraction:
    data, classes = result.data, result.data.classes
    if result.metric.key == "accuracy_percent":
        return Fraction(100, classes) if run.diverged else Fraction(100 * run.correct, len(data.test_labels))
    bits = result.metric.score(run, data)
    return Fraction(torch.tensor(float(classes), dtype=torch.float64).log2().item() if bits is None else bits)
