"""m x m tiles of which n are kept in each row and each column: the largest sum, proof that it is, and a greedy rule.

A mask is a flow of n units from each row to each column over edges that carry one unit; the largest sum is reached by
augmenting along the path of most gain, n m times. Gains are integers, of any type: the same code runs on Python's.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._jit import loop


@loop
def keep_most(weights: NDArray[Any], kept: NDArray[np.bool_], n: int) -> None:
    """kept [tiles, m, m], all False at first: the mask of n a row and a column with the largest sum of weights.

    weights: integers at least 0, of which 2m add up without overflow.
    """
    m = weights.shape[1]
    row_gain, column_gain = np.zeros(m, weights.dtype), np.zeros(m, weights.dtype)
    row_left, column_left = np.empty(m, np.int64), np.empty(m, np.int64)
    row_from, column_from = np.empty(m, np.int64), np.empty(m, np.int64)
    for t in range(weights.shape[0]):
        w, k = weights[t], kept[t]
        for i in range(m):
            row_left[i] = column_left[i] = n
        for _ in range(n * m):
            # The most that is gained on a way from a row with something left, to each row and column; -2: no way yet.
            for i in range(m):
                row_from[i] = column_from[i] = -2
                if row_left[i] > 0:
                    row_from[i], row_gain[i] = -1, 0
            changed = True
            while changed:
                changed = False
                for i in range(m):
                    if row_from[i] > -2:
                        for j in range(m):
                            gain = row_gain[i] + w[i, j]
                            if not k[i, j] and (column_from[j] == -2 or gain > column_gain[j]):
                                column_from[j], column_gain[j], changed = i, gain, True
                for j in range(m):
                    if column_from[j] > -2:
                        for i in range(m):
                            gain = column_gain[j] - w[i, j]
                            if k[i, j] and (row_from[i] == -2 or gain > row_gain[i]):
                                row_from[i], row_gain[i], changed = j, gain, True
            end = -1
            for j in range(m):
                if column_left[j] > 0 and column_from[j] > -2 and (end < 0 or column_gain[j] > column_gain[end]):
                    end = j
            column_left[end] -= 1
            j = end
            while True:
                i = column_from[j]
                k[i, j] = True
                if row_from[i] == -1:
                    row_left[i] -= 1
                    break
                j = row_from[i]
                k[i, j] = False


@loop
def proven(weights: NDArray[Any], slack: NDArray[Any], kept: NDArray[np.bool_], out: NDArray[np.bool_]) -> None:
    """out [tiles]: no exchange would gain, for any true weights between weights and weights + slack of the tile.

    An exchange is a cycle: kept elements leave, others enter, rows and columns keep their counts. There is a cycle that
    gains where the most that is gained on ways of any length still grows after as many steps as there are nodes.
    """
    m = weights.shape[1]
    row, column = np.zeros(m, weights.dtype), np.zeros(m, weights.dtype)
    for t in range(weights.shape[0]):
        w, k = weights[t], kept[t]
        for i in range(m):
            row[i] = column[i] = 0
        changed, rounds = True, 0
        while changed and rounds <= 2 * m:
            changed, rounds = False, rounds + 1
            for i in range(m):
                for j in range(m):
                    enters, leaves = row[i] + w[i, j] + slack[t], column[j] - w[i, j]
                    if not k[i, j] and enters > column[j]:
                        column[j], changed = enters, True
                    if k[i, j] and leaves > row[i]:
                        row[i], changed = leaves, True
        out[t] = not changed


@loop
def keep_greedily(order: NDArray[np.int64], kept: NDArray[np.bool_], n: int) -> None:
    """kept [tiles, m, m]: in the order given, what lies in a row or column that is not yet pruned to n is pruned.

    order [tiles, m * m]: places in a tile, row by row, the smallest magnitude first.
    """
    m = kept.shape[1]
    rows, columns = np.empty(m, np.int64), np.empty(m, np.int64)
    for t in range(kept.shape[0]):
        for i in range(m):
            rows[i] = columns[i] = m - n
        for place in order[t]:
            i, j = place // m, place % m
            pruned = rows[i] > 0 or columns[j] > 0
            kept[t, i, j] = not pruned
            rows[i] -= pruned
            columns[j] -= pruned
