"""Functions of blocks that are wrong for one shape of arrays alone."""

import numpy as np
import pytest

from numerics import Quantizer, Rounding, parse_format
from numerics.properties import ClaimError, as_quantizer, checks

MX = parse_format("mxfp4_e2m1")
RIGHT = Quantizer(MX)


@pytest.mark.parametrize(
    "where", [lambda x: x.ndim == 1, lambda x: x.ndim == 3, lambda x: x.shape[-1] == 64], ids=range(3)
)
def test_one_shape(where):
    def fn(x):
        return np.zeros_like(x) if where(x) else RIGHT.quantize(x)

    with pytest.raises(ClaimError, match="block_apart: in an array of another shape"):
        checks.block_apart(as_quantizer(fn, fmt=MX))


@pytest.mark.parametrize("name", ["mxfp4_e2m1", "mxfp8_e4m3", "nvfp4"])
@pytest.mark.parametrize("axis", [-1, 0])
@pytest.mark.parametrize(("mode", "bits"), [(Rounding.RNE, None), (Rounding.SR, 8)])
def test_right_ones_are_not_accused(name, axis, mode, bits):
    checks.block_apart(as_quantizer(Quantizer(parse_format(name), mode, random_bits=bits, axis=axis)))
