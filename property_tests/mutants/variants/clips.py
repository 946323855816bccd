"""Clips, affine codes, what bias correction restores."""

from typing import Any

import numpy as np
from hypothesis import strategies as st

from numerics import clipping

from ..published import Law, Variant

Array = Any
ROWS = st.lists(st.floats(-100, 100, width=32), min_size=4, max_size=9).map(np.array)


def _least(fn: Any, bits: int) -> None:
    """The model's error is no smaller a little to either side."""
    alpha = fn(bits)
    error = clipping.aciq_mse(alpha, bits)
    assert all(error <= clipping.aciq_mse(factor * alpha, bits) for factor in (0.995, 1.005)), (bits, alpha)


def _restored(fn: Any, w: Array) -> None:
    """Mean and standard deviation of a channel, if what was quantized has any spread."""
    w = np.stack([w, w[::-1] + 0.3])
    q = np.round(w / 2) * 2
    if (q.std(axis=1) > 0).all():
        found = fn(w, q)
        scale = np.abs(w).max()
        assert np.allclose(found.mean(axis=1), w.mean(axis=1), rtol=0, atol=1e-13 * scale)
        assert np.allclose(found.std(axis=1), w.std(axis=1), rtol=0, atol=1e-13 * scale)


def _ends(fn: Any, case: tuple[float, float, int]) -> None:
    """0 is a code, and both ends of the range are within half a step of one."""
    lo, hi, bits = case
    scale, zero = fn(lo, hi, bits)
    for end, code in ((lo, 0), (hi, (1 << bits) - 1)):
        assert abs((code - zero) * scale - end) <= (0.5 + 1e-9) * scale, case


def _affine(lo: float, hi: float, bits: int) -> tuple[float, int]:
    _, scale, zero = clipping.affine(np.array([lo, hi]), bits, lo=lo, hi=hi)
    return float(scale), int(zero)


def _cut_zero_point(lo: float, hi: float, bits: int) -> tuple[float, int]:
    scale = (hi - lo) / ((1 << bits) - 1)
    return scale, int(-lo / scale)


def _positive(fn: Any, x: Array) -> None:
    """A clip of what is not all zero can be clipped to."""
    if np.any(x):
        assert fn(x) > 0, x


def _plain_sawb(x: Array) -> float:
    c1, c2 = clipping.SAWB[4]
    return float(c1 * np.sqrt(np.mean(x**2)) - c2 * np.mean(np.abs(x)))


CLIP = Law("ACIQ's clip", _least, st.integers(1, 8), clipping.aciq_alpha, (3,))
RESTORED = Law("bias correction", _restored, ROWS, clipping.bias_correction, (np.array([1.4, -3.1, 5.5, 0.2]),))
ENDS = Law(
    "affine codes",
    _ends,
    st.tuples(st.floats(-10, -0.1), st.floats(0.1, 10), st.integers(2, 8)),
    _affine,
    ((-0.9, 1.0, 3),),
)
POSITIVE = Law("SAWB's clip", _positive, ROWS, lambda x: clipping.sawb(x, 4), (np.array([3.0, -3.0, 3.0, 3.0]),))
LAWS = (CLIP, RESTORED, ENDS, POSITIVE)
VARIANTS = (
    Variant(
        "clip_of_the_readme",
        "submission2019/cnn-quantization, README: 3.86 for 3 bits of Laplace, where eq. 6 gives 3.897",
        CLIP,
        lambda bits: 3.86 if bits == 3 else clipping.aciq_alpha(bits),
    ),
    Variant(
        "clip_of_the_half_range",
        "of a kind: the table of one bit more, which is for ranges after a ReLU",
        CLIP,
        lambda bits: clipping.aciq_alpha(bits, half_range=True),
    ),
    Variant(
        "correction_as_printed",
        "arXiv 1810.05723, eq. 12 and 13: the factor of the spread multiplies the mean too",
        RESTORED,
        lambda w, q: clipping.bias_correction(w, q, form="paper"),
    ),
    Variant(
        "mean_alone_restored",
        "of a kind: bias correction without the factor of the spread",
        RESTORED,
        lambda w, q: q + (w.mean(axis=1) - q.mean(axis=1))[:, None],
    ),
    Variant(
        "zero_point_cut",
        "eladhoffer/quantized.pytorch: int() of the zero point, which cuts, and moves the range by up to a step",
        ENDS,
        _cut_zero_point,
    ),
    Variant(
        "sawb_without_a_fall_back",
        "of a kind: c1 sqrt(E x**2) - c2 E|x| as it comes, which is negative for magnitudes that are alike",
        POSITIVE,
        _plain_sawb,
    ),
)
