"""What a comparison leaves behind: its table, and a folder of files that appears whole or not at all."""

from __future__ import annotations

import io
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numerics

from .extras import require
from .intervals import CONFIDENCE, Interval
from .metrics import perplexity
from .rows import TUNED

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from .metrics import Metric
    from .results import Comparison, RowResult

#: In the name of a folder that is being written; nothing else makes such names.
PARTIAL = ".partial-"
#: In a folder that is being written, and in nothing that is published.
WARNING = "UNFINISHED.txt"


def files(result: Comparison) -> dict[str, bytes]:
    """The files of a comparison by name. results.json is the same in every run, timing.json and table.txt are not."""
    from .curves import picture
    from .record import results_json, timing_json

    return {
        "results.json": results_json(result).encode(),
        "timing.json": timing_json(result).encode(),
        "table.txt": table_text(result).encode(),
        "curves.png": picture(result),
    }


def refuse_existing(folder: Path) -> None:
    """FileExistsError where `folder` is there already, whatever it is."""
    if os.path.lexists(folder):
        raise FileExistsError(f"{str(folder)!r} exists already; give another name or delete it")


def unused(folder: Path) -> Path:
    """`folder`, or it with -2, -3 and so on behind its name: the first that is neither there nor being written."""
    written = {path.name.partition(PARTIAL)[0] for path in folder.parent.glob("*")}
    names = (folder.name, *(f"{folder.name}-{number}" for number in range(2, len(written) + 3)))
    return folder.with_name(next(name for name in names if name not in written))


@contextmanager
def publication(folder: Path) -> Iterator[Path]:
    """Gives a new folder beside `folder` to write into, and renames it to `folder` at the end.

    The new folder's name holds ".partial-" and it holds the file UNFINISHED.txt until the end. An exception removes
    it; a killed process leaves it, under that name. FileExistsError where `folder` exists at the start or at the end
    (then what was written stays, and the sentence says where).
    """
    refuse_existing(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f"{folder.name}{PARTIAL}{secrets.token_hex(4)}")
    partial.mkdir()
    warning = partial / WARNING
    try:
        warning.write_text("This run has not finished. Where no process is writing here, delete this folder.\n")
        yield partial
        warning.unlink()
        for path in [*partial.iterdir(), partial]:
            _flush(path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    try:
        refuse_existing(folder)  # a rename would silently replace an empty folder
        partial.rename(folder)
    except OSError as error:
        raise FileExistsError(
            f"{str(folder)!r} appeared during the run; the finished files are in {str(partial)!r}"
        ) from error
    _flush(folder.parent)


def _flush(path: Path) -> None:
    """Makes a file or folder reach the disk, so that a rename never outlives the bytes it publishes."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write(result: Comparison, folder: Path) -> None:
    """Writes the files of a comparison into an existing folder."""
    for name, content in files(result).items():
        (folder / name).write_bytes(content)


def table(result: Comparison, *, narrow: bool = False) -> Table:
    """The table for a rich console; first column the row's name, then scores and differences in the metric's units.

    `narrow` puts two figures into a column and leaves perplexities and differences to the tuned net to lines of their own.
    """
    from rich import box
    from rich.table import Table

    out = Table(box=box.MARKDOWN, title=_title(result), title_justify="left", title_style="bold")
    out.add_column("row", overflow="fold")
    confidence = f"{100 * CONFIDENCE:.0f} %"
    metric = result.metric
    more = ["perplexity"] if metric.better == "lower" else []
    headings = [metric.name, "sd", *more]
    headings += ["to native", f"{confidence} interval", "to tuned", f"{confidence} interval"]
    if narrow:
        headings = [metric.name, "to native"]
    for heading in [*headings, "time ratio"]:
        out.add_column(heading, justify="right", no_wrap=True)
    for row in result.rows:
        mean, deviation = _score(row, metric)
        beside = [_perplexity(row)] if more else []
        native, tuned = (_difference(interval, metric) for interval in (row.difference_to_native, _to_tuned(row)))
        ratio = "-" if row.timing.ratio is None else f"{row.timing.ratio:.2f}"
        if narrow:
            out.add_row(row.row.name, f"{mean} ({deviation})", " ".join(native).replace("- -", "-"), ratio)
        else:
            out.add_row(row.row.name, mean, deviation, *beside, *native, *tuned, ratio)
    return out


def notes(result: Comparison) -> list[str]:
    """What a reader of the table has to know, one sentence or two each."""
    settings, metric = result.settings, result.metric
    lines = [
        f"{metric.name.partition(',')[0]} and sd: mean and standard deviation over the seeds. to native: {metric.unit}, "
        "mean of the per-seed differences to the native row, with Student's t interval of "
        f"{100 * CONFIDENCE:.0f} %; it covers initial weights and data order, not the choice of the "
        f"{len(result.data.test_labels)} test samples.",
        "time ratio: median wall time of a training step over that of the native row; native on "
        f"{settings.threads} torch thread(s), emulated products on {numerics.get_num_threads()} thread(s).",
    ]
    if settings.on_cuda:
        lines[-1] = f"{lines[-1].partition(';')[0]}, both on {settings.device}, TF32 off."
        lines.append(
            "Emulated products have the bits of the CPU. Native ones, biases, activations, normalisations, the loss and the "
            "optimizer are torch's own there, whose float32 sums have an order of the device: rows differ from a CPU's by that."
        )
    if metric.better == "lower":
        lines.insert(
            1,
            f"{metric.name}: mean cross-entropy of each next {result.data.token} of the test samples, over ln 2; lower is "
            "better. perplexity: two to their mean.",
        )
    phases = {row.row.phase for row in result.rows}
    if "evaluate" in phases:
        lines.append(
            "A row without fine-tuning is the trained native net of the same seed with its arithmetic swapped; its "
            "time ratio is that of a forward step on a test batch, over the native row's."
        )
    if "fine-tune" in phases:
        lines.append(
            f"A fine-tuned row is that net after {_length(result, tuned=True)} more; to tuned: its differences to "
            f"the row {TUNED.name!r}, which had the same steps."
        )
    lines += [
        f"Native in {', '.join(names)} too, as results.json explains: {calls}."
        for calls, names in _native_calls(result).items()
    ]
    equal = any(row.difference is not None and row.difference.low == row.difference.high for row in result.rows)
    if equal and metric.better == "higher":
        lines.append("An interval without length: all seeds differ by the same number of test samples.")
    for row in result.rows:
        for run in row.runs:
            if run.diverged:
                lines.append(f"{row.row.name}, seed {run.seed}: diverged, {run.diverged}.")
    return lines


def _native_calls(result: Comparison) -> dict[str, list[str]]:
    """What modules call for that no rule keeps native and yet is so, -> the rows of which this is true."""
    found: dict[str, list[str]] = {}
    for row in result.rows:
        calls = () if row.layers is None else row.layers.calls
        native = [call for call in calls if call.rule is None and call.keeper is None]
        told = [
            f"{'the gradient of ' * call.backward}{call.function} in {call.module or 'the model itself'}"
            for call in native
        ]
        if told:
            found.setdefault(", ".join(told), []).append(row.row.name)
    return found


def table_text(result: Comparison, width: int | None = None) -> str:
    """The table and its notes as plain text in `width` columns; None: as many as the table needs."""
    require("rich")
    from rich.console import Console

    if width is None:
        width = _width(result)
    text = io.StringIO()
    print_table(result, Console(file=text, width=width, color_system=None, legacy_windows=False))
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"


def print_table(result: Comparison, console: Console) -> None:
    """Prints the table and its notes on a rich Console, the table in its narrow form where it must be."""
    narrow = console.width < _width(result)
    console.print(table(result, narrow=narrow))
    tuned = [row for row in result.rows if narrow and _to_tuned(row) is not None]
    for row in tuned:
        console.print(
            f"{row.row.name}, to tuned: {' '.join(_difference(_to_tuned(row), result.metric))}",
            highlight=False,
            markup=False,
        )
    if narrow and result.metric.better == "lower":
        values = ", ".join(_perplexity(row) for row in result.rows)
        console.print(f"perplexity, in the order of the rows: {values}", highlight=False, markup=False)
    for line in notes(result):
        console.print(line, style="dim", highlight=False, markup=False)


def _width(result: Comparison) -> int:
    from rich.console import Console

    return Console(width=1000).measure(table(result)).maximum


def _title(result: Comparison) -> str:
    data = result.data
    return (
        f"{result.model} on {data.name}: {len(data.train_labels)} training and {len(data.test_labels)} test samples, "
        f"{_length(result)}, seeds {', '.join(map(str, result.seeds))}"
    )


def _length(result: Comparison, *, tuned: bool = False) -> str:
    """How long a training is, in the unit of the settings."""
    settings, samples = result.settings, len(result.data.train_labels)
    if settings.steps is None:
        return f"{settings.fine_tune_epochs if tuned else settings.epochs} epoch(s)"
    steps = settings.fine_tuning_steps(samples) if tuned else settings.training_steps(samples)
    return f"{steps} step(s)"


def _score(row: RowResult, metric: Metric) -> tuple[str, str]:
    if row.score is None:
        return f"diverged ({sum(bool(run.diverged) for run in row.runs)} of {len(row.runs)})", "-"
    return f"{row.score.mean:.{metric.decimals}f}", f"{row.score.deviation:.{metric.decimals}f}"


def _perplexity(row: RowResult) -> str:
    return "-" if row.score is None else f"{perplexity(row.score.mean):.3f}"


def _to_tuned(row: RowResult) -> Interval | None:
    """The difference to the fine-tuned native net, of rows that are fine-tuned themselves."""
    return row.difference if row.row.against == TUNED.key else None


def _difference(interval: Interval | None, metric: Metric) -> tuple[str, str]:
    if interval is None:
        return "-", "-"
    mean, low, high = (f"{value:+.{metric.decimals}f}" for value in (interval.mean, interval.low, interval.high))
    return mean, f"[{low}, {high}]"
