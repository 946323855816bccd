"""The logic of `make gpu-check`, without a card: cases that fail, die or hang, and a small run in the simulator."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def gpu_check(folder, *arguments, **environment):
    program = [sys.executable, "-m", "benchmarks.gpu", "--out", str(folder), *arguments]
    variables = {**os.environ, **environment}
    return subprocess.run(program, cwd=ROOT, env=variables, capture_output=True, text=True)


def test_a_case_that_fails_dies_or_hangs_is_a_line_of_the_report(tmp_path):
    done = gpu_check(tmp_path, "--groups", "planted", "--seconds", "3", "--grace", "1")
    assert done.returncode == 1
    report = json.loads((tmp_path / "gpu-planted.json").read_text())
    lines = {line["name"]: line for line in report["groups"]["planted"]}
    assert [line["ok"] for line in lines.values()] == [True, False, False, True, False, None]
    assert lines["wrong"]["error"] == "AssertionError: planted"
    assert lines["dies"]["error"].startswith("the process ended with status 3")
    assert lines["hangs"]["error"].startswith("not ended in time")
    assert lines["never reached"]["skipped"] == "not reached in time"
    text = (tmp_path / "gpu-planted.md").read_text()
    assert "| Planted cases | 2 | 3 | 1 |" in text
    assert "| right again | 2 GB/s | 50% | 85% | no |  |" in text
    assert text in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"gpu-planted.json", "gpu-planted.md"}


def test_where_nothing_can_be_written_nothing_is_left(tmp_path):
    (tmp_path / "gpu-planted.md").mkdir()  # the second file has no place
    done = gpu_check(tmp_path, "--groups", "planted", "--seconds", "0.1", "--grace", "0.1")
    assert done.returncode == 1
    assert "gpu-planted.md is a folder" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["gpu-planted.md"]


@pytest.mark.nightly
@pytest.mark.parametrize(("groups", "cases"), [(["speed"], 7), (["elementwise", "published", "speed"], 11)])
def test_a_small_run_in_the_simulator(groups, cases, tmp_path):
    done = gpu_check(tmp_path, "--tiny", "--groups", *groups, NUMBA_ENABLE_CUDASIM="1")
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "gpu-numba-cuda-s-simulator.json").read_text())
    assert [line["ok"] for lines in report["groups"].values() for line in lines] == [True] * cases
    speed = {line["name"]: line for line in report["groups"]["speed"]}
    assert speed["quantize E4M3 RNE"]["part of copy"] > 0
    assert speed["fp8 x fp8 into binary16 (no sticky)"]["note"].startswith("float32 once")


def test_without_a_card_it_says_so(tmp_path):
    environment = {"CUDA_VISIBLE_DEVICES": "", "NUMBA_ENABLE_CUDASIM": "0"}
    done = gpu_check(tmp_path, "--groups", "speed", **environment)
    assert done.returncode == 2
    assert done.stderr.startswith("no device: ")
    assert not list(tmp_path.iterdir())


def test_vectors_need_their_folder(tmp_path):
    done = gpu_check(tmp_path, "--groups", "recorded")
    assert done.returncode == 2
    assert "the group recorded needs --vectors" in done.stderr
