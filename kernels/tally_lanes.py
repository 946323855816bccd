"""A step of sixteen chains that leaves masks of what happens in it, as vectors of LLVM.

What LLVM makes of the same step written for one chain takes a third longer: it merges conditions that imply one another,
and does not know AVX-512's instruction for the smaller or larger magnitude of two floats.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ._jit import core
from .mask_tallies import ABSORBED, CHANGED, LANES, OVER, SWAMPED, UNDER
from .scratch import TILE

_FLOAT, _WORD, _MASK = ir.FloatType(), ir.IntType(32), ir.IntType(LANES)
_FLOATS, _WORDS = ir.VectorType(_FLOAT, LANES), ir.VectorType(_WORD, LANES)
_SMALLER, _LARGER = 0b1010, 0b0111  # of vrangeps: of the smaller magnitude without sign, of the larger with its own


def _all(value: int) -> Any:
    return ir.Constant(_WORDS, [value] * LANES)


def _spread(builder: Any, x: Any) -> Any:
    """x in all lanes."""
    nothing = ir.Constant(ir.VectorType(x.type, LANES), ir.Undefined)
    first = builder.insert_element(nothing, x, ir.Constant(_WORD, 0))
    return builder.shuffle_vector(first, nothing, _all(0))


def _knows_magnitudes(context: Any) -> bool:
    """Whether the processor that is compiled for has vrangeps."""
    return "+avx512dq" in context.codegen().magic_tuple()[2].split(",")


def _smaller_and_larger(context: Any, builder: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """(bits of the smaller magnitude, the float of the larger one)."""
    if _knows_magnitudes(context):
        kind = ir.FunctionType(_FLOATS, (_FLOATS, _FLOATS, _WORD, _FLOATS, _MASK, _WORD))
        choose = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx512.mask.range.ps.512")
        unused, everywhere = ir.Constant(_FLOATS, ir.Undefined), ir.Constant(_MASK, -1)
        as_set = ir.Constant(_WORD, 4)  # the rounding that is set: nothing is rounded
        small, large = (
            builder.call(choose, [x, y, ir.Constant(_WORD, which), unused, everywhere, as_set])
            for which in (_SMALLER, _LARGER)
        )
        return builder.bitcast(small, _WORDS), large
    p, q = (builder.and_(builder.bitcast(v, _WORDS), _all(0x7FFFFFFF)) for v in (x, y))
    less = builder.icmp_unsigned("<", p, q)
    return builder.select(less, p, q), builder.select(less, y, x)


def _odd(builder: Any, x: Any, y: Any, s: Any) -> Any:
    """x + y rounded to odd, s being the nearest float: `sums.sum_bits`."""
    t = builder.fsub(s, x)
    error = builder.fadd(builder.fsub(x, builder.fsub(s, t)), builder.fsub(y, t))
    bits = builder.bitcast(s, _WORDS)
    away = builder.ashr(builder.xor(bits, builder.bitcast(error, _WORDS)), _all(31))  # -1 or 0
    inexact = builder.fcmp_unordered("!=", error, ir.Constant(_FLOATS, [0.0] * LANES))
    odd = builder.or_(builder.add(bits, away), _all(1))
    return builder.bitcast(builder.select(inexact, odd, bits), _FLOATS)


def make_count_lanes(fitting: bool, odd: bool = False, gradual: bool = False) -> Any:
    """The intrinsic. fitting: no sum overflows; odd: sums are rounded to odd first; gradual: underflow is counted too."""

    @intrinsic
    def count_lanes(
        typingctx: Any,
        total: Any,
        factor: Any,
        panel: Any,
        masks: Any,
        at: Any,
        j: Any,
        numbers: Any,
    ) -> Any:
        """total[j:] += factor * panel[j:] for LANES sums, and masks of their events; see `finite_tallies`.

        total, panel: contiguous float32; masks: contiguous uint64, of which masks[at] begins the step's; numbers: five
        uint32 as `finite_tallies.lane_numbers` makes them.
        """

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            total, factor, panel, masks, at, j, numbers = arguments
            shift, down, largest, lowest, tiny = (
                _spread(builder, number) for number in cgutils.unpack_tuple(builder, numbers, 5)
            )

            def data_of(which: int, array: Any) -> Any:
                return context.make_array(signature.args[which])(context, builder, array).data

            def lanes_of(which: int, array: Any) -> Any:
                return builder.bitcast(builder.gep(data_of(which, array), [j]), _FLOATS.as_pointer())

            kept = builder.bitcast(builder.gep(data_of(3, masks), [at]), _MASK.as_pointer())
            number = builder.lshr(j, ir.Constant(j.type, LANES.bit_length() - 1))

            def leave(event: int, condition: Any) -> None:
                where = builder.gep(kept, [builder.add(number, ir.Constant(j.type, event * TILE // LANES))])
                builder.store(builder.bitcast(condition, _MASK), where, align=2)

            sums = lanes_of(0, total)
            x = builder.load(sums, align=4)
            y = builder.fmul(_spread(builder, factor), builder.load(lanes_of(2, panel), align=4))
            s = builder.fadd(x, y)
            exact = _odd(builder, x, y, s) if odd else s
            bits = builder.bitcast(exact, _WORDS)
            field = exponent = builder.and_(bits, _all(0x7F800000))
            if gradual:
                exponent = builder.select(builder.icmp_unsigned(">", field, lowest), field, lowest)
            shifter = builder.bitcast(builder.add(exponent, shift), _FLOATS)
            near = builder.fsub(builder.fadd(exact, shifter), shifter)  # `forms.centred`
            if gradual:
                signed = builder.or_(builder.bitcast(near, _WORDS), builder.and_(bits, _all(1 << 31)))
                near = builder.bitcast(signed, _FLOATS)
            value = near
            small, large = _smaller_and_larger(context, builder, x, y)
            less_one = builder.bitcast(builder.sub(small, _all(1)), _FLOATS)
            ulp_less_one = builder.bitcast(builder.sub(exponent, down), _FLOATS)
            is_absorbed = is_lost = builder.fcmp_ordered("<", less_one, ulp_less_one)
            if gradual:
                some = builder.fcmp_ordered("!=", exact, ir.Constant(_FLOATS, [0.0] * LANES))
                is_absorbed = is_lost = builder.and_(is_absorbed, some)
            if not fitting:
                top = builder.bitcast(largest, _FLOATS)
                bottom = builder.fneg(top)
                value = builder.select(builder.fcmp_ordered(">", near, top), top, near)
                value = builder.select(builder.fcmp_ordered("<", value, bottom), bottom, value)
                is_over = builder.fcmp_ordered("!=", value, near)
                is_lost = builder.or_(is_absorbed, is_over)
                leave(OVER, is_over)
            is_changed = builder.fcmp_ordered("!=", value, exact)
            leave(ABSORBED, is_absorbed)
            leave(SWAMPED, builder.and_(is_lost, builder.fcmp_ordered("==", value, large)))
            leave(CHANGED, is_changed)
            if gradual:
                leave(UNDER, builder.and_(is_changed, builder.icmp_unsigned("<", field, tiny)))
            builder.store(value, sums, align=4)
            return context.get_dummy_value()

        arrays = (types.float32, types.float32, types.uint64)
        if any(a.dtype != kind or a.layout != "C" for a, kind in zip((total, panel, masks), arrays, strict=True)):
            return None
        if numbers != types.UniTuple(types.uint32, 5):
            return None
        return types.none(total, types.float32, panel, masks, types.intp, types.intp, numbers), generate

    return count_lanes


def make_count_row(fitting: bool, odd: bool = False, gradual: bool = False) -> Any:
    """count_lanes for all sums that fill masks; returns how many these are."""
    count_lanes = make_count_lanes(fitting, odd, gradual)

    def count_row(total, factor, panel, masks, at, numbers):
        whole = total.size - total.size % LANES
        fours = whole - whole % (4 * LANES)
        # Four at a time: at the end of a long loop of one a processor would guess wrong in every step.
        for j in range(0, fours, 4 * LANES):
            count_lanes(total, factor, panel, masks, at, j, numbers)
            count_lanes(total, factor, panel, masks, at, j + LANES, numbers)
            count_lanes(total, factor, panel, masks, at, j + 2 * LANES, numbers)
            count_lanes(total, factor, panel, masks, at, j + 3 * LANES, numbers)
        for j in range(fours, whole, LANES):
            count_lanes(total, factor, panel, masks, at, j, numbers)
        return whole

    return core(count_row)
