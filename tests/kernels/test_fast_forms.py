"""The faster forms are the rounder: bit for bit, wherever the plan uses them; the odd sum is the exact sum's."""

from fractions import Fraction
from functools import cache

import numba
import numpy as np
import pytest

from numerics import FloatFormat, Overflow, Quantizer, Rounding, catalog, parse_format, random_words, reference
from numerics.kernels import modes
from numerics.kernels.carrier import quantize_bits, shown, shown_byte, shown_direct, unpack
from numerics.kernels.primitives import to_bits
from numerics.kernels.sums import sum_bits, to_format
from numerics.loops import elementwise_choice
from numerics.parameters import (
    FLOAT32,
    FLOAT64,
    clamped_end,
    direct_code,
    fast_form,
    hasty_form,
    parameter_row,
    plain_end,
    stochastic_form,
)
from numerics.planning import _centred, _form
from tests.numerics import grids
from tests.numerics.grids import DETERMINISTIC

ANY = -10000  # the lowest bit of values that are multiples of nothing in particular
CARRIERS = {"float32": FLOAT32, "float64": FLOAT64}
FORMATS = {
    **grids.SMALL,
    **grids.MIDDLE_CATALOG,
    **grids.AT_THE_ENDS,
    **{f"float64_{name}": fmt for name, fmt in grids.AT_THE_ENDS_64.items()},
    "lba_m7e4_b10_paper": parse_format("lba_m7e4_b10_paper"),
    "lba_m4e3_b5_paper": parse_format("lba_m4e3_b5_paper"),
    "22_bits": FloatFormat(7, 21),
    "22_bits_flushed": FloatFormat(7, 21, subnormals=False),
    "51_bits": FloatFormat(8, 50),
}


@cache
def rounding_loop(mode):
    """out[i] = x[i] rounded in the form `mode`: the faster one where it names one, else the rounder."""

    @numba.njit(error_model="numpy")
    def loop(x, out, row):
        facts = unpack(row)
        for i in range(x.size):
            if mode >= modes.UNIFORM:
                out[i] = to_bits(to_format(x[i], np.uint32(0), mode, 1, facts))
            else:
                out[i] = quantize_bits(x[i], np.uint32(0), mode, 1, facts)

    return loop


def rounded(x, mode, row):
    out = np.empty_like(x)
    rounding_loop(mode)(x, out, row)
    return out


def inputs(fmt, carrier, top):
    """Edges, and drawn values near members, below 2**(top + 1): finite, both signs."""
    dtype = carrier.dtype.type
    rng = np.random.default_rng(fmt.bits)
    low = max(carrier.quantum_exponent, fmt.emin - fmt.mantissa_bits - 4)
    with np.errstate(under="ignore"):
        drawn = np.ldexp(rng.uniform(-2, 2, 2000), rng.integers(low, top + 1, 2000)).astype(dtype)
    codes = rng.integers(fmt.largest_code + 1, size=500)
    members = fmt.decode(codes).astype(dtype)
    step = (fmt.decode(np.minimum(codes + 1, fmt.largest_code)).astype(dtype) - members) / 2
    near = np.concatenate([members, members + step])
    near = np.concatenate([near, -near, np.nextafter(near, dtype(0)), np.nextafter(near, dtype(np.inf))])
    x = np.concatenate([grids.edges(fmt, dtype, 1 << 6), drawn, near])
    limit = float(np.ldexp(1.0, min(top + 1, carrier.emax)))
    return x[np.abs(x) < limit]


def form_of(carrier, fmt, rounding, top, lowest):
    return _form(carrier, Quantizer(fmt, rounding), top, lowest)


@pytest.mark.sampled
@pytest.mark.parametrize("rounding", DETERMINISTIC, ids=lambda mode: mode.name)
@pytest.mark.parametrize("carrier", CARRIERS.values(), ids=CARRIERS)
def test_the_faster_forms_are_the_rounder(carrier, rounding):
    forms = []
    for name, fmt in FORMATS.items():
        if not carrier.holds(fmt):
            continue
        row = parameter_row(fmt, rounding, Overflow.SATURATE, None, carrier)
        # As far up as the form is used: some way beyond the largest value, or to the carrier's end.
        form = form_of(carrier, fmt, rounding, fmt.emax, ANY)
        if not form:
            continue
        farthest = next(top for top in reversed(range(carrier.emax)) if form_of(carrier, fmt, rounding, top, ANY))
        x = inputs(fmt, carrier, farthest).view(carrier.unsigned)
        fast, general = rounded(x, int(rounding) + form, row), rounded(x, int(rounding), row)
        grids.assert_same_bits(fast.view(carrier.dtype), general.view(carrier.dtype), x.view(carrier.dtype))
        forms.append((name, form))
    if rounding is Rounding.RNE:
        assert {form & modes.UNIFORM for _, form in forms} == {0, modes.UNIFORM}
        assert {form & modes.MAGIC for _, form in forms} == {0, modes.MAGIC}
        assert {"e4m3fn", "flush", "normal_binade", "lba_m7e4_b10_paper"} <= dict(forms).keys()


@pytest.mark.parametrize("carrier", CARRIERS.values(), ids=CARRIERS)
def test_no_form_where_its_conditions_fail(carrier):
    for fmt in (
        catalog.E4M3FNUZ,  # no negative zero
        grids.KINDS["unsigned"],
        FloatFormat(5, carrier.precision - 2),  # too many bits for the carrier
    ):
        for rounding in DETERMINISTIC:
            assert form_of(carrier, fmt, rounding, fmt.emax + 1, ANY) == 0
    # The exponent of the value plus DROP has to stay in the carrier.
    e4m3 = catalog.E4M3
    limit = carrier.emax - (carrier.precision - e4m3.precision)
    assert form_of(carrier, e4m3, Rounding.RNE, limit, ANY)
    assert form_of(carrier, e4m3, Rounding.RNE, limit + 1, ANY) == 0


def multiples(fmt, carrier):
    """Sums that are multiples of the format's quantum: of every size, ties between members, both signs, +0 alone."""
    rng = np.random.default_rng(fmt.bits)
    quantum = fmt.emin - fmt.mantissa_bits
    room = min(carrier.precision, fmt.emax + 1 - quantum)
    whole = np.round(np.ldexp(rng.uniform(0.5, 1, 4000), rng.integers(0, room, 4000)))
    members = fmt.decode(rng.integers(fmt.largest_code, size=1000))
    beside = np.nextafter(members, np.inf)
    ties = members + np.ldexp(1.0, np.maximum(np.frexp(members)[1] - 1 - fmt.precision, quantum))
    x = np.concatenate([np.ldexp(whole, quantum), members, ties, beside[beside % 2.0**quantum == 0]])
    x = x.astype(carrier.dtype)
    return np.concatenate([x, -x[x != 0]]).view(carrier.unsigned)


@pytest.mark.sampled
@pytest.mark.parametrize("carrier", CARRIERS.values(), ids=CARRIERS)
@pytest.mark.parametrize("mode", [*DETERMINISTIC, Rounding.SR], ids=lambda mode: mode.name)
def test_multiples_of_the_quantum_are_rounded_alike_everywhere(mode, carrier):
    # In these forms nothing below the normals is rounded, where underflow is gradual.
    tried = 0
    for fmt in FORMATS.values():
        form = form_of(carrier, fmt, mode, fmt.emax, fmt.emin - fmt.mantissa_bits) if carrier.holds(fmt) else 0
        if not form & modes.UNIFORM or fmt.subnormals.name != "GRADUAL":
            continue
        tried += 1
        x = multiples(fmt, carrier)
        row = parameter_row(fmt, mode, Overflow.SATURATE, 32 if mode.stochastic else None, carrier)
        grids.assert_same_bits(rounded(x, mode + form, row), rounded(x, int(mode), row))
        if mode is Rounding.RNE and _centred(carrier, fmt, fmt.emax):
            centred = rounded(x, mode + modes.SIGNED + modes.UNIFORM, row)
            grids.assert_same_bits(centred, rounded(x, int(mode), row))
        if mode is Rounding.RTZ:
            grids.assert_same_bits(rounded(x, mode + form + modes.SIGNED, row), rounded(x, int(mode), row))
    assert tried > 3


@pytest.mark.parametrize("carrier", CARRIERS.values(), ids=CARRIERS)
def test_the_truncated_form(carrier):
    # With UNIFORM of formats whose small values become zero; otherwise of gradual underflow.
    tried = set()
    for fmt in FORMATS.values():
        top = min(carrier.emax - (carrier.precision - fmt.precision), fmt.emax + 1)
        lowest = carrier.emin - carrier.precision + 1
        form = form_of(carrier, fmt, Rounding.RTZ, top, lowest) if carrier.holds(fmt) else 0
        if not form:
            continue
        tried.add((form, fmt.subnormals.name))
        x = inputs(fmt, carrier, top).view(carrier.unsigned)
        row = parameter_row(fmt, Rounding.RTZ, Overflow.SATURATE, None, carrier)
        truncated = rounded(x, modes.RTZ + form + modes.SIGNED, row)
        grids.assert_same_bits(truncated, rounded(x, modes.RTZ, row))
    assert (modes.MAGIC, "GRADUAL") in tried and (modes.UNIFORM, "FLUSH") in tried


@pytest.mark.parametrize("carrier", CARRIERS.values(), ids=CARRIERS)
def test_the_centred_form(carrier):
    tried = 0
    for fmt in FORMATS.values():
        top = carrier.emax - (carrier.precision - fmt.precision)
        if not carrier.holds(fmt) or not _centred(carrier, fmt, top):
            continue
        tried += 1
        x = inputs(fmt, carrier, min(top, fmt.emax + 1)).view(carrier.unsigned)
        row = parameter_row(fmt, Rounding.RNE, Overflow.SATURATE, None, carrier)
        grids.assert_same_bits(rounded(x, modes.RNE + modes.SIGNED, row), rounded(x, modes.RNE, row))
    assert tried > 3


@cache
def sum_loop(mode):
    @numba.njit(error_model="numpy")
    def loop(x, y, out):
        for i in range(x.size):
            out[i] = sum_bits(x[i], y[i], mode)

    return loop


def addends(dtype, highest):
    """Pairs at every distance: cancelling, one ulp apart, halves, subnormal, absorbed, near the end of the range."""
    limits = np.finfo(dtype)
    rng = np.random.default_rng(limits.bits)
    count = 4000
    ends = rng.integers(limits.minexp - limits.nmant, highest, count)
    distance = rng.integers(-2, limits.nmant + 6, count)
    short = np.round(rng.uniform(1, 2, count) * 8) / 8
    with np.errstate(under="ignore"):
        x = np.ldexp(np.where(rng.random(count) < 0.5, rng.uniform(1, 2, count), short), ends).astype(dtype)
        lower = np.maximum(ends - distance, limits.minexp - limits.nmant - 1)
        y = np.ldexp(np.where(rng.random(count) < 0.5, rng.uniform(1, 2, count), short), lower).astype(dtype)
    x, y = x * rng.choice([-1, 1], count).astype(dtype), y * rng.choice([-1, 1], count).astype(dtype)
    near = np.concatenate([x[:200], x[200:400]])
    partner = np.concatenate([-np.nextafter(x[:200], dtype(0)), -x[200:400]])
    specials = np.array([0.0, -0.0, limits.smallest_subnormal, -limits.tiny, 1.0, -1.0, 2.0**-limits.nmant], dtype)
    left, right = np.meshgrid(specials, specials)
    return np.concatenate([x, near, left.ravel()]), np.concatenate([y, partner, right.ravel()])


@pytest.mark.sampled
@pytest.mark.parametrize("form", [0, modes.UNIFORM], ids=["general", "finite"])
@pytest.mark.parametrize("rounding", [Rounding.RNE, Rounding.RTZ, Rounding.RTN], ids=lambda mode: mode.name)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_odd_sum_is_the_exact_sum_rounded_to_odd(dtype, rounding, form):
    fmt = catalog.BINARY32 if dtype is np.float32 else catalog.BINARY64
    x, y = addends(dtype, fmt.emax - 1)
    bits = np.empty(x.size, np.uint32 if dtype is np.float32 else np.uint64)
    sum_loop(int(rounding) + form)(x, y, bits)
    found = bits.view(dtype)
    # Truncations compose, so that toward zero the odd bit is left out.
    mode = Rounding.RTZ if rounding is Rounding.RTZ else Rounding.RTO
    for a, b, s in zip(x.tolist(), y.tolist(), found.tolist(), strict=True):
        exact = Fraction(a) + Fraction(b)
        signs = [np.signbit(a), np.signbit(b)]
        negative = bool(any(signs) if rounding is Rounding.RTN else all(signs))
        wanted = reference.round_exact(exact, fmt, mode, negative=negative)
        assert (s, np.signbit(s)) == (wanted, np.signbit(wanted)), (a.hex(), b.hex())
    assert (found != x + y).sum() > 500


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sums_that_are_not_finite_pass(dtype):
    top, inf = np.finfo(dtype).max, dtype(np.inf)
    x = np.array([top, -top, inf, -inf, inf, np.nan, 1.0, top], dtype)
    y = np.array([top, -top, 1.0, -1.0, -inf, 1.0, np.nan, np.finfo(dtype).smallest_subnormal], dtype)
    bits = np.empty(x.size, np.uint32 if dtype is np.float32 else np.uint64)
    sum_loop(int(Rounding.RNE))(x, y, bits)
    found = bits.view(dtype)
    assert found[:4].tolist() == [np.inf, -np.inf, np.inf, -np.inf]
    assert np.isnan(found[4:7]).all()
    assert found[7] == top  # the largest value is odd


def test_a_bitcast_is_one():
    @numba.njit
    def cast(x):
        return to_bits(x)

    assert cast(np.float32(-1.5)) == 0xBFC00000
    assert cast(1.0) == 0x3FF0000000000000


@cache
def stochastic_loop(mode):
    @numba.njit(error_model="numpy")
    def loop(x, words, out, row):
        facts = unpack(row)
        for i in range(x.size):
            out[i] = quantize_bits(x[i], words[i], mode, 1, facts)

    return loop


@pytest.mark.sampled
@pytest.mark.parametrize("carrier", CARRIERS.values(), ids=CARRIERS)
@pytest.mark.parametrize("random_bits", [1, 9, 21, 32])
def test_faster_forms_of_stochastic_rounding_are_the_rounder(random_bits, carrier):
    rng = np.random.default_rng(random_bits)
    tried = {modes.SHIFTED: [], modes.LIFTED: []}
    formats = {
        **FORMATS,
        "lowest": FloatFormat(3, 2, 73),
        "beside": FloatFormat(7, 2, 126),
        "powers": catalog.E3M0,
    }
    for name, fmt in formats.items():
        form = stochastic_form(fmt, Rounding.SR, carrier, random_bits) if carrier.holds(fmt) else 0
        if not form:
            continue
        row = parameter_row(fmt, Rounding.SR, Overflow.SATURATE, random_bits, carrier)
        mask = int(row[modes.RANDOM_MASK])
        whole = np.iinfo(carrier.unsigned).max
        below = rng.integers(whole, size=4000, dtype=carrier.unsigned).view(carrier.dtype)  # subnormals too
        specials = np.array([0, -0.0, np.inf, -np.inf, np.nan, np.finfo(carrier.dtype).max], carrier.dtype)
        x = np.concatenate([inputs(fmt, carrier, min(fmt.emax + 3, carrier.emax - 1)), below, specials])
        for words in (rng.integers(1 << 32, size=x.size, dtype=np.uint32), np.uint32(0), np.uint32(0xFFFFFFFF)):
            aligned = np.broadcast_to(words & np.uint32(mask), x.shape).astype(np.uint32)
            found, wanted = np.empty_like(x), np.empty_like(x)
            for out, mode in ((found, int(Rounding.SR) + form), (wanted, int(Rounding.SR))):
                stochastic_loop(mode)(x.view(carrier.unsigned), aligned, out.view(carrier.unsigned), row)
            grids.assert_same_bits(found, wanted, x)
        tried[form].append(name)
    every, few = set(tried[modes.LIFTED] + tried[modes.SHIFTED]), random_bits <= 20 or carrier is FLOAT64
    assert {"e4m3fn", "e5m2", "lowest"} <= every
    assert ("e4m3fn" in tried[modes.LIFTED], "e4m3fn" in tried[modes.SHIFTED]) == (few, not few)
    assert "powers" in tried[modes.LIFTED if random_bits <= 23 or carrier is FLOAT64 else modes.SHIFTED]


@pytest.mark.parametrize("name", ["e5m2", "e6m9", "binary16"])
def test_what_a_hasty_pass_leaves_out_of_long_words_is_looked_at_again(name):
    """Subnormals whose discarded part is just enough to carry, and just not: bits that a normal value does not have decide."""
    fmt, n = parse_format(name), 1 << 16
    q = Quantizer(fmt, Rounding.SR, Overflow.SATURATE, 32)
    form = elementwise_choice(fmt, q.rounding, q.overflow, 32, FLOAT32, False).mode
    assert hasty_form(fmt, form, FLOAT32) == modes.HASTY
    short = (1 << 32) - random_words(n, 32, seed=1).astype(np.int64)  # what a fraction lacks to carry, in 2**-32
    places = np.flatnonzero(short < 1 << 24)[:40]  # of so many bits as float32 has
    assert len(places) > 20
    for less, up in ((0, True), (1, False)):
        for sign in (1, -1):
            x = np.zeros(n, np.float32)
            x[places] = sign * np.ldexp(short[places] - less, fmt.emin - fmt.mantissa_bits - 32)
            found = q.quantize(x, seed=1)
            assert set(found[places].tolist()) == {sign * fmt.smallest_subnormal if up else 0.0}
            grids.assert_same_bits(found, q.quantize(x, words=random_words(n, 32, seed=1)), x)
            q.quantize(x, seed=1, out=x)
            grids.assert_same_bits(found, x, x)


def test_what_no_faster_form_of_stochastic_rounding_is_exact_for():
    assert stochastic_form(FloatFormat(3, 2, 94), Rounding.SR, FLOAT32, 21) == modes.LIFTED
    assert not stochastic_form(FloatFormat(3, 2, 94), Rounding.SR, FLOAT32, 22)  # float32's subnormals come too near
    assert not stochastic_form(catalog.E5M2, Rounding.SR_C, FLOAT32, 8)
    assert not stochastic_form(FloatFormat(8, 2), Rounding.SR, FLOAT32, 8)  # its subnormals are float32's own


@pytest.mark.parametrize("carrier", CARRIERS.values(), ids=CARRIERS)
def test_cut_before_it_is_rounded_is_cut_after_it(carrier):
    rng, tried = np.random.default_rng(12), 0
    for name, fmt in FORMATS.items():
        for rounding, bits in (*((mode, None) for mode in Rounding if mode in DETERMINISTIC), (Rounding.SR, 9)):
            if not carrier.holds(fmt):
                continue
            row = parameter_row(fmt, rounding, Overflow.SATURATE, bits, carrier)
            form = fast_form(fmt, rounding, carrier) or stochastic_form(fmt, rounding, carrier, bits)
            form += plain_end(fmt, row)
            if not clamped_end(form, row):
                continue
            with np.errstate(over="ignore"):
                ends = np.array([np.inf, -np.inf, np.nan, -np.nan, fmt.max * 2, -fmt.max], carrier.dtype)
            x = np.concatenate([inputs(fmt, carrier, carrier.emax - 1), ends]).view(carrier.unsigned)
            words = rng.integers(0, 1 << 9, x.size).astype(np.uint32) << np.uint32(32 - 9)
            wanted, found = (quantizing_loop(int(rounding) + f)(x, words, row) for f in (form, form + modes.CLAMPED))
            assert (found == wanted).all(), (name, rounding, x.view(carrier.dtype)[found != wanted][:5])
            tried += 1
    assert tried > 20
    row = parameter_row(catalog.E5M2, Rounding.RNE, Overflow.IEEE, None, FLOAT32)
    assert not clamped_end(modes.PLAIN, row)


@cache
def quantizing_loop(mode):
    @numba.njit(error_model="numpy")
    def loop(x, words, row):
        facts, out = unpack(row), np.empty_like(x)
        for i in range(x.size):
            out[i] = quantize_bits(x[i], words[i], mode, 1, facts)
        return out

    return loop


@cache
def coding_loop(mode):
    if mode & modes.BYTE_CODE:
        code = numba.njit(error_model="numpy")(lambda out, x, facts: shown_byte(x, facts) & np.uint32(0xFF))
    elif mode & modes.DIRECT_CODE:
        code = numba.njit(error_model="numpy")(lambda out, x, facts: shown_direct(out, x, facts))
    else:
        code = numba.njit(error_model="numpy")(
            lambda out, x, facts: shown(out, quantize_bits(x, np.uint32(0), mode, 1, facts), facts)
        )

    @numba.njit(error_model="numpy")
    def loop(x, out, row):
        facts = unpack(row)
        for i in range(x.size):
            out[i] = code(out[i], x[i], facts)

    return loop


@pytest.mark.parametrize("overflow", [Overflow.SATURATE, Overflow.IEEE], ids=lambda rule: rule.name)
@pytest.mark.parametrize("carrier", CARRIERS.values(), ids=CARRIERS)
def test_codes_at_once_with_the_rounding_are_those_of_the_value(carrier, overflow):
    tried, in_bytes = [], []
    for name, fmt in FORMATS.items():
        if not carrier.holds(fmt) or (overflow is Overflow.IEEE and not fmt.infinities):
            continue
        row = parameter_row(fmt, Rounding.RNE, overflow, None, carrier)
        form = fast_form(fmt, Rounding.RNE, carrier, overflow) + plain_end(fmt, row)
        direct = direct_code(fmt, Rounding.RNE, form, 0, carrier, row)
        if not direct:
            continue
        dtype = carrier.dtype.type
        with np.errstate(over="ignore"):
            specials = np.array([np.inf, -np.inf, np.nan, -np.nan, carrier.emax, -fmt.max * 2], dtype)
        x = np.concatenate([inputs(fmt, carrier, carrier.emax - 1), specials]).view(carrier.unsigned)
        found, wanted = np.empty(x.size, np.uint64), np.empty(x.size, np.uint64)
        coding_loop(int(Rounding.RNE))(x, wanted, row)
        for form in {modes.DIRECT_CODE, direct}:
            coding_loop(int(Rounding.RNE) + form)(x, found, row)
            assert (found == wanted).all(), (name, form, x.view(carrier.dtype)[found != wanted][:5])
        tried.append(name)
        in_bytes += [name] * bool(direct & modes.BYTE_CODE)
    assert {"e5m2", "binary16" if carrier is FLOAT32 else "22_bits"} <= set(tried) or overflow is Overflow.IEEE
    assert len(tried) > 3
    assert bool(in_bytes) == (carrier is FLOAT32), in_bytes
    row = parameter_row(catalog.E5M2, Rounding.RNE, overflow, None, carrier)
    assert not direct_code(catalog.E5M2, Rounding.RTZ, modes.MAGIC + modes.PLAIN, 0, carrier, row)
    assert not direct_code(catalog.E5M2, Rounding.RNE, modes.MAGIC + modes.PLAIN, modes.SAW_OVERFLOW, carrier, row)
