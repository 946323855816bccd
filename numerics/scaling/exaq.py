"""EXAQ: where to clip the input of a softmax so that the error after the exponential is least.

x - max(x) <= 0 is quantized uniformly on [clip, 0]. The source gives straight lines in the standard deviation, and a
table of exact optima which these lines miss: at 1.01 by 0.34, 0.27 and 0.21 for 2, 3 and 4 bits. The distribution of x
behind either was not seen, so `exaq_clip` has the lines as printed, and `exponential_mse` measures a clip on data.
"""

import math
from typing import Any

import numpy as np

from ..formats.integers import whole
from ..means import finite, root_mean_squares

#: Bits -> (slope, intercept) of the clip in the standard deviation of the softmax's input.
EXAQ_FITS = {2: (-1.66, -1.85), 3: (-1.75, -2.06), 4: (-1.83, -2.27)}
#: Standard deviation -> bits -> the optimum that the source's table has.
EXAQ_OPTIMA = {1.01: {2: -3.183, 3: -3.559, 4: -3.910}, 2.02: {2: -4.311, 3: -4.862, 4: -5.414}}


def exaq_clip(sigma: float, bits: int) -> float:
    """The published line: slope * sigma + intercept, a negative number; bits 2, 3 or 4, sigma that of the input.

    Errors: ValueError for other bits and a sigma that is negative or not finite. Source: Shkolnik et al., EXAQ,
    arXiv 2410.03185.
    """
    if bits not in EXAQ_FITS:
        raise ValueError(f"bits = {bits!r}: published are {', '.join(map(str, EXAQ_FITS))}")
    if not 0 <= sigma < math.inf:
        raise ValueError(f"sigma = {sigma!r}: give a finite standard deviation of at least 0")
    slope, intercept = EXAQ_FITS[bits]
    return slope * sigma + intercept


def exponential_mse(x: Any, clip: float, bits: int) -> float:
    """Mean of (e**x - e**Q(x))**2 for finite x <= 0, Q(x) the nearest, ties to even, of 2**bits values from clip to 0.

    float64 arithmetic; 0 of an empty array. Errors: TypeError for other dtypes; ValueError for x above 0 or not finite,
    a clip that is not below 0, bits outside 1 to 16. Source: as `exaq_clip`; the grid is derived.
    """
    array = finite(x)
    if array.size and float(array.max()) > 0:
        raise ValueError(f"x reaches {float(array.max())}: subtract its maximum first")
    if not -math.inf < clip < 0:
        raise ValueError(f"clip = {clip!r}: give a finite number below 0")
    number = whole(bits)
    if number is None or not 1 <= number <= 16:
        raise ValueError(f"bits = {bits!r}: give an integer, 1 to 16")
    top = 2**number - 1
    wide = array.astype(np.float64).reshape(1, -1)
    with np.errstate(over="ignore"):  # beyond the clip is beyond it
        codes = np.rint(np.maximum(wide / clip, 0.0).clip(max=1.0) * top)
    with np.errstate(under="ignore"):
        off = np.exp(wide) - np.exp(codes / top * clip)
    return float(root_mean_squares(off)[0]) ** 2
