"""Paired runs: the same nets, seeds and data order, natively in float32 and with emulated arithmetic.

The file is not called like the function `emul.compare`: importing a submodule of that name would put the module in
the place of the function.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import TypeVar

import torch

from . import calibration, tasks
from .calibration import Clip
from .course import switch_
from .datasets import Dataset
from .extras import require
from .intervals import Interval, paired, spread
from .metrics import metric_of
from .named import usual_data
from .recipe import Recipe
from .results import Comparison, RowResult, RowTiming, Run
from .rows import NATIVE, Row, opening, select
from .schedule import Schedule
from .swap import SwapReport, swap_, swap_report
from .tasks import scores_of
from .training import (
    Evaluation,
    Settings,
    Training,
    batches_per_epoch,
    check_device,
    evaluate,
    fingerprint,
    loss_of,
    not_finite,
    phase_seed,
    reproducible,
    train,
    usual,
)

#: A function that builds a model: of no argument, or of one, the Dataset.
Factory = Callable[..., torch.nn.Module]
Made = TypeVar("Made")


@dataclass(frozen=True)
class Progress:
    """Where a comparison stands: `done` of `total` steps, the latest of them in `row` with `seed`."""

    row: Row
    seed: int
    done: int
    total: int


@dataclass(frozen=True)
class Plan:
    """A comparison whose arguments have been checked, ready to run."""

    model: str
    build: tasks.Builder
    data: Dataset
    settings: Settings
    seeds: tuple[int, ...]
    rows: tuple[Row, ...]
    reports: tuple[SwapReport | None, ...]
    #: The phases of each row, of the first seed; None of a native one.
    schedules: tuple[Schedule | None, ...]

    def steps(self) -> int:
        """Training steps and forward batches of all rows and seeds."""
        forward = batches_per_epoch(len(self.data.test_labels), self.settings.batch)
        return len(self.seeds) * sum(self.training_steps(row) + forward for row in self.rows)

    def training_steps(self, row: Row) -> int:
        """Those of one seed of a row."""
        samples = len(self.data.train_labels)
        if row.phase == "fine-tune":
            return self.settings.fine_tuning_steps(samples)
        return self.settings.training_steps(samples) if row.phase == "train" else 0


def compare(
    model: str | Factory = "cnn",
    rows: Sequence[str | Row | Recipe | Schedule] | None = None,
    seeds: int | Sequence[int] = 5,
    *,
    settings: Settings | None = None,
    data: str | Dataset | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Comparison:
    """Trains a model natively and with emulated arithmetic, from the same weights in the same data order, and compares.

    `model`: "cnn", "mlp", "gpt", or a factory, or "module:factory": a function without arguments, or of the Dataset,
    that builds a module mapping inputs to the scores of classes, of next tokens at each place; it is called with
    torch's generator seeded. `rows`: names as in `emul.rows.select`, Rows, Recipes or Schedules; None gives the standard
    ones.
    `seeds`: how many (0, 1, ...), or which; at least two, an interval needs them. `data`: "digits" (scikit-learn's),
    "text" (pydoc's topics, by characters), an emul.datasets.Dataset, or "module:factory" of a function without
    arguments that returns one; None gives text to "gpt", digits to others. `settings`: an emul.training.Settings; None
    gives those usual for the task. `progress` is called at the start of each run and after each step. Deterministic
    algorithms are demanded of torch meanwhile.

    Each row is compared with the native row of the same training budget: a row trained from scratch or not trained
    at all with "native float32", a fine-tuned one with "native float32, fine-tuned", which had the same extra steps.
    A run whose loss or weights stop being finite is reported as diverged, and its row has no mean. Scores are
    accuracies in per cent, for next tokens bits per token of the held-out text.

    ValueError or TypeError, before any training: unknown model, data or row, a model that does not fit the data, unfit
    seeds, a recipe that matches no layer, a device that is not there.
    ImportError, as early: a library is missing.
    """
    return execute(prepare(model, rows, seeds, settings=settings, data=data), progress)


def prepare(
    model: str | Factory = "cnn",
    rows: Sequence[str | Row | Recipe | Schedule] | None = None,
    seeds: int | Sequence[int] = 5,
    *,
    settings: Settings | Callable[[Dataset], Settings] | None = None,
    data: str | Dataset | None = None,
) -> Plan:
    """Checks the arguments of `compare` and swaps every recipe into a fresh model once, so that refusals come early.

    `settings` may also be a function that gives those for the data.
    """
    given = usual_data(model) if data is None else data
    require("scipy", *(("sklearn",) if given == "digits" else ()))  # now, not after the training
    if isinstance(settings, Settings):
        check_device(settings)
    tasks.known_model(model)
    chosen = select(rows)
    numbers = _seeds(seeds)
    dataset = tasks.data_of(given)
    name, build = tasks.builder_of(model, dataset)
    settings = settings if isinstance(settings, Settings) else (settings or _usual)(dataset)
    check_device(settings)
    _seeded(partial(tasks.checked, name, build, dataset), numbers[0])
    if len({fingerprint(_seeded(build, numbers[0])) for _ in range(2)}) > 1:
        raise ValueError(
            f"the factory of the model {name!r} builds other weights each time: let it draw from torch's default generator"
            " alone, which is seeded for it, so that all rows start from the same"
        )
    schedules = tuple(row.schedule(numbers[0], _seeded(build, numbers[0])) for row in chosen)
    plan = Plan(name, build, dataset, settings, numbers, chosen, (None,) * len(chosen), schedules)
    return replace(
        plan, reports=tuple(_tried(plan, row, schedule) for row, schedule in zip(chosen, schedules, strict=True))
    )


def _tried(plan: Plan, row: Row, schedule: Schedule | None) -> SwapReport | None:
    """What the first recipe of a row does to a fresh net; every phase has its steps, and is tried on two samples."""
    if schedule is None:
        return None
    if row.phase != "evaluate":
        schedule.ends(plan.training_steps(row))
    model = _seeded(plan.build, plan.seeds[0]).eval()
    first = opening(schedule)
    for recipe in (*(phase.recipe for phase in reversed(schedule.phases) if phase.recipe != first), first):
        switch_(model, recipe)
        _seeded(partial(_once, plan, model, row.phase != "evaluate"), plan.seeds[0])
    return swap_report(model)


def _once(plan: Plan, model: torch.nn.Module, trained: bool) -> None:
    """Two samples through a net and, of one that is trained, back."""
    with torch.set_grad_enabled(trained):
        try:
            loss = loss_of(scores_of(model(plan.data.train_inputs[:2])), plan.data.train_labels[:2])
            if trained:
                torch.autograd.backward(loss)
        except (ValueError, OverflowError) as error:
            not_finite(error)  # which the run will tell of


def execute(plan: Plan, progress: Callable[[Progress], None] | None = None) -> Comparison:
    """Runs a prepared comparison, seed by seed, so that slow changes of the machine's speed meet every row alike."""
    begin = time.perf_counter()
    runs: list[list[Run]] = [[] for _ in plan.rows]
    clocks = [_Clock() for _ in plan.rows]
    done, total = 0, plan.steps()
    with reproducible(plan.settings):
        for seed in plan.seeds:
            trained: dict[str, torch.Tensor] | None = None
            for position, row in enumerate(plan.rows):

                def tick(steps: int = 1, row: Row = row, seed: int = seed) -> None:
                    nonlocal done
                    done += steps
                    if progress is not None:
                        progress(Progress(row, seed, done, total))

                tick(0)
                model = _seeded(plan.build, seed).to(plan.settings.device)
                start = time.perf_counter()
                run = _run(plan, row, seed, model, trained, clocks[position], tick)
                clocks[position].total += time.perf_counter() - start
                runs[position].append(run)
                if row == NATIVE and not run.diverged:
                    trained = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    return _summarize(plan, runs, clocks, time.perf_counter() - begin)


class _Clock:
    """Wall times of one row, collected over the seeds."""

    def __init__(self) -> None:
        self.training: list[float] = []
        self.forward: list[float] = []
        self.total = 0.0


def _run(
    plan: Plan,
    row: Row,
    seed: int,
    model: torch.nn.Module,
    trained: dict[str, torch.Tensor] | None,
    clock: _Clock,
    tick: Callable[[], None],
) -> Run:
    if row.phase != "train":
        if trained is None:
            return Run(seed, None, None, (), "", "", "the native net it starts from diverged")
        model.load_state_dict(trained)
    start = fingerprint(model)
    planned = plan.schedules[plan.rows.index(row)]
    schedule = None if planned is None else planned.with_seed(seed)
    settings = plan.settings
    clips: tuple[Clip, ...] = ()
    if row.phase == "evaluate" and schedule is not None:
        clips = _emulate(plan, row, model, schedule)
    training = Training((), (), "")
    if row.phase != "evaluate":
        scratch = row.phase == "train"
        training = train(
            model,
            plan.data,
            settings,
            steps=plan.training_steps(row),
            learning_rate=settings.learning_rate if scratch else settings.fine_tune_learning_rate,
            seed=phase_seed(seed, row.phase),
            tick=tick,
            schedule=schedule,
        )
    clock.training += training.seconds
    weights = fingerprint(model)
    if training.diverged:
        return Run(seed, None, None, training.losses, start, weights, training.diverged, training.phases)
    test: Evaluation = evaluate(model, plan.data, settings, tick=tick)
    clock.forward += test.seconds
    if test.diverged:
        return Run(seed, None, None, training.losses, start, weights, test.diverged, training.phases, clips)
    return Run(seed, test.correct, test.loss, training.losses, start, weights, "", training.phases, clips)


#: Training samples that a calibration sees.
_CALIBRATION = 256


def _emulate(plan: Plan, row: Row, model: torch.nn.Module, schedule: Schedule) -> tuple[Clip, ...]:
    """Put the arithmetic of a row without training into a trained net; returns what its calibration found."""
    recipe = opening(schedule)
    assert recipe is not None
    if not row.calibrated:
        swap_(model, recipe)
        return ()
    inputs = plan.data.train_inputs[:_CALIBRATION].to(plan.settings.device)
    clips = calibration.clips(model, torch.split(inputs, plan.settings.batch))
    swap_(model, calibration.recipe_of(clips, recipe.seed))
    return clips


def _summarize(plan: Plan, runs: list[list[Run]], clocks: list[_Clock], seconds: float) -> Comparison:
    metric = metric_of(plan.data)
    native = plan.rows.index(NATIVE)
    by_key = {row.key: runs[position] for position, row in enumerate(plan.rows)}

    def difference(key: str, against: str | None) -> Interval | None:
        if against is None:
            return None
        pairs = zip(by_key[key], by_key[against], strict=True)
        apart = [metric.apart(mine, other, plan.data) for mine, other in pairs]
        whole = [value for value in apart if value is not None]
        return paired(whole, [0.0] * len(whole)) if len(whole) == len(apart) else None

    results = []
    for position, row in enumerate(plan.rows):
        scores = tuple(metric.score(run, plan.data) for run in runs[position])
        finished = [score for score in scores if score is not None]
        results.append(
            RowResult(
                row,
                None if (planned := plan.schedules[position]) is None else opening(planned),
                planned,
                plan.reports[position],
                tuple(runs[position]),
                scores,
                spread(finished) if len(finished) == len(scores) else None,
                difference(row.key, row.against),
                difference(row.key, None if row == NATIVE else NATIVE.key),
                _timing(row, clocks[position], clocks[native]),
            )
        )
    return Comparison(plan.model, plan.data, plan.settings, plan.seeds, tuple(results), seconds)


def _timing(row: Row, clock: _Clock, native: _Clock) -> RowTiming:
    forward = row.phase == "evaluate"
    mine, reference = (clock.forward, native.forward) if forward else (clock.training, native.training)
    middle = median(mine) if mine else None
    ratio = median(mine) / median(reference) if mine and reference else None
    return RowTiming("forward step" if forward else "training step", middle, len(mine), ratio, clock.total)


def _usual(data: Dataset) -> Settings:
    return usual(data.task)


def _seeded(build: Callable[[], Made], seed: int) -> Made:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def _seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    numbers = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
    if len(numbers) < 2:
        given = seeds if isinstance(seeds, int) else len(numbers)
        raise ValueError(f"{given} seed(s) were given; a paired interval needs at least 2 (a list is 0,7,12)")
    for number in numbers:
        if not isinstance(number, int) or not 0 <= number < 2**63:
            raise ValueError(f"{number!r} is no seed; give whole numbers from 0 to 2**63 - 1")
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"the seeds {', '.join(map(str, numbers))} repeat; a run counted twice narrows the interval")
    return numbers
