"""Sums in other orders than one after the other: the pairwise tree and Kahan's compensated sum.

As in `gemm`: lanes run along a row of the output, rows start <= n*M + i < stop, products are exact in the carrier.
"""

from functools import cache

import numpy as np

from ._jit import core, loop
from .carrier import unpack
from .gemm import (
    DETERMINISTIC,
    counts_of,
    draw_row,
    first_element,
    first_of,
    operands,
    room,
    tally_of,
    uncounted_room,
    uncounted_tally,
)
from .modes import MODE_MASK, NO_ROUNDING, RTN
from .primitives import keep, uncounted, widest_vectors
from .scratch import TILE, lined_row
from .sums import copy_row
from .tallies import add, multiply, multiply_add, settle, subtract

U64 = np.uint64


@core
def level_step(leaves, first, level, number):
    """The step of addition `number` of a level of the tree over `leaves`, level by level from step `first` on."""
    step = first
    for _ in range(level):
        step += leaves // 2
        leaves = (leaves + 1) // 2
    return step + number


@cache
def make_tree(mode: int, product_mode: int, normalise: int, source: int = DETERMINISTIC, counting: int = 0):
    """The tree over products, or over the sums of chains of `block` products (0: products are the leaves)."""
    exact = product_mode == NO_ROUNDING
    steps = 1 if exact else 2

    def tree(a, b, total, rows, tiny, counts, block, add_total, given, start, stop):
        """total[n, i, :] = its own value (if add_total, else nothing) plus the tree's."""
        widest_vectors()
        how, how_products = (normalise, unpack(rows[0]), tiny[0]), (normalise, unpack(rows[1]), tiny[1])
        depth, columns = b.shape[1], b.shape[2]
        leaves = depth if block == 0 else (depth + block - 1) // block
        products_first = 0 if exact else depth
        first = products_first if block == 0 else steps * depth
        width = min(TILE, columns)
        levels = 1
        while 1 << levels <= leaves:
            levels += 1
        a, b, total, counts = uncounted(a), uncounted(b), uncounted(total), uncounted(counts)
        held = (
            lined_row((levels + 1) * width, total).reshape(levels + 1, width),
            lined_row(width, total),
            room(width, total, rows[0]),
            np.empty((4, 0), np.uint32),
            tally_of(width, counting),
        )
        stack, products, whole = uncounted(held[0]), uncounted(held[1]), uncounted_room(held[2])
        blocks, tally = uncounted(held[3]), uncounted_tally(held[4])
        along = U64(given.along * given.span)
        neutral = total.dtype.type(0.0 if mode & MODE_MASK == RTN and mode >= 0 else -0.0)
        for index in range(start, stop):
            left, right, batch, i = operands(a, b, index)
            for j0 in range(0, columns, TILE):
                j1 = min(j0 + TILE, columns)
                n = j1 - j0
                tile = index, j0, j1, first_element(given, total, batch, i, j0), along
                sums, product = total[batch, i, j0:j1], products[:n]
                scratch, met = first_of(whole, n), counts_of(counting, counts, tally, batch, i, j0, j1)
                for leaf in range(leaves):
                    # The new leaf goes where a run of complete subtrees will end: level after level, pairs are added.
                    level = 0
                    current = stack[levels, :n]
                    if block == 0:
                        draw = draw_row(source, given, blocks, tile, leaf, leaf, product_mode, how_products)
                        multiply(
                            counting, current, left[leaf], right[leaf, j0:j1], draw, product_mode, how_products, met
                        )
                    else:
                        current[:] = 0.0
                        for k in range(leaf * block, min(leaf * block + block, depth)):
                            step = steps * k
                            if exact:
                                draw = draw_row(source, given, blocks, tile, step, step, mode, how)
                                panel = right[k, j0:j1]
                                multiply_add(counting, current, product, left[k], panel, scratch, draw, mode, how, met)
                            else:
                                draw = draw_row(source, given, blocks, tile, step, step, product_mode, how_products)
                                panel = right[k, j0:j1]
                                multiply(counting, product, left[k], panel, draw, product_mode, how_products, met)
                                draw = draw_row(source, given, blocks, tile, step + 1, step, mode, how)
                                add(counting, current, product, scratch, draw, mode, how, met)
                    while (leaf >> level) & 1:
                        step = level_step(leaves, first, level, leaf >> (level + 1))
                        draw = draw_row(source, given, blocks, tile, step, step, mode, how)
                        earlier = stack[level, :n]
                        add(counting, earlier, current, scratch, draw, mode, how, met)
                        current = earlier
                        level += 1
                    copy_row(stack[level, :n], current)
                # What is left are the complete subtrees of the bits of `leaves`; the odd ones are carried up.
                level = 0
                while not (leaves >> level) & 1:
                    level += 1
                current = stack[level, :n]
                level += 1
                while leaves >> level:
                    if (leaves >> level) & 1:
                        size = (leaves + (1 << level) - 1) >> level
                        step = level_step(leaves, first, level, size // 2 - 1)
                        draw = draw_row(source, given, blocks, tile, step, step, mode, how)
                        earlier = stack[level, :n]
                        add(counting, earlier, current, scratch, draw, mode, how, met)
                        current = earlier
                    level += 1
                if not add_total:
                    sums[:] = neutral
                step = first + leaves - 1
                draw = draw_row(source, given, blocks, tile, step, step, mode, how)
                add(counting, sums, current, scratch, draw, mode, how, met)
                settle(counting, met)
        keep(held)

    return loop(tree)


@cache
def make_kahan(mode: int, product_mode: int, normalise: int, source: int = DETERMINISTIC, counting: int = 0):
    """Kahan's sum: y = product - rest, t = total + y, rest = (t - total) - y, each rounded."""
    steps = 4 if product_mode == NO_ROUNDING else 5

    def kahan(a, b, total, rows, tiny, counts, given, start, stop):
        """total[n, i, :] = Kahan's sum from total's own values."""
        widest_vectors()
        how, how_products = (normalise, unpack(rows[0]), tiny[0]), (normalise, unpack(rows[1]), tiny[1])
        depth, columns = b.shape[1], b.shape[2]
        width = min(TILE, columns)
        a, b, total, counts = uncounted(a), uncounted(b), uncounted(total), uncounted(counts)
        held = (
            lined_row(width, total),
            lined_row(width, total),
            lined_row(width, total),
            room(width, total, rows[0]),
            np.empty((4, 0), np.uint32),
            tally_of(width, counting),
        )
        rests, products, larger = uncounted(held[0]), uncounted(held[1]), uncounted(held[2])
        whole, blocks = uncounted_room(held[3]), uncounted(held[4])
        tally = uncounted_tally(held[5])
        along = U64(given.along * given.span)
        for index in range(start, stop):
            left, right, batch, i = operands(a, b, index)
            for j0 in range(0, columns, TILE):
                j1 = min(j0 + TILE, columns)
                n = j1 - j0
                tile = index, j0, j1, first_element(given, total, batch, i, j0), along
                sums = total[batch, i, j0:j1]
                rest, y, t = rests[:n], products[:n], larger[:n]
                scratch, met = first_of(whole, n), counts_of(counting, counts, tally, batch, i, j0, j1)
                rest[:] = 0.0
                for k in range(depth):
                    step = steps * k
                    draw = draw_row(source, given, blocks, tile, step, step, product_mode, how_products)
                    multiply(counting, y, left[k], right[k, j0:j1], draw, product_mode, how_products, met)
                    step += steps - 4
                    draw = draw_row(source, given, blocks, tile, step, step, mode, how)
                    subtract(counting, y, y, rest, scratch, draw, mode, how, met)
                    copy_row(t, sums)
                    draw = draw_row(source, given, blocks, tile, step + 1, step, mode, how)
                    add(counting, t, y, scratch, draw, mode, how, met)
                    draw = draw_row(source, given, blocks, tile, step + 2, step, mode, how)
                    subtract(counting, rest, t, sums, scratch, draw, mode, how, met)
                    draw = draw_row(source, given, blocks, tile, step + 3, step, mode, how)
                    subtract(counting, rest, rest, y, scratch, draw, mode, how, met)
                    copy_row(sums, t)
                settle(counting, met)
        keep(held)

    return loop(kahan)
