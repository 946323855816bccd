"""Several Philox blocks side by side, as vectors of LLVM.

A round is a chain of a multiplication, a shift and a xor, each of which waits for the one before: one vector of blocks
leaves a processor idle for most of the time. LLVM cuts a vector that is longer than a register into pieces, operation
by operation, so that the chains of the pieces are woven into one another: as many as the registers hold.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 32  # blocks that are asked for at once
_FEWER = 8  # of them that are woven where there are no more than 16 registers, of 256 bits; else all, in 4 of 32 of 512
_MULTIPLIER_0, _MULTIPLIER_1, _WEYL_0, _WEYL_1 = 0xD2511F53, 0xCD9E8D57, 0x9E3779B9, 0xBB67AE85
_WORD, _PLACE = ir.IntType(64), ir.IntType(32)


def _places(of: list[int]) -> Any:
    return ir.Constant(ir.VectorType(_PLACE, len(of)), of)


def _spread(builder: Any, x: Any, like: Any) -> Any:
    """A vector of the same word in all lanes, of the type `like`."""
    nothing = ir.Constant(like, ir.Undefined)
    first = builder.insert_element(nothing, x, ir.Constant(_PLACE, 0))
    return builder.shuffle_vector(first, nothing, _places([0] * like.count))


def _both(builder: Any, operation: str, x: Any, y: Any) -> Any:
    """An operation on two words, or lane by lane: what is the same for all lanes is computed once."""
    if isinstance(y, int):
        y = ir.Constant(_WORD, y)
    if x.type == _WORD != y.type:
        x = _spread(builder, x, y.type)
    elif y.type == _WORD != x.type:
        y = _spread(builder, y, x.type)
    return getattr(builder, operation)(x, y)


def _blocks(builder: Any, block: Any, stream: Any, seed: Any, lanes: int) -> Any:
    """The words of Philox blocks from number `block` on, one after the other."""
    vector, halves = ir.VectorType(_WORD, lanes), ir.VectorType(_PLACE, 2 * lanes)

    def low(x: Any) -> Any:
        return _both(builder, "and_", x, 0xFFFFFFFF)

    def high(x: Any) -> Any:
        return _both(builder, "lshr", x, 32)

    def xor(x: Any, y: Any) -> Any:
        return _both(builder, "xor", x, y)

    c0: Any = _both(builder, "add", low(block), ir.Constant(vector, list(range(lanes))))
    c1, c2, c3, k0, k1 = high(block), low(stream), high(stream), low(seed), high(seed)
    for _ in range(10):
        p0, p1 = _both(builder, "mul", low(c0), _MULTIPLIER_0), _both(builder, "mul", low(c2), _MULTIPLIER_1)
        c0, c1, c2, c3 = xor(high(p1), xor(c1, k0)), p1, xor(high(p0), xor(c3, k1)), p0
        k0, k1 = low(_both(builder, "add", k0, _WEYL_0)), low(_both(builder, "add", k1, _WEYL_1))
    # The low halves, by shuffles: a shift up would be merged with the product into one more, 64-bit, product.
    even = _places([place for i in range(lanes) for place in (2 * i, 2 * lanes + 2 * i)])
    cut = [builder.bitcast(c, halves) for c in (c0, c1, c2, c3)]
    first, second = (builder.bitcast(builder.shuffle_vector(x, y, even), vector) for x, y in (cut[:2], cut[2:]))
    return builder.shuffle_vector(first, second, _places([p for i in range(lanes) for p in (i, lanes + i)]))


@intrinsic
def fill_lanes(typingctx: Any, words: Any, at: Any, block: Any, stream: Any, seed: Any) -> Any:
    """words[at + 4*i + w] = word w of Philox block `block + i`, i < LANES, whose upper halves are all the same.

    words: contiguous uint32 array with room for 4 * LANES from `at`. block, stream, seed: uint64.
    """
    if not isinstance(words, types.Array) or words.dtype != types.uint32 or words.layout != "C":
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, at, block, stream, seed = arguments
        data = context.make_array(words)(context, builder, array).data
        lanes = LANES if "+avx512f" in context.codegen().magic_tuple()[2].split(",") else _FEWER
        begin, end, step = (ir.Constant(_WORD, n) for n in (0, LANES, lanes))
        with cgutils.for_range_slice(builder, begin, end, step) as (done, _):
            woven = _blocks(builder, builder.add(block, done), stream, seed, lanes)
            place = builder.gep(data, [builder.add(at, builder.shl(done, ir.Constant(_WORD, 2)))])
            builder.store(woven, builder.bitcast(place, woven.type.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.none(words, types.intp, types.uint64, types.uint64, types.uint64), generate
