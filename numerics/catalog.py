"""Named formats, each with its source. A new one is one constant."""

from collections.abc import Mapping
from types import MappingProxyType

from .formats import (
    BlockFormat,
    ElementFormat,
    FixedFormat,
    FloatFormat,
    NanEncoding,
    PositFormat,
    ScaleRule,
    Subnormals,
)

BINARY16 = FloatFormat(5, 10, name="binary16", source="IEEE 754-2019, 3.6")
BINARY32 = FloatFormat(8, 23, name="binary32", source="IEEE 754-2019, 3.6")
BINARY64 = FloatFormat(11, 52, name="binary64", source="IEEE 754-2019, 3.6")
BFLOAT16 = FloatFormat(8, 7, name="bfloat16", source="binary32 without its low 16 bits")
TF32 = FloatFormat(8, 10, name="tf32", source="NVIDIA TF32: binary32's exponent, binary16's fraction")

E5M2 = FloatFormat(5, 2, name="e5m2", source="OCP OFP8 v1.0")
E4M3 = FloatFormat(4, 3, infinities=False, nan=NanEncoding.TOP_CODE, name="e4m3fn", source="OCP OFP8 v1.0")
E3M2 = FloatFormat(3, 2, infinities=False, nan=NanEncoding.NONE, name="e3m2", source="OCP MX v1.0")
E2M3 = FloatFormat(2, 3, infinities=False, nan=NanEncoding.NONE, name="e2m3", source="OCP MX v1.0")
E2M1 = FloatFormat(2, 1, infinities=False, nan=NanEncoding.NONE, name="e2m1", source="OCP MX v1.0")

E4M3FNUZ = FloatFormat(
    4, 3, 8, infinities=False, nan=NanEncoding.NEGATIVE_ZERO, name="e4m3fnuz", source="AMD/Graphcore FP8"
)
E5M2FNUZ = FloatFormat(
    5, 2, 16, infinities=False, nan=NanEncoding.NEGATIVE_ZERO, name="e5m2fnuz", source="AMD/Graphcore FP8"
)
E4M3B11FNUZ = FloatFormat(
    4, 3, 11, infinities=False, nan=NanEncoding.NEGATIVE_ZERO, name="e4m3b11fnuz", source="ml_dtypes float8_e4m3b11fnuz"
)
E8M0 = FloatFormat(
    8,
    0,
    signed=False,
    subnormals=Subnormals.NO_ZERO,
    infinities=False,
    nan=NanEncoding.TOP_CODE,
    name="e8m0",
    source="OCP MX v1.0: powers of two 2**-127 to 2**127, NaN = 0xff",
)
#: FP4 of LUQ and of nanoGPT_MXFP4: zero and seven powers of two of either sign. The papers fix the exponents only up to
#: a scale; the bias of 1, hence 1 to 64, is that of the released code. All codes are numbers.
E3M0 = FloatFormat(
    3,
    0,
    1,
    infinities=False,
    nan=NanEncoding.NONE,
    name="e3m0",
    source="arXiv 2112.10769 (LUQ), FP4 [1,3,0]; brianchmiel/nanoGPT_MXFP4",
)
#: Taken from secondary sources: the lowest exponent code holds normals beside zero, and one symbol stands for infinity
#: and NaN. Assumed here: that symbol is all ones below the sign and a NaN, so Overflow.IEEE gives NaN; the rest of the
#: top exponent code are numbers; zero has both signs.
DLFLOAT16 = FloatFormat(
    6,
    9,
    31,
    subnormals=Subnormals.NORMAL_BINADE,
    infinities=False,
    nan=NanEncoding.TOP_CODE,
    name="dlfloat16",
    source="Agrawal et al., DLFloat, ARITH 2019",
)

INT4 = FixedFormat(4, name="int4", source="two's complement integer")
INT8 = FixedFormat(8, name="int8", source="two's complement integer")
INT16 = FixedFormat(16, name="int16", source="two's complement integer")
#: The element of MXINT8: 1.6 fixed point within +-127/64; the code of -2 is left unused, as the standard permits.
MXINT8_ELEMENT = FixedFormat(
    8, 6, symmetric=True, name="mxint8_element", source="OCP MX v1.0, INT8 with the code of -2 unused"
)


def lba(mantissa_bits: int, exponent_bits: int, bias: int, *, paper: bool = False) -> FloatFormat:
    """MxEy of Blumenfeld, Hubara and Soudry (LBA, arXiv 2401.14110): all exponent codes are normals, no specials.

    Largest value 2**(2**exponent_bits - 1 - bias) * (2 - 2**-mantissa_bits). The paper's set of values reaches down to
    2**-bias, which a code space with a zero cannot hold: paper=True is that set, paper=False the one that encodes.
    """
    return FloatFormat(
        exponent_bits,
        mantissa_bits,
        bias,
        subnormals=Subnormals.FULL_BINADE if paper else Subnormals.NORMAL_BINADE,
        infinities=False,
        nan=NanEncoding.NONE,
        name=f"lba_m{mantissa_bits}e{exponent_bits}_b{bias}" + ("_paper" if paper else ""),
        source="arXiv 2401.14110, eq. 2",
    )


def p3109(bits: int, precision: int, *, signed: bool, extended: bool) -> FloatFormat:
    """Binary{bits}p{precision}{s|u}{e|f} of the IEEE P3109 v4.0 draft (section 3.2): no -0, one NaN, subnormals.

    Extended formats have infinities. Errors: ValueError for a precision that leaves no exponent bit.
    """
    exponent_bits = bits - precision + int(not signed)
    name = f"binary{bits}p{precision}{'s' if signed else 'u'}{'e' if extended else 'f'}"
    if precision < 1 or exponent_bits < 1:
        raise ValueError(f"{name}: precision {precision} does not fit {bits} bits; P3109 wants 1 to {bits - signed}")
    if exponent_bits > 64 or precision > 64:
        raise ValueError(f"{name} has values that float64 does not hold: use fewer bits")
    return FloatFormat(
        exponent_bits,
        precision - 1,
        1 << (exponent_bits - 1),
        signed=signed,
        infinities=extended,
        nan=NanEncoding.NEGATIVE_ZERO if signed else NanEncoding.TOP_CODE,
        name=name,
        source="IEEE P3109 v4.0 draft, 3.2",
    )


def posit(bits: int) -> PositFormat:
    """The posit of that many bits, 2 to 32, with the two exponent bits that the 2022 standard gives all of them."""
    return PositFormat(bits, name=f"posit{bits}", source="Standard for Posit Arithmetic (2022)")


_MX = "OCP MX v1.0: blocks of 32 under E8M0, scale by the floor rule of 6.3"
MXFP8_E5M2 = BlockFormat(E5M2, E8M0, 32, name="mxfp8_e5m2", source=_MX)
MXFP8_E4M3 = BlockFormat(E4M3, E8M0, 32, name="mxfp8_e4m3", source=_MX)
MXFP6_E3M2 = BlockFormat(E3M2, E8M0, 32, name="mxfp6_e3m2", source=_MX)
MXFP6_E2M3 = BlockFormat(E2M3, E8M0, 32, name="mxfp6_e2m3", source=_MX)
MXFP4_E2M1 = BlockFormat(E2M1, E8M0, 32, name="mxfp4_e2m1", source=_MX)
MXINT8 = BlockFormat(MXINT8_ELEMENT, E8M0, 32, name="mxint8", source=_MX)
#: Two levels: see BlockFormat for the sequence. Libraries differ in the order of its operations; this one divides.
NVFP4 = BlockFormat(
    E2M1,
    E4M3,
    16,
    rule=ScaleRule.RATIO,
    tensor_scale=True,
    name="nvfp4",
    source="NVIDIA NVFP4: blocks of 16, E4M3 scales amax / 6, a float32 scale of the tensor amax / (6 * 448)",
)


def bfp(bits: int, block: int) -> BlockFormat:
    """Plain block floating point: `block` fixed-point mantissas of `bits` bits, sign included, under one exponent.

    A mantissa is a symmetric two's complement number with one bit before the point, so |mantissa| <= 2 - 2**-(bits-2);
    the shared exponent is that of the largest magnitude, eight bits wide (E8M0, so a block with a NaN is NaN). MXINT8 is
    bfp(8, 32); Microsoft's MSFP12 has the values of bfp(4, 16).
    """
    element = FixedFormat(bits, bits - 2, symmetric=True)
    return BlockFormat(element, E8M0, block, name=f"bfp{bits}_{block}", source="block floating point, exponent of amax")


BLOCK_FORMATS: Mapping[str, BlockFormat] = MappingProxyType(
    {
        fmt.name: fmt
        for fmt in (
            MXFP8_E5M2,
            MXFP8_E4M3,
            MXFP6_E3M2,
            MXFP6_E2M3,
            MXFP4_E2M1,
            MXINT8,
            NVFP4,
            bfp(8, 16),
            bfp(4, 16),
        )
    }
)
FORMATS: Mapping[str, ElementFormat] = MappingProxyType(
    {
        fmt.name: fmt
        for fmt in (
            BINARY16,
            BINARY32,
            BINARY64,
            BFLOAT16,
            TF32,
            E5M2,
            E4M3,
            E3M2,
            E2M3,
            E2M1,
            E4M3FNUZ,
            E5M2FNUZ,
            E4M3B11FNUZ,
            E8M0,
            E3M0,
            DLFLOAT16,
            INT4,
            INT8,
            INT16,
            MXINT8_ELEMENT,
            lba(7, 4, 10),
            lba(7, 4, 12),
            lba(4, 3, 3),
            lba(4, 3, 5),
            posit(8),
            posit(16),
            posit(32),
        )
    }
)

# At the end: the units are made of the formats above.
from .matrix_units import MATRIX_UNITS as MATRIX_UNITS  # noqa: E402
