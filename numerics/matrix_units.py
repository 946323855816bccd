"""Matrix units by name: <gpu>[.<instruction>].<input>.<output>, each with its source and how sure of it we are.

Confidence: "H", every recorded result of the hardware is reproduced (shared conformance sets, or the same model on data
that its source names); "S", read in a source that claims to be bit-exact, not checked against hardware by us; "L",
background knowledge. A fact that the sources disagree on is said in the unit's `source`.
"""

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

from .catalog import (
    BFLOAT16,
    BINARY16,
    BINARY32,
    BINARY64,
    E2M1,
    E2M3,
    E3M2,
    E4M3,
    E4M3FNUZ,
    E5M2,
    E5M2FNUZ,
    E8M0,
    TF32,
)
from .formats import FloatFormat, NanEncoding
from .formats.spelling import NAMED
from .matrix_unit import MatrixUnit
from .rounding import Rounding


def _inputs() -> dict[str, FloatFormat]:
    """Kinds of operands; a function, because the catalog imports this module in turn."""
    return {
        "f16": BINARY16,
        "bf16": BFLOAT16,
        "bf16_1k": BFLOAT16,
        "tf32": TF32,
        "xf32": TF32,
        "e4m3": E4M3,
        "e5m2": E5M2,
        "e3m2": E3M2,
        "e2m3": E2M3,
        "e2m1": E2M1,
        "e4m3fnuz": E4M3FNUZ,
        "e5m2fnuz": E5M2FNUZ,
        "mxf8_e4m3": E4M3,
        "mxf8_e5m2": E5M2,
        "mxf6_e3m2": E3M2,
        "mxf6_e2m3": E2M3,
        "mxf4_e2m1": E2M1,
        "mxf4": E2M1,
        "nvf4": E2M1,
        "f32": BINARY32,
        "f64": BINARY64,
    }


INPUTS: Mapping[str, FloatFormat] = MappingProxyType(_inputs())
#: What Ada's and Hopper's FP8 paths leave in a 32-bit register: 13 of its 23 fraction bits.
E8M13 = FloatFormat(8, 13, name="e8m13", source="binary32 without its low 10 fraction bits")
#: The scale of NVFP4 as the unit reads it: E4M3 without its sign.
UE4M3 = FloatFormat(
    4, 3, signed=False, infinities=False, nan=NanEncoding.TOP_CODE, name="ue4m3", source="PTX ISA: ue4m3"
)

RECORDED = "north-numerical-computing/MATLAB-tensor-core b12b5a7, model_validation: recorded outputs; "
MMASIM = "MMA-Sim c785138 (arXiv 2511.10909); "
_FLOOR = (
    "exponent floor -126 as MMA-Sim's zero terms have it (the MATLAB models: -132 for F = 24, -133 for F = 25; no"
    " recorded result reaches either)"
)
_PUBLISHED_NOT: Mapping[str, str] = {
    "tpu": "Google has published neither the order nor the internal rounding of the MXU's float32 sums",
    "trainium": "AWS has not published the order or the internal width of the sums of NeuronCore's systolic array",
    "gaudi": "Intel has not published the internal alignment and rounding of Gaudi's matrix engine",
    "ascend": "Huawei has not published the internal alignment and rounding of the Ascend cube unit",
    "dojo": "Tesla's white paper gives the formats, not the internal width and rounding of the sums",
    "mi350": "no source that we have read models CDNA4's matrix cores",
    "mi355": "no source that we have read models CDNA4's matrix cores",
}


class UnitTable(Mapping[str, MatrixUnit]):
    """Immutable mapping from name to MatrixUnit; a KeyError names the nearest names, or why there is none."""

    def __init__(self, make: Callable[[], Mapping[str, MatrixUnit]]) -> None:
        self._make = make

    @cached_property
    def _units(self) -> dict[str, MatrixUnit]:
        """Made when a unit is first asked for: most who import the catalog never do."""
        return dict(self._make())

    def __getitem__(self, name: str) -> MatrixUnit:
        unit = self._units.get(name) if isinstance(name, str) else None
        if unit is None:
            raise KeyError(self._explain(str(name)[:60]))
        return unit

    def _explain(self, name: str) -> str:
        for start, reason in _PUBLISHED_NOT.items():
            if name.lower().startswith(start):
                return f"{name!r}: {reason}; give the parameters that you take it to have: MatrixUnit(...)"
        near = difflib.get_close_matches(name.lower(), self._units, n=5, cutoff=0.4)
        named = (
            f"the nearest names are {', '.join(near)}" if near else "names are <gpu>[.<instruction>].<input>.<output>"
        )
        return f"{name!r} is no matrix unit known here: {named}"

    def __iter__(self) -> Iterator[str]:
        return iter(self._units)

    def __len__(self) -> int:
        return len(self._units)

    def __repr__(self) -> str:
        return f"UnitTable of {len(self)} matrix units: {', '.join(self)}"


def _fused(kind: str, output: str, block: int, bits: int, **fields: Any) -> MatrixUnit:
    """NVIDIA's usual unit: c aligned with the products, cut toward zero; RZ to float32, RNE to binary16."""
    rounding = Rounding.RNE if output == "f16" else Rounding.RTZ
    if output == "f32" and kind in ("bf16", "tf32"):
        fields = {"Emin_floor": -126, **fields, "source": f"{fields['source']}; {_FLOOR}"}
    return MatrixUnit(INPUTS[kind], INPUTS[output], block, bits, rounding=rounding, **fields)


def _narrow_fp8(kind: str, output: str, block: int, **fields: Any) -> MatrixUnit:
    """FP8 with 13 bits behind the point, in the sum and in the float32 result."""
    if output == "f16":
        return MatrixUnit(INPUTS[kind], BINARY16, block, 13, rounding=Rounding.RNE, **fields)
    return MatrixUnit(INPUTS[kind], E8M13, block, 13, c_format=BINARY32, **fields)


def _split_fp8(kind: str, output: str, **fields: Any) -> MatrixUnit:
    """FP8 through the units of binary16: two chained blocks of 16 by bit 1 of k, c added last."""
    rounding = Rounding.RNE if output == "f16" else Rounding.RTZ
    return MatrixUnit(
        INPUTS[kind], INPUTS[output], 32, 25, rounding=rounding, groups="bit1", c_place="separate_add", **fields
    )


def _chain(kind: str, source: str) -> MatrixUnit:
    """One fused multiply-add after another, in the type of the operands."""
    return MatrixUnit(
        INPUTS[kind], INPUTS[kind], 1, tree="sequential", rounding=Rounding.RNE, source=source, confidence="S"
    )


def _nvidia() -> dict[str, MatrixUnit]:
    units: dict[str, MatrixUnit] = {}
    # GPU: (block of binary16, fraction bits, kinds of operands, confidence)
    wide = ("f16", "bf16", "tf32")
    for gpu, block, bits, kinds in (
        ("v100", 4, 23, ("f16",)),
        ("t4", 8, 24, ("f16",)),
        *((gpu, 8, 24, wide) for gpu in ("a100", "a2", "ada", "l40s")),
        *((gpu, 16, 25, wide) for gpu in ("h100", "h200", "b200")),
        *((gpu, 16, 25, wide) for gpu in ("h100.wgmma", "h200.wgmma", "b200.tcgen05")),
    ):
        read = gpu == "t4" or "." in gpu
        confidence, source = ("S", MMASIM) if read else ("H", RECORDED + MMASIM)
        for kind in kinds:
            for output in ("f32", "f16") if kind == "f16" else ("f32",):
                length = block // 2 if kind == "tf32" else block
                said = source + f"L = {length}, F = {bits}"
                if kind == "tf32" and length == 8 and not read:
                    said += "; recorded with K = 4, which does not show that L is 8"
                unit = _fused(kind, output, length, bits, source=said, confidence=confidence)
                units[f"{gpu}.{kind}.{output}"] = unit
    for kind in ("e4m3", "e5m2"):
        for output in ("f32", "f16"):
            for gpu in ("ada", "l40s"):
                said = RECORDED + MMASIM + "L = 16, F = 13, blocks chained in the output's precision"
                units[f"{gpu}.{kind}.{output}"] = _narrow_fp8(kind, output, 16, source=said, confidence="H")
            for gpu in ("h100", "h200"):
                recorded = output == "f32"
                said = (RECORDED if recorded else "") + MMASIM + "L = 32, F = 13"
                said += "; recorded with c = 0, so that where c enters is MMA-Sim's word" if recorded else ""
                unit = _narrow_fp8(kind, output, 32, source=said, confidence="H" if recorded else "S")
                units[f"{gpu}.wgmma.{kind}.{output}"] = unit
            for gpu in ("h100", "h200", "b200"):
                recorded = output == "f16" or gpu == "b200"
                said = (
                    RECORDED + "m16n8k32 as two blocks of 16 by bit 1 of k, c by one more RNE add; in neither MMA-Sim's"
                    " nor the MATLAB model; what fixes it are the binary16 results"
                )
                said += "" if recorded else ", this float32 form is carried over from B200"
                confidence = "H" if recorded else "S"
                units[f"{gpu}.{kind}.{output}"] = _split_fp8(kind, output, source=said, confidence=confidence)
    for kind in ("e4m3", "e5m2", "e3m2", "e2m3", "e2m1"):
        for output in ("f32", "f16"):
            said = MMASIM + "L = 32, F = 25"
            unit = _fused(kind, output, 32, 25, source=said, confidence="S")
            units[f"b200.tcgen05.{kind}.{output}"] = unit
    return units | _scaled() | {f"{gpu}.f64.f64": _chain("f64", MMASIM) for gpu in ("a100", "h100", "h200", "b200")}


def _scaled() -> dict[str, MatrixUnit]:
    """Blackwell's block-scaled units."""
    units = {}
    # Of the instructions of kind mxf8f6f4; mxf4 and nvf4 below are others.
    for kind in ("mxf8_e4m3", "mxf8_e5m2", "mxf6_e3m2", "mxf6_e2m3", "mxf4_e2m1"):
        said = MMASIM + "the exponents of the ue8m0 scales are added to those of the products"
        units[f"b200.tcgen05.{kind}.f32"] = _fused(
            kind, "f32", 32, 25, scale=E8M0, scale_block=32, source=said, confidence="S"
        )
    # The products of two FP4 numbers are multiples of 1/4; 16 of them are summed exactly, times the scales' significands.
    for kind, scale, block in (("mxf4", E8M0, 32), ("nvf4", UE4M3, 16)):
        said = MMASIM + "four exact groups of 16, times the significands of the scales"
        units[f"b200.tcgen05.{kind}.f32"] = _fused(
            kind, "f32", 64, 35, scale=scale, scale_block=block, exact_group=16, source=said, confidence="S"
        )
    return units


def _amd() -> dict[str, MatrixUnit]:
    units = {}
    exact = (
        "MATLAB-tensor-core CDNA1 (exact sum with c, one RNE); MMA-Sim 735c9b7 has the same (E_FDPA), c785138 a tree of"
        " binary32 additions: likelier than that"
    )
    tree = "MMA-Sim c785138: a tree of binary32 RNE additions, then c; MMA-Sim 735c9b7 and MATLAB-tensor-core disagree"
    flushed = "MMA-Sim c785138 and MATLAB-tensor-core CDNA2 agree: products, tree and c + tree flushed, operands to +0"
    for kind, leaves in (("f16", 4), ("bf16", 2)):
        units[f"mi100.{kind}.f32"] = _tree(kind, leaves, tree, "S", ftz=False)
        units[f"mi100.exact.{kind}.f32"] = MatrixUnit(
            INPUTS[kind], BINARY32, leaves, ar="exact", rounding=Rounding.RNE, source=exact, confidence="S"
        )
    for gpu in ("mi210", "mi250"):
        for kind, leaves in (("f16", 4), ("bf16", 2), ("bf16_1k", 4)):
            units[f"{gpu}.{kind}.f32"] = _tree(kind, leaves, flushed, "S", ftz=True)
    late = (
        "MMA-Sim c785138 and MATLAB-tensor-core CDNA3: products cut to 24 bits toward zero, their sum floored to 31 bits,"
        " c to 24; later versions of MMA-Sim floor the sum with c to 31 bits once more, which moves ties only"
    )
    fields: dict[str, Any] = {"rounding": Rounding.RNE, "c_place": "late", "F2": 31, "Fc": 24, "Emin_floor": -126}
    fields |= {"source": late, "confidence": "S"}
    for kind, block in (("f16", 8), ("bf16", 8), ("bf16_1k", 8), ("xf32", 4)):
        units[f"mi300.{kind}.f32"] = MatrixUnit(INPUTS[kind], BINARY32, block, 24, product_limit=128, **fields)
    apart = (
        late
        + "; even and odd k apart, their sums floored together (MMA-Sim 735c9b7: truncated), c dropped below 2**-25"
    )
    for kind in ("e4m3fnuz", "e5m2fnuz"):
        units[f"mi300.{kind}.f32"] = MatrixUnit(
            INPUTS[kind], BINARY32, 16, 24, groups="even_odd", c_reach=25, **fields | {"source": apart}
        )
    for gpu in ("mi100", "mi210", "mi250", "mi300"):
        units[f"{gpu}.f32.f32"] = _chain("f32", MMASIM)
        if gpu != "mi100":
            units[f"{gpu}.f64.f64"] = _chain("f64", MMASIM)
    return units


def _tree(kind: str, leaves: int, source: str, confidence: str, *, ftz: bool) -> MatrixUnit:
    return MatrixUnit(
        INPUTS[kind],
        BINARY32,
        leaves,
        tree="pairwise",
        c_place="late",
        rounding=Rounding.RNE,
        ftz_in="positive" if ftz else "keep",
        ftz_out=ftz,
        source=source,
        confidence=confidence,
    )


def _intel() -> dict[str, MatrixUnit]:
    """AMX: 32 k to an instruction, of which the even and the odd are two chains."""
    said = (
        "Intel SDM, TDPBF16PS: FMA with DAZ = FTZ = 1, RNE, even and odd elements in two temporaries, added, then to c"
    )
    fields: dict[str, Any] = {"tree": "sequential", "c_place": "late", "groups": "even_odd", "rounding": Rounding.RNE}
    fields |= {"ftz_out": True, "confidence": "S"}
    return {
        "amx.bf16.f32": MatrixUnit(BFLOAT16, BINARY32, 32, ftz_in="signed", source=said, **fields),
        "amx.f16.f32": MatrixUnit(
            BINARY16, BINARY32, 32, source=said.replace("TDPBF16PS", "TDPFP16PS (binary16 subnormals count)"), **fields
        ),
    }


def _named(units: Mapping[str, MatrixUnit]) -> dict[str, MatrixUnit]:
    return {name: replace(unit, name=name) for name, unit in units.items()}


MATRIX_UNITS = UnitTable(lambda: _named(_nvidia() | _amd() | _intel()))
NAMED.append((MatrixUnit, "catalog.MATRIX_UNITS[{}]", MATRIX_UNITS.__getitem__))
