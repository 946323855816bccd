"""Named formats, each with its source. A new one is one constant."""

from collections.abc import Mapping
from types import MappingProxyType

from .formats import FloatFormat, NanEncoding, Subnormals

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


FORMATS: Mapping[str, FloatFormat] = MappingProxyType(
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
            lba(7, 4, 10),
            lba(7, 4, 12),
            lba(4, 3, 3),
            lba(4, 3, 5),
        )
    }
)
