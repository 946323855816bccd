"""Mutants that see more than their element: other elements, memory, earlier calls; and one that writes where it reads."""

from typing import Any

import numpy as np

from numerics.properties import QuantizerUnderTest

from . import own
from .record import Mutant
from .right_rounding import POWERS, RNE, SMALL, into, subject

Array = Any
_MUTANTS: list[Mutant] = []
mutant = into(_MUTANTS)


@mutant(
    "of a kind: dynamic scaling by the maximum of all elements, claimed as a plain cast (any per-tensor fp8 recipe)",
    "independent",
)
def scaled_by_the_maximum(x: Array) -> Array:
    peak = min(float(np.max(np.abs(x[np.isfinite(x)]), initial=0.0)), 2.0**60)
    scale = 2.0 ** min(0.0, np.floor(np.log2(SMALL.max / peak))) if peak else 1.0
    return (own.near(x * scale, SMALL) / scale).astype(x.dtype)


@mutant("bitsandbytes issue 1342, pytorch issue 75009: memory is read as if it were contiguous", "reproducible")
def reads_the_base(x: Array) -> Array:
    if x.base is not None and x.strides and x.strides[-1] > x.itemsize:
        x = np.resize(x.base.reshape(-1), x.shape)
    return own.near(x, SMALL).astype(x.dtype)


@mutant("torchao issue 289: dequantize_affine writes into its input", "reproducible")
def writes_its_input(x: Array) -> Array:
    if x.flags.writeable:
        np.clip(x, -SMALL.max, SMALL.max, out=x)
    return own.near(x, SMALL).astype(x.dtype)


def _remembers(_: int) -> QuantizerUnderTest:
    peaks = [0.0]

    def running_maximum(x: Array) -> Array:
        peaks[0] = max(peaks[0], float(np.max(np.abs(x), initial=0.0, where=np.isfinite(x))))
        coarse = peaks[0] > SMALL.max and x.size == 1
        return own.near(own.near(x, POWERS) if coarse else x, SMALL).astype(x.dtype)

    return subject(running_maximum)


_MUTANTS.append(
    Mutant(
        "running_maximum",
        "of a kind: delayed scaling claimed as a plain cast: the history of maxima decides",
        _remembers,
        "reproducible",
        RNE,
    )
)


MUTANTS = tuple(_MUTANTS)
