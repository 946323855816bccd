"""`emul table` and `emul verify` of formats of a user's own, as module:name."""

import sys

import pytest

pytest.importorskip("typer")
from typer.testing import CliRunner

from emul.commands import app
from emul.own_formats import format_named
from numerics import FloatFormat, parse_format

MODULE = """
from numerics import BlockFormat, FixedFormat, FloatFormat, LogFormat, Quantizer, parse_format
SMALL = FloatFormat(3, 2, subnormals=False)
FIXED, LOG, POSIT = FixedFormat(5, 2), LogFormat(2, 2), parse_format("posit6")
BLOCK = BlockFormat(SMALL, parse_format("e8m0"), 8)
def made(): return SMALL
def made_block(): return BLOCK
def nearest(x): return Quantizer(SMALL).quantize(x)
def codes(x): return Quantizer(SMALL).quantize(FIXED.decode(x).astype("float32"))
def quantizer(): return Quantizer(SMALL)
def absent(): return None
def failing(): raise RuntimeError("no licence")
number = 3
"""
FORMATS = ("SMALL", "FIXED", "LOG", "POSIT", "made")


@pytest.fixture
def emul(tmp_path, monkeypatch):
    (tmp_path / "own_formats.py").write_text(MODULE)
    (tmp_path / "own_broken.py").write_text("def f(:")
    (tmp_path / "own_impossible.py").write_text("from numerics import FloatFormat\nF = FloatFormat(0, 0)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def run(*arguments):
        done = CliRunner().invoke(app, list(arguments))
        assert done.exception is None or isinstance(done.exception, SystemExit), done.output
        return done

    yield run
    sys.modules.pop("own_formats", None)


@pytest.mark.parametrize("name", FORMATS)
def test_a_table_has_every_code_of_it(emul, name):
    fmt = format_named(f"own_formats:{name}")
    header, *lines = emul("table", f"own_formats:{name}", "--form", "csv").stdout.splitlines()
    assert header == "code,fields,value,value (hex),ulp"
    assert [float(line.split(",")[2]) for line in lines] == pytest.approx(
        fmt.decode(range(1 << fmt.bits)).tolist(), nan_ok=True, abs=0
    )


def test_a_name_that_is_known_is_still_a_name(emul):
    assert format_named("e4m3fn") == parse_format("e4m3fn")
    assert format_named("own_formats:made") == FloatFormat(3, 2, subnormals=False)


@pytest.mark.parametrize("name", [*FORMATS, "BLOCK"])
def test_a_format_is_verified(emul, name):
    done = emul("verify", f"own_formats:{name}", "--limit", "64")
    assert done.exit_code == 0, done.output
    assert " 0 broken" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("own_formats:nearest", "--format", "own_formats:SMALL"),
        ("own_formats:nearest", "--format", "own_formats:made"),
        ("own_formats:codes", "--format", "own_formats:SMALL", "--source", "own_formats:FIXED"),
    ],
    ids=" ".join,
)
def test_a_function_is_verified_against_it(emul, arguments):
    done = emul("verify", *arguments, "--limit", "64")
    assert done.exit_code == 0, done.output
    assert "e3m2 (subnormals flush), RNE" in done.stdout.splitlines()[0]


def test_a_wrong_function_is_found(emul):
    done = emul("verify", "own_formats:nearest", "--format", "e3m2", "--limit", "64")
    assert done.exit_code == 1
    assert "broken" in done.stdout


def test_a_function_without_arguments_may_return_what_is_verified(emul):
    assert emul("verify", "own_formats:quantizer").exit_code == 0


def test_the_parts_of_a_block_format_have_tables(emul):
    done = emul("table", "own_formats:BLOCK")
    assert done.exit_code == 2
    assert "emul table own_formats:BLOCK.element, emul table own_formats:BLOCK.scale" in done.stderr
    for part in ("element", "scale"):
        assert emul("table", f"own_formats:BLOCK.{part}", "--codes", ":2").exit_code == 0
    assert "give them names of their own, as module:name" in emul("table", "own_formats:made_block").stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("table", "own_formats:number"),
            "'own_formats:number' is 3: give module:name of a format (FloatFormat, Fixed",
        ),
        (("table", "own_formats:absent"), "'own_formats:absent' is None: give module:name of a format"),
        (("table", "own_formats:nearest"), "or of a function without arguments that returns one"),
        (("table", "own_formats:failing"), "own_formats:failing raised RuntimeError: no licence"),
        (("table", "own_formats:SMAL"), "own_formats has no 'SMAL': the nearest is SMALL; give module:name"),
        (("table", "own_formats:"), "'own_formats:' is not module:name; write own_formats:NAME"),
        (("table", ":SMALL"), "':SMALL' is not module:name; write mine:SMALL"),
        (("table", "own_formats.py:SMALL"), "write own_formats:SMALL, for NAME in a file such as mine.py"),
        (("table", "own_broken:F"), "own_broken cannot be imported from"),
        (("table", "own_impossible:F"), "ValueError: a float format with exponent_bits = 0"),
        (("verify", "own_formats:failing"), "own_formats:failing raised RuntimeError: no licence"),
        (("verify", "own_formats:nearest", "--format", "own_formats:number"), "'own_formats:number' is 3"),
        (
            ("verify", "own_formats:nearest", "--format", "own_formats:SMALL", "--source", "own_formats:BLOCK"),
            "is a block",
        ),
        (
            ("verify", "own_formats:SMALL", "--format", "e4m3fn", "--codes"),
            "--format, --codes with a target that has no use for it: own_formats:SMALL is a format; leave it out",
        ),
        (("verify", "e4m3fn", "--sampler"), "--sampler with a target that has no use for it: e4m3fn is a format"),
        (("verify", "h100.f16.f32", "--rounding", "SR"), "h100.f16.f32 is a matrix unit; leave it out"),
        (("verify", "own_formats:quantizer", "--rounding", "SR"), "own_formats:quantizer says all that is claimed"),
        (("verify", "e4m3fn", "--random-bits", "8"), "random_bits = 8 with RNE: random bits belong to SR"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_refusals_are_one_sentence(emul, arguments, sentence):
    done = emul(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("emul: ") and done.stderr.count("\n") == 1
    assert sentence in done.stderr
