"""A chain of whole numbers in float32 that counts what overflows: steps of sixteen lanes leave masks (`mask_tallies`).

Nothing is rounded, so a sum that was not limited is exact: only one that was can equal its larger addend, and what is
inexact is what overflows. No addend is less than a step, so none is absorbed.
"""

from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ._jit import loop
from .fixed_gemm import HIGHEST, LOWEST, PER_SPAN, SPAN, WRAPS, limited, unpack_grid
from .mask_tallies import LANES, OVER, SWAMPED, make_tally, mask_tally
from .primitives import fma, keep, uncounted, widest_vectors
from .scratch import TILE, lined_row
from .sums import copy_row
from .tally_lanes import FLOATS, lanes_at, leaves, make_row, smaller_and_larger, spread_out

U32 = np.uint32
NUMBERS = 9  # those of a row of `fixed_gemm`
MASKS = 2  # after the two rows of counts
next_step, spread_masks = make_tally(MASKS, (-1, 1, -1, 0, -1))  # of SWAMPED, of OVER


def _call(builder: Any, name: str, *arguments: Any) -> Any:
    """LLVM's function of that name of vectors."""
    kind = ir.FunctionType(FLOATS, (FLOATS,) * len(arguments))
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.v{LANES}f32"), arguments)


def _make_lanes(wraps: bool) -> Any:
    @intrinsic
    def limit_lanes(
        typingctx: Any, total: Any, factor: Any, panel: Any, masks: Any, at: Any, j: Any, numbers: Any
    ) -> Any:
        """total[j:] += factor * panel[j:] for LANES sums, limited, and masks of OVER and SWAMPED; numbers: a grid's."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            total, factor, panel, masks, at, j, given = arguments
            grid = [spread_out(builder, number) for number in cgutils.unpack_tuple(builder, given, NUMBERS)]
            leave = leaves(context, builder, (signature.args[3], masks), at, j)
            sums = lanes_at(context, builder, (signature.args[0], total), j)
            x = builder.load(sums, align=4)
            right = builder.load(lanes_at(context, builder, (signature.args[2], panel), j), align=4)
            factors = spread_out(builder, factor)
            y = builder.fmul(factors, right)  # not always exact: the sum of it and c may be within the limits
            exact = _call(builder, "fma", factors, right, x)
            if wraps:
                spans = _call(builder, "floor", builder.fmul(builder.fsub(exact, grid[LOWEST]), grid[PER_SPAN]))
                kept = builder.fsub(exact, builder.fmul(grid[SPAN], spans))
            else:
                kept = builder.select(builder.fcmp_ordered(">", exact, grid[LOWEST]), exact, grid[LOWEST])
                kept = builder.select(builder.fcmp_ordered("<", kept, grid[HIGHEST]), kept, grid[HIGHEST])
            _, large = smaller_and_larger(context, builder, x, y)
            is_over = builder.fcmp_ordered("!=", kept, exact)
            leave(OVER, is_over)
            leave(SWAMPED, builder.and_(is_over, builder.fcmp_ordered("==", kept, large)))
            builder.store(kept, sums, align=4)
            return context.get_dummy_value()

        if numbers != types.UniTuple(types.float32, NUMBERS):
            return None
        return types.none(total, types.float32, panel, masks, types.intp, types.intp, numbers), generate

    return limit_lanes


@cache
def make_counted_chain(rule: int):
    """The sequential order of whole numbers under the overflow rule, WRAPS or CLAMPS."""
    limit_row = make_row(_make_lanes(rule == WRAPS))

    def chain(a, b, total, row, over, swamped, start, stop):
        """total[n, i, :] as in `fixed_gemm`; over, swamped [B*M, N], uint32: to which the counts are added."""
        widest_vectors()
        a, b, total, over, swamped = uncounted(a), uncounted(b), uncounted(total), uncounted(over), uncounted(swamped)
        grid, rows, depth, columns = unpack_grid(row), a.shape[1], a.shape[2], b.shape[2]
        line, held = lined_row(min(TILE, columns), total), mask_tally(1)
        masks, planes, number = uncounted(held[0]), uncounted(held[1]), uncounted(held[2])
        for index in range(start, stop):
            batch, i = index // rows, index % rows
            left = a[batch if a.shape[0] > 1 else 0, i]
            right = b[batch if b.shape[0] > 1 else 0]
            for j0 in range(0, columns, TILE):
                j1 = min(j0 + TILE, columns)
                sums = uncounted(line)[: j1 - j0]  # where a vector is one line of the cache
                copy_row(sums, total[batch, i, j0:j1])
                counts = over[index, j0:j1], swamped[index, j0:j1], masks, planes, number
                for k in range(depth):
                    at, factor, panel = next_step(counts, False), left[k], right[k, j0:j1]
                    whole = limit_row(sums, factor, panel, masks, at, grid)
                    for j in range(whole, sums.size):
                        x, y = sums[j], factor * panel[j]
                        exact = fma(factor, panel[j], x)
                        kept = limited(exact, rule, grid)
                        large = y if abs(x) <= abs(y) else x
                        happened = kept != exact
                        counts[0][j] += U32(1) if happened else U32(0)
                        counts[1][j] += U32(1) if happened & (kept == large) else U32(0)
                        sums[j] = kept
                copy_row(total[batch, i, j0:j1], sums)
                spread_masks(counts)
        keep(line)
        keep(held)

    return loop(chain)
