"""The commands of `emul`; nothing heavy is imported before a command needs it, so that --help is quick."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

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
    model: Annotated[str, typer.Option(help="cnn or mlp.")] = "cnn",
    rows: Annotated[
        list[str] | None,
        typer.Option(help="Rows or recipes, separated by commas or repeated; native is always run. Default: all rows."),
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(help="How many seeds (5), or which (0,7,12). Default: 5, with --quick 3.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer epochs and seeds: under a minute on 2 cores.")] = False,
    name: Annotated[
        str | None, typer.Option(help="Folder below --runs-dir. Default: the model and the time in UTC.")
    ] = None,
    runs_dir: Annotated[Path, typer.Option(help="Where the folders of runs lie.")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="Print results.json instead of the table.")] = False,
) -> None:
    """Train a small net on handwritten digits natively and with emulated arithmetic, and compare.

    Writes results.json, timing.json, table.txt and curves.png into a new folder when all rows are done; a run that is
    stopped leaves none of them.
    """
    from rich.console import Console

    from .paired import execute, prepare
    from .report import print_table, publication, refuse_existing, write
    from .training import QUICK, Settings

    folder = runs_dir / _folder_name(name, model)
    try:
        refuse_existing(folder)
        plan = prepare(
            model,
            _row_names(rows) if rows else None,
            _seeds(seeds, 3 if quick else 5),
            settings=QUICK if quick else Settings(),
        )
    except (ValueError, TypeError, FileExistsError) as error:
        _refuse(error)
    try:
        with publication(folder) as partial:
            with _progress(plan.steps()) as report:
                result = execute(plan, report)
            write(result, partial)
    except OSError as error:
        if error.errno is None:  # the folder's own sentence, not the system's
            _refuse(error)
        _refuse(f"{str(folder)!r} cannot be written: {error.strerror}; give another --runs-dir")
    except KeyboardInterrupt:
        typer.echo("emul: stopped; nothing was written", err=True)
        raise typer.Exit(130) from None
    if as_json:
        typer.echo(result.to_json(), nl=False)
    elif sys.stdout.isatty():
        print_table(result, Console())
    else:
        typer.echo(result.table(), nl=False)
    typer.echo(f"{folder} written after {result.seconds:.0f} s", err=True)


def _folder_name(name: str | None, model: str) -> str:
    from .report import PARTIAL

    if name is None:
        return f"{model}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
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
