"""Counts of events of which each step leaves a mask, a bit for each sum: full adders count 512 sums at a time.

A mask costs a store, where a count to each sum would cost an addition to a vector of sixteen. The masks of SLOTS steps
are kept, then added up as numbers of three bits to numbers of PLANES bits, each bit in a word of its own (bit-sliced);
these are spread to counts before they can be full.

counts: the eight rows of numerics.Events, two arrays of `finite_tallies`, and three of `mask_tally` for sums and products.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ._jit import core
from .scratch import TILE, lined_row

U32, U64 = np.uint32, np.uint64

ABSORBED, SWAMPED, CHANGED, OVER, UNDER = range(5)  # CHANGED: the result is not the sum that was rounded
EVENTS = 5
LANES = 16  # sums of a mask
WORDS = TILE // 64  # of the masks of one event and step
SLOTS, PLANES = 7, 8  # 7 masks add up to three bits
SLOT = EVENTS * WORDS  # words of a step
_LINE, _MASK = ir.VectorType(ir.IntType(64), WORDS), ir.IntType(LANES)
_COUNTS = ir.VectorType(ir.IntType(32), LANES)
RING = SLOTS + 1  # steps whose masks have room: the last one's are on their way to the cache, in stores of two bytes
STEPS, ADDED, HELD = range(3)  # numbers of steps: all, those that were added up, those that the planes hold
GRADUAL = 3  # 1 once a step has left masks for UNDER
_FULL = (1 << PLANES) - 1 - SLOTS


@core
def mask_tally(counting):
    """(masks, planes, the numbers of steps) of a tile, without room where nothing is counted."""
    number = np.zeros(4, np.uint32)
    like = np.zeros(1, np.uint64)
    masks = lined_row(RING * SLOT if counting else 0, like)
    planes = lined_row(EVENTS * PLANES * WORDS if counting else 0, like)
    masks[:], planes[:] = U64(0), U64(0)
    return masks, planes, number


def _data(context: Any, builder: Any, signature: Any, arguments: Any, which: int, index: Any, kind: Any) -> Any:
    """A pointer to a vector (or mask) at an index of one of the arguments, an array of words."""
    data = context.make_array(signature.args[which])(context, builder, arguments[which]).data
    return builder.bitcast(builder.gep(data, [index]), kind.as_pointer())


def _adder(context: Any, builder: Any, x: Any, y: Any, z: Any) -> tuple[Any, Any]:
    """(sum, carry) of a full adder for each bit."""
    if "+avx512f" in context.codegen().magic_tuple()[2].split(","):
        kind = ir.FunctionType(_LINE, (_LINE, _LINE, _LINE, ir.IntType(32)))
        of_three = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx512.pternlog.q.512")
        one, two = (builder.call(of_three, [x, y, z, ir.Constant(ir.IntType(32), table)]) for table in (0x96, 0xE8))
        return one, two
    either = builder.xor(x, y)
    return builder.xor(either, z), builder.or_(builder.and_(x, y), builder.and_(z, either))


@intrinsic
def _add_up(typingctx: Any, masks: Any, planes: Any, first: Any, event: Any, also: Any) -> Any:
    """Adds the masks of an event, or of another one too, of SLOTS steps from place `first` on, to its planes."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, _, first, event, also = arguments

        def at(which: int, begin: Any, event: Any, words: int) -> Any:
            index = builder.add(begin, builder.mul(event, ir.Constant(event.type, words)))
            return _data(context, builder, signature, arguments, which, index, _LINE)

        def kept(slot: int) -> Any:
            place = builder.and_(builder.add(first, ir.Constant(first.type, slot)), ir.Constant(first.type, RING - 1))
            begin = builder.mul(place, ir.Constant(first.type, SLOT))
            one, other = (builder.load(at(0, begin, e, WORDS), align=8) for e in (event, also))
            return builder.or_(one, other)

        weighing, sums = [kept(slot) for slot in range(SLOTS)], []
        while weighing:  # of an odd number of them: one is left, and the carries weigh twice as much
            carries = []
            while len(weighing) > 1:
                one, two = _adder(context, builder, *weighing[:3])
                weighing = [*weighing[3:], one]
                carries.append(two)
            sums += weighing
            weighing = carries
        carry: Any = None
        for plane, added in enumerate([*sums, *[None] * (PLANES - len(sums))]):
            where = at(1, ir.Constant(first.type, plane * WORDS), event, PLANES * WORDS)
            held = builder.load(where, align=8)
            if added is None or carry is None:
                added = carry if added is None else added
                total, carry = builder.xor(held, added), builder.and_(held, added)
            else:
                total, carry = _adder(context, builder, held, added, carry)
            builder.store(total, where, align=8)
        return context.get_dummy_value()

    return types.none(masks, planes, types.intp, types.intp, types.intp), generate


@intrinsic
def _spread_mask(typingctx: Any, planes: Any, event: Any, count: Any, j: Any) -> Any:
    """Adds the numbers of an event's planes to count[j:] of LANES sums."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, event, count, j = arguments
        row = context.make_array(signature.args[2])(context, builder, count).data
        where = builder.bitcast(builder.gep(row, [j]), _COUNTS.as_pointer())
        total = builder.load(where, align=4)
        number = builder.lshr(j, ir.Constant(j.type, LANES.bit_length() - 1))
        first = builder.mul(event, ir.Constant(event.type, PLANES * WORDS))
        begin = _data(context, builder, signature, arguments, 0, first, _MASK)
        for plane in range(PLANES):
            at = builder.gep(begin, [builder.add(number, ir.Constant(number.type, plane * WORDS * 64 // LANES))])
            mask = builder.bitcast(builder.load(at, align=2), ir.VectorType(ir.IntType(1), LANES))
            one, none = (ir.Constant(_COUNTS, [n] * LANES) for n in (1 << plane, 0))
            total = builder.add(total, builder.select(mask, one, none))
        builder.store(total, where, align=4)
        return context.get_dummy_value()

    return types.none(planes, types.intp, count, types.intp), generate


@core
def _spread(planes, event, count):
    """Adds the numbers of an event's planes to the row of counts, as far as it fills masks."""
    for j in range(0, count.size - LANES + 1, LANES):
        _spread_mask(planes, event, count, j)


def _make_event(first, event, also, row):
    """(adds the masks of an event of SLOTS steps to its planes, adds these to a row of counts); nothing where row < 0."""
    if row < 0:
        return core(lambda counts, place: None), core(lambda counts: None)

    planes_at = first + 1

    def add(counts, place):
        _add_up(counts[first], counts[planes_at], place, event, also)

    def spread(counts):
        _spread(counts[planes_at], event, counts[row])

    return core(add), core(spread)


def make_tally(first, rows):
    """(next_step, spread_masks) of the masks counts[first]; rows: of counts, by event, -1 where no mask is left."""
    masks_at, planes_at, number_at = first, first + 1, first + 2
    (
        (add_absorbed, spread_absorbed),
        (add_swamped, spread_swamped),
        (add_over, spread_over),
        (add_under, spread_under),
    ) = (_make_event(first, event, event, rows[event]) for event in (ABSORBED, SWAMPED, OVER, UNDER))
    add_changed, spread_changed = _make_event(first, CHANGED, SWAMPED if rows[SWAMPED] >= 0 else CHANGED, rows[CHANGED])

    @core
    def spread_all(counts):
        planes, number = counts[planes_at], counts[number_at]
        if number[GRADUAL]:
            spread_under(counts)
        spread_over(counts)
        spread_changed(counts)
        spread_swamped(counts)
        spread_absorbed(counts)
        planes[:] = U64(0)
        number[HELD] = U32(0)

    @core
    def add_up(counts):
        number = counts[number_at]
        place = np.int64(number[ADDED])
        if number[GRADUAL]:
            add_under(counts, place)
        add_over(counts, place)
        add_changed(counts, place)
        add_swamped(counts, place)
        add_absorbed(counts, place)
        number[ADDED] += U32(SLOTS)
        number[HELD] += U32(SLOTS)
        if number[HELD] > _FULL:
            spread_all(counts)

    def next_step(counts, gradual):
        """Where the masks of one more step go: the word of its first event; gradual: whether it leaves them for UNDER."""
        number = counts[number_at]
        if gradual:
            number[GRADUAL] = U32(1)
        if number[STEPS] - number[ADDED] == U32(RING):
            add_up(counts)
        step = number[STEPS]
        number[STEPS] = U32(step + U32(1))
        begin = np.int64(step % U32(RING)) * SLOT
        for word in range(begin + UNDER * WORDS, begin + SLOT):  # a step of another mode may have left some
            counts[masks_at][word] = U64(0)
        return begin

    def spread_masks(counts):
        """Adds what the masks have to the rows of counts, and begins anew."""
        masks, number = counts[masks_at], counts[number_at]
        if number[STEPS] == U32(0):
            return
        while number[ADDED] < number[STEPS]:
            for step in range(number[STEPS], number[ADDED] + U32(SLOTS)):
                begin = np.int64(step % U32(RING)) * SLOT
                masks[begin : begin + SLOT] = U64(0)
            add_up(counts)
        spread_all(counts)
        number[STEPS], number[ADDED] = U32(0), U32(0)

    return core(next_step), core(spread_masks)


MASKS, PRODUCT_MASKS = 10, 13  # where they are in counts: of sums, of products
# By event, from ABSORBED to UNDER. Of sums that fit nothing is written for OVER.
next_tame, spread_tame = make_tally(MASKS, (7, 6, 5, 3, 4))
next_fitting, spread_fitting = make_tally(MASKS, (7, 6, 5, -1, 4))
next_product, spread_products = make_tally(PRODUCT_MASKS, (-1, -1, 2, 0, 1))
