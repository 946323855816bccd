"""The principal branch of Lambert's W, for the closed forms of optimal clips."""

import math


def lambert_w0(x: float) -> float:
    """The w >= 0 with w e**w = x, for a finite x >= 0; within 2 ulp.

    Errors: ValueError for a negative or non-finite x. The steps are Newton's on w + log w = log x, which converge from
    any start; the last is Newton's on w - x e**-w, whose rounding errors are divided by 1 + w. Source: Corless, Gonnet,
    Hare, Jeffrey and Knuth, On the Lambert W function, Adv. Comput. Math. 5, 1996; Iacono and Boyd, New approximations
    to the principal real-valued branch of the Lambert W-function, Adv. Comput. Math. 43, 2017 (the step).
    """
    x = float(x)
    if not 0 <= x < math.inf:
        raise ValueError(f"lambert_w0({x}): give a finite number of at least 0")
    if x == 0:
        return 0.0
    log = math.log1p(x)
    w = log * (1 - math.log1p(log) / (2 + log))
    for _ in range(3):
        w *= (1 + math.log(x / w)) / (1 + w)
    return w - (w - x * math.exp(-w)) / (1 + w)
