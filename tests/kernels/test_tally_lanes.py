"""A counting step of sixteen chains: the same with and without AVX-512's instruction for magnitudes, and as by definition."""

from fractions import Fraction

import numba
import numpy as np
import pytest

from numerics import Accumulator, Overflow, Quantizer, Rounding, catalog, parse_format, reference
from numerics.kernels import tally_lanes
from numerics.kernels.carrier import unpack
from numerics.kernels.finite_tallies import lane_numbers
from numerics.kernels.mask_tallies import ABSORBED, CHANGED, EVENTS, LANES, OVER, SWAMPED, UNDER, WORDS
from numerics.kernels.primitives import widest_vectors
from numerics.kernels.scratch import TILE
from numerics.kernels.tally_lanes import make_count_row
from numerics.parameters import FLOAT32, parameter_row

HALF = catalog.BINARY16
# of the sum rounded to odd first, of underflow counted: the three steps that kernels take
ONCE, ODD, GRADUAL = (False, False), (True, False), (True, True)


def step(fitting, odd, gradual):
    """(sums, one factor, addends) -> (the sums after the step, of each event whether it happened)."""
    count_row = make_count_row(fitting, odd, gradual)
    row = parameter_row(HALF, Rounding.RNE, Overflow.SATURATE, None, FLOAT32)
    tiny = np.float32(HALF.smallest_normal)

    @numba.njit
    def run(total, factor, panel, masks, at):
        widest_vectors()
        return count_row(total, factor, panel, masks, at, lane_numbers(unpack(row), tiny))

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
        return total, met | ({"underflow": under} if gradual else {})

    return stepped


def drawn(top, odd, gradual):
    """Sums in binary16 and addends of FP8 products, of all sizes below 2**top; zeros, and sums that cancel.

    odd: addends of more bits, and sums beside a tie by less than float32 shows; gradual: far below the smallest normal.
    """
    rng = np.random.default_rng(top)
    n = 256 * LANES
    x = np.ldexp(rng.uniform(-1, 1, n), rng.integers(-30 if gradual else -17, top + 1, n))
    x = x if gradual else np.rint(x * 2.0**18) * 2.0**-18  # the products' own grid: on a finer one no such sum ends
    x = Quantizer(HALF).quantize(x.astype(np.float32))
    y = np.ldexp(rng.uniform(-1, 1, n), rng.integers(-34 if gradual else -6, 8, n)).astype(np.float32)
    y = Quantizer(parse_format("e8m21") if odd else catalog.E4M3).quantize(y)
    y[::17], x[::19] = 0, 0
    x[5::64] = -2 * Quantizer(HALF).quantize(y[5::64])
    if odd:
        y = y if gradual else np.rint(y * np.float32(2.0**24)) * np.float32(2.0**-24)
        signs = rng.choice(np.float32([1, -1]), (2, n // 64))
        x[9::64] = signs[0] * (2.0 ** (top - 1) + 2.0 ** (top - 11) * rng.integers(0, 1024, n // 64))
        y[9::64] = signs[1] * (2.0 ** (top - 13) + rng.integers(-1, 2, n // 64) * 2.0 ** (top - 36))  # half a tie
    if top > HALF.emax:
        x[7::64], y[7::64], y[8::64] = HALF.max, 448, -448
    return x, y


def by_definition(x, y):
    """The rounded sum, and the events: the exact sum in rationals."""
    acc = Accumulator(HALF)
    value, met = reference.matmul([[float(y)]], [[1.0]], acc, c=[[float(x)]], events=True)
    exact = Fraction(float(x)) + Fraction(float(y))
    assert Fraction(float(value[0, 0])) == exact or met["inexact"][0, 0] or met["overflow"][0, 0]
    return float(value[0, 0]), met


@pytest.mark.parametrize("fitting", [True, False])
@pytest.mark.parametrize("kind", [ONCE, ODD, GRADUAL], ids=["once", "odd", "gradual"])
def test_both_ways_to_compare_magnitudes_count_the_same(kind, fitting, monkeypatch):
    x, y = drawn(15 if fitting else 16, *kind)
    sums, counts = step(fitting, *kind)(x, 2.0, y)
    monkeypatch.setattr(tally_lanes, "_knows_magnitudes", lambda context: False)
    without = step(fitting, *kind)(x, 2.0, y)
    assert sums.tobytes() == without[0].tobytes()
    assert all((counts[name] == without[1][name]).all() for name in counts)
    for i in range(0, x.size, 7):
        value, met = by_definition(x[i], np.float32(2) * y[i])
        assert np.float32(value).tobytes() == sums[i].tobytes(), (x[i], y[i])
        assert {name: bool(met[name][0, 0]) for name in counts} == {name: bool(counts[name][i]) for name in counts}
    assert all(happened.any() for name, happened in counts.items() if not (fitting and name == "overflow"))


@pytest.mark.parametrize("columns", [1, LANES - 1, LANES, 4 * LANES - 1, 4 * LANES, 5 * LANES + 3, TILE - 1])
def test_what_fills_no_mask_is_left(columns):
    x, y = (v[:columns] for v in drawn(15, *GRADUAL))
    wanted, _ = step(True, *GRADUAL)(*(np.resize(v, TILE) for v in (x,)), 2.0, np.resize(y, TILE))
    count_row = make_count_row(True, *GRADUAL)
    row = parameter_row(HALF, Rounding.RNE, Overflow.SATURATE, None, FLOAT32)

    @numba.njit
    def run(total, panel, masks):
        return count_row(total, np.float32(2), panel, masks, 0, lane_numbers(unpack(row), np.float32(2.0**-14)))

    total = x.copy()
    whole = run(total, y.copy(), np.zeros(EVENTS * WORDS, np.uint64))
    assert whole == columns - columns % LANES
    assert total[:whole].tobytes() == wanted[:whole].tobytes()
    assert total[whole:].tobytes() == x[whole:].tobytes()


def test_addends_off_the_grid_that_cancel_lose_nothing():
    # As in the leaves of a tree: both are below the smallest step, and neither is absorbed in a sum of zero.
    y = np.float32([2.0**-31, -(2.0**-31), 2.0**-40, 0] * (TILE // 4))
    sums, counts = step(True, *GRADUAL)(-2 * y, 2.0, y)
    assert not sums.any()
    assert not any(happened.any() for happened in counts.values())
