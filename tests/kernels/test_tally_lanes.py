"""A counting step of sixteen chains: the same with and without AVX-512's instruction for magnitudes, and as by definition."""

from fractions import Fraction

import numba
import numpy as np
import pytest

from numerics import Accumulator, Overflow, Quantizer, Rounding, catalog, reference
from numerics.kernels import modes, tally_lanes
from numerics.kernels.mask_tallies import ABSORBED, CHANGED, EVENTS, LANES, OVER, SWAMPED, WORDS
from numerics.kernels.primitives import widest_vectors
from numerics.kernels.scratch import TILE
from numerics.kernels.tally_lanes import make_count_lanes
from numerics.parameters import FLOAT32, parameter_row

HALF = catalog.BINARY16


def step(fitting):
    """(sums, one factor, addends) -> (the sums after the step, of each event whether it happened)."""
    count_lanes = make_count_lanes(fitting)
    row = parameter_row(HALF, Rounding.RNE, Overflow.SATURATE, None, FLOAT32)
    shift = np.uint32((int(row[modes.DROP]) << 23) + (1 << 22))
    down = np.uint32((int(row[modes.CODE_MANTISSA]) << 23) + 1)

    @numba.njit
    def run(total, factor, panel, masks, at, largest):
        widest_vectors()
        for j in range(0, total.size, LANES):
            count_lanes(total, factor, panel, masks, at, j, shift, down, largest)

    def stepped(total, factor, panel):
        total, masks = total.copy(), np.zeros((total.size // TILE, EVENTS, WORDS), np.uint64)
        for tile in range(len(masks)):
            here, at = slice(tile * TILE, (tile + 1) * TILE), tile * EVENTS * WORDS
            run(total[here], np.float32(factor), panel[here], masks.reshape(-1), at, np.float32(HALF.max))
        bits = np.unpackbits(masks.view(np.uint8), axis=-1, bitorder="little").astype(bool)
        over, changed, swamped, absorbed = (bits[:, e].reshape(-1) for e in (OVER, CHANGED, SWAMPED, ABSORBED))
        return total, {"overflow": over, "inexact": changed | swamped, "swamped": swamped, "absorbed": absorbed}

    return stepped


def drawn(top):
    """Sums in binary16 and addends of FP8 products, of all sizes below 2**top; zeros, and sums that cancel."""
    rng = np.random.default_rng(top)
    n = 256 * LANES
    x = np.ldexp(rng.uniform(-1, 1, n), rng.integers(-17, top + 1, n))
    x = np.rint(x * 2.0**18) * 2.0**-18  # the products' own grid: on a finer one no such sum ends
    x = Quantizer(HALF).quantize(x.astype(np.float32))
    y = Quantizer(catalog.E4M3).quantize(np.ldexp(rng.uniform(-1, 1, n), rng.integers(-6, 8, n)).astype(np.float32))
    y[::17], x[::19] = 0, 0
    x[5::64] = -2 * y[5::64]
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
def test_both_ways_to_compare_magnitudes_count_the_same(fitting, monkeypatch):
    x, y = drawn(15 if fitting else 16)
    sums, counts = step(fitting)(x, 2.0, y)
    monkeypatch.setattr(tally_lanes, "_knows_magnitudes", lambda context: False)
    without = step(fitting)(x, 2.0, y)
    assert sums.tobytes() == without[0].tobytes()
    assert all((counts[name] == without[1][name]).all() for name in counts)
    for i in range(0, x.size, 7):
        value, met = by_definition(x[i], np.float32(2) * y[i])
        assert float(sums[i]) == value, (x[i], y[i])
        assert {name: bool(met[name][0, 0]) for name in counts} == {name: bool(counts[name][i]) for name in counts}
    assert all(happened.any() for name, happened in counts.items() if not (fitting and name == "overflow"))
