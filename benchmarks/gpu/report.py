"""The report: one JSON and one Markdown file, both written or neither."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

from benchmarks.gpu.child import ROOT

Line = dict[str, Any]
TITLES = {
    "elementwise": "Equality: values and codes",
    "products": "Equality: products",
    "published": "Equality: published functions",
    "torch": "Torch: tensors, streams, swapped models",
    "recorded": "Recorded vectors",
    "speed": "Speed",
    "planted": "Planted cases",
}


def commit() -> str:
    """The commit that is checked out, with a plus where files differ from it."""
    try:
        program = ["git", "-c", "safe.directory=*", "describe", "--always", "--dirty=+", "--abbrev=12"]
        done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True)
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"


def counts(lines: list[Line]) -> tuple[int, int, int]:
    """(right, wrong, skipped)."""
    return tuple(sum(line["ok"] is wanted for line in lines) for wanted in (True, False, None))


def markdown(report: dict[str, Any]) -> str:
    facts = report["description"]
    out = [f"# GPU check: {facts.get('device', 'no device')}", ""]
    out += [f"commit {report['commit']}, {report['time']}, {report['seconds']:.0f} s; tiny sizes: {report['tiny']}", ""]
    out += ["; ".join(f"{name} {value}" for name, value in facts.items() if name != "device"), ""]
    out += ["| group | right | wrong | skipped |", "|---|---|---|---|"]
    groups = report["groups"]
    out += [f"| {TITLES[name]} | {' | '.join(map(str, counts(lines)))} |" for name, lines in groups.items()]
    for name, lines in groups.items():
        wrong = [line for line in lines if line["ok"] is False]
        figures = [line for line in lines if "figure" in line]
        if figures:
            out += [
                "",
                f"## {TITLES[name]}",
                "",
                "| case | figure | part of copy | target | met | |",
                "|---|---|---|---|---|---|",
            ]
            out += [_figure(line) for line in figures]
        if wrong:
            out += ["", f"## Wrong: {TITLES[name]}", ""]
            out += [f"- {line['name']}: {line['error']}{_at(line)}" for line in wrong]
        skipped = sorted({line["skipped"] for line in lines if line["ok"] is None})
        if skipped:
            out += ["", f"## Skipped: {TITLES[name]}", "", *(f"- {reason}" for reason in skipped)]
    return "\n".join(out) + "\n"


def _figure(line: Line) -> str:
    part, target = line.get("part of copy"), line.get("target")
    reached = part if part is not None else line["figure"]
    met = "" if target is None else "yes" if reached >= target else "no"
    aimed = "" if target is None else f"{target:.0%}" if part is not None else f"{target} {line['unit']}"
    shown = "" if part is None else f"{part:.0%}"
    return (
        f"| {line['name']} | {line['figure']:.4g} {line['unit']} | {shown} | {aimed} | {met} | {line.get('note', '')} |"
    )


def _at(line: Line) -> str:
    return f" (at {line['at']})" if "at" in line else ""


def stem(device: str) -> str:
    """A device's name as a part of file names."""
    return re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")


def write(report: dict[str, Any], folder: Path) -> tuple[Path, ...]:
    """Both files of a report, named by the device. Errors: OSError as `write_files`."""
    name = f"gpu-{stem(report['description'].get('device', 'no device'))}"
    return write_files({f"{name}.json": json.dumps(report, indent=1) + "\n", f"{name}.md": markdown(report)}, folder)


def write_files(texts: dict[str, str], folder: Path) -> tuple[Path, ...]:
    """All files, by their names: first beside their places, then moved there.

    Errors: OSError where they cannot be written; none of them is there then, and none that was there before is gone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    partial = {folder / f".{name}.{os.getpid()}": text for name, text in texts.items()}
    if taken := [name for name in texts if (folder / name).is_dir()]:
        raise OSError(f"{folder / taken[0]} is a folder: give another place for the report")
    try:
        for path, text in partial.items():
            path.write_text(text, encoding="utf-8")
        for path, name in zip(partial, texts, strict=True):
            os.replace(path, folder / name)
    finally:
        for path in partial:
            path.unlink(missing_ok=True)
    return tuple(folder / name for name in texts)
