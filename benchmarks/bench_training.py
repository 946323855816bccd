"""A training step with 12-bit accumulators, in the forward products and in all three, as a multiple of the native step.

The digits net and the small GPT, steps taken in turns in one run, torch and the emulation on one thread each, by the
process's CPU time, so that a neighbour on the machine counts little. Where the time goes is told by torch's profiler:
every emulated product and quantization is an operator of torch. First the bits of a layer are compared with numpy's.
"""

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from time import process_time

import numpy as np
import pytest
import torch
from torch.autograd.profiler import profile
from torch.nn.functional import cross_entropy

import emul
from benchmarks.gpu.train import in_all_products
from benchmarks.timing import best_of_one
from emul import digits, gpt, tasks, text
from emul.datasets import Dataset
from emul.training import Settings, reproducible, usual
from numerics import get_num_threads, matmul, set_num_threads

TARGET = 15.0  # of the digits net with 12-bit accumulators in the forward products
ROUNDS = 15
RECIPES = {"forward": emul.recipes.lba12, "all products": in_all_products, "FP8": emul.recipes.fp8}

#: torch's operators by what they are here; the rest is activations, normalisation, the loss and the optimizer.
PARTS = {
    "quantize": ("emul::quantize",),
    "emulated products": ("emul::matmul",),
    "native products": ("aten::mm", "aten::addmm", "aten::bmm", "aten::convolution", "aten::mkldnn_convolution"),
    "windows and layout": (
        "aten::copy_",
        "aten::constant_pad_nd",
        "aten::flip",
        "aten::cat",
        "aten::fill_",
        "aten::clone",
    ),
}
PARTS["native products"] += ("aten::convolution_backward", "aten::_convolution", "aten::matmul", "aten::linear")
PARTS["windows and layout"] += ("aten::reshape", "aten::contiguous", "aten::as_strided", "aten::permute", "aten::view")


def case(name: str) -> tuple[Callable[[], torch.nn.Module], Dataset]:
    if name == "cnn":
        return digits.cnn, digits.load()
    data = text.load(gpt.SMALL.context)
    return tasks.builder_of("gpt", data)[1], data


def stepper(model: torch.nn.Module, data: Dataset, settings: Settings) -> Callable[[], object]:
    """One training step on the first batch: what `emul compare` times."""
    inputs, labels = data.train_inputs[: settings.batch], data.train_labels[: settings.batch]
    kind = torch.optim.SGD if settings.optimizer == "sgd" else torch.optim.AdamW
    optimizer = kind(model.parameters(), 1e-4)

    def step() -> None:
        scores = model(inputs)
        loss = cross_entropy(scores.reshape(-1, scores.shape[-1]), labels.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def proved(model: torch.nn.Module, data: Dataset) -> str:
    """The name of the last emulated Linear, whose output has the bits of the numpy front."""
    name, layer = [(name, module) for name, module in model.named_modules() if isinstance(module, emul.nn.Linear)][-1]
    seen = []
    hook = layer.register_forward_hook(lambda module, inputs, output: seen.append((inputs[0], output)))
    with torch.no_grad():
        model.eval()(data.train_inputs[:2])
    hook.remove()
    model.train()
    activation, output = (tensor.reshape(-1, tensor.shape[-1]).numpy() for tensor in seen[0])
    rule = layer.emulation.rule.forward
    a, b = rule.activation.quantize(activation), rule.weight.quantize(layer.weight.detach().numpy())
    wanted = matmul(a, np.ascontiguousarray(b.T), rule.accumulator) + layer.bias.detach().numpy()
    assert np.array_equal(output, wanted), name
    return name


def cpu_time(call: Callable[[], object]) -> float:
    """Seconds of one call."""
    begin = process_time()
    call()
    return process_time() - begin


def shares(step: Callable[[], object], rounds: int = 25) -> dict[str, tuple[float, int]]:
    """For each part (its share of the fastest step's wall time, calls); what no operator accounts for is Python."""
    fastest, events = math.inf, None
    for _ in range(rounds):
        with profile(use_kineto=False) as taken:
            seconds = best_of_one(step)
        if seconds < fastest:
            fastest, events = seconds, taken.key_averages()
    found: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0])
    for event in events:
        part = next((part for part, names in PARTS.items() if event.key in names), "other operators")
        found[part][0] += event.self_cpu_time_total / 1e6 / fastest
        found[part][1] += event.count
    found["Python between them"] = [1 - sum(share for share, _ in found.values()), 0]
    return {part: (share, int(calls)) for part, (share, calls) in found.items()}


@pytest.mark.parametrize("name", ["cnn", "gpt"])
def test_times_the_native_step(name, benchmark):
    build, data = case(name)
    settings = replace(usual(data.task), threads=1)
    before = get_num_threads()
    set_num_threads(1)
    try:
        with reproducible(settings):
            torch.manual_seed(0)
            models = {"native": build()} | {key: emul.swap_(build(), recipe(1)) for key, recipe in RECIPES.items()}
            layer = proved(models["forward"], data)
            steps = {key: stepper(model, data, settings) for key, model in models.items()}
            seconds = {key: [] for key in steps}
            for warm in (True, *[False] * ROUNDS):
                for key, step in steps.items():
                    taken = cpu_time(step)
                    if not warm:
                        seconds[key].append(taken)
            least = {key: min(taken) for key, taken in seconds.items()}
            benchmark.pedantic(steps["forward"], rounds=3)
            parts = {key: shares(steps[key]) for key in RECIPES}
    finally:
        set_num_threads(before)
    ratios = {key: round(least[key] / least["native"], 1) for key in RECIPES}
    benchmark.extra_info |= {"native, ms": round(1e3 * least["native"], 2), "times native": ratios}
    target = f" (target {TARGET:g} forward)" if name == "cnn" else ""
    print(f"\n{name}, 1 thread: native {1e3 * least['native']:.2f} ms; times native: {ratios}{target}")
    print(f"  bits of {layer!r} are the numpy front's")
    for key, found in parts.items():
        ordered = sorted(found.items(), key=lambda item: -item[1][0])
        print(f"  {key}: " + ", ".join(f"{part} {100 * share:.0f} % ({calls})" for part, (share, calls) in ordered))
