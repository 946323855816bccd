"""Gradients of a product's operands where masks say which terms a gradient reaches: sums in float64, in index order.

masks: uint32 [rows from `first` on, words, N], see `replay`; rows are numbered n*M + i as there. Everything else is float64.
Every element is one sum, a term after the other, so that no result depends on threads or on how rows are grouped.
"""

from typing import Any

import numpy as np

from ._jit import core, loop
from .primitives import shift_right, uncounted, widest_vectors

U32 = np.uint32
ONE = U32(1)
NEAR = 8  # k whose sums stay near while rows of the gradient pass


@core
def kept(word, shift, value):
    """The value where the bit is set, else zero, whatever the value is."""
    return value if shift_right(word, shift) & ONE else 0.0


@loop
def sum_left(masks: Any, gradient: Any, turned: Any, out: Any, first: int, start: int, stop: int) -> None:
    """out[n, i, k] += sum over j of gradient[n, i, j] * b[k, j] where the mask is set.

    turned [1 or B, words, N, 32]: b with j before the k of a word, filled up; out [B, M, 32 * words] of zeros.
    """
    widest_vectors()
    masks, gradient, turned, out = uncounted(masks), uncounted(gradient), uncounted(turned), uncounted(out)
    rows, columns, words = out.shape[1], turned.shape[2], masks.shape[1]
    whole = columns - columns % 4
    for w in range(words):  # the part of b that a word needs stays near while all rows pass
        for index in range(start, stop):
            batch, i = index // rows, index % rows
            b = turned[batch if turned.shape[0] > 1 else 0, w]
            g, bits = gradient[batch, i], masks[index - first, w]
            total = out[batch, i, 32 * w : 32 * w + 32]
            for j in range(0, whole, 4):
                w0, w1, w2, w3 = bits[j], bits[j + 1], bits[j + 2], bits[j + 3]
                g0, g1, g2, g3 = g[j], g[j + 1], g[j + 2], g[j + 3]
                b0, b1, b2, b3 = b[j], b[j + 1], b[j + 2], b[j + 3]
                for lane in range(32):
                    shift = U32(lane)
                    x = total[lane] + kept(w0, shift, g0 * b0[lane])
                    x = x + kept(w1, shift, g1 * b1[lane])
                    x = x + kept(w2, shift, g2 * b2[lane])
                    total[lane] = x + kept(w3, shift, g3 * b3[lane])
            for j in range(whole, columns):
                row = b[j]
                for lane in range(32):
                    total[lane] += kept(bits[j], U32(lane), g[j] * row[lane])


@loop
def sum_right(masks: Any, gradient: Any, a: Any, out: Any, first: int, stop: int, start_k: int, stop_k: int) -> None:
    """out[n, k, j] += sum over rows i of a[n, i, k] * gradient[n, i, j] where the mask is set, k from start_k on.

    Rows first ... stop - 1 are those of the masks; a [1 or B, M, K], out [1 or B, K, N]: of one, all batches are summed.
    """
    widest_vectors()
    masks, gradient, a, out = uncounted(masks), uncounted(gradient), uncounted(a), uncounted(out)
    rows, columns = gradient.shape[1], gradient.shape[2]
    for k0 in range(start_k, stop_k, NEAR):
        k1, index = min(k0 + NEAR, stop_k), first
        while index < stop:
            batch, i, r = index // rows, index % rows, index - first
            left, g = a[batch if a.shape[0] > 1 else 0], gradient[batch]
            together = out[batch if out.shape[0] > 1 else 0]
            if i + 4 <= rows and index + 4 <= stop:
                g0, g1, g2, g3 = g[i], g[i + 1], g[i + 2], g[i + 3]
                for k in range(k0, k1):
                    word, shift, total = k >> 5, U32(k & 31), together[k]
                    m0, m1, m2, m3 = masks[r, word], masks[r + 1, word], masks[r + 2, word], masks[r + 3, word]
                    a0, a1, a2, a3 = left[i, k], left[i + 1, k], left[i + 2, k], left[i + 3, k]
                    for j in range(columns):
                        x = total[j] + kept(m0[j], shift, a0 * g0[j])
                        x = x + kept(m1[j], shift, a1 * g1[j])
                        x = x + kept(m2[j], shift, a2 * g2[j])
                        total[j] = x + kept(m3[j], shift, a3 * g3[j])
                index += 4
            else:
                g0 = g[i]
                for k in range(k0, k1):
                    row, x, total = masks[r, k >> 5], left[i, k], together[k]
                    for j in range(columns):
                        total[j] += kept(row[j], U32(k & 31), x * g0[j])
                index += 1


@loop
def spread(masks: Any, out: Any, start: int, stop: int) -> None:
    """out[r, j, k] = bit k of the masks of row r and column j; out: bool [rows, N, K]."""
    masks, out = uncounted(masks), uncounted(out)
    for r in range(start, stop):
        for j in range(out.shape[1]):
            for k in range(out.shape[2]):
                out[r, j, k] = bool(U32(masks[r, k >> 5, j] >> U32(k & 31)) & ONE)
