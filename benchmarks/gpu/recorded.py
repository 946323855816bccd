"""Recorded vectors, where a folder of them is given: real GPUs' products, and conversions by Berkeley's TestFloat.

The folder is that of the conformance set, or its `data`; its README says what the files hold.
"""

import gzip
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu.equality import Case, DifferentError
from benchmarks.gpu.place import Place
from numerics import FloatFormat, Overflow, Quantizer, Rounding, catalog, matmul
from numerics.device import quantize_on

R = Rounding
MODES = {"rne": R.RNE, "rna": R.RNA, "rz": R.RTZ, "ru": R.RTP, "rd": R.RTN, "rto": R.RTO}
F16, BF16 = FloatFormat(5, 10), FloatFormat(8, 7)
CONVERSIONS = {"f32_to_f16": (np.uint32, F16), "f64_to_f16": (np.uint64, F16), "f32_to_bf16": (np.uint32, BF16)}
INPUTS = {"f16": "binary16", "bf16": "bfloat16", "e4m3": "e4m3fn", "e5m2": "e5m2"}


def cases(place: Place, folder: Path, tiny: bool) -> Iterator[Case]:
    data = folder / "data" if (folder / "data").is_dir() else folder
    found = False
    for path in sorted((data / "testfloat").glob("f*_to_*.gz")):
        operation, mode = path.name.split(".")[:2]
        if operation in CONVERSIONS:
            found = True
            yield f"TestFloat {operation} {mode}", partial(_converted, place, path, operation, mode, tiny)
    for path in sorted((data / "hw_tensorcore").glob("*.npz")):
        found = True
        yield f"recorded {path.stem}", partial(_recorded, path)
    if not found:
        raise FileNotFoundError(f"{folder} has no vectors: give the folder of the conformance set")


def _converted(place: Place, path: Path, operation: str, mode: str, tiny: bool) -> dict[str, Any]:
    unsigned, fmt = CONVERSIONS[operation]
    with gzip.open(path, "rt") as lines:
        rows = np.array(
            [[int(word, 16) for word in line.split()[:2]] for line in lines][: 200 if tiny else None], np.uint64
        )
    x = rows[:, 0].astype(unsigned).view(np.float32 if unsigned == np.uint32 else np.float64)
    out = place.zeros(x.shape, np.uint16)
    quantize_on(Quantizer(fmt, MODES[mode], Overflow.IEEE), place.upload(x), out, queue=place.queue)
    found, wanted = place.download(out), rows[:, 1].astype(np.uint16)
    same = (found == wanted) | (np.isnan(fmt.decode(found)) & np.isnan(fmt.decode(wanted)))
    return _counted(same, x, found, wanted)


def _recorded(path: Path) -> dict[str, Any]:
    """Matrix units: on the CPU until a front puts their kernel on the device; the record says so."""
    gpu, kind = path.stem.lower().replace("fp16", "f16").split("_")
    checked = 0
    with np.load(path) as data:
        a, b = (data[x].view(np.float32) if kind == "tf32" else _values(INPUTS[kind], data[x]) for x in "ab")
        c32 = data["c_f32"].view(np.float32)
        for key in ("d_f32", "d_f16"):
            if key not in data:
                continue
            wgmma = gpu in ("h100", "h200") and kind in ("e4m3", "e5m2") and key == "d_f32"  # recorded with c = 0
            unit = catalog.MATRIX_UNITS[f"{gpu}.{'wgmma.' if wgmma else ''}{kind}.{key[2:]}"]
            with np.errstate(over="ignore"):
                c = c32.astype(np.float64) if key == "d_f32" else c32.astype(np.float16).astype(np.float64)
            wanted = data[key].view(np.float32 if key == "d_f32" else np.float16).astype(np.float64)
            options = {} if wgmma else {"c": c[:, None, None]}
            found = matmul(a[:, None, :].astype(float), b[:, :, None].astype(float), unit, **options)[:, 0, 0]
            same = (found == wanted) & (np.signbit(found) == np.signbit(wanted)) | (np.isnan(found) & np.isnan(wanted))
            checked += _counted(same, np.arange(len(a)), found, wanted)["elements"]
    return {"elements": checked, "note": "on the CPU: matrix units have no front on CUDA yet"}


def _values(name: str, codes: np.ndarray) -> np.ndarray:
    from numerics import parse_format

    return parse_format(name).decode(codes)


def _counted(same: np.ndarray, x: np.ndarray, found: np.ndarray, wanted: np.ndarray) -> dict[str, Any]:
    if not same.all():
        first = int(np.argmin(same))
        raise DifferentError(
            f"{int((~same).sum())} of {same.size} differ; the first is {x[first]}: {found[first]} for {wanted[first]}"
        )
    return {"elements": int(same.size)}
