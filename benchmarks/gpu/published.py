"""Published functions: CPU = CUDA bit for bit, errors included, and their speed beside the device's copy."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from benchmarks.gpu.equality import Case, compared, require_same
from benchmarks.gpu.place import Place
from numerics import binary, luq, sparsity
from numerics.device_luq import ap2_on, code_dtype_of, luq_alpha_on, luq_decode_on, luq_on, sign_on
from numerics.device_masks import mvue_on, pack_on, product_on, top_n_on

Array = Any
Pair = tuple[str, Callable[[Array], Array], Callable[[Array, Array], None]]  # name, on the CPU, on the device in out
ELEMENTS = 1 << 27
FROM_X = "LUQ, 5 levels, alpha from x"


def _elementwise(place: Place, tiny: bool) -> Iterator[Pair]:
    """Functions of an array of any length to one of its shape and dtype."""
    queue = place.queue
    keys = {"seed": 2**63 + 5, "stream": 7, "offset": 5}
    for bits in (32,) if tiny else (32, 16, 8):
        yield (
            f"LUQ, alpha given, {bits} random bits",
            lambda x, r=bits: luq.quantize(x, alpha=0.25, random_bits=r, **keys),
            lambda x, y, r=bits: luq_on(x, y, alpha=0.25, random_bits=r, **keys, queue=queue),
        )
    if tiny:
        return
    yield (
        FROM_X,
        lambda x: luq.quantize(x, 5, **keys),
        lambda x, y: luq_on(x, y, 5, **keys, queue=queue),
    )
    yield "sign", binary.sign, lambda x, y: sign_on(x, y, queue=queue)
    yield (
        "stochastic sign",
        lambda x: binary.stochastic_sign(x, **keys),
        lambda x, y: sign_on(x, y, stochastic=True, **keys, queue=queue),
    )
    yield "AP2", binary.ap2, lambda x, y: ap2_on(x, y, queue=queue)


def _masks(place: Place, tiny: bool) -> Iterator[tuple[str, int, np.dtype[Any], Pair]]:
    """(name, m, dtype, functions of blocks [B, m])."""
    queue, keys = place.queue, {"seed": 3, "stream": 2**40, "offset": 9}
    patterns = [(2, 4, "exact"), (1, 2, "exact"), (2, 4, "approximate"), (2, 4, "sequential"), (3, 8, "exact")]
    for n, m, method in patterns[: 1 if tiny else None]:
        for dtype in (np.float32,) if tiny else (np.float32, np.float64):
            name = f"{n}:{m} {method}, {np.dtype(dtype).name}"
            drawn: Pair = (
                name,
                lambda x, n=n, m=m, how=method: sparsity.mvue(x, n, m, method=how, **keys),
                lambda x, y, n=n, m=m, how=method: mvue_on(x, y, n, m, method=how, **keys, queue=queue),
            )
            yield name, m, np.dtype(dtype), drawn
            largest: Pair = (
                f"{n}:{m} largest, {np.dtype(dtype).name}",
                lambda x, n=n, m=m: sparsity.top_n(x, n, m),
                lambda x, y, n=n, m=m: top_n_on(x, y, n, m, queue=queue),
            )
            if method == "exact":
                yield largest[0], m, np.dtype(dtype), largest


def cases(place: Place, seed: int, tiny: bool) -> Iterator[Case]:
    """Equality on moderate numbers, on some of any size, and on a NaN, where both refuse."""
    rng = np.random.default_rng(seed + 2)
    for name, here, there in _elementwise(place, tiny):
        for dtype in (np.float32,) if tiny else (np.float32, np.float64):
            for wrong in (False,) if tiny else (False, True):
                x = rng.normal(size=40 if tiny else int(rng.integers(1, 1 << 18))).astype(dtype)
                x[: x.size // 3] *= dtype(2.0) ** rng.integers(-60, 60, x.size // 3).astype(dtype)
                if wrong:
                    x[x.size // 2] = np.nan
                label = f"{name}, {np.dtype(dtype).name} [{x.size}]{' with a NaN' if wrong else ''}"
                yield label, partial(_same, place, x, here, there)
    for name, m, kind, (_, here, there) in _masks(place, tiny):
        x = rng.normal(size=(10 if tiny else int(rng.integers(1, 1 << 16)), m)).astype(kind)
        x[: len(x) // 3] *= 2.0 ** rng.integers(-40, 40, (len(x) // 3, m)).astype(kind)  # some are left to the host
        x[len(x) // 2] = 0
        yield f"{name} [{len(x)} blocks]", partial(_same, place, x, here, there)
    if tiny:
        return
    for levels in (5, 7, 9):
        yield f"LUQ codes, {levels} levels", partial(_codes, place, levels, seed)
    for k in (1, 63, 64, 65, 130, 5000):
        yield f"XNOR product, K = {k}", partial(_product, place, k, seed)


def _same(place: Place, x: Array, here: Any, there: Any) -> dict[str, Any]:
    def on_device() -> Array:
        out = place.zeros(x.shape, x.dtype.type)
        there(place.upload(x), out)
        return place.download(out)

    return compared(lambda: here(x), on_device)


def _codes(place: Place, levels: int, seed: int) -> dict[str, Any]:
    x = np.random.default_rng(seed).normal(size=100_003).astype(np.float32)
    there = place.upload(x)
    alpha = luq_alpha_on(there, levels, queue=place.queue)
    codes = place.zeros(x.shape, code_dtype_of(levels).type)
    luq_on(there, codes, levels, alpha=alpha, seed=seed, random_bits=8, queue=place.queue)
    wanted = luq.encode(x, levels, seed=seed, random_bits=8)
    require_same(place.download(codes), wanted)
    values = place.zeros(x.shape, np.float32)
    luq_decode_on(codes, alpha, levels, values, queue=place.queue)
    require_same(place.download(values), luq.decode(wanted, luq.alpha(x, levels), levels, dtype=np.float32))
    return {"elements": 2 * x.size}


def _product(place: Place, k: int, seed: int, rows: int = 300) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    a, b = (rng.choice(np.float32([-1, 1]), (rows, k)) for _ in range(2))
    packed = [place.zeros((rows, -(-k // 64)), np.int64) for _ in range(2)]
    for x, words in zip((a, b), packed, strict=True):
        pack_on(place.upload(x), words, queue=place.queue)
    out = place.zeros((rows, rows), np.int32)
    product_on(*packed, k, out, queue=place.queue)
    require_same(place.download(out), binary.xnor_matmul(a, b.T))
    return {"elements": out.shape[0] * out.shape[1]}


def speed(place: Place, copy_rate: Callable[[], float], tiny: bool) -> Iterator[Case]:
    """Bytes read and written a second, in parts of the copy's."""
    for name, here, there in _elementwise(place, tiny):
        yield name, partial(_rate, place, copy_rate, 1, here, there, tiny, name == FROM_X)
    for name, m, kind, (_, here, there) in _masks(place, tiny):
        if kind == np.float32:
            yield name, partial(_rate, place, copy_rate, m, here, there, tiny)
    if not tiny:
        yield "XNOR product of 8192 x 8192", partial(_xnor_rate, place)


def _rate(
    place: Place, copy_rate: Any, m: int, here: Any, there: Any, tiny: bool, from_all: bool = False
) -> dict[str, Any]:
    count = 64 if tiny else ELEMENTS
    x = np.resize(np.random.default_rng(1).normal(size=min(count, 1 << 20)).astype(np.float32), count)
    x = x if m == 1 else x[: count // m * m].reshape(-1, m)
    source, out = place.upload(x), place.zeros(x.shape, np.float32)
    there(source, out)
    few = x if from_all else x[: (1 << 16) // m]
    require_same(place.download(out[: len(few)]), here(few))
    rate = 8 * x.size / place.seconds(lambda: there(source, out))
    return {"figure": rate / 1e9, "unit": "GB/s", "part of copy": rate / copy_rate(), "target": None}


def _xnor_rate(place: Place, side: int = 8192) -> dict[str, Any]:
    rng = np.random.default_rng(2)
    words = [place.upload(rng.integers(-(2**63), 2**63 - 1, (side, side // 64))) for _ in range(2)]
    out = place.zeros((side, side), np.int32)
    seconds = place.seconds(lambda: product_on(*words, side, out, queue=place.queue))
    return {"figure": side**3 / seconds / 1e12, "unit": "TMAC/s", "note": "operands packed before"}
