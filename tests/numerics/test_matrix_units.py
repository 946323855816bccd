"""The table of matrix units: names, sources, what an unknown name is told, and units as text."""

import dataclasses
import json
import pickle

import pytest

from numerics import Accumulator, MatrixUnit, Overflow, Rounding, catalog, spec

UNITS = catalog.MATRIX_UNITS


def names(gpus, *endings):
    return [f"{gpu}.{ending}" for gpu in gpus.split() for ending in endings]


PROMISED = [
    *names("v100 t4", "f16.f32", "f16.f16"),
    *names("a100 a2 ada l40s h100 h200 b200", "f16.f32", "f16.f16", "bf16.f32", "tf32.f32"),
    *names("ada l40s h100 h200 b200", "e4m3.f32", "e5m2.f32", "e4m3.f16", "e5m2.f16"),
    *names("h100.wgmma h200.wgmma", "f16.f32", "bf16.f32", "tf32.f32", "e4m3.f32", "e5m2.f32", "e4m3.f16"),
    *names("b200.tcgen05", "f16.f32", "bf16.f32", "e4m3.f32", "e5m2.f32", "e3m2.f32", "e2m3.f32", "e2m1.f32"),
    *names(
        "b200.tcgen05",
        "mxf8_e4m3.f32",
        "mxf8_e5m2.f32",
        "mxf6_e3m2.f32",
        "mxf6_e2m3.f32",
        "mxf4_e2m1.f32",
        "mxf4.f32",
        "nvf4.f32",
    ),
    *names("mi100 mi100.exact mi210 mi250 mi300", "f16.f32", "bf16.f32"),
    *names("mi210 mi250 mi300", "bf16_1k.f32"),
    *names("mi300", "xf32.f32", "e4m3fnuz.f32", "e5m2fnuz.f32"),
    "a100.f64.f64",
    "amx.bf16.f32",
]


def test_the_promised_names():
    assert set(PROMISED) <= set(UNITS)
    assert len(UNITS) == len(list(UNITS)) >= len(PROMISED)


@pytest.mark.parametrize("name", UNITS)
def test_every_unit_says_where_it_is_from(name):
    unit = UNITS[name]
    assert unit.name == name == str(unit) and unit.source and unit.confidence in ("H", "S", "L")
    assert UNITS.get(name) is unit
    recorded = {"v100", "a100", "a2", "ada", "l40s", "h100", "h200", "b200"}
    assert unit.confidence == "S" or (name.split(".")[0] in recorded and "recorded" in unit.source)


@pytest.mark.parametrize("name", UNITS)
def test_units_as_text(name):
    unit = UNITS[name]
    text = spec.dumps(unit)
    back = spec.loads(text)
    assert back == unit and type(back) is MatrixUnit and spec.dumps(back) == text
    assert (back.name, back.source, back.confidence) == (unit.name, unit.source, unit.confidence)
    assert json.loads(text)["kind"] == "MatrixUnit"
    assert pickle.loads(pickle.dumps(unit)) == unit


def test_chunks_as_text():
    outer = Accumulator(catalog.BINARY32, Rounding.RNE, Overflow.IEEE)
    unit = dataclasses.replace(UNITS["h100.wgmma.e4m3.f32"], chunk=128, outer=outer)
    assert spec.loads(spec.dumps(unit)) == unit != UNITS["h100.wgmma.e4m3.f32"]
    assert unit.without_chunk == UNITS["h100.wgmma.e4m3.f32"]
    assert unit.result == catalog.BINARY32 and unit.without_chunk.result.mantissa_bits == 13


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("h100.fp16.f32", "h100.f16.f32"),
        ("H100.F16.F32", "h100.f16.f32"),
        ("h100.wgmma.e4m3", "h100.wgmma.e4m3.f32"),
        ("zzz", "names are <gpu>"),
        ("tpu_v4.bf16.f32", "has published neither the order nor the internal rounding of the MXU"),
        ("trainium.bf16.f32", "has not published"),
        ("gaudi2.bf16.f32", "has not published"),
        ("mi350.f16.f32", "no source that we have read"),
        (5, "'5' is no matrix unit known here"),
    ],
)
def test_unknown_names_are_told_the_nearest(name, said):
    with pytest.raises(KeyError) as error:
        UNITS[name]
    assert said in str(error.value)
    assert name not in UNITS


def test_the_table_cannot_be_changed():
    with pytest.raises(TypeError):
        UNITS["mine"] = UNITS["a100.f16.f32"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        UNITS["a100.f16.f32"].F = 23
    assert repr(UNITS).startswith(f"UnitTable of {len(UNITS)} matrix units: v100.f16.f32")


def test_equality_looks_at_the_arithmetic():
    assert UNITS["a100.f16.f32"] == UNITS["a2.f16.f32"] == UNITS["ada.f16.f32"] != UNITS["h100.f16.f32"]
    assert hash(UNITS["a100.f16.f32"]) == hash(UNITS["a2.f16.f32"])
