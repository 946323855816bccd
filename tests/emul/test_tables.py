"""`emul formats` and `emul table`: every line is what the format says, in three forms and as a picture."""

import csv
import io
import re
from itertools import pairwise

import numpy as np
import pytest
from typer.testing import CliRunner

from emul.commands import app
from emul.tables import PATTERNS, value_lines
from numerics import FloatFormat, catalog, parse_format
from tests.sampling import one_in


def run(*arguments):
    return CliRunner().invoke(app, list(arguments))


def csv_lines(*arguments):
    return list(csv.DictReader(io.StringIO(run(*arguments, "--form", "csv").stdout)))


def test_formats_lists_the_whole_catalog():
    lines = {line["name"]: line for line in csv_lines("formats")}
    assert list(lines) == [*catalog.FORMATS, *catalog.BLOCK_FORMATS]
    e4m3, posit8, nvfp4, bfp4 = (lines[name] for name in ("e4m3fn", "posit8", "nvfp4", "bfp4_16"))
    assert (e4m3["bits"], e4m3["max"], e4m3["specials"]) == ("8", "448", "NaN -0")
    assert (posit8["smallest"], lines["int8"]["smallest"]) == ("5.96046e-08", "1")
    parts = ("bits", "element", "scale", "block", "rule")
    assert [nvfp4[part] for part in parts] == ["4.5", "e2m1", "e4m3fn", "16", "ratio with a tensor scale"]
    assert [bfp4[part] for part in parts] == ["4.5", "s4.2 symmetric", "e8m0", "16", "floor"]
    for line in lines.values():
        assert line["source"] and all(line[column] for column in ("element", "scale", "block", "rule")) is (
            line["family"] == "block"
        )
        assert all(line[column] for column in ("max", "smallest")) is (line["family"] != "block")


def test_formats_lists_every_p3109_format_that_fits():
    names = [line["name"] for line in csv_lines("formats", "--all")]
    assert sorted(set(names)) == sorted(names)
    p3109 = [name for name in names if re.fullmatch(r"binary\d+p\d+[su][ef]", name)]
    assert [name for name in names if name not in p3109] == [*catalog.FORMATS, *catalog.BLOCK_FORMATS]
    # 11 exponent bits with the bias 1024 reach from 2**-1023 to 2**1023.
    assert set(p3109) == {
        f"binary{bits}p{precision}{sign}{domain}"
        for bits in range(3, 17)
        for sign, domain in ("se", "sf", "ue", "uf")
        for precision in range(1, bits + (sign == "u"))
        if bits - precision + (sign == "u") <= 11
    }
    for name in p3109:
        assert parse_format(name).name == name


def test_formats_end_with_the_names_that_spell_others():
    for form in ("text", "markdown"):
        text = run("formats", "--form", form).stdout
        assert "mxfp4_e2m1" in text
        assert all(pattern in text.splitlines()[-1] for pattern in PATTERNS)
    spelled = "e5m10 e4m3b11 s8 u8.3 int12 uint5 s16.8 posit12 log4.2 ulog4.2b3 bfp6_16 lba_m3e2_b1 lba_m3e2_b1_paper"
    assert all(parse_format(name) for name in [*spelled.split(), "binary7p3ue"])


FLOATS = ["e4m3fn", "e5m2", "binary8p4se", "lba_m4e3_b3", "e2m1"]
NAMES = [*FLOATS, "int4", "s8.3", "u8.8", "s4.-2", "s4.6", "posit2", "posit9", "log3.2b4", "ulog4.0"]


@pytest.mark.parametrize("name", NAMES)
def test_table_has_every_code_with_its_value_and_fields(name):
    fmt = parse_format(name)
    lines = csv_lines("table", name)
    assert [int(line["code"], 16) for line in lines] == list(fmt.codepoints())
    for line in lines:
        code = int(line["code"], 16)
        assert int(line["fields"].replace(" ", ""), 2) == code
        value = fmt.decode(code)
        assert line["value"] == repr(value)
        assert line["value (hex)"] == value.hex()


def test_ulp_is_the_grid_step_of_the_binade_on_both_sides():
    lines = {line["value"]: line["ulp"] for line in csv_lines("table", "e2m1")}
    assert lines == {
        "0.0": "0.5", "0.5": "0.5", "1.0": "0.5", "1.5": "0.5", "2.0": "1.0", "3.0": "1.0", "4.0": "2.0", "6.0": "2.0",
        "-0.0": "0.5", "-0.5": "0.5", "-1.0": "0.5", "-1.5": "0.5", "-2.0": "1.0", "-3.0": "1.0", "-4.0": "2.0",
        "-6.0": "2.0",
    }  # fmt: skip


MORE = ["binary16", "e8m0", "e3m0", "binary8p1uf", "dlfloat16", "int8", "mxint8_element", "posit3", "posit8", "posit16"]


@pytest.mark.parametrize("name", one_in(2, [*NAMES, *MORE, "log5.3b10", "log1.0"]))
def test_ulp_is_the_distance_to_the_next_value_away_from_zero(name):
    fmt = parse_format(name)
    lines = value_lines(fmt)
    grid = sorted({abs(line.value) for line in lines if np.isfinite(line.value)})
    steps = np.diff(grid).tolist()
    gaps = dict(zip(grid, [*steps, steps[-1]], strict=True))
    if isinstance(fmt, FloatFormat):  # the grid goes on; zero has the step of the lowest binade, that holds no zero
        gaps[grid[-1]] = 2.0 ** (fmt.emax - fmt.mantissa_bits)
        if fmt.has_zero:
            gaps[0.0] = 2.0 ** (fmt.emin - fmt.mantissa_bits)
    for line in lines:
        assert line.ulp == gaps[abs(line.value)] > 0 if np.isfinite(line.value) else np.isnan(line.ulp)


@pytest.mark.parametrize("name", ["int8", "s8.3", "posit8", "log4.3b5", "e4m3fn"])
def test_ulp_does_not_depend_on_the_slice(name):
    fmt = parse_format(name)
    whole = value_lines(fmt)
    for width in (1, 2, 5):
        for start in range(0, 1 << fmt.bits, width):
            stop = min(start + width, 1 << fmt.bits)
            # repr: NaN is itself
            assert repr(value_lines(fmt, start, stop)) == repr(whole[start:stop])


def test_ulp_by_hand():
    def ulps(name, codes):
        return [line["ulp"] for line in csv_lines("table", name, "--codes", codes)]

    assert ulps("int8", "0x7f:0x81") == ["1.0", "1.0"]
    assert ulps("mxint8_element", "0x7f:0x82") == ["0.015625"] * 3
    # posit8: 2**18, 2**20, 2**24, NaR, and their negatives; the largest looks toward zero
    wanted = [str(float(2**20 - 2**18)), str(float(2**24 - 2**20)), str(float(2**24 - 2**20))]
    assert ulps("posit8", "0x7d:0x84") == [*wanted, "", *wanted[::-1]]
    # u3.-2: 0, 4, ..., 28; log2.0: 0, 2, 4, 8 and the negatives, the first of which is zero
    assert ulps("u3.-2", ":") == ["4.0"] * 8
    assert ulps("log2.0", ":") == ["2.0", "2.0", "4.0", "4.0"] * 2


@pytest.mark.parametrize(
    ("name", "code", "fields"),
    [
        ("posit8", 0x00, "0 0000000"),
        ("posit8", 0x7F, "0 1111111"),
        ("posit8", 0x7E, "0 1111110"),
        ("posit8", 0x01, "0 0000001"),
        ("posit8", 0x06, "0 00001 10"),
        ("posit8", 0x40, "0 10 00 000"),
        ("posit8", 0xBD, "1 01 11 101"),
        ("posit8", 0x80, "1 0000000"),
        ("posit2", 0b11, "1 1"),
        ("posit3", 0b010, "0 10"),
        ("log3.2b4", 0b110110, "1 101 10"),
        ("ulog0.3", 0b101, "101"),
        ("s8.3", 0xA5, "1 0100 101"),
        ("u8.8", 0xA5, "10100101"),
        ("s8.7", 0xA5, "1 0100101"),
        ("int8", 0xA5, "1 0100101"),
        ("uint8", 0xA5, "10100101"),
        ("s4.6", 0b1010, "1 010"),
        ("s4.-2", 0b1010, "1 010"),
    ],
)
def test_fields_by_hand(name, code, fields):
    assert value_lines(parse_format(name), code, code + 1)[0].fields == fields


def test_a_range_of_codes_of_a_wide_format_as_markdown():
    text = run("table", "binary32", "--codes", "0x3f800000:0x3f800002", "--form", "markdown").stdout
    assert text.splitlines()[2] == (
        "| 0x3f800000 | 0 01111111 00000000000000000000000 | 1.0 | 0x1.0000000000000p+0 | 1.1920928955078125e-07 |"
    )
    assert len(text.splitlines()) == 4


@pytest.mark.parametrize(
    ("codes", "first", "last"),
    [(":3", 0, 2), ("3:", 3, 15), (":", 0, 15), ("0x4:0b110", 4, 5), (" 4 : ", 4, 15)],
)
def test_ranges_are_written_like_slices(codes, first, last):
    shown = [int(line["code"], 16) for line in csv_lines("table", "e2m1", "--codes", codes)]
    assert shown == list(range(first, last + 1))


def test_the_end_of_a_wide_format_needs_no_stop():
    assert len(csv_lines("table", "binary64", "--codes", f"{2**64 - 2}:")) == 2


def test_text_form_cuts_nothing_off_in_a_pipe():
    assert "IEEE 754-2019, 3.6" in run("formats").stdout


def test_long_tables_are_plain_aligned_lines():
    text = run("table", "binary16").stdout.splitlines()
    assert len(text) == 2 + (1 << 16)
    assert text[0].split() == ["code", "fields", "value", "value", "(hex)", "ulp"]
    starts = [match.start() for match in re.finditer(r"(?<=  )\S", text[0])]
    for code in (0, 1, 0x3C00, 0x7BFF, 0x8001):
        line, cells = text[2 + code], csv_lines("table", "binary16", "--codes", f"{code}:{code + 1}")[0].values()
        cuts = [0, *starts, None]
        assert [line[i:j].strip() for i, j in pairwise(cuts)] == list(cells)
    blank = [column for column in range(max(map(len, text))) if all(line[column : column + 1] in " " for line in text)]
    assert all(start - 1 in blank for start in starts)


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
        (("table", "s64", "--codes", ":2"), "of which a table shows 53: tabulate a narrower format"),
        (("table", "e4m3fn", "--codes", "3:2"), "codes 3:2 of e4m3fn"),
        (("table", "e4m3fn", "--codes", "1:2:3"), "'1:2:3' is no range of codes"),
        (("table", "binary32", "--codes", "1:"), "2**32 codes"),
        (("table", "mxfp4_e2m1"), "emul table e2m1, emul table e8m0"),
        (("table", "nvfp4"), "emul table e2m1, emul table e4m3fn"),
        (("table", "bfp4_16"), "emul table s4.2, emul table e8m0"),
        (("table", "e4m3fn", "--plot", "/nowhere/x.png"), "cannot be drawn: no folder '/nowhere'; create it or name"),
        (("table", "e4m3fn", "--plot", "/dev/null/x.png"), "no folder '/dev/null'"),
    ],
)
def test_bad_requests_are_one_sentence_with_status_2(arguments, sentence):
    done = run(*arguments)
    assert done.exit_code == 2
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert ".partial" not in done.stderr


@pytest.mark.parametrize("fmt", one_in(3, catalog.BLOCK_FORMATS.values()), ids=str)
def test_the_tables_that_a_refusal_names_are_printed(fmt):
    refusal = run("table", fmt.name).stderr
    for name, part in zip(re.findall(r"emul table ([\w.]+)", refusal), (fmt.element, fmt.scale), strict=True):
        done = run("table", name)
        assert done.exit_code == 0
        values = [line.value for line in value_lines(parse_format(name))]
        np.testing.assert_array_equal(values, part.decode(np.arange(1 << part.bits)))
