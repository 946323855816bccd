"""The training on a card, as `--tiny` runs it on the CPU: rows, files, and what it says is native."""

import json
import math
import os
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from emul import text
from emul.training import TEXT, Evaluation

ROOT = Path(__file__).resolve().parents[2]
NAMES = ["native float32", "FP8", "12-bit accumulators"]
STEPS = 6


def train(folder, *arguments):
    program = [sys.executable, "-m", "benchmarks.gpu.train", "--out", str(folder), *arguments]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(program, cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    done = train(folder, "--tiny", "--steps", str(STEPS), "--seeds", "2")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.nightly
def test_the_report(written):
    names = sorted(path.name for path in written.iterdir())
    stem = names[0].removesuffix(".json")
    assert names == [f"{stem}.json", f"{stem}.md", f"{stem}.svg"] and stem.startswith("train-tiny-on-a-cpu")
    report = json.loads((written / names[0]).read_text())
    assert [row["name"] for row in report["rows"]] == NAMES
    native, fp8, lba = ([run["losses"] for run in row["runs"]] for row in report["rows"])
    assert all(len(losses) == STEPS for row in (native, fp8, lba) for losses in row)
    assert all(abs(losses[0] - math.log(103)) < 0.2 for losses in (*native, *fp8, *lba))
    assert native[0] != native[1] and native[0] != fp8[0] != lba[0] != native[0]
    assert native[0][-1] < native[0][0]  # it learns
    assert not any(run["diverged"] for row in report["rows"] for run in row["runs"])
    assert len({run["weights"] for row in report["rows"] for run in row["runs"]}) == 6
    assert report["all products, a few steps"]["losses"][0] == pytest.approx(lba[0][0], abs=1e-6)  # the same forward


@pytest.mark.nightly
def test_the_table_says_what_is_native(written):
    text = next(written.glob("*.md")).read_text()
    assert text.count("\n| ") == 1 + 3 + 1
    assert "Attention)" not in text and "Embedding)" in text and "LayerNorm)" in text
    assert "| 12-bit accumulators in all three products, time only |" in text
    assert next(written.glob("*.svg")).read_text().count("<polyline") == 6


@pytest.mark.nightly
def test_where_a_file_has_no_place_none_is_written(written, tmp_path):
    name = next(written.glob("*.svg")).name
    (tmp_path / name).mkdir()
    done = train(tmp_path, "--tiny", "--steps", "1", "--seeds", "1")
    assert done.returncode == 1 and "nothing was written" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.fixture(scope="module")
def program():
    """What the module defines, in this process: another one would import torch once more."""
    return SimpleNamespace(**runpy.run_module("benchmarks.gpu.train"))


def test_without_a_card_it_says_so(program, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert program.main(["--out", str(tmp_path)]) == 2
    assert "--tiny trains a small model on the CPU" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_large_model_is_large_enough(program):
    data = text.load(256, 8)
    with torch.device("meta"):
        parameters = program.parameters(program.LARGE, data)
    assert parameters >= 10_000_000 and program._options([]).steps >= 200


def test_a_run_that_diverges_is_told(program):
    data = text.load(program.TINY.context, 32)
    settings = replace(TEXT, steps=3, batch=4, learning_rate=1e30)
    runs = [program._run(program.TINY, data, None, seed, 3, settings) for seed in (1, 2)]
    assert all(run["diverged"] and math.isnan(run["validation"]) for run in runs)
    report = {
        "description": {"device": "a card"},
        "commit": "0",
        "parameters": 1,
        "size": {"layers": 1, "width": 16, "context": 8},
        "settings": {"batch": 4},
        "steps": 3,
        "tiny": True,
        "native everywhere": [],
        "rows": [{"name": "native float32", "runs": runs}],
        "all products, a few steps": runs[0],
    }
    assert program.markdown(report).count("\n- native float32, seed ") == 2
    losses = json.loads(program._json(report), parse_constant=pytest.fail)["rows"][0]["runs"][0]
    assert losses["validation"] is None and losses["losses"][0] == runs[0]["losses"][0]


def test_a_test_that_diverges_is_told(program, monkeypatch):
    broken = Evaluation(0, math.nan, (), "the test loss is nan")
    monkeypatch.setitem(program._run.__globals__, "evaluate", lambda *arguments: broken)
    run = program._run(program.TINY, text.load(program.TINY.context, 32), None, 1, 1, replace(TEXT, batch=4))
    assert run["diverged"] == "the test loss is nan" and math.isnan(run["validation"])
