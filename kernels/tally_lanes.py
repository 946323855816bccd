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
from .modes import MODE_MASK, RNE, RTZ, SIGNED, UNIFORM
from .scratch import TILE

_FLOAT, _WORD, _MASK = ir.FloatType(), ir.IntType(32), ir.IntType(LANES)
FLOATS, _WORDS = ir.VectorType(_FLOAT, LANES), ir.VectorType(_WORD, LANES)
_FIELD, _MAGNITUDE, _SIGN = 0x7F800000, 0x7FFFFFFF, 1 << 31
# What a step is told of a format besides the sums, uint32: see `forms.centred`, `forms.truncated`, `counted.binade`.
SHIFT, DOWN, LARGEST, LOWEST, TINY, KEPT, SMALLEST, STEPS, DROP, DROP_FIELD = range(10)
NUMBERS = 10
_SMALLER, _LARGER = 0b1010, 0b0111  # of vrangeps: of the smaller magnitude without sign, of the larger with its own


def _all(value: int) -> Any:
    return ir.Constant(_WORDS, [value] * LANES)


def spread_out(builder: Any, x: Any) -> Any:
    """x in all lanes."""
    nothing = ir.Constant(ir.VectorType(x.type, LANES), ir.Undefined)
    first = builder.insert_element(nothing, x, ir.Constant(_WORD, 0))
    return builder.shuffle_vector(first, nothing, _all(0))


def _knows_magnitudes(context: Any) -> bool:
    """Whether the processor that is compiled for has vrangeps."""
    return "+avx512dq" in context.codegen().magic_tuple()[2].split(",")


def smaller_and_larger(context: Any, builder: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """(bits of the smaller magnitude, the float of the larger one)."""
    if _knows_magnitudes(context):
        kind = ir.FunctionType(FLOATS, (FLOATS, FLOATS, _WORD, FLOATS, _MASK, _WORD))
        choose = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx512.mask.range.ps.512")
        unused, everywhere = ir.Constant(FLOATS, ir.Undefined), ir.Constant(_MASK, -1)
        as_set = ir.Constant(_WORD, 4)  # the rounding that is set: nothing is rounded
        small, large = (
            builder.call(choose, [x, y, ir.Constant(_WORD, which), unused, everywhere, as_set])
            for which in (_SMALLER, _LARGER)
        )
        return builder.bitcast(small, _WORDS), large
    p, q = (builder.and_(builder.bitcast(v, _WORDS), _all(_MAGNITUDE)) for v in (x, y))
    less = builder.icmp_unsigned("<", p, q)
    return builder.select(less, p, q), builder.select(less, y, x)


def _odd(builder: Any, x: Any, y: Any, s: Any) -> tuple[Any, Any]:
    """(x + y rounded to odd, whether s, the nearest float, is not x + y): `sums.sum_bits`."""
    t = builder.fsub(s, x)
    error = builder.fadd(builder.fsub(x, builder.fsub(s, t)), builder.fsub(y, t))
    bits = builder.bitcast(s, _WORDS)
    away = builder.ashr(builder.xor(bits, builder.bitcast(error, _WORDS)), _all(31))  # -1 or 0
    inexact = builder.fcmp_unordered("!=", error, ir.Constant(FLOATS, [0.0] * LANES))
    odd = builder.or_(builder.add(bits, away), _all(1))
    return builder.bitcast(builder.select(inexact, odd, bits), FLOATS), inexact


def in_lanes(mode: int) -> bool:
    """Whether a rounding mode, with its form, is one that steps in lanes know."""
    if mode < 0:
        return False
    nearest, truncates = mode & MODE_MASK == RNE, mode & MODE_MASK == RTZ
    return bool(mode & SIGNED and (nearest or truncates)) or bool(mode & UNIFORM and nearest)


def of_multiples(mode: int) -> bool:
    """Whether the mode tells that numbers are multiples of the quantum: none underflows."""
    return mode >= 0 and mode & MODE_MASK == RNE and mode & (SIGNED | UNIFORM) == SIGNED | UNIFORM


def _rounded(builder: Any, mode: int, exact: Any, exponent: Any, numbers: list[Any]) -> Any:
    """The float `exact` rounded, its largest value not yet heeded; exponent: its field, no lower than LOWEST."""
    bits = builder.bitcast(exact, _WORDS)
    sign = builder.and_(bits, _all(_SIGN))
    if mode & MODE_MASK == RTZ and mode & UNIFORM:
        above = builder.icmp_signed(">=", builder.and_(bits, _all(_MAGNITUDE)), numbers[SMALLEST])
        return builder.bitcast(builder.and_(bits, builder.select(above, numbers[KEPT], _all(_SIGN))), FLOATS)
    if mode & MODE_MASK == RTZ:
        field = builder.and_(bits, _all(_FIELD))
        below = builder.sub(builder.add(numbers[LOWEST], numbers[DROP_FIELD]), field)
        below = builder.select(builder.icmp_signed(">", below, numbers[DROP_FIELD]), below, numbers[DROP_FIELD])
        kept = builder.shl(_all(0xFFFFFFFF), builder.lshr(below, _all(23)))
        kept = builder.select(builder.icmp_signed("<", below, _all(24 << 23)), kept, _all(_SIGN))
        return builder.bitcast(builder.and_(bits, kept), FLOATS)
    if mode & SIGNED:
        shifter = builder.bitcast(builder.add(exponent, numbers[SHIFT]), FLOATS)
        near = builder.fsub(builder.fadd(exact, shifter), shifter)
        if mode & UNIFORM:
            return near
        return builder.bitcast(builder.or_(builder.bitcast(near, _WORDS), sign), FLOATS)
    size = builder.and_(bits, _all(_MAGNITUDE))
    odd = builder.and_(builder.lshr(size, numbers[DROP]), _all(1))
    low = builder.xor(numbers[KEPT], _all(0xFFFFFFFF))
    near = builder.and_(builder.add(size, builder.lshr(builder.add(low, odd), _all(1))), numbers[KEPT])
    near = builder.select(builder.icmp_unsigned(">=", near, numbers[SMALLEST]), near, _all(0))
    return builder.bitcast(builder.or_(near, sign), FLOATS)


def _limited(builder: Any, near: Any, numbers: list[Any]) -> Any:
    """The value, no larger than the largest."""
    top = builder.bitcast(numbers[LARGEST], FLOATS)
    bottom = builder.fneg(top)
    value = builder.select(builder.fcmp_ordered(">", near, top), top, near)
    return builder.select(builder.fcmp_ordered("<", value, bottom), bottom, value)


def _absorbs(builder: Any, mode: int, exact: Any, exponent: Any, small: Any, numbers: list[Any]) -> Any:
    """Whether the magnitude of bits `small` is not zero, but below one ulp at the sum, which is not: `finite_tallies`."""
    zero = ir.Constant(FLOATS, [0.0] * LANES)
    if mode < 0 or (mode & UNIFORM and not of_multiples(mode)):  # the ulp may be below the carrier's numbers
        size = builder.bitcast(small, FLOATS)
        many = builder.fmul(size, builder.bitcast(numbers[STEPS], FLOATS))
        below = builder.fcmp_ordered("<", many, builder.bitcast(exponent, FLOATS))  # at zero nothing is
        return builder.and_(below, builder.fcmp_ordered("!=", size, zero))
    less_one = builder.bitcast(builder.sub(small, _all(1)), FLOATS)
    ulp_less_one = builder.bitcast(builder.sub(exponent, numbers[DOWN]), FLOATS)
    below = builder.fcmp_ordered("<", less_one, ulp_less_one)
    return below if of_multiples(mode) else builder.and_(below, builder.fcmp_ordered("!=", exact, zero))


def _exponent(builder: Any, mode: int, field: Any, numbers: list[Any]) -> Any:
    """An exponent field, no lower than LOWEST."""
    if of_multiples(mode):
        return field
    return builder.select(builder.icmp_unsigned(">", field, numbers[LOWEST]), field, numbers[LOWEST])


def leaves(context: Any, builder: Any, masks: Any, at: Any, j: Any) -> Any:
    """A function that leaves the mask of an event and condition; masks: (type, value) of their array."""
    kept = context.make_array(masks[0])(context, builder, masks[1]).data
    step = builder.bitcast(builder.gep(kept, [at]), _MASK.as_pointer())
    number = builder.lshr(j, ir.Constant(j.type, LANES.bit_length() - 1))

    def leave(event: int, condition: Any) -> None:
        where = builder.gep(step, [builder.add(number, ir.Constant(j.type, event * TILE // LANES))])
        builder.store(builder.bitcast(condition, _MASK), where, align=2)

    return leave


def lanes_at(context: Any, builder: Any, array: Any, j: Any) -> Any:
    """A pointer to LANES floats from index j on; array: (type, value)."""
    data = context.make_array(array[0])(context, builder, array[1]).data
    return builder.bitcast(builder.gep(data, [j]), FLOATS.as_pointer())


def _fits(numbers: Any, masks: Any, *rows: Any) -> bool:
    """Whether the types are those of a step."""
    contiguous = all(row.layout == "C" for row in (masks, *rows))
    kinds = masks.dtype == types.uint64 and all(row.dtype == types.float32 for row in rows)
    return contiguous and kinds and numbers == types.UniTuple(types.uint32, NUMBERS)


def make_count_lanes(mode: int, fitting: bool, odd: bool, fused: bool) -> Any:
    """The intrinsic. fitting: no sum overflows; odd: sums are rounded to odd first; fused: addends are products.

    A mode below 0 is float32's own sum, which fits; it is rounded to odd all the same, to tell what happened in it.
    """

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
        """total[j:] += factor * panel[j:], or panel[j:], for LANES sums, and masks of their events; see `finite_tallies`.

        total, panel: contiguous float32; masks: contiguous uint64, of which masks[at] begins the step's; numbers: as
        `finite_tallies.lane_numbers` makes them.
        """

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            total, factor, panel, masks, at, j, given = arguments
            numbers = [spread_out(builder, number) for number in cgutils.unpack_tuple(builder, given, NUMBERS)]
            leave = leaves(context, builder, (signature.args[3], masks), at, j)
            sums = lanes_at(context, builder, (signature.args[0], total), j)
            x = builder.load(sums, align=4)
            y = builder.load(lanes_at(context, builder, (signature.args[2], panel), j), align=4)
            if fused:
                y = builder.fmul(spread_out(builder, factor), y)
            s = builder.fadd(x, y)
            exact, is_inexact = _odd(builder, x, y, s) if odd else (s, None)
            field = builder.and_(builder.bitcast(exact, _WORDS), _all(_FIELD))
            exponent = _exponent(builder, mode, field, numbers)
            value = near = _rounded(builder, mode, exact, exponent, numbers) if mode >= 0 else s
            small, large = smaller_and_larger(context, builder, x, y)
            is_absorbed = is_lost = _absorbs(builder, mode, exact, exponent, small, numbers)
            if not fitting:
                value = _limited(builder, near, numbers)
                is_over = builder.fcmp_ordered("!=", value, near)
                is_lost = builder.or_(is_absorbed, is_over)
                leave(OVER, is_over)
            is_changed = builder.fcmp_ordered("!=", value, exact) if mode >= 0 else is_inexact
            leave(ABSORBED, is_absorbed)
            leave(SWAMPED, builder.and_(is_lost, builder.fcmp_ordered("==", value, large)))
            leave(CHANGED, is_changed)
            if not of_multiples(mode) and mode >= 0:
                leave(UNDER, builder.and_(is_changed, builder.icmp_unsigned("<", field, numbers[TINY])))
            builder.store(value, sums, align=4)
            return context.get_dummy_value()

        if not _fits(numbers, masks, total, panel):
            return None
        return types.none(total, types.float32, panel, masks, types.intp, types.intp, numbers), generate

    return count_lanes


def make_product_lanes(mode: int) -> Any:
    """The intrinsic for products, exact in float32, that are rounded."""

    @intrinsic
    def product_lanes(
        typingctx: Any,
        out: Any,
        factor: Any,
        panel: Any,
        masks: Any,
        at: Any,
        j: Any,
        numbers: Any,
    ) -> Any:
        """out[j:] = factor * panel[j:] rounded, of LANES products, and masks of their events; otherwise as `count_lanes`."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            out, factor, panel, masks, at, j, given = arguments
            numbers = [spread_out(builder, number) for number in cgutils.unpack_tuple(builder, given, NUMBERS)]
            leave = leaves(context, builder, (signature.args[3], masks), at, j)
            y = builder.load(lanes_at(context, builder, (signature.args[2], panel), j), align=4)
            exact = builder.fmul(spread_out(builder, factor), y)
            field = builder.and_(builder.bitcast(exact, _WORDS), _all(_FIELD))
            near = _rounded(builder, mode, exact, _exponent(builder, mode, field, numbers), numbers)
            value = _limited(builder, near, numbers)
            is_changed = builder.fcmp_ordered("!=", value, exact)
            leave(OVER, builder.fcmp_ordered("!=", value, near))
            leave(CHANGED, is_changed)
            if not of_multiples(mode):
                leave(UNDER, builder.and_(is_changed, builder.icmp_unsigned("<", field, numbers[TINY])))
            builder.store(value, lanes_at(context, builder, (signature.args[0], out), j), align=4)
            return context.get_dummy_value()

        if not _fits(numbers, masks, out, panel):
            return None
        return types.none(out, types.float32, panel, masks, types.intp, types.intp, numbers), generate

    return product_lanes


def make_row(lanes: Any) -> Any:
    """A step in `lanes` for all numbers of a row that fill masks; returns how many these are."""

    def row(out, factor, panel, masks, at, numbers):
        whole = out.size - out.size % LANES
        fours = whole - whole % (4 * LANES)
        # Four at a time: at the end of a long loop of one a processor would guess wrong in every step.
        for j in range(0, fours, 4 * LANES):
            lanes(out, factor, panel, masks, at, j, numbers)
            lanes(out, factor, panel, masks, at, j + LANES, numbers)
            lanes(out, factor, panel, masks, at, j + 2 * LANES, numbers)
            lanes(out, factor, panel, masks, at, j + 3 * LANES, numbers)
        for j in range(fours, whole, LANES):
            lanes(out, factor, panel, masks, at, j, numbers)
        return whole

    return core(row)
