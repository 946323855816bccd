"""NaNs of every payload: what a rounding of the bits alone makes of them is found, and shown by a line that runs."""

import numpy as np
import pytest

from numerics import Overflow, Quantizer, Rounding, catalog
from numerics.properties import ClaimError, as_quantizer, checks
from numerics.properties.evidence import literal
from numerics.properties.rounding_checks import nans

KEEPING = np.uint32(0xFFFF0000)


def carrying(x):
    """To bfloat16, to nearest even; an all-ones payload carries into the sign."""
    bits = x.view(np.uint32)
    return ((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) & KEEPING).view(np.float32)


def cutting(x):
    """To bfloat16, toward zero; a payload in the lowest bits is cut off, and infinity is left."""
    return (x.view(np.uint32) & KEEPING).view(np.float32)


def careful(x):
    return np.where(np.isnan(x), np.float32(np.nan), carrying(x))


@pytest.mark.parametrize(("function", "rounding"), [(carrying, Rounding.RNE), (cutting, Rounding.RTZ)])
def test_a_nan_that_is_lost_is_found(function, rounding):
    subject = as_quantizer(function, fmt=catalog.BFLOAT16, rounding=rounding, overflow=Overflow.IEEE)
    with pytest.raises(ClaimError) as failure:
        checks.specials(subject)
    line = failure.value.details["reproduce"]
    names = {"np": np, function.__name__: function}
    assert not np.isnan(eval(line, names)).any(), line


def test_a_right_function_meets_signalling_nans_without_a_warning():
    def by_float64(x):
        return careful(x.astype(np.float64).astype(np.float32))

    for function in (careful, by_float64):
        assert checks.specials(as_quantizer(function, fmt=catalog.BFLOAT16, overflow=Overflow.IEEE)).cases == 10


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_kind_is_made_again_by_its_literal(dtype):
    kinds = nans(dtype)
    assert np.isnan(kinds).all() and len({x.tobytes() for x in kinds}) == 6
    assert eval(literal(kinds, dtype), {"np": np}).tobytes() == kinds.tobytes()
    assert checks.specials(as_quantizer(Quantizer(catalog.E5M2), dtype=dtype)).cases == 10


def test_a_name_is_no_format():
    with pytest.raises(TypeError, match=r"fmt = 'bfloat16': give a format record; numerics.parse_format"):
        as_quantizer(careful, fmt="bfloat16")
