"""Several Philox blocks side by side, as vectors of LLVM.

A round is a chain of a multiplication, a shift and a xor, each of which waits for the one before: one vector of blocks
leaves a processor idle for most of the time. LLVM cuts a vector that is longer than a register into pieces, operation
by operation, so that the chains of the pieces are woven into one another.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

LANES = 32  # blocks at once, in four vectors of 512 bits: with their constants they fit the registers
_MULTIPLIER_0, _MULTIPLIER_1, _WEYL_0, _WEYL_1 = 0xD2511F53, 0xCD9E8D57, 0x9E3779B9, 0xBB67AE85
_WORD, _PLACE = ir.IntType(64), ir.IntType(32)
_VECTOR, _HALVES = ir.VectorType(_WORD, LANES), ir.VectorType(_PLACE, 2 * LANES)


def _places(of: list[int]) -> Any:
    return ir.Constant(ir.VectorType(_PLACE, len(of)), of)


def _spread(builder: Any, x: Any) -> Any:
    """A vector of the same word in all lanes; a vector as it is."""
    if x.type != _WORD:
        return x
    nothing = ir.Constant(_VECTOR, ir.Undefined)
    first = builder.insert_element(nothing, x, ir.Constant(_PLACE, 0))
    return builder.shuffle_vector(first, nothing, _places([0] * LANES))


def _both(builder: Any, operation: str, x: Any, y: Any) -> Any:
    """An operation on two words, or lane by lane: what is the same for all lanes is computed once."""
    if isinstance(y, int):
        y = ir.Constant(_WORD, y)
    if x.type != y.type:
        x, y = _spread(builder, x), _spread(builder, y)
    return getattr(builder, operation)(x, y)


@intrinsic
def fill_lanes(typingctx: Any, words: Any, at: Any, block: Any, stream: Any, seed: Any) -> Any:
    """words[at + 4*i + w] = word w of Philox block `block + i`, i < LANES, whose upper halves are all the same.

    words: contiguous uint32 array with room for 4 * LANES from `at`. block, stream, seed: uint64.
    """
    if not isinstance(words, types.Array) or words.dtype != types.uint32 or words.layout != "C":
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, at, block, stream, seed = arguments

        def low(x: Any) -> Any:
            return _both(builder, "and_", x, 0xFFFFFFFF)

        def high(x: Any) -> Any:
            return _both(builder, "lshr", x, 32)

        def xor(x: Any, y: Any) -> Any:
            return _both(builder, "xor", x, y)

        c0: Any = _both(builder, "add", low(block), ir.Constant(_VECTOR, list(range(LANES))))
        c1, c2, c3, k0, k1 = high(block), low(stream), high(stream), low(seed), high(seed)
        for _ in range(10):
            p0, p1 = _both(builder, "mul", low(c0), _MULTIPLIER_0), _both(builder, "mul", low(c2), _MULTIPLIER_1)
            c0, c1, c2, c3 = xor(high(p1), xor(c1, k0)), p1, xor(high(p0), xor(c3, k1)), p0
            k0, k1 = low(_both(builder, "add", k0, _WEYL_0)), low(_both(builder, "add", k1, _WEYL_1))
        # The low halves, by shuffles: a shift up would be merged with the product into one more, 64-bit, product.
        even = _places([place for i in range(LANES) for place in (2 * i, 2 * LANES + 2 * i)])
        halves = [builder.bitcast(c, _HALVES) for c in (c0, c1, c2, c3)]
        first, second = (
            builder.bitcast(builder.shuffle_vector(x, y, even), _VECTOR) for x, y in (halves[:2], halves[2:])
        )
        woven = builder.shuffle_vector(first, second, _places([p for i in range(LANES) for p in (i, LANES + i)]))
        place = builder.gep(context.make_array(words)(context, builder, array).data, [at])
        builder.store(woven, builder.bitcast(place, woven.type.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.none(words, types.intp, types.uint64, types.uint64, types.uint64), generate
