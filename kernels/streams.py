"""Reading and writing ahead of a loop that goes through memory once.

A processor reads ahead by itself, but slower than memory gives: a loop that computes a little for each element leaves
it few elements to look at, and a line that is only written is fetched when the store comes. So both arrays are asked
for strip by strip, long before their turn.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .scratch import LINE

STRIP = 512  # bytes of the wider array between two times of asking
STRIPS_AHEAD = 8  # from what is asked for to what is computed


def _itemsize(context: Any, array: Any) -> int:
    return int(context.get_abi_sizeof(context.get_data_type(array.dtype)))


def _strip(context: Any, x: Any, out: Any) -> int:
    return STRIP // max(_itemsize(context, x), _itemsize(context, out))


@intrinsic
def strip_of(typingctx: Any, x: Any, out: Any) -> Any:
    """How many elements of both arrays are a strip."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.get_constant(types.intp, _strip(context, x, out))

    return types.intp(x, out), generate


def _ask(context: Any, builder: Any, arrays: Any, strip: int, begin: Any, stop: Any) -> Any:
    byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), (byte, number, number, number))
    ask = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    to_read, to_stay, data_not_code = (ir.Constant(number, choice) for choice in (0, 3, 1))
    place = builder.add(begin, ir.Constant(begin.type, STRIPS_AHEAD * strip))
    with builder.if_then(builder.icmp_signed("<", place, stop), likely=True):
        for array, handed in arrays:
            data = context.make_array(array)(context, builder, handed).data
            first = builder.bitcast(builder.gep(data, [place]), byte)
            for at in range(0, strip * _itemsize(context, array), LINE):
                line = builder.gep(first, [ir.Constant(number, at)])
                builder.call(ask, [line, to_read, to_stay, data_not_code])
    return context.get_dummy_value()


@intrinsic
def ask_ahead(typingctx: Any, x: Any, out: Any, begin: Any, stop: Any) -> Any:
    """Ask for the strips of x and out far ahead of element `begin`, unless they are at `stop`: a hint, no more."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        arrays, strip = zip((x, out), arguments[:2], strict=True), _strip(context, x, out)
        return _ask(context, builder, arrays, strip, *arguments[2:])

    return types.none(x, out, types.intp, types.intp), generate


@intrinsic
def read_ahead(typingctx: Any, x: Any, begin: Any, stop: Any) -> Any:
    """The same of an array that nothing is written for."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _ask(context, builder, [(x, arguments[0])], _strip(context, x, x), *arguments[1:])

    return types.none(x, types.intp, types.intp), generate
