"""The numbers of a comparison as JSON: what the seeds decide in one text, wall times in another."""

from __future__ import annotations

import hashlib
import json
import math
import platform
from dataclasses import asdict, fields, is_dataclass
from enum import Enum
from importlib import metadata
from typing import TYPE_CHECKING

import numba
import numpy
import torch

import numerics

from .intervals import CONFIDENCE
from .metrics import perplexity
from .operands import Stage
from .rows import NATIVE
from .schedule import Phase

if TYPE_CHECKING:
    from .datasets import Dataset
    from .metrics import Metric
    from .recipe import Recipe
    from .results import Comparison, RowResult, Run
    from .schedule import Schedule
    from .training import Settings

#: Of results.json and timing.json.
SCHEMA = 1

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


def results_json(result: Comparison) -> str:
    """Settings, versions, recipes, figures and losses as JSON; a value that is not finite is null, its run diverged."""
    data = result.data
    record: dict[str, Json] = {
        "schema": SCHEMA,
        "model": result.model,
        "data": {
            "name": data.name,
            "task": data.task,
            "classes": data.classes,
            "training_samples": len(data.train_labels),
            "test_samples": len(data.test_labels),
            "sha256": _data_hash(data),
        },
        "settings": _plain(result.settings),
        "seeds": list(result.seeds),
        "confidence": CONFIDENCE,
        "versions": {**_versions(), **_card(result.settings)},
        "rows": [_row(row, result.metric) for row in result.rows],
    }
    head = json.dumps(record, indent=1, allow_nan=False)
    return f'{head[:-2]},\n "training_losses": {{\n{_losses(result)}\n }}\n}}\n'


def _losses(result: Comparison) -> str:
    """The losses of each step, one line per row and seed: they are many."""
    rows = []
    for row in result.rows:
        lines = [f'   "{run.seed}": {json.dumps([_finite(loss) for loss in run.losses])}' for run in row.runs]
        rows.append(f"  {json.dumps(row.row.key)}: {{\n" + ",\n".join(lines) + "\n  }")
    return ",\n".join(rows)


def timing_json(result: Comparison) -> str:
    """Wall times as JSON: what differs from run to run."""
    record = {
        "schema": SCHEMA,
        "torch_threads": result.settings.threads,
        "emulation_threads": numerics.get_num_threads(),
        "processor": platform.processor() or platform.machine(),
        "wall_seconds": result.seconds,
        "ratio_to": NATIVE.key,
        "rows": {row.row.key: asdict(row.timing) for row in result.rows},
    }
    return json.dumps(record, indent=1, allow_nan=False) + "\n"


def _row(row: RowResult, metric: Metric) -> Json:
    layers = [] if row.layers is None else [_plain(layer) for layer in row.layers.layers]
    calls = [] if row.layers is None else [_plain(call) for call in row.layers.calls]
    return {
        "key": row.row.key,
        "name": row.row.name,
        "phase": row.row.phase,
        "compared_with": row.row.against,
        metric.key: None if row.score is None else _plain(row.score),
        f"difference_{metric.difference}": None if row.difference is None else _plain(row.difference),
        f"difference_to_native_{metric.difference}": (
            None if row.difference_to_native is None else _plain(row.difference_to_native)
        ),
        "diverged_seeds": [run.seed for run in row.runs if run.diverged],
        "runs": [_run(run, score, metric) for run, score in zip(row.runs, row.scores, strict=True)],
        "layers": layers,
        "calls": calls,
        "recipe": None if row.recipe is None else _seedless(row.recipe),
        "phases": _phases(row.schedule),
    }


def _phases(schedule: Schedule | None) -> Json:
    """What a row's schedule has beyond one recipe; null where it has nothing."""
    if schedule is None or schedule.phases == (Phase(recipe=schedule.phases[0].recipe),):
        return None
    return [
        {
            **{field.name: _plain(getattr(phase, field.name)) for field in fields(phase) if field.name != "recipe"},
            "recipe": None if phase.recipe is None else _seedless(phase.recipe),
        }
        for phase in schedule.phases
    ]


def _seedless(recipe: Recipe) -> dict[str, Json]:
    plain = _plain(recipe)
    assert isinstance(plain, dict)
    return {**plain, "seed": "that of the run"}


def _run(run: Run, score: float | None, metric: Metric) -> Json:
    perplexed = (
        {} if metric.better == "higher" else {"perplexity": _finite(None if score is None else perplexity(score))}
    )
    return {
        "seed": run.seed,
        metric.key: score,
        **perplexed,
        "correct": run.correct,
        "test_loss": _finite(run.test_loss),
        "steps": len(run.losses),
        "diverged": run.diverged or None,
        "initial_weights_sha256": run.start,
        "final_weights_sha256": run.weights,
        **({"phases": [finite_all(_plain(phase)) for phase in run.phases]} if _told(run) else {}),
        **({"clips": [_plain(clip) for clip in run.clips]} if run.clips else {}),
    }


def _told(run: Run) -> bool:
    """Whether its phases say more than that all steps were of one kind."""
    return len(run.phases) > 1 or any(phase.measured for phase in run.phases)


def finite_all(value: Json) -> Json:
    """The same with null for what is not finite, such as the ratio to no noise."""
    if isinstance(value, dict):
        return {name: finite_all(part) for name, part in value.items()}
    if isinstance(value, list):
        return [finite_all(part) for part in value]
    return _finite(value) if isinstance(value, float) else value


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _plain(value: object) -> Json:
    """Dataclasses as mappings, quantizers and accumulators by their canonical record, everything else as it is."""
    if isinstance(value, Enum):
        return value.name
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, numerics.Quantizer | numerics.Accumulator | numerics.MatrixUnit):
        record: Json = json.loads(numerics.spec.dumps(value))
        return record
    if isinstance(value, Stage) and is_dataclass(value):  # two kinds may have the same fields
        return {
            "stage": type(value).__name__,
            **{field.name: _plain(getattr(value, field.name)) for field in fields(value)},
        }
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    raise TypeError(f"{value!r} has no JSON form")


def _versions() -> dict[str, str]:
    def version(name: str) -> str:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            return "not installed"

    from . import __version__

    return {
        "emul": __version__,
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "numba": numba.__version__,
        "torch": torch.__version__,
        "scikit-learn": version("scikit-learn"),
        # torch picks its float32 kernels by it
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }


def _card(settings: Settings) -> dict[str, str]:
    """What torch's own operators were computed on, where that is no CPU."""
    if not settings.on_cuda:
        return {}
    return {"cuda": str(torch.version.cuda), "cuda_device": torch.cuda.get_device_name(settings.device)}


def _data_hash(data: Dataset) -> str:
    digest = hashlib.sha256()
    for tensor in (data.train_inputs, data.train_labels, data.test_inputs, data.test_labels):
        digest.update(f"{tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()
