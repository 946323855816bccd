"""Products accumulated on a fixed-point grid, as `..fixed_gemm`, for outputs of which each has a thread.

Everything is in units of the accumulator's grid step, in float32 or float64, and a route has proved that exact.
"""

from functools import cache
from typing import Any

import numpy as np
from numba import cuda

from ..fixed_gemm import ODD, RATIO, REPORTS, limited, to_grid, unpack_grid
from ..gemm import DETERMINISTIC
from ..modes import NO_ROUNDING, RANDOM_SHIFT, SR, SR_C
from ..primitives import fma, from_bits, shift_left, shift_right, to_bits
from ..sums import fused_bits, stochastic, sum_bits
from ._jit import device, kernel, moves
from .draws import make_word
from .orders import Steps, reporting, tree_of
from .steps import facts_of
from .tiles import DEPTH, SIDE, load_panels, output_of

U32 = np.uint32
THRESHOLD_BITS = 23, 32  # random bits whose threshold float32, or float64, holds

grid_of = device(lambda row: unpack_grid(row))


@cache
def make_threshold(mode: int, double: int) -> Any:
    """(word aligned to the top, facts) -> the fraction of a step from which on it takes a magnitude up.

    As `..fixed_gemm.fill_thresholds`, and 0 for modes without words.
    """
    kind, unsigned = (np.float64, np.uint64) if double else (np.float32, np.uint32)
    held = THRESHOLD_BITS[double]
    halves = mode != SR
    if not stochastic(mode):
        return device(lambda word, facts: kind(0))

    def threshold(word, facts):
        unused = U32(facts[RANDOM_SHIFT] & U32(31))
        bits = U32(U32(32) - unused)
        kept = min(bits, U32(held))
        cut = bits != kept
        number = shift_right(word, U32(U32(32) - kept))  # what is cut off cannot decide
        # 2**-kept; 2**32 is no uint32.
        step = kind(1) / kind(shift_left(U32(1), U32(kept - U32(1)))) * kind(0.5)
        part = kind(0.5) if halves and not cut else kind(0)
        found = kind(1) - (kind(number) + part) * step
        if mode == SR_C and not cut and shift_right(word, unused) & U32(1):
            found = from_bits(unsigned(to_bits(found) + unsigned(1)))  # below one: the next float above
        return found

    return device(threshold)


@cache
def make_multiply(mode: int, rule: int) -> Any:
    """(factor, y, threshold, grid) -> (the rounded product in steps of the sums' grid, whether it left the limits)."""
    lane_mode = SR if stochastic(mode) else mode

    def multiply(factor, y, threshold, grid):
        rounded = to_grid(factor * y, threshold, lane_mode, grid)
        kept = limited(rounded, rule, grid)
        return kept * grid[RATIO], rounded != kept

    return device(multiply)


@cache
def make_step(mode: int, rule: int, odd: int, fused: int) -> Any:
    """(x, factor, y, threshold, grid) -> (x + factor * y rounded and limited, whether it left the limits).

    fused: else the sum is x + y, and the factor of no matter.
    """
    lane_mode = SR if stochastic(mode) else mode

    def step(x, factor, y, threshold, grid):
        if fused:
            total = from_bits(fused_bits(x, factor, y, ODD)) if odd else fma(factor, y, x)
        else:
            total = from_bits(sum_bits(x, y, ODD)) if odd else x + y
        rounded = to_grid(total, threshold, lane_mode, grid)
        kept = limited(rounded, rule, grid)
        return kept, rounded != kept

    return device(step)


@cache
def make_chain(mode: int, rule: int, product_mode: int, product_rule: int, odd: int, source: int, double: int) -> Any:
    """The sequential order. Modes: of rounding, NO_ROUNDING where nothing is to be rounded; rules: of `..fixed_gemm`.

    Where product_mode is NO_ROUNDING a step is fused. source: DETERMINISTIC, GIVEN or SINGLY, see `gemm`.
    """
    kind = np.float64 if double else np.float32
    exact = product_mode == NO_ROUNDING
    multiply, step_of = make_multiply(product_mode, product_rule), make_step(mode, rule, odd, int(exact))
    of_sums = source if stochastic(mode) else DETERMINISTIC
    of_products = source if stochastic(product_mode) else DETERMINISTIC
    sum_word, product_word = make_word(of_sums), make_word(of_products)
    threshold_of, product_threshold_of = make_threshold(mode, double), make_threshold(product_mode, double)
    reports, products_report = rule == REPORTS, product_rule == REPORTS and not exact

    def chain(a, b, total, grids, rows, stride, words, numbers, firsts):
        """total[n, i, j] = chain of a[n, i, :] against b[n, :, j] from total's own value, in grid steps.

        a [Ba, M, K], b [Bb, K, N], total [B, M, N], any strides; Ba, Bb either B or 1. grids: the rows of sums and
        products, see `..fixed_gemm`. rows: likewise, uint32, of whose slots the random bits are looked at. stride: 1, or
        2 where each product has a number of its own. words, numbers: as the chain of `gemm`. firsts: int32 [B, M, N],
        where a rule is REPORTS the number of the first rounding that left its limits, else -1.
        Grid (columns, rows, B) in tiles of SIDE; block (SIDE, SIDE).
        """
        grid, product_grid = grid_of(grids[0]), grid_of(grids[1])
        how, how_products = facts_of(rows[0]), facts_of(rows[1])
        left = cuda.shared.array((DEPTH, SIDE), kind)
        right = cuda.shared.array((DEPTH, SIDE), kind)
        tx, ty, n = cuda.threadIdx.x, cuda.threadIdx.y, cuda.blockIdx.z
        height, width, depth = total.shape[1], total.shape[2], a.shape[2]
        i0, j0 = cuda.blockIdx.y * SIDE, cuda.blockIdx.x * SIDE
        i, j, output, element = output_of(total, numbers, n, i0 + ty, j0 + tx)
        value, first = total[n, i, j], -1
        for k0 in range(0, depth, DEPTH):
            cuda.syncthreads()
            load_panels(left, right, a, b, n, (i0, j0, k0), depth, ty * SIDE + tx, kind(0), kind(0))
            cuda.syncthreads()
            for k in range(min(DEPTH, depth - k0)):
                factor, y = left[k, ty], right[k, tx]
                step = stride * (k0 + k)
                if not exact:
                    word = product_word(words, output, element, step, numbers, how_products)
                    y, over = multiply(factor, y, product_threshold_of(word, how_products), product_grid)
                    if products_report and over and first < 0:
                        first = step
                step += stride - 1
                word = sum_word(words, output, element, step, numbers, how)
                value, over = step_of(value, factor, y, threshold_of(word, how), grid)
                if reports and over and first < 0:
                    first = step
        if i0 + ty < height and j0 + tx < width:
            total[n, i, j] = value
            if reports or products_report:
                firsts[n, i, j] = first

    return kernel(chain)


@cache
def make_tree(
    mode: int, rule: int, product_mode: int, product_rule: int, odd: int, source: int, double: int, numbered: int
) -> Any:
    """The pairwise order for the constants of `make_chain`: the kernel of `orders.tree_of`, total in grid steps.

    Its rows: (row of the grid, row of uint32) of sums, and of products. numbered: each product has a number of its own,
    rounded or not.
    """
    exact = product_mode == NO_ROUNDING
    multiply = make_multiply(product_mode, product_rule)
    fused, add = make_step(mode, rule, odd, 1), make_step(mode, rule, odd, 0)
    threshold_of, product_threshold_of = make_threshold(mode, double), make_threshold(product_mode, double)
    reports, products_report = rule == REPORTS, product_rule == REPORTS and not exact

    def sum_fused(x, factor, y, word, how):
        value, over = fused(x, factor, y, threshold_of(word, how[1]), how[0])
        return value, over and reports

    def sum_of(x, y, word, how):
        value, over = add(x, y, y, threshold_of(word, how[1]), how[0])
        return value, over and reports

    def product_of(factor, y, word, how):
        if exact:
            return factor * y, False
        value, over = multiply(factor, y, product_threshold_of(word, how[1]), how[0])
        return value, over and products_report

    steps = Steps(
        moves(lambda rows: (grid_of(rows[0]), facts_of(rows[1]))),
        moves(lambda how: how[1]),
        moves(sum_fused),
        moves(sum_of),
        None,  # a tree subtracts nothing
        moves(product_of),
        make_word(source if stochastic(mode) else DETERMINISTIC),
        make_word(source if stochastic(product_mode) else DETERMINISTIC),
        exact,
        bool(numbered),
        0.0,
        *reporting(reports or products_report),
    )
    return tree_of(steps, double)
