"""Rounding and encoding by the CUDA kernels, run in the simulator: the oracle's bits, for which nothing is compiled."""

import numpy as np
import pytest

from numerics import (
    FixedFormat,
    LogFormat,
    Overflow,
    PositFormat,
    Quantizer,
    Rounding,
    catalog,
    random_words,
    reference,
)
from numerics.formats import code_dtype
from numerics.kernels import elementwise as cpu
from numerics.kernels import modes
from numerics.kernels.cuda import elementwise
from numerics.kernels.cuda._jit import SIMULATED
from numerics.loops import elementwise_choice
from numerics.parameters import carrier_of
from tests.numerics.grids import DETERMINISTIC, KINDS, STOCHASTIC

assert SIMULATED
BLOCKS = 2
FEW = 2 * BLOCKS * elementwise.THREADS * elementwise.EACH + 37  # whole groups of four in both blocks, and a rest
DRAWN = {8: cpu.DRAWN_1, 12: cpu.DRAWN_2, 32: cpu.DRAWN_4}  # by random bits
NO_WORDS = np.zeros(0, np.uint32)
SATURATE, WRAP, ERROR = Overflow.SATURATE, Overflow.WRAP, Overflow.ERROR
E4M3, FIXED, POSIT, LOG = catalog.E4M3, FixedFormat(8, 4), PositFormat(8), LogFormat(4, 3)


def values(dtype=np.float32, count=FEW):
    """Of every size, the ends of E4M3 and of the carrier, zeros of both signs; all finite."""
    rng = np.random.default_rng(1)
    x = (rng.normal(size=count) * 2.0 ** rng.integers(-12, 11, count)).astype(dtype)
    tiny = np.finfo(dtype).smallest_subnormal
    edges = [0.0, -0.0, tiny, -tiny, 2e-38, 448.0, 464.0, -465.0, 3e38, -3e38, 0.5, 1.5, 2.5, 0.001953125, -0.0009]
    x[: len(edges)] = edges
    bits = rng.integers(0, 1 << 32, 100, dtype=np.uint64).astype(np.uint32)
    patterns = np.concatenate([bits[:50], bits[50:] >> np.uint32(9)]).view(np.float32).astype(dtype)  # and subnormals
    x[len(edges) : len(edges) + patterns.size] = np.where(np.isfinite(patterns), patterns, 1)
    return x


def launch(q, x, encodes, *, words=None, drawn=None):
    """(result, flags that are errors) of the kernel for this call, of two blocks."""
    choice = elementwise_choice(q.fmt, q.rounding, q.overflow, q.random_bits, carrier_of(x.dtype), encodes)
    out = np.zeros(x.shape, code_dtype(q.fmt.bits) if encodes else x.dtype)
    flags = np.zeros(1, np.uint32)
    how = BLOCKS, elementwise.THREADS
    arguments = x, out, out.dtype.type(0), (choice.row,)
    if drawn is None:
        source = cpu.DETERMINISTIC if words is None else cpu.GIVEN
        kernel = elementwise.make_quantize(choice.mode, choice.normalise, source, choice.errors)
        kernel[how](*arguments, NO_WORDS if words is None else words, flags)
    else:
        kernel = elementwise.make_stochastic(choice.mode, choice.normalise, DRAWN[q.random_bits], choice.errors)
        kernel[how](*arguments, *(np.uint64(drawn[name]) for name in ("seed", "stream", "offset")), flags)
    return out, int(flags[0]) & choice.errors


def assert_same(found, wanted):
    assert found.dtype == wanted.dtype
    different = np.flatnonzero(found.view(np.uint8) != wanted.view(np.uint8)) // found.itemsize
    assert different.size == 0, (different[:5], found[different[:5]], wanted[different[:5]])


def wanted(q, x, encodes, *, words=None, drawn=None):
    """What the kernel has to give, element by element in rationals."""
    words = random_words(x.size, q.random_bits, **drawn) if drawn else words
    if encodes:
        return reference.encode(x, q, words=words).astype(code_dtype(q.fmt.bits))
    return reference.quantize(x, q, words=words)


def check(q, dtype=np.float32, *, encodes=(False, True), count=FEW):
    x = values(dtype, count)
    for codes in encodes:
        found, met = launch(q, x, codes)
        assert_same(found, wanted(q, x, codes))
        assert not met & ~modes.SAW_OVERFLOW  # which is no error where it wraps


# Values and codes take turns.
CASES = [(Quantizer(E4M3, mode, SATURATE), [i % 2 == 1]) for i, mode in enumerate(DETERMINISTIC)] + [
    (Quantizer(E4M3), [True]),
    (Quantizer(FIXED, Rounding.RNE), [False]),
    (Quantizer(FIXED, Rounding.RTP), [True]),
    (Quantizer(FIXED, Rounding.RTN, WRAP), [False]),
    (Quantizer(POSIT, Rounding.RNE), [True]),
    (Quantizer(POSIT, Rounding.RTO), [False]),
    (Quantizer(LOG, Rounding.RTP), [False]),
    (Quantizer(LOG, Rounding.RNL), [True]),
    (Quantizer(KINDS["flush"], Rounding.RNA, SATURATE), [True]),
    (Quantizer(KINDS["full_binade_with_nan"], Rounding.RNA, SATURATE), [False]),
]


@pytest.mark.parametrize(
    ("q", "encodes"),
    CASES,
    ids=lambda value: f"{value.fmt} {value.rounding.name}" if isinstance(value, Quantizer) else None,
)
def test_every_family_and_mode(q, encodes):
    check(q, encodes=encodes)


@pytest.mark.parametrize(
    ("fmt", "codes"),
    [(catalog.BINARY16, False), (FixedFormat(16, 8), True)],
    ids=str,
)
def test_arrays_of_float64(fmt, codes):
    check(Quantizer(fmt, Rounding.RNE, SATURATE), np.float64, encodes=[codes])


@pytest.mark.parametrize("count", [1, elementwise.THREADS, 4 * elementwise.THREADS])
def test_any_number_of_elements(count):
    x = np.linspace(-3, 3, count, dtype=np.float32)
    q = Quantizer(E4M3)
    assert_same(launch(q, x, False)[0], wanted(q, x, False))


@pytest.mark.parametrize(
    ("mode", "bits"),
    list(zip(STOCHASTIC, DRAWN, strict=True)),
    ids=str,
)
def test_given_and_drawn_words(mode, bits):
    q = Quantizer(E4M3, mode, SATURATE, bits)
    x = values()
    words = np.random.default_rng(bits).integers(0, 1 << bits, x.size).astype(np.uint32)
    assert_same(launch(q, x, False, words=words)[0], wanted(q, x, False, words=words))
    for offset in (13, (1 << 64) - 7):  # within a block; and element 2**64 - 1 is followed by element 0
        drawn = {"seed": 7 + (5 << 32), "stream": 3 + (9 << 32), "offset": offset}
        assert_same(launch(q, x, False, drawn=drawn)[0], wanted(q, x, False, drawn=drawn))


@pytest.mark.parametrize("fmt", [FIXED, POSIT], ids=str)
def test_drawn_words_of_the_other_families(fmt):
    q = Quantizer(fmt, Rounding.SR, SATURATE, 12)
    drawn = {"seed": 1, "stream": 0, "offset": 1}
    x = values()
    assert_same(launch(q, x, True, drawn=drawn)[0], wanted(q, x, True, drawn=drawn))


def test_drawn_words_of_float64():
    q = Quantizer(catalog.BINARY16, Rounding.SR, SATURATE, 32)
    drawn = {"seed": 1, "stream": 0, "offset": 3}
    x = values(np.float64)
    assert_same(launch(q, x, False, drawn=drawn)[0], wanted(q, x, False, drawn=drawn))


def test_errors_are_seen_wherever_they_are():
    q = Quantizer(FIXED, Rounding.RNE, ERROR)
    sr = Quantizer(FIXED, Rounding.SR, ERROR, 8)
    drawn = {"seed": 0, "stream": 0, "offset": 5}
    fine = np.full(FEW, 0.5, np.float32)
    assert launch(q, fine, False)[1] == launch(sr, fine, False, drawn=drawn)[1] == 0
    for place in (0, FEW - 1):
        for bad, flag in ((1e9, modes.SAW_OVERFLOW), (np.nan, modes.SAW_NAN)):
            x = fine.copy()
            x[place] = bad
            assert launch(q, x, False)[1] == launch(sr, x, False, drawn=drawn)[1] == flag


def test_decoding_by_a_table():
    codes = np.random.default_rng(0).integers(0, 256, 300).astype(np.uint8)
    table = E4M3.decode(np.arange(256, dtype=np.uint8))
    out = np.zeros(codes.size, table.dtype)
    flags = np.zeros(1, np.uint32)
    elementwise.make_look_up()[2, 32](codes, table, out, flags)
    assert_same(out, Quantizer(E4M3).decode(codes))
    assert not flags[0]
    elementwise.make_look_up()[2, 32](codes, table[:255], out, flags)
    assert flags[0] == (codes == 255).any() == 1
