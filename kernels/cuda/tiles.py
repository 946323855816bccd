"""What kernels of products have in common: a block of threads computes a tile of the output from panels of a and b.

Each output is computed by one thread, k ascending, so no tiling changes a bit. Shared memory itself is asked for in the
kernels: the simulator tells arrays apart by the line that asks for them.
"""

from ._jit import SIMULATED, moves
from .draws import element_of

SIDE = 2 if SIMULATED else 16  # threads along each side of a block; outputs too, where a thread has one
THREADS = SIDE * SIDE
DEPTH = 4 if SIMULATED else 16  # products of a panel


@moves
def load_panels(left, right, a, b, n, start, k1, thread, nothing_left, nothing_right):
    """left[k, i] = a[n, i0 + i, k0 + k], right[k, j] = b[n, k0 + k, j0 + j], and what stands for nothing outside of k < k1.

    start: (i0, j0, k0). Called by all threads of a block, between two `syncthreads`. Of a, threads go along k, of b
    along the columns: as the arrays lie in memory.
    """
    i0, j0, k0 = start
    depth, down, along = left.shape[0], left.shape[1], right.shape[1]
    na, nb = (n if a.shape[0] > 1 else 0), (n if b.shape[0] > 1 else 0)
    for e in range(thread, depth * down, THREADS):
        k, i = e % depth, e // depth
        left[k, i] = a[na, i0 + i, k0 + k] if k0 + k < k1 and i0 + i < a.shape[1] else nothing_left
    for e in range(thread, depth * along, THREADS):
        k, j = e // along, e % along
        right[k, j] = b[nb, k0 + k, j0 + j] if k0 + k < k1 and j0 + j < b.shape[2] else nothing_right


@moves
def output_of(total, numbers, n, i, j):
    """(row, column, number, element of its first rounding) of an output; beyond the edges, of the last one there is."""
    height, width = total.shape[1], total.shape[2]
    i, j = min(i, height - 1), min(j, width - 1)
    return i, j, (n * height + i) * width + j, element_of(numbers, n, i, j, height, width)
