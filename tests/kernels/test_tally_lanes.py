"""A counting step of sixteen chains: the same with and without AVX-512's instruction for magnitudes, and as by definition."""

from fractions import Fraction
from typing import NamedTuple

import numba
import numpy as np
import pytest

from numerics import Accumulator, FloatFormat, Overflow, Quantizer, Rounding, catalog, parse_format, reference
from numerics.kernels import modes, tally_lanes
from numerics.kernels.carrier import unpack
from numerics.kernels.finite_tallies import lane_numbers
from numerics.kernels.mask_tallies import ABSORBED, CHANGED, EVENTS, LANES, OVER, SWAMPED, UNDER, WORDS
from numerics.kernels.primitives import widest_vectors
from numerics.kernels.scratch import TILE
from numerics.kernels.tally_lanes import make_count_lanes, make_product_lanes, make_row, of_multiples
from numerics.parameters import FLOAT32, parameter_row

R, HALF, LBA = Rounding, catalog.BINARY16, catalog.lba(7, 4, 10, paper=True)


class Kind(NamedTuple):
    """A step: the rounding and its form, whether sums are rounded to odd first, whether underflow is counted."""

    mode: int
    format: FloatFormat = HALF
    rounding: Rounding = R.RNE
    odd: bool = True
    gradual: bool = True


NEAREST, TRUNCATES = int(R.RNE) + modes.SIGNED, int(R.RTZ) + modes.SIGNED
KINDS = {
    "once": Kind(NEAREST + modes.UNIFORM + modes.ONCE, odd=False, gradual=False),
    "once, signs": Kind(NEAREST + modes.ONCE, odd=False, gradual=False),
    "odd": Kind(NEAREST + modes.UNIFORM, gradual=False),
    "gradual": Kind(NEAREST),
    "truncated": Kind(TRUNCATES + modes.MAGIC, rounding=R.RTZ),
    "truncated and flushed": Kind(TRUNCATES + modes.UNIFORM, LBA, R.RTZ),
    "flushed": Kind(int(R.RNE) + modes.UNIFORM, LBA),
}
GRADUAL = KINDS["gradual"]


def step(kind, fitting, make=None):
    """(sums, one factor, addends) -> (the sums after the step, of each event whether it happened)."""
    row_of = make_row(make or make_count_lanes(kind.mode, fitting, kind.odd, True))
    row = parameter_row(kind.format, kind.rounding, Overflow.SATURATE, None, FLOAT32)
    tiny = np.float32(kind.format.smallest_normal)

    @numba.njit
    def run(total, factor, panel, masks, at):
        widest_vectors()
        return row_of(total, factor, panel, masks, at, lane_numbers(unpack(row), tiny))

    def stepped(total, factor, panel):
        total, masks = total.copy(), np.zeros((total.size // TILE, EVENTS, WORDS), np.uint64)
        for tile in range(len(masks)):
            here, at = slice(tile * TILE, (tile + 1) * TILE), tile * EVENTS * WORDS
            assert run(total[here], np.float32(factor), panel[here], masks.reshape(-1), at) == TILE
        bits = np.unpackbits(masks.view(np.uint8), axis=-1, bitorder="little").astype(bool)
        over, under, changed, swamped, absorbed = (
            bits[:, e].reshape(-1) for e in (OVER, UNDER, CHANGED, SWAMPED, ABSORBED)
        )
        met = {"overflow": over, "inexact": changed | swamped, "swamped": swamped, "absorbed": absorbed}
        return total, met | ({} if of_multiples(kind.mode) else {"underflow": under})

    return stepped


def drawn(kind, top):
    """Sums on the format's grid and addends of FP8 products, of all sizes below 2**top; zeros, and sums that cancel.

    odd: addends of more bits, and sums beside a tie by less than float32 shows; gradual: far below the smallest normal.
    """
    rng = np.random.default_rng(top + 100)
    n, fmt = 256 * LANES, kind.format
    p, on_grid = fmt.mantissa_bits, Quantizer(fmt)
    low = fmt.emin - p - 6 if kind.gradual else -17
    x = np.ldexp(rng.uniform(-1, 1, n), rng.integers(low, top + 1, n))
    x = (
        x if kind.gradual else np.rint(x * 2.0**18) * 2.0**-18
    )  # the products' own grid: on a finer one no such sum ends
    x = on_grid.quantize(x.astype(np.float32))
    y = np.ldexp(rng.uniform(-1, 1, n), rng.integers(low - 4 if kind.gradual else -6, min(top - 7, 8), n))
    y = Quantizer(parse_format("e8m21") if kind.odd else catalog.E4M3).quantize(y.astype(np.float32))
    y[::17], x[::19] = 0, 0
    x[5::64] = -2 * on_grid.quantize(y[5::64])
    x[11::64], y[11::64] = 0, rng.choice([0.5, -0.5, 0.25], n // 64) * fmt.smallest_normal
    x[13::64] = np.exp2(rng.integers(fmt.emin, top, n // 64)) * (1 + 2.0**-p)
    y[13::64] = rng.choice([0.5, -0.5], n // 64) * np.exp2(
        np.floor(np.log2(x[13::64])) - p
    )  # half an ulp: doubled, one
    if kind.odd:
        y = y if kind.gradual else np.rint(y * np.float32(2.0**24)) * np.float32(2.0**-24)
        signs = rng.choice(np.float32([1, -1]), (2, n // 64))
        x[9::64] = signs[0] * (2.0 ** (top - 1) + 2.0 ** (top - 1 - p) * rng.integers(0, 1 << p, n // 64))
        y[9::64] = signs[1] * (2.0 ** (top - p - 3) + rng.integers(-1, 2, n // 64) * 2.0 ** (top - 36))  # half a tie
    if top > fmt.emax:
        x[7::64], y[7::64], y[8::64] = fmt.max, fmt.max / 128, -fmt.max / 128
    return x, y


def by_definition(x, y, kind):
    """The rounded sum, and the events: the exact sum in rationals."""
    acc = Accumulator(kind.format, kind.rounding)
    value, met = reference.matmul([[float(y)]], [[1.0]], acc, c=[[float(x)]], events=True)
    exact = Fraction(float(x)) + Fraction(float(y))
    assert Fraction(float(value[0, 0])) == exact or met["inexact"][0, 0] or met["overflow"][0, 0]
    return float(value[0, 0]), met


@pytest.mark.parametrize("fitting", [True, False])
@pytest.mark.parametrize("name", KINDS)
def test_both_ways_to_compare_magnitudes_count_the_same(name, fitting, monkeypatch):
    kind = KINDS[name]
    x, y = drawn(kind, kind.format.emax + (0 if fitting else 1))
    sums, counts = step(kind, fitting)(x, 2.0, y)
    monkeypatch.setattr(tally_lanes, "_knows_magnitudes", lambda context: False)
    without = step(kind, fitting)(x, 2.0, y)
    assert sums.tobytes() == without[0].tobytes()
    assert all((counts[name] == without[1][name]).all() for name in counts)
    for i in range(0, x.size, 13):
        value, met = by_definition(x[i], np.float32(2) * y[i], kind)
        assert np.float32(value).tobytes() == sums[i].tobytes(), (x[i], y[i])
        assert {name: bool(met[name][0, 0]) for name in counts} == {name: bool(counts[name][i]) for name in counts}
    never = {"overflow"} if fitting else set()
    never |= set() if kind.gradual else {"underflow"}
    assert {name for name, happened in counts.items() if not happened.any()} <= never


@pytest.mark.parametrize("name", ["gradual", "truncated", "truncated and flushed", "flushed"])
def test_products_are_rounded_and_counted(name):
    kind = KINDS[name]
    fmt, q = kind.format, Quantizer(kind.format, kind.rounding)
    draw = np.random.default_rng(5)
    exponents = draw.integers(fmt.emin - fmt.mantissa_bits - 4, fmt.emax + 2, TILE)
    panel = Quantizer(parse_format("e8m12")).quantize(np.ldexp(draw.uniform(-1, 1, TILE), exponents).astype(np.float32))
    panel[::9] = np.float32([0, -0.0, fmt.max, -fmt.max, fmt.smallest_normal, fmt.max / 3])[
        np.arange(len(panel[::9])) % 6
    ]
    factor = np.float32(-1.375)
    out, counts = step(kind, False, make_product_lanes(kind.mode))(panel, factor, panel)
    for i, exact in enumerate(factor * panel):
        value = reference.quantize(np.float32([exact]), q)[0]
        wide = Quantizer(FloatFormat(11, fmt.mantissa_bits), kind.rounding)
        over = abs(float(reference.quantize(np.float64([exact]), wide)[0])) > fmt.max
        assert out[i].tobytes() == value.tobytes(), exact
        assert bool(counts["overflow"][i]) == over, exact
        assert bool(counts["inexact"][i]) == (value != exact), exact
        assert bool(counts["underflow"][i]) == (value != exact and abs(exact) < fmt.smallest_normal), exact
    assert all(counts[event].any() for event in ("overflow", "inexact", "underflow"))


@pytest.mark.parametrize("columns", [1, LANES - 1, LANES, 4 * LANES - 1, 4 * LANES, 5 * LANES + 3, TILE - 1])
def test_what_fills_no_mask_is_left(columns):
    x, y = (v[:columns] for v in drawn(GRADUAL, 15))
    wanted, _ = step(GRADUAL, True)(np.resize(x, TILE), 2.0, np.resize(y, TILE))
    row_of = make_row(make_count_lanes(GRADUAL.mode, True, True, True))
    row = parameter_row(HALF, R.RNE, Overflow.SATURATE, None, FLOAT32)

    @numba.njit
    def run(total, panel, masks):
        return row_of(total, np.float32(2), panel, masks, 0, lane_numbers(unpack(row), np.float32(2.0**-14)))

    total = x.copy()
    whole = run(total, y.copy(), np.zeros(EVENTS * WORDS, np.uint64))
    assert whole == columns - columns % LANES
    assert total[:whole].tobytes() == wanted[:whole].tobytes()
    assert total[whole:].tobytes() == x[whole:].tobytes()


@pytest.mark.parametrize("name", ["gradual", "truncated", "truncated and flushed", "flushed"])
def test_addends_off_the_grid_that_cancel_lose_nothing(name):
    # As in the leaves of a tree: both are below the smallest step, and neither is absorbed in a sum of zero.
    y = np.float32([2.0**-31, -(2.0**-31), 2.0**-40, 0] * (TILE // 4))
    sums, counts = step(KINDS[name], True)(-2 * y, 2.0, y)
    assert not sums.any()
    assert not any(happened.any() for happened in counts.values())
