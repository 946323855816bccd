"""Mean and spread of quantized weights, put back channel by channel."""

from typing import Any

import numpy as np

from ..means import deviations, finite, means, norms, rows_of_channels

FORMS = ("code", "paper")


def bias_correction(w: Any, w_q: Any, *, axis: int = 0, form: str = "code") -> Any:
    """w_q with the mean and the spread of w restored in each channel along `axis`: arrays of one shape -> dtype of w.

    With m, m_q the means of a channel and xi = ||w - m|| / ||w_q - m_q||: "code" is xi (w_q - m_q) + m, whose mean and
    standard deviation are those of w to rounding (a few ulp of the largest magnitude in float64, then one rounding to
    the dtype); "paper", eq. 12 and 13 as printed, is xi (w_q + m - m_q), whose mean is xi m instead. Where all w_q of a
    channel are equal there is no spread to scale and xi = 1. Means and norms: `numerics.means`. Errors: TypeError for
    other dtypes; ValueError for shapes that differ, an axis that is not there, non-finite values, an unknown form.
    Source: Banner, Nahshan and Soudry, arXiv 1810.05723, eq. 12, 13, and its code.
    """
    if form not in FORMS:
        raise ValueError(f"form {form!r} is not known: known are {', '.join(FORMS)}")
    weights, quantized = finite(w, "w"), finite(w_q, "w_q")
    if weights.shape != quantized.shape:
        raise ValueError(f"w of shape {weights.shape} and w_q of shape {quantized.shape}: give two arrays of one shape")
    if weights.ndim == 0:
        raise ValueError("w of shape (): give an array with an axis of channels")
    rows, shape = rows_of_channels(weights, axis)
    rows_q, _ = rows_of_channels(quantized, axis)
    mean, mean_q = means(rows), means(rows_q)
    spread, spread_q = norms(deviations(rows)), norms(deviations(rows_q))
    ratio = np.divide(spread, spread_q, out=np.ones_like(spread), where=spread_q > 0)
    mean, mean_q, ratio = (figure.reshape(shape) for figure in (mean, mean_q, ratio))
    wide = quantized.astype(np.float64)
    corrected = (wide - mean_q) * ratio + mean if form == "code" else (wide + (mean - mean_q)) * ratio
    return corrected.astype(weights.dtype)
