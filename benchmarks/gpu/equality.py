"""CPU = CUDA, bit for bit, errors included: fixed cases for every form of the kernels, and drawn ones."""

from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import partial
from typing import Any

import numpy as np

from benchmarks.gpu.place import Place
from numerics import (
    Accumulator,
    BlockFormat,
    Events,
    FixedFormat,
    FloatFormat,
    LogFormat,
    MatrixUnit,
    NanEncoding,
    Overflow,
    PositFormat,
    Quantizer,
    Rounding,
    ScaleRule,
    Subnormals,
    catalog,
    matmul,
    parse_format,
)
from numerics.device import encode_blocks_on, quantize_on
from numerics.device_decoding import decode_blocks_on, decode_on
from numerics.device_products import matmul_on

R = Rounding
Case = tuple[str, Callable[[], dict[str, Any]]]
DRAWN = 24  # cases of each kind, besides the fixed ones
REFUSALS = (ValueError, OverflowError, TypeError, NotImplementedError)


class DifferentError(AssertionError):
    """The device gave other bits, or another sentence."""


def elementwise(place: Place, seed: int, tiny: bool) -> Iterator[Case]:
    rng = np.random.default_rng(seed)
    fixed = [
        *(Quantizer(catalog.E4M3, mode) for mode in (R.RNE, R.RNA, R.RTZ, R.RTP, R.RTN, R.RTO)),
        *(Quantizer(catalog.E5M2, R.SR, random_bits=bits) for bits in (32, 12, 8)),
        Quantizer(catalog.BINARY16, R.SR_B),
        Quantizer(catalog.BFLOAT16, R.SR_C, random_bits=16),
        Quantizer(catalog.BINARY16, R.RNE, Overflow.IEEE),
        Quantizer(catalog.E4M3, R.RNE, Overflow.ERROR),
        Quantizer(catalog.E2M1),
        Quantizer(FixedFormat(8, 4)),
        Quantizer(FixedFormat(12, 3), R.RTN, Overflow.WRAP),
        Quantizer(FixedFormat(8, 4), R.SR, random_bits=8),
        Quantizer(FloatFormat(4, 3, signed=False)),
        Quantizer(catalog.E8M0),
        Quantizer(PositFormat(16)),
        Quantizer(LogFormat(4, 3)),
        Quantizer(LogFormat(4, 3), R.SR, random_bits=16),
    ]
    quantizers = fixed[:1] if tiny else [*fixed, *(_quantizer(rng) for _ in range(DRAWN))]
    for number, quantizer in enumerate(quantizers):
        for dtype in (np.float32,) if tiny else (np.float32, np.float64):
            for encodes in (False,) if tiny else (False, True):
                size = 40 if tiny else int(rng.integers(1, 1 << 18))
                name = f"{quantizer} {np.dtype(dtype).name} {'codes' if encodes else 'values'} [{size}]"
                yield name, partial(_rounded, place, quantizer, dtype, encodes, size, seed + number)
    if tiny:  # the simulator would compile the rest for minutes
        return
    for number, quantizer in enumerate(_blockwise()):
        shape = tuple(int(n) for n in rng.integers(30, 300, 2))
        yield f"{quantizer} {shape}", partial(_in_blocks, place, quantizer, shape, seed + number)
    wide = catalog.BINARY32, catalog.TF32, FixedFormat(32, 7), FixedFormat(24, signed=False)
    for fmt in (catalog.E4M3, catalog.E2M1, catalog.BINARY16, PositFormat(16), *wide):
        yield f"decode {fmt}", partial(_decoded, place, Quantizer(fmt))


def _blockwise() -> list[Quantizer]:
    """Block formats of every kind: of scales, elements, roundings; along each axis."""
    names = "mxfp8_e4m3", "mxfp8_e5m2", "mxfp6_e2m3", "mxfp6_e3m2", "mxfp4_e2m1", "mxint8", "nvfp4"
    found = [Quantizer(parse_format(name), axis=axis) for name in names for axis in (-1, 0)]
    found += [Quantizer(parse_format(name), R.SR, random_bits=bits) for name in names[3:] for bits in (8, 20)]
    fours = (BlockFormat(catalog.E2M1, catalog.E8M0, 4, rule=rule) for rule in ScaleRule)
    return found + [Quantizer(fmt, R.RTZ) for fmt in fours]


def _in_blocks(place: Place, quantizer: Quantizer, shape: tuple[int, ...], seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    x = drawn_floats(rng, int(np.prod(shape)), np.float32).reshape(shape)
    keys = {"seed": 2**63 + seed, "stream": seed, "offset": 5} if quantizer.stochastic else {}
    codes = quantizer.encode(x, **keys)
    elements, scales = (place.zeros(part.shape, part.dtype.type) for part in (codes.elements, codes.scales))
    there, out = place.upload(x), place.zeros(shape, np.float32)
    tensor = encode_blocks_on(quantizer, there, elements, scales, queue=place.queue, **keys)
    quantize_on(quantizer, there, out, queue=place.queue, **keys)
    require_same(place.download(elements), codes.elements)
    require_same(place.download(scales), codes.scales)
    require_same(place.download(out), quantizer.quantize(x, **keys))
    decode_blocks_on(quantizer, elements, scales, tensor, out, queue=place.queue)
    require_same(place.download(out), quantizer.decode(codes, dtype=np.float32))
    if tensor != codes.tensor_scale:
        raise DifferentError(f"tensor scale {tensor} for {codes.tensor_scale}")
    return {"elements": 3 * x.size}


def _decoded(place: Place, quantizer: Quantizer) -> dict[str, Any]:
    bits = quantizer.fmt.bits
    some = np.random.default_rng(bits).integers(0, 1 << bits, 1 << 20, np.uint32)
    codes = some if bits > 16 else np.arange(1 << bits, dtype=np.uint8 if bits <= 8 else np.uint16)
    out = place.zeros(codes.shape, np.float64)
    decode_on(quantizer, place.upload(codes), out, queue=place.queue)
    require_same(place.download(out), quantizer.decode(codes))
    return {"elements": codes.size}


def products(place: Place, seed: int, tiny: bool) -> Iterator[Case]:
    rng = np.random.default_rng(seed + 1)
    half, narrow = catalog.BINARY16, catalog.lba(7, 4, 10, paper=True)
    to_narrow = Quantizer(catalog.lba(7, 4, 12, paper=True), R.RTZ)
    fixed = [
        (Accumulator(half), catalog.E4M3),
        (Accumulator(half), half),
        (Accumulator(half, R.RTZ), half),
        (Accumulator(half, R.RTP), half),
        (Accumulator(half, R.RTN), half),
        (Accumulator(catalog.BINARY32, R.RNE, Overflow.IEEE), half),
        (Accumulator(FloatFormat(11, 39)), half),
        (Accumulator(narrow, R.RTZ, product=to_narrow, chunk=16), catalog.E4M3),
        (Accumulator(half, chunk=7, outer=Accumulator(catalog.BINARY32)), half),
        (Accumulator(catalog.E5M2, R.SR, random_bits=12), catalog.E4M3),
        (Accumulator(catalog.E5M2, R.SR, random_bits=8, chunk=16), catalog.E4M3),
        (Accumulator(half, product=Quantizer(catalog.E5M2, R.SR, random_bits=8)), catalog.E4M3),
        (Accumulator(half, order="pairwise"), half),
        (Accumulator(half, R.RTN, product=to_narrow, order="pairwise", block=5), catalog.E4M3),
        (Accumulator(catalog.E5M2, R.SR, random_bits=12, order="pairwise"), catalog.E4M3),
        (Accumulator(half, order="kahan"), half),
        (Accumulator(half, order="exact"), catalog.E4M3),
        (Accumulator(catalog.E5M2, R.SR, order="exact", random_bits=12), catalog.E4M3),
        (Accumulator(catalog.E5M2, R.SR, random_bits=12, order="kahan"), catalog.E4M3),
    ]
    grid, to_grid = FixedFormat(12, 4), Quantizer(FixedFormat(10, 6), R.RTZ, Overflow.WRAP)
    fixed += [
        (Accumulator(grid), catalog.E4M3),
        (Accumulator(grid, R.RTZ, Overflow.WRAP, product=to_grid), catalog.E4M3),
        (Accumulator(grid, R.SR, random_bits=8, chunk=16), catalog.E4M3),
        (Accumulator(grid, R.RNE, Overflow.ERROR), catalog.E4M3),
        (Accumulator(FixedFormat(32)), FixedFormat(8)),
        (Accumulator(grid, order="pairwise", product=to_grid), catalog.E4M3),
        (Accumulator(half, order="pairwise", chunk=20, outer=Accumulator(catalog.BINARY32, order="kahan")), half),
    ]
    units = "v100.f16.f32", "a100.f16.f16", "a100.tf32.f32", "h100.f16.f32", "h100.e4m3.f32", "h100.wgmma.e5m2.f32"
    units += "mi100.f16.f32", "mi210.bf16_1k.f32", "mi300.f32.f32", "mi300.f64.f64", "amx.bf16.f32"
    found = [catalog.MATRIX_UNITS[name] for name in units]
    fixed += [(unit, unit.inputs[0]) for unit in found if unit.inputs[0] == unit.inputs[1]]
    cases = fixed[:1] if tiny else [*fixed, *(_accumulator(rng) for _ in range(DRAWN))]
    for number, (accumulator, operands) in enumerate(cases):
        most = (3, 3, 9, 5) if tiny else (4, 150, 300, 150)
        batch, rows, depth, columns = (int(rng.integers(1, n + 1)) for n in most)
        shape = batch, rows, 16 * -(-depth // 16) if number % 2 and not tiny else depth, columns
        name = f"{accumulator} of {operands} [{shape[0]} x {shape[1]} x {shape[2]} x {shape[3]}]"
        yield name, partial(_multiplied, place, accumulator, operands, shape, seed + number)
        if isinstance(accumulator, Accumulator) and isinstance(accumulator.format, FloatFormat) and not tiny:
            yield f"events of {name}", partial(_counted, place, accumulator, operands, shape, seed + number)


def _one_of(rng: np.random.Generator, members: list[Any]) -> Any:
    return members[int(rng.integers(len(members)))]  # rng.choice would make numbers of them


def _format(rng: np.random.Generator) -> FloatFormat:
    while True:
        try:
            return FloatFormat(
                int(rng.integers(2, 9)),
                int(rng.integers(0, 13)),
                subnormals=_one_of(rng, [Subnormals.GRADUAL, Subnormals.FLUSH, Subnormals.NORMAL_BINADE]),
                infinities=bool(rng.integers(2)),
                nan=_one_of(rng, list(NanEncoding)),
            )
        except ValueError:
            continue


def _quantizer(rng: np.random.Generator) -> Quantizer:
    while True:
        mode = _one_of(rng, [mode for mode in Rounding if mode is not R.RNL])
        bits = int(rng.integers(1, 33)) if mode.stochastic else None
        try:
            return Quantizer(_format(rng), mode, _one_of(rng, list(Overflow)), bits)
        except ValueError:
            continue


def _accumulator(rng: np.random.Generator) -> tuple[Accumulator, FloatFormat]:
    while True:
        quantizer = _quantizer(rng)
        product = _quantizer(rng) if rng.integers(3) == 0 else None
        chunk = int(rng.integers(1, 40)) if rng.integers(2) else None
        rule = quantizer.rounding, quantizer.overflow
        try:
            return Accumulator(
                quantizer.fmt, *rule, product=product, chunk=chunk, random_bits=quantizer.random_bits
            ), _one_of(rng, [catalog.E4M3, catalog.E5M2, catalog.BINARY16])
        except ValueError:
            continue


def drawn_floats(rng: np.random.Generator, size: int, dtype: type) -> np.ndarray:
    """Half of them of moderate size, half any bit pattern: subnormals, infinities and NaN among them."""
    unsigned = np.uint32 if dtype == np.float32 else np.uint64
    moderate = (rng.normal(size=size) * 2.0 ** rng.integers(-20, 20, size)).astype(dtype)
    patterns = rng.integers(0, np.iinfo(unsigned).max, size, unsigned, endpoint=True).view(dtype)
    return np.where(rng.integers(0, 2, size) == 0, moderate, patterns)


def _rounded(place: Place, quantizer: Quantizer, dtype: type, encodes: bool, size: int, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    x = drawn_floats(rng, size, dtype)
    if not quantizer.fmt.has_nan or quantizer.overflow in (Overflow.ERROR, Overflow.WRAP):
        x = np.where(np.isfinite(x), x, dtype(1))  # else most cases would be errors
    if quantizer.overflow is Overflow.ERROR:
        x = np.clip(x, -quantizer.fmt.max, quantizer.fmt.max).astype(dtype)
    keys = {"seed": 2**63 + seed, "stream": seed, "offset": 5} if quantizer.stochastic else {}

    def here() -> np.ndarray:
        return (quantizer.encode if encodes else quantizer.quantize)(x, **keys)

    def there() -> np.ndarray:
        kind = quantizer.encode(x[:0], **keys).dtype.type if encodes else dtype
        out = place.zeros(x.shape, kind)
        quantize_on(quantizer, place.upload(x), out, queue=place.queue, **keys)
        return place.download(out)

    return compared(here, there)


def _operands(operands: Any, shape: tuple[int, ...], seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    batch, rows, depth, columns = shape
    to_operands = Quantizer(operands)
    a = to_operands.quantize(rng.normal(size=(batch, rows, depth)).astype(np.float32))
    return a, to_operands.quantize(rng.normal(size=(depth, columns)).astype(np.float32))


def _counted(
    place: Place, accumulator: Accumulator, operands: Any, shape: tuple[int, ...], seed: int
) -> dict[str, Any]:
    """The counts of the eight events; the result goes with `_multiplied`."""
    a, b = _operands(operands, shape, seed)
    keys = {"seed": 2**63 + seed, "stream": seed} if accumulator.stochastic else {}
    names = [field.name for field in fields(Events)]

    def here() -> np.ndarray:
        _, events = matmul(a, b, accumulator, events=True, **keys)
        return np.stack([getattr(events, name).astype(np.int32) for name in names])

    def there() -> np.ndarray:
        given = place.upload(a), place.upload(b)
        _, events = matmul_on(*given, accumulator, events=True, queue=place.queue, **keys)
        return np.stack([place.download(getattr(events, name)) for name in names])

    return compared(here, there)


def _multiplied(
    place: Place, accumulator: Accumulator | MatrixUnit, operands: Any, shape: tuple[int, ...], seed: int
) -> dict[str, Any]:
    a, b = _operands(operands, shape, seed)
    stochastic = isinstance(accumulator, Accumulator) and accumulator.stochastic
    keys = {"seed": 2**63 + seed, "stream": seed} if stochastic else {}
    return compared(
        lambda: matmul(a, b, accumulator, **keys),
        lambda: place.download(matmul_on(place.upload(a), place.upload(b), accumulator, queue=place.queue, **keys)),
    )


def _outcome(call: Callable[[], np.ndarray]) -> np.ndarray | str:
    try:
        return call()
    except REFUSALS as error:
        return f"{type(error).__name__}: {error}"


def compared(here: Callable[[], np.ndarray], there: Callable[[], np.ndarray]) -> dict[str, Any]:
    """What a case says where both give the same bits, or the same sentence. Errors: DifferentError."""
    wanted, found = _outcome(here), _outcome(there)
    if isinstance(found, str) and found.startswith("NotImplementedError"):
        return {"skipped": found}
    if isinstance(wanted, str) or isinstance(found, str):
        if isinstance(wanted, str) and isinstance(found, str) and wanted == found:
            return {"note": f"both refuse: {wanted}"}
        shown = [x if isinstance(x, str) else f"{x.size} results" for x in (wanted, found)]
        raise DifferentError(f"CPU: {shown[0]}; CUDA: {shown[1]}")
    require_same(found, wanted)
    return {"elements": int(wanted.size)}


def require_same(found: np.ndarray, wanted: np.ndarray) -> None:
    """DifferentError, with the first element, unless the arrays are the same byte for byte."""
    if found.dtype != wanted.dtype or found.shape != wanted.shape:
        raise DifferentError(f"{found.dtype} {found.shape} for {wanted.dtype} {wanted.shape}")
    kind = f"u{wanted.itemsize}"
    left, right = (np.ascontiguousarray(x).reshape(-1).view(kind) for x in (found, wanted))
    if (bad := left != right).any():
        first = int(np.argmax(bad))
        raise DifferentError(
            f"{int(bad.sum())} of {bad.size} differ; the first is element {first}: CUDA {found.reshape(-1)[first]}"
            f" ({int(left[first]):#x}), CPU {wanted.reshape(-1)[first]} ({int(right[first]):#x})"
        )
