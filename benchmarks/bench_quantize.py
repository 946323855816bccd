"""Elementwise rounding, encoding and decoding, as ratios to a compiled copy loop over the same bytes, in one run.

One thread, 2**24 elements. np.copyto is printed beside it: it uses non-temporal stores. Each case first proves its bits
on a probe against the oracle (peers: against us, on values where the conventions agree).
"""

from typing import NamedTuple

import numba
import numpy as np
import pytest

from benchmarks import peers
from benchmarks.timing import best, gain_of_two, ratio
from numerics import Overflow, Quantizer, Rounding, catalog, parse_format, random_words, reference, set_num_threads
from numerics.kernels import threads

COUNT = 1 << 24
COPY_COST = 0.4  # nanoseconds of an element
PEER_COUNT = 1 << 20  # some peers take a microsecond an element


class Case(NamedTuple):
    """What is measured; target: a ratio to the copy loop, None where the figure is only stated."""

    format: str
    rounding: Rounding
    target: float | None
    random_bits: int | None = None
    verb: str = "quantize"
    dtype: type = np.float32


R = Rounding
CASES = {
    "e4m3fn RNE": Case("e4m3fn", R.RNE, 1.1),
    "bfloat16 RNE": Case("bfloat16", R.RNE, 1.1),
    "binary16 RNE": Case("binary16", R.RNE, 1.1),
    **{f"e5m2 {mode.name}": Case("e5m2", mode, 1.1) for mode in (R.RNE, R.RNA, R.RTZ, R.RTP, R.RTN, R.RTO)},
    "e5m2 SR, 32 bits": Case("e5m2", R.SR, 1.7, 32),
    "e5m2 SR, 16 bits": Case("e5m2", R.SR, 1.5, 16),
    "e5m2 SR, 8 bits": Case("e5m2", R.SR, 1.5, 8),
    "bfloat16 SR, 16 bits": Case("bfloat16", R.SR, 1.5, 16),
    "e5m2 SR_C, 16 bits": Case("e5m2", R.SR_C, None, 16),
    "e4m3fn encode": Case("e4m3fn", R.RNE, 0.65, verb="encode"),
    "e5m2 encode": Case("e5m2", R.RNE, 0.65, verb="encode"),
    "e4m3fn decode": Case("e4m3fn", R.RNE, 1.0, verb="decode"),
    "e4m3fn RNE float64": Case("e4m3fn", R.RNE, 1.1, dtype=np.float64),
    "e5m2 RTP float64": Case("e5m2", R.RTP, 1.1, dtype=np.float64),
    "s16.8 RNE": Case("s16.8", R.RNE, None),
    "int8 RNE encode": Case("int8", R.RNE, None, verb="encode"),
    "mxfp8_e4m3 RNE": Case("mxfp8_e4m3", R.RNE, 1.8),
    "mxfp6_e2m3 RNE": Case("mxfp6_e2m3", R.RNE, 1.8),
    "mxfp4_e2m1 RNE": Case("mxfp4_e2m1", R.RNE, 1.8),
    "mxint8 RNE": Case("mxint8", R.RNE, 1.8),
    "nvfp4 RNE": Case("nvfp4", R.RNE, 2.3),
    "posit16 RNE": Case("posit16", R.RNE, None),
    "posit16 encode": Case("posit16", R.RNE, None, verb="encode"),
    "log5.3 RNE": Case("log5.3", R.RNE, None),
    "log5.3 SR, 16 bits": Case("log5.3", R.SR, None, 16),
}


@numba.njit(nogil=True)
def copy_loop(x, out):
    for i in range(x.size):
        out[i] = x[i]


def copy_in_parts(x, out):
    threads.run(lambda start, stop: copy_loop(x[start:stop], out[start:stop]), x.size, COPY_COST)


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    set_num_threads(1)


@pytest.fixture(scope="module")
def data():
    values = np.random.default_rng(0).normal(size=COUNT).astype(np.float32)
    return {np.float32: values, np.float64: values.astype(np.float64)}


def _quantizer(name, rounding, random_bits):
    return Quantizer(parse_format(name), rounding, Overflow.SATURATE, random_bits)


def _assert_exact_on_a_probe(q, x):
    probe = np.concatenate([x[:300], np.float32([0, -0.0, 1e30, -1e30]).astype(x.dtype)])
    words = random_words(len(probe), q.random_bits, seed=7) if q.stochastic else None
    want = reference.quantize(probe, q, words=words)
    assert q.quantize(probe, seed=7 if q.stochastic else None).tobytes() == want.tobytes()
    np.testing.assert_array_equal(q.decode(q.encode(probe, words=words), dtype=x.dtype), want)


@pytest.mark.parametrize("case", CASES)
def test_ours(case, data, benchmark):
    name, rounding, target, random_bits, verb, dtype = CASES[case]
    q, x = _quantizer(name, rounding, random_bits), data[dtype]
    _assert_exact_on_a_probe(q, x)
    out = np.empty_like(x)
    keys = {"seed": 1} if q.stochastic else {}
    if verb == "quantize":
        call = lambda: q.quantize(x, out=out, **keys)  # noqa: E731
    else:
        codes = q.encode(x)
        if verb == "encode":
            call = lambda: q.encode(x, out=codes, **keys)  # noqa: E731
        else:
            call = lambda: q.decode(codes, dtype=dtype, out=out)  # noqa: E731
    times_copy, seconds = ratio(call, lambda: copy_loop(x, out), rounds=7)
    copyto = best(lambda: np.copyto(out, x), 3)
    benchmark.pedantic(call, rounds=1)
    figures = {
        "x copy loop": round(times_copy, 2),
        "target": target,
        "ps/element": round(seconds / COUNT * 1e12),
        "x np.copyto": round(seconds / copyto, 2),
    }
    benchmark.extra_info |= figures
    print(f"\n{case}: {figures}")


@pytest.mark.parametrize("peer", peers.installed(), ids=lambda peer: f"{peer.name} {peer.version}")
@pytest.mark.parametrize("name", ["e4m3fn", "e5m2", "bfloat16", "e2m1"])
def test_peer(peer, name, data, benchmark):
    x = np.clip(data[np.float32][:PEER_COUNT], -4, 4)  # inside of every format: conventions for overflow differ
    if peer.quantize(x[:8], name) is None:
        pytest.skip(f"{peer.name} has no {name}")
    q = Quantizer(parse_format(name))
    np.testing.assert_array_equal(peer.quantize(x[:5000], name), q.quantize(x[:5000]))
    out = np.empty_like(x)
    times_ours, seconds = ratio(lambda: peer.quantize(x, name), lambda: q.quantize(x, out=out), rounds=2)
    benchmark.pedantic(lambda: peer.quantize(x[:1024], name), rounds=1)
    figures = {"x ours": round(times_ours, 1), "ps/element": round(seconds / PEER_COUNT * 1e12)}
    benchmark.extra_info |= figures
    print(f"\n{peer.name} {name}: {figures}")


@pytest.mark.parametrize("case", ["e5m2 RNE", "e5m2 SR, 32 bits", "mxfp8_e4m3 RNE"])
def test_two_threads(case, data, benchmark):
    """Same bits; the target is 1.7 times one thread, where memory feeds two: what a copy gains is printed beside it."""
    name, rounding, _, random_bits, _, _ = CASES[case]
    q, x = _quantizer(name, rounding, random_bits), data[np.float32]
    out, keys = np.empty_like(x), {"seed": 1} if q.stochastic else {}
    call = lambda: q.quantize(x, out=out, **keys)  # noqa: E731
    two, copies = gain_of_two(call), gain_of_two(lambda: copy_in_parts(x, out))
    single = call().copy()
    set_num_threads(2)
    try:
        benchmark.pedantic(call, rounds=1)
    finally:
        set_num_threads(1)
    assert out.tobytes() == single.tobytes()
    figures = {"times one thread": round(two, 2), "a copy": round(copies, 2)}
    benchmark.extra_info |= figures
    print(f"\n{case}, two threads: {figures}")


def test_catalog_entry_is_what_the_cases_mean():
    assert parse_format("e4m3fn") is catalog.E4M3
