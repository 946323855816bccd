"""`python -m benchmarks.gpu.train`: a GPT on Python's own documentation, natively and in emulated arithmetic.

Writes `train-<device>.json`, `.md` and `.svg` (the loss curves) to benchmarks/results/, all of them or none. Without a
card it refuses, unless --tiny asks for a model that the CPU trains in seconds, to look at the logic.
"""

import argparse
import math
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy

import emul
from benchmarks.gpu import gpt
from benchmarks.gpu.child import ROOT
from benchmarks.gpu.curves import curves
from benchmarks.gpu.report import commit, stem, write_files
from emul.training import Settings, fingerprint, phase_seed, reproducible

LOSS_SCALE = 2.0**12  # keeps gradients in the range of E5M2; divided out before the optimizer, both exact
LEARNING_RATE, WARM_UP, CLIP = 1e-3, 20, 1.0
FEWEST_STEPS, TIMED = 200, 5


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
    settings, data = Settings(device=device), gpt.text()
    size = gpt.TINY if options.tiny else gpt.LARGE
    begin = time.monotonic()
    rows = []
    with reproducible(settings):
        for name, recipe in recipes().items():
            runs = []
            for seed in range(1, options.seeds + 1):
                runs.append(_run(size, data, recipe(seed), seed, options.steps, device))
                print(f"{name}, seed {seed}: {_said(runs[-1])}", file=sys.stderr, flush=True)
            rows.append({"name": name, "runs": runs})
        few = min(TIMED, options.steps)
        all_products = _run(size, data, in_all_products(1), 1, few, device)
    report = {
        "description": _description(device),
        "commit": commit(),
        "seconds": round(time.monotonic() - begin, 1),
        "tiny": options.tiny,
        "size": asdict(size),
        "parameters": _parameters(size, data),
        "steps": options.steps,
        "loss scale": LOSS_SCALE,
        "native everywhere": list(gpt.NATIVE),
        "rows": rows,
        "all products, a few steps": all_products,
    }
    text = markdown(report)
    print(text)
    name = f"train-{stem(report['description']['device'])}"
    named = {row["name"]: [run["losses"] for run in row["runs"]] for row in rows}
    texts = {f"{name}.json": _json(report), f"{name}.md": text, f"{name}.svg": curves(named)}
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
    size: gpt.Size, data: gpt.Text, recipe: emul.Recipe | None, seed: int, steps: int, device: str
) -> dict[str, Any]:
    """One training: the same weights and batches for every row of a seed."""
    torch.manual_seed(phase_seed(seed, "weights"))
    model = gpt.Gpt(size, data.characters)
    model.to(device)
    native = ["every layer"]
    if recipe is not None:
        emul.swap_(model, recipe)
        native = [f"{layer.name} ({layer.type}): {layer.native}" for layer in emul.swap_report(model).native]
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, betas=(0.9, 0.95))
    order = torch.Generator().manual_seed(phase_seed(seed, "batches"))
    losses: list[float] = []
    seconds: list[float] = []
    run: dict[str, Any] = {"seed": seed, "losses": losses, "diverged": "", "native": native}
    for step in range(steps):
        batch = _batch(data.train, size, order, device)
        for group in optimizer.param_groups:
            group["lr"] = _learning_rate(step, steps)
        begin = _now(device)
        try:
            losses.append(_step(model, optimizer, batch))
        except (ValueError, OverflowError) as error:  # what emulated products say of operands that are not finite
            run["diverged"] = f"step {step + 1}: {error}"
            break
        seconds.append(_now(device) - begin)
        if not math.isfinite(losses[-1]):
            run["diverged"] = f"the loss of step {step + 1} is {losses[-1]}"
            break
    run["validation"] = math.nan if run["diverged"] else _validate(model, data, size, device)
    run["seconds a step"] = sorted(seconds)[len(seconds) // 2] if seconds else math.nan
    run["weights"] = fingerprint(model)
    return run


def _batch(text: torch.Tensor, size: gpt.Size, order: torch.Generator, device: str) -> torch.Tensor:
    """[batch, context + 1] characters from places that the generator draws."""
    starts = torch.randint(len(text) - size.context, (size.batch, 1), generator=order)
    return text[starts + torch.arange(size.context + 1)].to(device)


def _loss(model: torch.nn.Module, batch: torch.Tensor) -> torch.Tensor:
    return cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())


def _step(model: torch.nn.Module, optimizer: torch.optim.Optimizer, batch: torch.Tensor) -> float:
    loss = _loss(model, batch)
    optimizer.zero_grad()
    torch.autograd.backward(loss * LOSS_SCALE)
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.grad /= LOSS_SCALE
    torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    optimizer.step()
    return loss.item()


def _learning_rate(step: int, steps: int) -> float:
    """Up a ramp, then down half a cosine."""
    warm = min(WARM_UP, steps // 4 + 1)
    if step < warm:
        return LEARNING_RATE * (step + 1) / warm
    return LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


@torch.no_grad()
def _validate(model: torch.nn.Module, data: gpt.Text, size: gpt.Size, device: str) -> float:
    """Mean loss of batches of the text that no training saw, the same for every run."""
    model.eval()
    order = torch.Generator().manual_seed(0)
    try:
        return sum(_loss(model, _batch(data.validation, size, order, device)).item() for _ in range(8)) / 8
    except (ValueError, OverflowError):
        return math.nan


def _now(device: str) -> float:
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter()


def _parameters(size: gpt.Size, data: gpt.Text) -> int:
    return sum(p.numel() for p in gpt.Gpt(size, data.characters).parameters())


def _description(device: str) -> dict[str, str]:
    name = torch.cuda.get_device_name() if device != "cpu" else f"tiny on a CPU, {platform.machine()}"
    return {"device": name, "torch": torch.__version__, "python": platform.python_version()}


def _said(run: dict[str, Any]) -> str:
    return run["diverged"] or f"loss {run['losses'][-1]:.3f}, validation {run['validation']:.3f}"


def _json(report: dict[str, Any]) -> str:
    import json

    return json.dumps(report, indent=1) + "\n"


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def markdown(report: dict[str, Any]) -> str:
    """The table: a row for each arithmetic, means over the seeds."""
    size, native = report["size"], report["rows"][0]
    own = _mean([run["seconds a step"] for run in native["runs"]])
    out = [
        f"# A GPT in emulated arithmetic: {report['description']['device']}",
        "",
        f"commit {report['commit']}; {report['parameters'] / 1e6:.2f} M parameters ({size['layers']} layers of width"
        f" {size['width']}), batches of {size['batch']} x {size['context']} characters of pydoc's topics,"
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
