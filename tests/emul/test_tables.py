"""`emul formats` and `emul table`: every line is what the format says, in three forms and as a picture."""

import csv
import io

import pytest
from typer.testing import CliRunner

from emul.commands import app
from numerics import catalog, parse_format


def run(*arguments):
    return CliRunner().invoke(app, list(arguments))


def test_formats_lists_the_whole_catalog():
    lines = list(csv.DictReader(io.StringIO(run("formats", "--form", "csv").stdout)))
    assert [line["name"] for line in lines] == list(catalog.FORMATS)
    e4m3 = next(line for line in lines if line["name"] == "e4m3fn")
    assert (e4m3["bits"], e4m3["max"], e4m3["specials"]) == ("8", "448", "NaN -0")


@pytest.mark.parametrize("name", ["e4m3fn", "e5m2", "binary8p4se", "lba_m4e3_b3", "int4", "e2m1"])
def test_table_has_every_code_with_its_value_and_fields(name):
    fmt = parse_format(name)
    lines = list(csv.DictReader(io.StringIO(run("table", name, "--form", "csv").stdout)))
    assert [int(line["code"], 16) for line in lines] == list(fmt.codepoints())
    for line in lines:
        code = int(line["code"], 16)
        assert int(line["fields"].replace(" ", ""), 2) == code
        value = fmt.decode(code)
        assert line["value"] == repr(value)
        assert line["value (hex)"] == value.hex()


def test_ulp_is_the_grid_step_of_the_binade_on_both_sides():
    lines = {
        line["value"]: line["ulp"] for line in csv.DictReader(io.StringIO(run("table", "e2m1", "--form", "csv").stdout))
    }
    assert lines == {
        "0.0": "0.5", "0.5": "0.5", "1.0": "0.5", "1.5": "0.5", "2.0": "1.0", "3.0": "1.0", "4.0": "2.0", "6.0": "2.0",
        "-0.0": "0.5", "-0.5": "0.5", "-1.0": "0.5", "-1.5": "0.5", "-2.0": "1.0", "-3.0": "1.0", "-4.0": "2.0",
        "-6.0": "2.0",
    }  # fmt: skip


def test_a_range_of_codes_of_a_wide_format_as_markdown():
    text = run("table", "binary32", "--codes", "0x3f800000:0x3f800002", "--form", "markdown").stdout
    assert text.splitlines()[2] == (
        "| 0x3f800000 | 0 01111111 00000000000000000000000 | 1.0 | 0x1.0000000000000p+0 | 1.1920928955078125e-07 |"
    )
    assert len(text.splitlines()) == 4


def test_text_form_cuts_nothing_off_in_a_pipe():
    assert "IEEE 754-2019, 3.6" in run("formats").stdout


def test_picture_is_written_whole(tmp_path):
    pytest.importorskip("matplotlib")
    done = run("table", "e5m2", "--plot", str(tmp_path / "values.png"))
    assert done.exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["values.png"]
    assert (tmp_path / "values.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("table", "e99"), "no format is named 'e99'"),
        (("table", "binary32"), "2**32 codes"),
        (("table", "e4m3fn", "--codes", "7"), "'7' is no range of codes"),
        (("table", "e4m3fn", "--codes", "0:999"), "0:999"),
        (("table", "e4m3fn", "--plot", "/nowhere/x.png"), "cannot be drawn"),
    ],
)
def test_bad_requests_are_one_sentence_with_status_2(arguments, sentence):
    done = run(*arguments)
    assert done.exit_code == 2
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
