"""Operations on bits that Python has no words for, as LLVM instructions: one name for both float widths."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_UNSIGNED_OF = {types.float32: types.uint32, types.float64: types.uint64}
_FLOAT_OF = {types.uint32: types.float32, types.uint64: types.float64}
_WIDTH = {types.float32: 32, types.float64: 64}


def for_cuda(context: Any) -> bool:
    """Whether code is generated for a CUDA device."""
    return type(context).__module__.startswith("numba.cuda")


@intrinsic
def to_bits(typingctx: Any, x: Any) -> Any:
    """The bit pattern of a float: float32 -> uint32, float64 -> uint64."""
    if x not in _UNSIGNED_OF:
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(_WIDTH[x]))

    return _UNSIGNED_OF[x](x), generate


@intrinsic
def from_bits(typingctx: Any, bits: Any) -> Any:
    """The float with this bit pattern: uint32 -> float32, uint64 -> float64."""
    if bits not in _FLOAT_OF:
        return None
    result = _FLOAT_OF[bits]

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType() if result == types.float32 else ir.DoubleType())

    return result(bits), generate


@intrinsic
def multiply_high(typingctx: Any, x: Any, y: Any) -> Any:
    """The upper half of the product of two uint32."""
    if x != types.uint32 or y != types.uint32:
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if for_cuda(context):  # one instruction, where the general way would be taken for work in 64 bits
            half = ir.IntType(32)
            kind = ir.FunctionType(half, (half, half))
            return builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.nvvm.mulhi.ui"), arguments)
        wide = ir.IntType(64)
        product = builder.mul(*(builder.zext(argument, wide) for argument in arguments))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 32)), ir.IntType(32))

    return types.uint32(x, y), generate


@intrinsic
def shift_left(typingctx: Any, bits: Any, count: Any) -> Any:
    """bits << count in lanes of their own width, both uint32 or uint64; without meaning from that width on."""
    if bits not in _FLOAT_OF or count != bits:
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.shl(*arguments)

    return bits(bits, count), generate


@intrinsic
def shift_right(typingctx: Any, bits: Any, count: Any) -> Any:
    """bits >> count, likewise. Python's `>>` of uint32 is done in 64 bits, which not every compiler takes back."""
    if bits not in _FLOAT_OF or count != bits:
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.lshr(*arguments)

    return bits(bits, count), generate


@intrinsic
def fma(typingctx: Any, x: Any, y: Any, z: Any) -> Any:
    """x*y + z with one rounding; all three of the same float type."""
    if x not in _WIDTH or y != x or z != x:
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return x(x, y, z), generate


def _whole(name: str, nvvm_name: str) -> Any:
    def typed(typingctx: Any, x: Any) -> Any:
        if x not in _WIDTH:
            return None

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            width = arguments[0].type
            letter = "f" if x == types.float32 else "d"
            full = f"nvvm.{nvvm_name}.{letter}" if for_cuda(context) else f"{name}.f{_WIDTH[x]}"
            kind = ir.FunctionType(width, (width,))
            return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.{full}"), arguments)

        return x(x), generate

    return typed


# numpy has functions for these, of which numba knows none for CUDA.


@intrinsic
def rint(typingctx: Any, x: Any) -> Any:
    """The float nearest to x that is a whole number, ties to even."""
    return _whole("rint", "round")(typingctx, x)


@intrinsic
def ceil(typingctx: Any, x: Any) -> Any:
    """The smallest whole number that is not below x."""
    return _whole("ceil", "ceil")(typingctx, x)


@intrinsic
def floor(typingctx: Any, x: Any) -> Any:
    """The largest whole number that is not above x."""
    return _whole("floor", "floor")(typingctx, x)


@intrinsic
def trunc(typingctx: Any, x: Any) -> Any:
    """x without its fraction."""
    return _whole("trunc", "trunc")(typingctx, x)


@intrinsic
def leading_zeros(typingctx: Any, bits: Any) -> Any:
    """Number of zero bits above the highest set bit of a uint32 or uint64; the width for 0."""
    if bits not in _FLOAT_OF:
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return bits(bits), generate


@intrinsic
def population_count(typingctx: Any, bits: Any) -> Any:
    """Number of set bits of a uint32 or uint64, in its own type."""
    if bits not in _FLOAT_OF:
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return bits(bits), generate


@intrinsic
def widest_vectors(typingctx: Any) -> Any:
    """Call once at the top of a loop function: 512-bit vectors where the CPU has them, arguments do not alias.

    The second promise is the caller's to keep: arrays are equal or disjoint. Where what is written is what is read (out=x),
    each lane is read before it is written and not read again, so that no order of reads and writes that the promise
    allows can tell; a loop that reads twice looks for that itself (`apart` in `elementwise.make_quantize`).
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        function = builder.function
        # llvmlite keeps a list of attribute names that lacks this one; adding past it is the only way in.
        set.add(function.attributes, '"prefer-vector-width"="512"')
        for argument in function.args:
            if isinstance(argument.type, ir.PointerType):
                argument.add_attribute("noalias")
        return context.get_dummy_value()

    return types.none(), generate


@intrinsic
def uncounted(typingctx: Any, array: Any) -> Any:
    """The same array without its reference count: in loops, counting it in and out costs more than a row of lanes.

    The caller keeps the array itself alive until the last use, with `keep`.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        view = context.make_array(array)(context, builder, arguments[0])
        view.meminfo = ir.Constant(view.meminfo.type, None)
        view.parent = ir.Constant(view.parent.type, None)
        return view._getvalue()

    return array(array), generate


@intrinsic
def keep(typingctx: Any, array: Any) -> Any:
    """Nothing, but a use: until here the array, or the tuple of arrays, is not freed."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.get_dummy_value()

    return types.none(array), generate
