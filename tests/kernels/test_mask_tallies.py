"""Masks of events, added up bit by bit, are counts: for any number of steps and sums, tile after tile."""

import numba
import numpy as np
import pytest

from numerics.kernels import mask_tallies
from numerics.kernels.mask_tallies import CHANGED, EVENTS, LANES, MASKS, OVER, SLOT, SLOTS, SWAMPED, UNDER, WORDS
from numerics.kernels.scratch import TILE

ROWS = {OVER: 3, UNDER: 4, CHANGED: 5, SWAMPED: 6, mask_tallies.ABSORBED: 7}
MOST = (1 << mask_tallies.PLANES) - 1


def counter(fitting):
    """(masks [steps, EVENTS * WORDS], which steps leave UNDER too, counts and what a tally keeps) adds to the counts."""
    next_step = mask_tallies.next_fitting if fitting else mask_tallies.next_tame
    spread = mask_tallies.spread_fitting if fitting else mask_tallies.spread_tame

    @numba.njit
    def run(masks, gradual, counts):
        for step in range(masks.shape[0]):
            at, left = next_step(counts, gradual[step]), SLOT if gradual[step] else UNDER * WORDS
            counts[MASKS][at : at + left] = masks[step, :left]
        spread(counts)

    return run


@pytest.mark.parametrize("fitting", [False, True])
def test_any_number_of_steps_and_sums(fitting):
    run, rng = counter(fitting), np.random.default_rng(4)
    tally = numba.njit(lambda: mask_tallies.mask_tally(1))
    kept, plain = tally(), tally()
    for steps in (
        0,
        1,
        2,
        SLOTS - 1,
        SLOTS,
        SLOTS + 1,
        SLOTS + 2,
        SLOTS + 3,
        2 * SLOTS + 2,
        MOST - 1,
        MOST + SLOTS,
        777,
    ):
        for columns in (TILE, TILE - 1, 5 * LANES, LANES, 3):  # a tile after a wider one finds its masks
            likely = rng.random((1, EVENTS, TILE)) * 1.2  # many of them always
            bits = rng.random((steps, EVENTS, TILE)) < likely
            bits[:, OVER] &= not fitting
            gradual = rng.random(steps) < 0.5 if steps % 2 else np.zeros(steps, bool)
            held = kept if steps % 2 else plain
            masks = np.packbits(bits, axis=-1, bitorder="little").view(np.uint64).reshape(steps, EVENTS * WORDS)
            rows = tuple(rng.integers(0, 9, columns).astype(np.uint32) for _ in range(8))
            wanted = [row.copy() for row in rows]
            whole = columns - columns % LANES
            for event, row in ROWS.items():
                met = bits[:, event] | bits[:, SWAMPED] if event == CHANGED else bits[:, event]
                met = met & gradual[:, None] if event == UNDER else met
                wanted[row][:whole] += met[:, :whole].sum(axis=0, dtype=np.uint32)
            run(masks, gradual, (*rows, np.zeros(columns, np.uint32), np.zeros(1, np.uint32), *held))
            for found, right in zip(rows, wanted, strict=True):
                assert (found == right).all(), (steps, columns)
