"""`emul verify`: names and functions in, a table or JSON out, an exit status for CI."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("typer")
from typer.testing import CliRunner

from emul import commands

SR = ("--format", "e4m3fn", "--rounding", "SR")
ROOT = Path(__file__).resolve().parents[2]
MODULE = """
import numpy as np
from numerics import Accumulator, Quantizer, Rounding, catalog
from numerics.properties import as_accumulator, as_quantizer, quantizer_suite

def nearest(x):
    return Quantizer(catalog.E4M3).quantize(x)

def cut(x):
    return Quantizer(catalog.E4M3, Rounding.RTZ).quantize(x)

def codes(x):
    return Quantizer(catalog.E4M3).encode(x)

def tensors(x):
    import torch
    return torch.from_numpy(nearest(x.numpy()))

_draw = np.random.default_rng(1)

def drawn(x):
    return Quantizer(catalog.E4M3, Rounding.SR).quantize(x, seed=int(_draw.integers(1 << 40)))

def by_words(x, words):
    return Quantizer(catalog.E4M3, Rounding.SR, random_bits=4).quantize(x, words=words)

def either(x, words=None):
    return nearest(x) if words is None else by_words(x, words)

def three(x, words, rng):
    return x

def leaves(x):
    raise SystemExit(0)

def loud(x):
    print("looks at", x.shape)
    return nearest(x)

def gives_four():
    return 4

def by_name(x, *, words):
    return by_words(x, words)

def makes():
    raise SystemExit(0)

subject = as_quantizer(nearest, fmt=catalog.E4M3, limit=64)
TestSubject = quantizer_suite(subject)
unit = catalog.MATRIX_UNITS["a100.f16.f32"]
sums = as_accumulator(Accumulator(catalog.BINARY16), deep=False)
number = 3
"""


@pytest.fixture
def verify(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def run(*arguments):
        done = CliRunner().invoke(commands.app, ["verify", *arguments])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.output
        return done

    yield run
    sys.modules.pop("mine", None)


def in_a_process(*arguments):
    command = [sys.executable, "-m", "emul.cli", "verify", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.nightly
def test_a_right_stochastic_format_ends_in_under_ten_seconds():
    in_a_process("e4m3fn", "--rounding", "SR", "--limit", "64")  # compiles
    begin = os.times()
    done = in_a_process("e4m3fn", "--rounding", "SR")
    end = os.times()
    assert done.returncode == 0, done.stderr
    assert "18 held, 0 broken, 2 do not apply" in done.stdout
    assert "exhaustive (all 256 words" in done.stdout
    # Seconds of computing: others may be at work on this machine.
    assert end.children_user + end.children_system - begin.children_user - begin.children_system < 10


@pytest.mark.parametrize(
    "arguments",
    [
        ("mine:nearest", "--format", "e4m3fn"),
        ("mine:codes", "--format", "e4m3fn", "--codes"),
        ("mine:tensors", "--format", "e4m3fn", "--torch"),
        ("mine:drawn", "--format", "e4m3fn", "--rounding", "SR", "--sampler"),
        ("mine:by_words", *SR, "--random-bits", "4"),
        ("mine:either", *SR, "--random-bits", "4"),
        ("mine:either", "--format", "e4m3fn"),
        ("mine:subject",),
        ("mine:TestSubject",),
        ("mine:unit",),
        ("mine:sums",),
        ("h100.f16.f16",),
        ("mxfp4_e2m1",),
    ],
    ids=" ".join,
)
def test_right_ones(verify, arguments):
    done = verify(*arguments, *(["--limit", "64"] if "--format" in arguments else []))
    assert done.exit_code == 0, done.output
    assert "0 broken" in done.stdout


def test_a_wrong_one_in_words_and_in_json(verify):
    arguments = ("mine:cut", "--format", "e4m3fn", "--limit", "64")
    done = verify(*arguments)
    assert done.exit_code == 1
    assert "decision: not the neighbour that the mode says (e4m3fn, RNE, SATURATE)" in done.stdout
    assert "reproduce   cut(np.array([" in done.stdout
    told = json.loads(verify(*arguments, "--json").stdout)
    assert told["ok"] is False
    assert "decision" in {v["claim"] for v in told["verdicts"] if v["status"] == "broken"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("e4m3fm",), "e4m3fm"),
        (("e4m3fn", "--rounding", "up"), "rounding 'up' is not known: known are RNE"),
        (("e4m3fn", "--overflow", "up"), "overflow 'up' is not known: known are IEEE"),
        (("mine:nearest",), "mine:nearest is a function: say what it rounds to, --format e4m3fn for example"),
        (("mine:absent",), "mine has no 'absent'"),
        (("absent:fn",), "absent cannot be imported"),
        (("mine:number",), "mine:number is 3: give a function of an array, a format, a Quantizer, "),
        (
            ("mine:gives_four", "--format", "e4m3fn"),
            "mine:gives_four returned 4: give a function of an array, a format, ",
        ),
        (
            ("mine:by_name", *SR, "--random-bits", "4"),
            "mine:by_name needs words by name, and it is called as fn(x), or as fn(x, words): give a function that passes",
        ),
        (("mine:nearest", "--format", "e4m3fn", "--source", "mxfp4_e2m1"), "is a block format"),
        (("mine:by_words", *SR), "takes 2 arguments, x and words: --random-bits is missing"),
        (("mine:by_words", *SR, "--sampler"), "leave --sampler out, and give --random-bits"),
        (("mine:by_words", "--format", "e4m3fn"), "RNE has no words to give: --rounding is missing"),
        (
            ("mine:drawn", *SR, "--random-bits", "4"),
            "takes 1 argument, so there is no place for words of 4 bits: --sampler",
        ),
        (("mine:three", *SR, "--random-bits", "4"), "takes 3 arguments: it is called as fn(x), or as fn(x, words)"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_refusals_are_one_sentence_and_status_two(verify, arguments, sentence):
    done = verify(*arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.startswith("emul: ")
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1


def test_what_ends_python_is_no_proof(verify, tmp_path):
    done = verify("mine:leaves", "--format", "e4m3fn", "--limit", "64")
    assert done.exit_code == 1
    assert "member: the function raised RuntimeError: SystemExit(0), which ends Python: raise another" in done.stdout
    (tmp_path / "script.py").write_text("import sys\nsys.exit(0)\n")
    for target, sentence in (
        ("script:fn", "script cannot be imported from"),
        ("mine:makes", "mine:makes raised SystemExit: 0"),
    ):
        done = verify(target, "--format", "e4m3fn")
        assert done.exit_code == 2 and sentence in done.stderr


def test_what_a_function_prints_is_not_in_the_report(verify, tmp_path):
    arguments = ("--format", "e4m3fn", "--limit", "64", "--json")
    done = verify("mine:loud", *arguments)
    assert json.loads(done.stdout)["ok"] is True and "looks at" in done.stderr
    (tmp_path / "starts.py").write_text(
        "import os\nimport mine\nos.system('echo imported')\n\n"
        "def fn(x):\n    os.system('echo simulated')\n    return mine.cut(x[..., :1])\n"
    )
    command = [sys.executable, "-m", "emul.cli", "verify", "starts:fn", *arguments]
    path = os.pathsep.join([str(ROOT), str(tmp_path)])
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True)
    assert json.loads(done.stdout)["ok"] is False and {"imported", "simulated"} <= set(done.stderr.split())
