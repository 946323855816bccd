"""Matrix units of any fields that go together, and products to try them on."""

import math

import numpy as np
from hypothesis import strategies as st

from numerics import Accumulator, FloatFormat, MatrixUnit, Overflow, Rounding, catalog

BF16, F16, F32, F64 = catalog.BFLOAT16, catalog.BINARY16, catalog.BINARY32, catalog.BINARY64
PROMOTE = Accumulator(F32, Rounding.RNE, Overflow.IEEE)
OUTPUTS = (F32, F16, BF16, FloatFormat(8, 13), FloatFormat(4, 3), FloatFormat(6, 9))
INPUTS = (F16, BF16, catalog.TF32, catalog.E4M3, catalog.E5M2, catalog.E2M1, FloatFormat(4, 2), FloatFormat(8, 3))


@st.composite
def units(draw):
    """A fused unit of any fields that go together."""
    first = draw(st.sampled_from(INPUTS))
    fields = {
        "input_b": draw(st.none() | st.sampled_from(INPUTS)),
        "rounding": draw(st.sampled_from([Rounding.RTZ, Rounding.RNE])),
        "ar": draw(st.sampled_from(["rz", "rz", "floor"])),
        "overflow_to_infinity": draw(st.booleans()),
        "prodnorm": draw(st.booleans()),
        "Emin_floor": draw(st.none() | st.integers(-140, 0)),
        "c_place": draw(st.sampled_from(["in_align", "late", "separate_add"])),
        "groups": draw(st.sampled_from(["one", "even_odd", "bit1"])),
        "group_ar": draw(st.sampled_from(["rz", "floor"])),
        "ftz_in": draw(st.sampled_from(["keep", "keep", "signed", "positive"])),
        "ftz_out": draw(st.booleans()),
        "product_limit": draw(st.none() | st.integers(-10, 40)),
    }
    bits = draw(st.integers(0, 40))
    if fields["c_place"] == "late":
        fields["Fc"] = draw(st.integers(0, 40))
        fields["F2"] = draw(st.integers(max(bits, fields["Fc"]), 45))
        fields["c_reach"] = draw(st.none() | st.integers(0, 40))
    output = draw(st.sampled_from(OUTPUTS))
    if draw(st.booleans()):
        fields["c_format"] = F32
    if draw(st.integers(0, 4)) == 0:
        fields["chunk"], fields["outer"] = draw(st.integers(1, 20)), PROMOTE
    length = draw(st.integers(1, 17))
    if fields["groups"] != "one":
        length = 4 * draw(st.integers(1, 5))
    return MatrixUnit(first, output, length, bits, **fields)


def members(fmt, near=None):
    """A finite value of the format of any size, or of one binade and a few around it."""
    low = fmt.emin - fmt.mantissa_bits
    exponents = st.integers(low, fmt.emax) if near is None else st.integers(near - 3, near + 3)
    significands = st.integers(-(2**fmt.precision) + 1, 2**fmt.precision - 1)

    def value(pair):
        exponent = max(min(pair[1], fmt.emax) - fmt.mantissa_bits, low)
        exact = pair[0] * 2.0**exponent
        return math.copysign(min(abs(exact), fmt.max), exact)

    return st.tuples(significands, exponents).map(value)


@st.composite
def problems(draw, unit, depth=20):
    """(a [2, K], b [K, 2], c [2, 2]): of all sizes or of one; sometimes half of k takes back the other half."""
    k = draw(st.integers(1, depth))
    sides, middle = [], 0
    for fmt in unit.inputs:
        near = draw(st.none() | st.integers(fmt.emin, fmt.emax))
        middle += near or 0
        sides.append(draw(st.lists(members(fmt, near), min_size=2 * k, max_size=2 * k)))
    a, b = np.array(sides[0]).reshape(2, k), np.array(sides[1]).reshape(k, 2)
    if k > 1 and draw(st.integers(0, 2)) == 0:
        half = k // 2
        a[:, half : 2 * half], b[half : 2 * half] = -a[:, :half], b[:half]
    near = draw(st.none() | st.just(middle))
    c = np.array(draw(st.lists(members(unit.addend, near), min_size=4, max_size=4))).reshape(2, 2)
    return a, b, c


@st.composite
def scaled_units(draw):
    """A fused unit whose operands have scales."""
    scale = draw(st.sampled_from([catalog.E8M0, catalog.MATRIX_UNITS["b200.tcgen05.nvf4.f32"].scale]))
    grouped = draw(st.booleans())
    block = draw(st.sampled_from([2, 4, 8]))
    return MatrixUnit(
        catalog.E2M1 if grouped else draw(st.sampled_from([catalog.E2M1, catalog.E4M3, catalog.E5M2])),
        draw(st.sampled_from(OUTPUTS)),
        draw(st.sampled_from([block, 2 * block])),
        draw(st.integers(0, 30)),
        rounding=draw(st.sampled_from([Rounding.RTZ, Rounding.RNE])),
        ar=draw(st.sampled_from(["rz", "floor"])),
        overflow_to_infinity=draw(st.booleans()),
        prodnorm=not grouped and draw(st.booleans()),
        scale=scale,
        scale_block=block,
        exact_group=2 if grouped else 1,
    )


@st.composite
def exact_units(draw):
    """A fused unit that cuts nothing."""
    return MatrixUnit(
        draw(st.sampled_from(INPUTS)),
        draw(st.sampled_from(OUTPUTS)),
        draw(st.integers(1, 9)),
        ar="exact",
        rounding=draw(st.sampled_from([Rounding.RTZ, Rounding.RNE])),
        overflow_to_infinity=draw(st.booleans()),
        ftz_out=draw(st.booleans()),
    )


@st.composite
def stepping_units(draw):
    """A unit that rounds at every step, in binary32 or binary64."""
    output = draw(st.sampled_from([F32, F64]))
    fields = {
        "tree": draw(st.sampled_from(["sequential", "pairwise"])),
        "rounding": Rounding.RNE,
        "ftz_in": draw(st.sampled_from(["keep", "signed"])),
        "ftz_out": output == F32 and draw(st.booleans()),
    }
    fields["c_place"] = "late" if fields["tree"] == "pairwise" else draw(st.sampled_from(["late", "in_align"]))
    if fields["tree"] == "sequential" and fields["c_place"] == "late":
        fields["groups"] = draw(st.sampled_from(["one", "even_odd", "bit1"]))
    # The accumulator counts no sums at the ends of binary64, which those of binary32 are far from.
    if output == F32 and draw(st.integers(0, 4)) == 0:
        fields["chunk"], fields["outer"] = draw(st.integers(1, 9)), Accumulator(BF16, Rounding.RTZ)
    length = draw(st.sampled_from([4, 8]))
    return MatrixUnit(draw(st.sampled_from([BF16, output])), output, length, **fields)


@st.composite
def scales(draw, unit, depth):
    """Keyword arguments of the scales of a product of 2 x 2 outputs; none for a unit without."""
    if unit.scale is None:
        return {}
    count = -(-depth // unit.scale_block)
    exponents = st.integers(max(unit.scale.emin, -100), min(unit.scale.emax, 100))
    significands = st.sampled_from([1.0, 1.125, 1.75, 0.0] if unit.scale.mantissa_bits else [1.0])
    each = st.tuples(exponents, significands).map(lambda pair: pair[1] * 2.0 ** pair[0])
    values = draw(st.lists(each, min_size=4 * count, max_size=4 * count))
    return {
        "scale_a": np.array(values[: 2 * count]).reshape(2, count),
        "scale_b": np.array(values[2 * count :]).reshape(count, 2),
    }
