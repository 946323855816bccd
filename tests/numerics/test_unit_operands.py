"""What is a member of a unit's format: the quick pass and the rounding agree with the table of values."""

import numpy as np
import pytest

from numerics import FloatFormat, MatrixUnit, catalog, matmul
from numerics.formats import NanEncoding, Subnormals
from numerics.unit_operands import check_members
from tests.numerics.grids import NONE

FORMATS = [
    *(FloatFormat(4, 3, subnormals=rule) for rule in (Subnormals.GRADUAL, Subnormals.FLUSH, Subnormals.NORMAL_BINADE)),
    FloatFormat(4, 0, infinities=False, nan=NONE, signed=False, subnormals=Subnormals.NO_ZERO),
    FloatFormat(3, 2, infinities=False, nan=NONE),
    FloatFormat(3, 2, infinities=False, nan=NanEncoding.NEGATIVE_ZERO),
    FloatFormat(8, 2),  # whose subnormals are float32's
    FloatFormat(9, 2, bias=280),  # whose normals are float32's subnormals
    catalog.E8M0,
    catalog.E4M3,
    FloatFormat(4, 3, infinities=False, nan=NanEncoding.TOP_CODE, signed=False),
    catalog.E5M2,
    catalog.BFLOAT16,
]


def values_of(fmt):
    """All values of the format; some, the lowest and highest among them, with neighbours in float32, halves, doubles."""
    codes = np.arange(1 << fmt.bits, dtype=np.uint16 if fmt.bits > 8 else np.uint8)
    with np.errstate(over="ignore"):
        own = np.asarray(fmt.decode(codes), np.float64)
        order = np.argsort(np.abs(own))
        some = own[np.unique(np.concatenate([order[:12], order[-12:], order[:: max(1, own.size // 40)]]))]
        near = some.astype(np.float32)
        around = [np.nextafter(near, np.float32(end)) for end in (0, np.inf, -np.inf)]
        others = [some * 0.5, some * 1.5, some * 2, -some, *(x.astype(np.float64) for x in around)]
    return own, np.concatenate([some, *others, [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, 1e-300, 1e300]])


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_members_are_the_values_of_the_table(fmt):
    own, tried = values_of(fmt)
    members = set(own[~np.isnan(own)].tolist())  # zeros of both signs are one value
    for x in np.unique(tried):
        member = fmt.has_nan if np.isnan(x) else float(x) in members
        with np.errstate(over="ignore", under="ignore"):
            arrays = [np.array([x]), np.array([x], np.float32)]
        arrays = arrays if arrays[1][0] == x or np.isnan(x) else arrays[:1]
        for array in arrays:
            if member:
                check_members(array, fmt, "a")
            else:
                with pytest.raises(ValueError, match=r"a\[0\] is .*, no value of"):
                    check_members(array, fmt, "a")


@pytest.mark.parametrize("rule", ["keep", "signed", "positive"])
def test_a_format_without_subnormals_has_none_as_operands(rule):
    unit = MatrixUnit(FloatFormat(5, 10, subnormals=Subnormals.FLUSH), catalog.BINARY32, 8, 24, ftz_in=rule)
    x = np.full((2, 8), 2.0**-14, np.float32)
    assert (matmul(x, x.T, unit) == 2.0**-25).all()
    x[1, 3] = 2.0**-15
    with pytest.raises(ValueError, match=r"a\[1, 3\] is 3.0517578e-05, no value of e5m10 \(subnormals flush\)"):
        matmul(x, x.T, unit)


def test_a_scale_of_zero_is_none_of_powers_of_two():
    unit = catalog.MATRIX_UNITS["b200.tcgen05.mxf8_e4m3.f32"]
    x, ones, zero = np.ones((2, 32), np.float32), np.ones((1, 2), np.float32), np.float32([[1], [0]])
    assert (matmul(x, x.T, unit, scale_a=ones.T, scale_b=ones) == 32).all()
    with pytest.raises(ValueError, match=r"scale_a\[1, 0\] is 0.0, no value of e8m0"):
        matmul(x, x.T, unit, scale_a=zero, scale_b=ones)
