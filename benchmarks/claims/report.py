"""The verdicts as a JSON and a Markdown file; nothing in them is a time, so that the same run gives the same bytes."""

import json
from pathlib import Path
from typing import Any

from benchmarks.gpu.report import write_files
from emul.results import Comparison

from .claim import Claim, Verdict, verdicts

JSON, MARKDOWN = "claims.json", "claims.md"
Record = dict[str, Any]


def record(claim: Claim, result: Comparison) -> Record:
    """A claim with its contrasts, and all figures of its runs but the loss of each step."""
    comparison = json.loads(result.to_json())
    del comparison["training_losses"]
    for row in comparison["rows"]:
        del row["layers"]
    contrasts = [_contrast(verdict, result) for verdict in verdicts(claim, result)]
    return {
        "name": claim.name,
        "says": claim.says,
        "source": claim.source,
        "setup": claim.setup,
        "reproduced": overall([contrast["reproduced"] for contrast in contrasts]),
        "contrasts": contrasts,
        "comparison": comparison,
    }


def overall(each: list[bool]) -> str:
    """One word for the verdicts of all contrasts."""
    return "yes" if all(each) else "in part" if any(each) else "no"


def _contrast(verdict: Verdict, result: Comparison) -> Record:
    contrast = verdict.contrast
    names = {row.row.key: row.row.name for row in result.rows}
    return {
        "row": contrast.row,
        "other": contrast.other,
        "says": f"{names[contrast.row]} {'better than' if contrast.margin is None else 'like'} {names[contrast.other]}",
        "margin": contrast.margin,
        "unit": result.metric.unit,
        "better_by": list(verdict.differences),
        "mean": verdict.interval.mean,
        "low": verdict.interval.low,
        "high": verdict.interval.high,
        "p": verdict.p,
        "reproduced": verdict.reproduced,
    }


def contrasts_table(records: list[Record]) -> list[str]:
    """Lines of Markdown: every contrast of these claims."""
    lines = [
        "| claim | contrast | better by | 95 % interval | margin | p | reproduced |",
        "|---|---|---|---|---|---|---|",
    ]
    for claim in records:
        for one in claim["contrasts"]:
            places = 2 if one["unit"].startswith("percentage") else 3
            mean, low, high = (f"{one[key]:+.{places}f}" for key in ("mean", "low", "high"))
            margin = "" if one["margin"] is None else f"{one['margin']:g}"
            lines.append(
                f"| {claim['name']} | {one['says']} | {mean} | [{low}, {high}] | {margin} | {one['p']:.3g} |"
                f" {'yes' if one['reproduced'] else 'no'} |"
            )
    return lines


def markdown(records: list[Record]) -> str:
    """The claims: what each says, how it was tried, every contrast, and the scores of every row."""
    out = [
        "# What papers claim of trainings, tried on a CPU",
        "",
        "`make claims` wrote this. Nets of one claim start from the same weights and see the same batches in each seed;"
        " seeds 0, 1, ... are those of the figures, others chose the settings, once. Better by: the mean of the paired"
        " differences, percentage points of accuracy or bits a character, positive where the first row is the better"
        " one, with Student's interval. p: the exact one-sided sign-flip test over the seeds, at least 2**-seeds; with a"
        " margin the larger of two, that the rows differ by less either way. A run that diverged counts as one that"
        " guesses. Not reproduced is said of this scale and of nothing else.",
        "",
        "| claim | | reproduced |",
        "|---|---|---|",
    ]
    out += [f"| {claim['name']} | {claim['says']} ({claim['source']}) | {claim['reproduced']} |" for claim in records]
    out += ["", *contrasts_table(records)]
    for claim in records:
        out += ["", f"## {claim['name']}", "", _run(claim["comparison"]) + " " + claim["setup"], "", *_rows(claim)]
    return "\n".join(out) + "\n"


def _run(comparison: Record) -> str:
    settings = comparison["settings"]
    steps = f"{settings['steps']} steps" if settings["steps"] else f"{settings['epochs']} epochs"
    return (
        f"Model `{comparison['model']}` on {comparison['data']['name']}, {steps} in batches of {settings['batch']},"
        f" {settings['optimizer']} at {settings['learning_rate']:g}, {len(comparison['seeds'])} seeds."
    )


def _rows(claim: Record) -> list[str]:
    rows = claim["comparison"]["rows"]
    key = next(key for key in rows[0]["runs"][0] if key.startswith(("accuracy", "bits")))
    name = "accuracy, %" if key.startswith("accuracy") else "bits a character"
    lines = [f"| row | {name} | sd | each seed |", "|---|---|---|---|"]
    for row in rows:
        runs = [run[key] for run in row["runs"]]
        each = ", ".join("diverged" if score is None else f"{score:.3f}" for score in runs)
        mean = row[key]
        shown = "- | -" if mean is None else f"{mean['mean']:.3f} | {mean['deviation']:.3f}"
        lines.append(f"| {row['name']} | {shown} | {each} |")
    return lines


def before(folder: Path) -> list[Record]:
    """The records that an earlier run left in the folder."""
    path = folder / JSON
    return json.loads(path.read_text(encoding="utf-8"))["claims"] if path.exists() else []


def write(records: list[Record], folder: Path) -> tuple[Path, ...]:
    """Both files or neither. Errors: OSError as `benchmarks.gpu.report.write_files`."""
    texts = {
        JSON: json.dumps({"schema": 1, "claims": records}, indent=1, allow_nan=False) + "\n",
        MARKDOWN: markdown(records),
    }
    return write_files(texts, folder)
