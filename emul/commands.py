"""The commands of `emul`; nothing heavy is imported before a command needs it, so that --help is quick."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from .extras import require
from .named import usual_data

if TYPE_CHECKING:
    from .datasets import Dataset
    from .paired import Progress

app = typer.Typer(
    help="Bit-exact emulation of low-precision arithmetic: compare, tabulate, check.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain messages, one line each, for people and for logs
)


def _refuse(sentence: object) -> NoReturn:
    """Ends the command with one sentence on stderr and exit status 2."""
    typer.echo(f"emul: {sentence}", err=True)
    raise typer.Exit(2)


def _need(*libraries: str) -> None:
    try:
        require(*libraries)
    except ImportError as error:
        _refuse(error)


def _print_version(wanted: bool) -> None:
    if wanted:
        from . import __version__

        typer.echo(f"emul {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Bit-exact emulation of low-precision arithmetic."""


@app.command()
def compare(
    model: Annotated[
        str, typer.Option(help="cnn, mlp, gpt, or module:factory of a function that builds a torch.nn.Module.")
    ] = "cnn",
    data: Annotated[
        str | None,
        typer.Option(
            help="digits, text, or module:factory of a function that returns an emul.datasets.Dataset."
            " Default: text for gpt, else digits."
        ),
    ] = None,
    rows: Annotated[
        list[str] | None,
        typer.Option(
            help="Rows, recipes or module:name of your own, separated by commas or repeated; native is always run."
            " Default: all rows."
        ),
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(help="How many seeds (5), or which (0,7,12). Default: 5, with --quick 3.")
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(help="Steps of the training from scratch, fine-tuning in proportion. Default: the task's own."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer steps and seeds: about a minute on 2 cores, gpt two.")
    ] = False,
    device: Annotated[str, typer.Option(help="Where the nets are trained: cpu, cuda or cuda:N.")] = "cpu",
    name: Annotated[
        str | None,
        typer.Option(help="Folder below --runs-dir. Default: the model, the time in UTC, a number if need be."),
    ] = None,
    runs_dir: Annotated[Path, typer.Option(help="Where the folders of runs lie.")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="Print results.json instead of the table.")] = False,
) -> None:
    """Train a small net on handwritten digits or English text natively and with emulated arithmetic, and compare.

    A model's factory takes no argument, or one, the Dataset; modules of the working directory are found too. Digits are
    compared by accuracy, text by the bits that a character of its held-out part costs.

    Writes results.json, timing.json, table.txt and curves.png into a new folder when all rows are done; a run that is
    stopped leaves none of them.
    """
    from rich.console import Console

    _need("torch", "matplotlib", *(("sklearn",) if (data or usual_data(model)) == "digits" else ()), "scipy")
    from .paired import execute, prepare
    from .pipes import printed_aside
    from .report import print_table, publication, refuse_existing, unused, write
    from .stopping import stoppable
    from .training import Settings, usual

    def settings(dataset: Dataset) -> Settings:
        chosen = replace(usual(dataset.task, quick=quick), device=device)
        return chosen if steps is None else replace(chosen, steps=steps)

    folder = runs_dir / _folder_name(name, model)
    try:
        with stoppable() as stop:
            try:
                if name is not None:
                    refuse_existing(folder)
                with printed_aside():  # a user's factory may say what it likes
                    plan = prepare(
                        model,
                        _row_names(rows) if rows else None,
                        _seeds(seeds, 3 if quick else 5),
                        settings=settings,
                        data=data,
                    )
            except (ValueError, TypeError, ImportError, FileExistsError) as error:
                _refuse(error)

            try:
                if name is None:  # two that begin within a second, or at once
                    folder = unused(folder)
                with publication(folder) as partial, printed_aside():
                    with _progress(plan.steps()) as report:

                        def step(event: Progress) -> None:
                            stop.check()
                            report(event)

                        result = execute(plan, step)
                    write(result, partial)
            except OSError as error:
                if error.errno is None:  # the folder's own sentence, not the system's
                    _refuse(error)
                _refuse(f"{str(folder)!r} cannot be written: {error.strerror}; give another --runs-dir")
    except KeyboardInterrupt:
        typer.echo("emul: stopped; nothing was written", err=True)
        raise typer.Exit(128 + (stop.number or 2)) from None
    if as_json:
        typer.echo(result.to_json(), nl=False)
    elif sys.stdout.isatty():
        print_table(result, Console())
    else:
        typer.echo(result.table(), nl=False)
    typer.echo(f"{folder} written after {result.seconds:.0f} s", err=True)


class Form(StrEnum):
    """How a table is written."""

    text = "text"
    csv = "csv"
    markdown = "markdown"


@app.command()
def formats(
    form: Annotated[Form, typer.Option("--form", help="text, csv or markdown.")] = Form.text,
    every: Annotated[
        bool, typer.Option("--all", help="Also every IEEE P3109 format of up to 16 bits that fits float64.")
    ] = False,
) -> None:
    """List the named formats: bits, range, specials, source; of block formats: element, scale, block, rule.

    The bits of a block format are those that an element takes with its share of the scale. Names that spell further
    formats are told at the end, except in csv.
    """
    from .tables import PATTERNS, catalog_lines

    lines = catalog_lines(p3109=every)
    if form is Form.csv:
        _print_rows(tuple(lines[0]), [tuple(line.values()) for line in lines], form)
        return
    for blocks in (False, True):
        group = [line for line in lines if (line["family"] == "block") is blocks]
        header = tuple(column for column in group[0] if any(line[column] for line in group))
        _print_rows(header, [tuple(line[column] for column in header) for line in group], form)
        if form is Form.markdown:
            typer.echo()
    typer.echo("Further names: " + ", ".join(f"`{p}`" if form is Form.markdown else p for p in PATTERNS))


@app.command()
def recipes(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", help="Print this recipe in full; or module:name of your own. Default: list all."
        ),
    ] = None,
    form: Annotated[Form, typer.Option("--form", help="text, csv or markdown.")] = Form.text,
    every: Annotated[bool, typer.Option("--all", help="Of the list: also the matrix units of hardware.")] = False,
) -> None:
    """List the recipes that compare knows by name, or print one: its phases, rules in order, products, paper.

    Start: from scratch, from a net that was trained natively, or such a net and no training. phases: those of its
    schedule. The first rule that matches a layer decides about it; what a product is made of is Python of numerics and
    emul, in which what may be left out is.
    """
    from . import recipe_text
    from .recipes import entries, presets, schedule

    if name is not None:
        if every:
            _refuse(f"--all belongs to the list, and {name} is one recipe: leave one of the two out")
        try:
            recipe = recipe_text.told(name)
        except (ValueError, TypeError, ImportError) as error:
            _refuse(error)
        if form is Form.text:
            typer.echo("\n".join(recipe_text.lines(recipe)))
        else:
            _print_rows(recipe_text.HEADER, recipe_text.rows(recipe), form)
        return
    rows = [
        (entry.name, entry.what, recipe_text.STARTS[entry.start], str(len(schedule(entry.name).phases)), entry.paper)
        for entry in entries().values()
        if every or entry.name not in presets()
    ]
    _print_rows(("name", "what", "start", "phases", "paper"), rows, form)
    if form is Form.text:
        typer.echo("One in full: emul recipes NAME")
        if not every:
            typer.echo(f"Hardware, by --all: {', '.join(presets())}")


@app.command()
def table(
    name: Annotated[
        str,
        typer.Argument(metavar="FORMAT", help="A name such as e4m3fn, or module:name of a format of your own."),
    ],
    form: Annotated[Form, typer.Option("--form", help="text, csv or markdown.")] = Form.text,
    codes: Annotated[
        str | None, typer.Option(help="START:STOP, a slice of the codes; :STOP and START: too. Default: all.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the values into this picture instead.")] = None,
) -> None:
    """Print the codepoints of a format: code, fields, value, ulp.

    ulp is the distance from the value to the next one away from zero; for the largest magnitude of a fixed-point,
    posit or log format, to the next one toward zero. In float formats it is the grid step of the value's binade, that
    of the lowest binade for zero and subnormals. Infinities and NaN have none.
    """
    from numerics import BlockFormat

    from .own_formats import format_named, parts_of
    from .tables import HEADER, cells, value_lines

    try:
        fmt = format_named(name)
        if isinstance(fmt, BlockFormat):
            _refuse(
                f"{name} is a block format, whose values depend on the block; its elements and its scales have tables:"
                f" {parts_of(name, fmt)}"
            )
        start, stop = _code_range(codes)
        lines = value_lines(fmt, start, stop)
    except (ValueError, TypeError, AttributeError, ImportError) as error:
        _refuse(error)
    if plot is not None:
        _need("matplotlib")
        from .curves import draw_values

        if not plot.parent.is_dir():
            _refuse(f"{str(plot)!r} cannot be drawn: no folder {str(plot.parent)!r}; create it or name another")
        try:
            draw_values(str(fmt), [line.code for line in lines], [line.value for line in lines], plot)
        except OSError as error:
            _refuse(f"{str(plot)!r} cannot be drawn: {error.strerror}; give another --plot")
        except ValueError as error:
            _refuse(f"{str(plot)!r} cannot be drawn: {error}")
        typer.echo(f"{plot} written", err=True)
        return
    _print_rows(HEADER, [cells(line, fmt.bits) for line in lines], form)


@app.command()
def verify(
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET", help="A format, a matrix unit, or module:name of a function or a format of yours."
        ),
    ],
    fmt: Annotated[
        str | None, typer.Option("--format", help="What the function rounds to: a name, or module:name.")
    ] = None,
    rounding: Annotated[
        str | None, typer.Option(help="RNE (default), RNA, RTZ, RTP, RTN, RTO, SR, SR_B, SR_C; RNL of logarithms.")
    ] = None,
    random_bits: Annotated[int | None, typer.Option(help="Of a stochastic mode; of a format by name: 8.")] = None,
    overflow: Annotated[str | None, typer.Option(help="SATURATE (default), PROPAGATE, IEEE, WRAP, ERROR.")] = None,
    sampler: Annotated[bool, typer.Option("--sampler", help="fn(x) draws for itself; without: fn(x, words).")] = False,
    codes: Annotated[bool, typer.Option("--codes", help="The function returns codepoints.")] = False,
    source: Annotated[
        str | None, typer.Option(help="The function takes codepoints of this format, a name or module:name.")
    ] = None,
    torch: Annotated[bool, typer.Option("--torch", help="The function takes and returns torch tensors.")] = False,
    dtype: Annotated[str, typer.Option(help="float32 or float64: what values come and go in.")] = "float32",
    limit: Annotated[int, typer.Option(help="About how many points to try; fewer for a slow function.")] = 2048,
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdicts as JSON.")] = False,
) -> None:
    """Put a quantizer, an accumulator or a mask to the proof: every claim with its evidence, or the case that breaks it.

    Exit status: 0 if all claims hold, 1 if one is broken, 2 for what cannot be tested. A name may also stand for what
    numerics.properties.as_quantizer, as_accumulator or as_mask made, which says the rest. What a function prints goes
    to stderr.
    """
    from numerics.properties.verify import Report, describe, is_repeated, verdicts

    from .pipes import printed_aside
    from .proofs import HEADER, cells, subject_of, summary

    with printed_aside():  # a user's function may say what it likes
        try:
            subject = subject_of(
                target,
                fmt=fmt,
                rounding=rounding,
                random_bits=random_bits,
                overflow=overflow,
                sampler=sampler,
                codes=codes,
                source=source,
                tensor=torch,
                dtype=dtype,
                limit=limit,
            )
        except (ValueError, TypeError, ImportError) as error:
            _refuse(error)
        report = Report(describe(subject), tuple(verdicts(subject)))
    if as_json:
        typer.echo(report.to_json())
    else:
        typer.echo(report.subject)
        _print_rows(HEADER, [cells(verdict) for verdict in report.verdicts], Form.text)
        for verdict in report.verdicts:
            if verdict.status == "broken" and not is_repeated(verdict):
                typer.echo(f"{verdict.note}\n")
        typer.echo(summary(report))
    raise typer.Exit(0 if report.ok else 1)


@app.command()
def claims(
    papers: Annotated[list[str] | None, typer.Argument(metavar="[PAPER]...", help="Which; all by default.")] = None,
    form: Annotated[Form, typer.Option("--form", "--format", help="text, csv or markdown.")] = Form.text,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check what the papers prove or print: each theorem and constant, what is expected and what is found.

    Exit status: 0 if all agree, 1 if one does not, 2 for a paper that is not known.
    """
    from numerics import claims as checked

    from .proofs import CLAIMS_HEADER, claim_cells, claims_json

    try:
        found = checked.outcomes(*papers or ())
    except ValueError as error:
        _refuse(error)
    outcomes = list(found)
    if as_json:
        typer.echo(claims_json(outcomes))
    else:
        _print_rows(CLAIMS_HEADER, [claim_cells(outcome) for outcome in outcomes], form)
        if form is Form.text:
            for name in dict.fromkeys(outcome.paper for outcome in outcomes):
                typer.echo(f"{name}: {checked.PAPERS[name].title}")
            right = sum(outcome.holds for outcome in outcomes)
            typer.echo(f"{right} of {len(outcomes)} agree; {sum(outcome.seconds for outcome in outcomes):.1f} s")
    raise typer.Exit(0 if all(outcome.holds for outcome in outcomes) else 1)


def _code_range(text: str | None) -> tuple[int, int | None]:
    """The first code and the one behind the last (None: all that follow), written as in a slice."""
    try:
        start, stop = (int(part, 0) if part.strip() else None for part in (":" if text is None else text).split(":"))
    except ValueError:
        raise ValueError(f"{text!r} is no range of codes; give START:STOP such as 0x00:0x10, :16 or 240:") from None
    return start or 0, stop


#: Longer tables are printed in plain lines: laying them out takes Rich longer than all the rest.
_LAID_OUT = 1000


def _print_rows(header: Sequence[str], rows: Sequence[Sequence[str]], form: Form) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from .tables import aligned, as_csv, as_markdown

    if form is not Form.text:
        typer.echo((as_csv if form is Form.csv else as_markdown)(header, rows), nl=False)
        return
    if len(rows) > _LAID_OUT:
        for line in aligned(header, rows):
            typer.echo(line)
        return
    shown = Table(*header, box=box.SIMPLE_HEAD)
    for row in rows:
        shown.add_row(*row)
    # Nothing is cut off or folded where the output goes to a file.
    Console(width=None if sys.stdout.isatty() else 240).print(shown)


def _folder_name(name: str | None, model: str) -> str:
    from .report import PARTIAL

    if name is None:
        return f"{re.sub(r'[^A-Za-z0-9._+-]+', '.', model).strip('.')}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", name) or PARTIAL in name:
        _refuse(
            f"{name!r} is no folder name for a run; use letters, digits and . _ + -, beginning with a letter or digit, "
            f"without {PARTIAL!r}"
        )
    return name


def _row_names(texts: list[str]) -> list[str]:
    """Splits at commas, but not within the printed name of a row."""
    from .rows import ROWS

    names = {row.name for row in ROWS}
    return [name for text in texts for name in ([text] if text in names else map(str.strip, text.split(",")))]


def _seeds(text: str | None, default: int) -> int | list[int]:
    if text is None:
        return default
    try:
        numbers = [int(part) for part in text.split(",") if part.strip() or "," not in text]
    except ValueError:
        raise ValueError(f"{text!r} is neither a number of seeds nor a list of them such as 0,7,12") from None
    return numbers if "," in text else numbers[0]


@contextmanager
def _progress(total: int) -> Iterator[Callable[[Progress], None]]:
    """A bar on a terminal, else one line on stderr per row and seed."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    if console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Bar(*columns, console=console, transient=True) as bar:
            task = bar.add_task("", total=total)
            yield lambda event: bar.update(
                task, completed=event.done, description=f"seed {event.seed}: {event.row.name}"
            )
        return
    seen: set[tuple[str, int]] = set()

    def line(event: Progress) -> None:
        if (event.row.key, event.seed) not in seen:
            seen.add((event.row.key, event.seed))
            typer.echo(f"[{event.done}/{event.total}] seed {event.seed}: {event.row.name}", err=True)

    yield line
