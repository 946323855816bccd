"""`python -m benchmarks.gpu.train`: a GPT on Python's own documentation, natively and in emulated arithmetic.

Writes `train-<device>.json`, `.md` and `.svg` (the loss curves) to benchmarks/results/, all of them or none. Without a
card it refuses, unless --tiny asks for a model that the CPU trains in seconds, to look at the logic.
"""

import argparse
import json
import math
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch

import emul
from benchmarks.gpu.child import ROOT
from benchmarks.gpu.curves import curves
from benchmarks.gpu.report import commit, stem, write_files
from emul import text
from emul.datasets import Dataset
from emul.gpt import Gpt, Size
from emul.record import finite_all
from emul.training import TEXT, Settings, evaluate, fingerprint, phase_seed, reproducible, train

LARGE = Size(layers=6, width=384, heads=6, context=256)  # 10.8 M parameters
TINY = Size(layers=1, width=16, heads=2, context=8)
FEWEST_STEPS, TIMED = 200, 5

#: What stays torch's own in every row, besides what `emul.swap_report` names.
NATIVE = (
    "softmax: sums of its own, which are torch's also where rules put those of LayerNorm through an accumulator",
    "the gradient of an Embedding: a sum by index, which emul.nn does not have",
    "biases, GELU, the loss, AdamW",
)


def recipes() -> dict[str, Callable[[int], emul.Recipe | None]]:
    """The rows, by name: the recipe that swaps a model, for a seed."""
    return {"native float32": lambda seed: None, "FP8": emul.recipes.fp8, "12-bit accumulators": emul.recipes.lba12}


def in_all_products(seed: int) -> emul.Recipe:
    """12-bit accumulators in the two backward products too, whose gradients are those of the FP8 recipe."""
    (rule,), (fp8,) = emul.recipes.lba12(seed).rules, emul.recipes.fp8(seed).rules
    sums = rule.forward.accumulator
    backward = {name: replace(getattr(fp8, name), accumulator=sums) for name in ("grad_input", "grad_weight")}
    return emul.Recipe((replace(rule, **backward),), seed, "lba12 in all products")


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    device = "cpu" if options.tiny else "cuda"
    if not options.tiny and not torch.cuda.is_available():
        print("torch finds no CUDA device: --tiny trains a small model on the CPU", file=sys.stderr)
        return 2
    size = TINY if options.tiny else LARGE
    data = text.load(size.context, 32 if options.tiny else 160)
    settings = replace(
        TEXT, steps=options.steps, batch=4 if options.tiny else 32, learning_rate=1e-3, threads=torch.get_num_threads()
    )
    settings = replace(settings, device=device)
    begin = time.monotonic()
    rows = []
    with reproducible(settings):
        for name, recipe in recipes().items():
            runs = []
            for seed in range(1, options.seeds + 1):
                runs.append(_run(size, data, recipe(seed), seed, options.steps, settings))
                print(f"{name}, seed {seed}: {_said(runs[-1])}", file=sys.stderr, flush=True)
            rows.append({"name": name, "runs": runs})
        few = min(TIMED, options.steps)
        all_products = _run(size, data, in_all_products(1), 1, few, settings)
    report = {
        "description": _description(device),
        "commit": commit(),
        "seconds": round(time.monotonic() - begin, 1),
        "tiny": options.tiny,
        "size": asdict(size),
        "parameters": parameters(size, data),
        "steps": options.steps,
        "settings": asdict(settings),
        "native everywhere": list(NATIVE),
        "rows": rows,
        "all products, a few steps": all_products,
    }
    table = markdown(report)
    print(table)
    name = f"train-{stem(report['description']['device'])}"
    named = {row["name"]: [run["losses"] for run in row["runs"]] for row in rows}
    texts = {f"{name}.json": _json(report), f"{name}.md": table, f"{name}.svg": curves(named)}
    try:
        files = write_files(texts, options.out)
    except OSError as error:
        print(f"nothing was written: {error}", file=sys.stderr)
        return 1
    print(f"written: {', '.join(map(str, files))}", file=sys.stderr)
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.train", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="a small model, on the CPU, for a few steps")
    parser.add_argument("--steps", type=int, help=f"of each run; {FEWEST_STEPS} where nothing is said, 12 if tiny")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each row")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="where the files go")
    options = parser.parse_args(arguments)
    options.steps = options.steps or (12 if options.tiny else FEWEST_STEPS)
    if options.steps < 1 or options.seeds < 1:
        parser.error(f"--steps {options.steps} --seeds {options.seeds}: give at least one of each")
    return options


def _run(
    size: Size, data: Dataset, recipe: emul.Recipe | None, seed: int, steps: int, settings: Settings
) -> dict[str, Any]:
    """One training: the same weights and batches for every row of a seed."""
    torch.manual_seed(phase_seed(seed, "weights"))
    model = Gpt(size, data.classes).to(settings.device)
    native = ["every layer"]
    if recipe is not None:
        emul.swap_(model, recipe)
        native = [f"{layer.name} ({layer.type}): {layer.native}" for layer in emul.swap_report(model).native]
    rate = settings.learning_rate
    done = train(model, data, settings, steps=steps, learning_rate=rate, seed=phase_seed(seed, "batches"))
    run: dict[str, Any] = {"seed": seed, "losses": list(done.losses), "diverged": done.diverged, "native": native}
    run["validation"] = math.nan
    if not done.diverged:
        tested = evaluate(model, data, settings)
        run |= {"validation": tested.loss, "diverged": tested.diverged}
    run["seconds a step"] = median(done.seconds) if done.seconds else math.nan
    run["weights"] = fingerprint(model)
    return run


def parameters(size: Size, data: Dataset) -> int:
    return sum(p.numel() for p in Gpt(size, data.classes).parameters())


def _description(device: str) -> dict[str, str]:
    name = torch.cuda.get_device_name() if device != "cpu" else f"tiny on a CPU, {platform.machine()}"
    return {"device": name, "torch": torch.__version__, "python": platform.python_version()}


def _said(run: dict[str, Any]) -> str:
    return run["diverged"] or f"loss {run['losses'][-1]:.3f}, validation {run['validation']:.3f}"


def _json(report: dict[str, Any]) -> str:
    """A value that is not finite is null, its run diverged."""
    return json.dumps(finite_all(report), indent=1, allow_nan=False) + "\n"


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def markdown(report: dict[str, Any]) -> str:
    """The table: a row for each arithmetic, means over the seeds."""
    size, native, batch = report["size"], report["rows"][0], report["settings"]["batch"]
    own = _mean([run["seconds a step"] for run in native["runs"]])
    out = [
        f"# A GPT in emulated arithmetic: {report['description']['device']}",
        "",
        f"commit {report['commit']}; {report['parameters'] / 1e6:.2f} M parameters ({size['layers']} layers of width"
        f" {size['width']}), batches of {batch} x {size['context']} characters of pydoc's topics,"
        f" {report['steps']} steps, {len(native['runs'])} seeds; TF32 off; tiny: {report['tiny']}",
        "",
        "| row | last 10 training losses | validation loss | to native, each seed | diverged | time of a step, native = 1 |",
        "|---|---|---|---|---|---|",
    ]
    for row in report["rows"]:
        runs = row["runs"]
        last = _mean([_mean(run["losses"][-10:]) if run["losses"] else math.nan for run in runs])
        apart = (run["validation"] - first["validation"] for run, first in zip(runs, native["runs"], strict=True))
        time_ratio = _mean([run["seconds a step"] for run in runs]) / own
        out.append(
            f"| {row['name']} | {last:.4f} | {_mean([run['validation'] for run in runs]):.4f} |"
            f" {', '.join(f'{x:+.4f}' for x in apart)} | {sum(bool(run['diverged']) for run in runs)} | {time_ratio:.2f} |"
        )
    few = report["all products, a few steps"]
    out.append(f"| 12-bit accumulators in all three products, time only | | | | | {few['seconds a step'] / own:.2f} |")
    out += ["", "What is torch's own in every row:", "", *(f"- {reason}" for reason in report["native everywhere"])]
    left = sorted({reason for row in report["rows"][1:] for run in row["runs"] for reason in run["native"]})
    out += [f"- {reason}" for reason in left]
    diverged = [
        f"- {row['name']}, seed {run['seed']}: {run['diverged']}" for row in report["rows"] for run in row["runs"]
    ]
    out += ["", *(line for line in diverged if not line.endswith(": "))]
    return "\n".join(out).rstrip() + "\n"


if __name__ == "__main__":
    sys.exit(main())
