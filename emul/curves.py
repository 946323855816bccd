"""The training-loss curves of a comparison as a picture."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from .extras import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .results import Comparison, RowResult

#: Of Okabe and Ito: told apart in print and by colour-blind readers. The native rows are the black ones.
COLOURS = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#D55E00", "#CC79A7", "#0072B2")
#: Curves are means over this many steps at least: single batches are too noisy to be read.
WINDOW = 10


def picture(result: Comparison) -> bytes:
    """A PNG with the training from scratch on the left and the fine-tuning on the right, each on its own axes.

    Lines are means over the seeds, bands reach from the lowest to the highest seed. A seed that diverged counts as
    far as it came; the legend says how many did.
    """
    require("matplotlib")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = [
        (title, [row for row in result.rows if row.row.phase == phase])
        for title, phase in (("training from scratch", "train"), ("fine-tuning the trained native net", "fine-tune"))
    ]
    panels = [(title, rows) for title, rows in panels if rows]
    figure = Figure(figsize=(6.4 * len(panels), 5.4), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(
        f"{result.model} on {result.data.name}: mean over {len(result.seeds)} seeds, band from lowest to highest seed"
    )
    for axes, (title, rows) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        colours = iter(COLOURS[1:] * len(rows))
        for row in rows:
            _draw(axes, row, COLOURS[0] if row.recipe is None else next(colours))
        axes.set_title(title)
        axes.set_xlabel(f"step (batches of {_batch(result)})")
        axes.set_ylabel("training loss (cross-entropy, nats)")
        axes.grid(True, which="major", alpha=0.3)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), fontsize="small", frameon=False)
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()


def _batch(result: Comparison) -> str:
    data = result.data
    if data.task == "classification":
        return f"{result.settings.batch} samples"
    return f"{result.settings.batch} x {data.train_labels.shape[1]} {data.token}s"


def _draw(axes: Axes, row: RowResult, colour: str) -> None:
    curves = sorted((smooth(run.losses) for run in row.runs), key=len)
    points = [[curve[index] for curve in curves if index < len(curve)] for index in range(len(curves[-1]))]
    steps = [window[-1][0] for window in points]
    values = [[loss for _, loss in window] for window in points]
    means = [math.fsum(losses) / len(losses) for losses in values]
    diverged = sum(bool(run.diverged) for run in row.runs)
    label = row.row.name + (f" ({diverged} of {len(row.runs)} diverged)" if diverged else "")
    # the native curve is broad and lies below, so that another that runs along it is seen
    native = row.recipe is None
    axes.plot(steps, means, color=colour, label=label, linewidth=3 if native else 1.4, alpha=0.5 if native else 1)
    axes.fill_between(
        steps, [min(losses) for losses in values], [max(losses) for losses in values], color=colour, alpha=0.12
    )
    if any(mean > 0 for mean in means):
        axes.set_yscale("log")


def smooth(losses: Sequence[float]) -> list[tuple[float, float]]:
    """(middle step, mean loss) of consecutive windows of WINDOW steps, up to the first loss that is not finite.

    Steps count from 1; the last window takes the rest too.
    """
    finite = list(takewhile(math.isfinite, losses))
    if not finite:
        return []
    starts = range(0, max(len(finite) - WINDOW, 0) + 1, WINDOW)
    ends = [*starts[1:], len(finite)]
    return [
        ((start + 1 + end) / 2, math.fsum(finite[start:end]) / (end - start))
        for start, end in zip(starts, ends, strict=True)
    ]


def draw_values(title: str, codes: Sequence[int], values: Sequence[float], path: Path) -> None:
    """A picture of a format's values by code, written whole or not at all; the magnitudes on a logarithmic axis."""
    require("matplotlib")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    finite = [(code, value) for code, value in zip(codes, values, strict=True) if math.isfinite(value) and value]
    for sign, marker, colour in ((1, "^", COLOURS[0]), (-1, "v", COLOURS[4])):
        chosen = [(code, abs(value)) for code, value in finite if value * sign > 0]
        if chosen:
            label = "positive" if sign > 0 else "negative"
            axes.plot(*zip(*chosen, strict=True), marker, markersize=3, color=colour, linestyle="", label=label)
    axes.set_yscale("log", base=2)
    axes.set_xlabel("code")
    axes.set_ylabel("magnitude")
    axes.set_title(f"{title}: {len(codes)} codes, {len(codes) - len(finite)} of them zero, infinite or NaN")
    if axes.get_legend_handles_labels()[0]:
        axes.legend()
    axes.grid(alpha=0.3)
    drawn = io.BytesIO()
    figure.savefig(drawn, format=path.suffix.removeprefix(".") or "png")
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_bytes(drawn.getvalue())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
