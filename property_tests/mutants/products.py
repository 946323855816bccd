"""Mutants of accumulators: where they round, in which order, what they forget, what they keep between calls."""

from functools import partial
from typing import Any

import numpy as np

from numerics import Accumulator, FloatFormat, NanEncoding
from numerics.properties import AccumulatorUnderTest, as_accumulator

from . import own
from .record import Mutant, Right
from .right_products import (
    ADDEND,
    CHUNK,
    CHUNKS,
    CUT,
    DRAWN,
    FIXED,
    HALF,
    KAHAN,
    NARROW,
    OPERAND,
    PLAIN,
    ROUNDED,
    SINGLE,
    THREE,
    WIDER,
    Array,
    add,
    add_rounded,
    by_words,
    chain,
    chunked,
    compensated,
    in_binary16,
    near,
    products,
    single,
    wide,
    zeros,
)

_MUTANTS: list[Mutant] = []


def mutant(where: str, caught_by: str = "steps", twin: Right = PLAIN) -> Any:
    """Adds fn(a, b) to the mutants, under the claims of its twin."""

    def put(fn: Any) -> Any:
        right = twin.make(0)
        assert isinstance(right, AccumulatorUnderTest)
        subject = as_accumulator(fn, right.claim, operands=right.operands, takes_c=right.takes_c, name=fn.__name__)
        _MUTANTS.append(Mutant(fn.__name__, where, lambda _: subject, caught_by, twin))
        return fn

    return put


@mutant("of a kind: matmul in float32 with one cast at the end, said to accumulate in 16 bits")
def float32_partial_sums(a: Array, b: Array) -> Array:
    return single(near(chain(a, b, lambda s, p: (s + p).astype(np.float32).astype(np.float64))))


@mutant("of a kind: numpy's sum and every split-K kernel: pairwise, where sequential is claimed")
def pairwise_sums(a: Array, b: Array) -> Array:
    level = [near(p) for p in products(a, b)] or [zeros(a, b)]
    while len(level) > 1:
        level = [add(*level[i : i + 2]) if i + 1 < len(level) else level[i] for i in range(0, len(level), 2)]
    return single(level[0] + 0.0)


@mutant("arXiv 2401.14110 (LBA): the order is part of the definition; k descending, as a BLAS is free to do")
def from_the_other_end(a: Array, b: Array) -> Array:
    return single(chain(a[..., ::-1], b[..., ::-1, :]))


@mutant("onnxruntime issue 27003: partial sums of two threads, added at the end")
def two_threads(a: Array, b: Array) -> Array:
    return single(add(chain(a[..., ::2], b[..., ::2, :]), chain(a[..., 1::2], b[..., 1::2, :])))


@mutant("ARM ComputeLibrary PR 1287: sums in the narrow format where the wide one was asked for", "steps", CHUNKS)
def chunks_not_promoted(a: Array, b: Array) -> Array:
    return single(chunked(a, b, add))


@mutant("of a kind: two levels without the first one: all in the wide accumulator", "steps", CHUNKS)
def promoted_at_once(a: Array, b: Array) -> Array:
    return single(chunked(a, b, wide, wide))


@mutant("CUTLASS issue 3536: the tail of K that fills no tile is dropped", "steps", CHUNKS)
def chunk_tail_dropped(a: Array, b: Array) -> Array:
    return single(chunked(a, b, wide, last=a.shape[-1] // CHUNK * CHUNK))


@mutant("tilelang-ascend issue 1341: the last K tile is read as a full one", "steps", CHUNKS)
def last_chunk_joined(a: Array, b: Array) -> Array:
    if a.shape[-1] <= CHUNK:
        return single(chunked(a, b, wide))
    cut = (a.shape[-1] - 1) // CHUNK * CHUNK - CHUNK
    head = chunked(a[..., :cut], b[..., :cut, :], wide)
    return single(wide(head, chain(a[..., cut:], b[..., cut:, :])))


@mutant("products rounded first where a fused step is claimed: apytypes 0.5.1 can do nothing else", "single")
def product_rounded_first(a: Array, b: Array) -> Array:
    return single(chain(a, b, add_rounded))


@mutant("arXiv 2401.14110 (LBA): the product's quantizer is left out", "single", ROUNDED)
def product_not_rounded(a: Array, b: Array) -> Array:
    return single(chain(a, b))


@mutant("mptorch b8e4dc8, Triton issue 11610: the sum goes to float32 before binary16", "steps", HALF)
def fma_rounded_twice(a: Array, b: Array) -> Array:
    return in_binary16(a, b, fused=False)


@mutant("mptorch b8e4dc8, compensated=True: one compensation for all columns", "product_reproducible", KAHAN)
def compensation_of_the_next_column(a: Array, b: Array) -> Array:
    return compensated(a, b, columns=True)


@mutant("of a kind: compensation left out by -ffast-math, which sees that (t - s) - y is zero", "steps", KAHAN)
def compensation_optimised_away(a: Array, b: Array) -> Array:
    return single(chain(a, b, lambda s, p: add(s, near(p))))


@mutant("of a kind: saturation at the end only: a sum that comes back from beyond the largest value is not clamped")
def saturates_at_the_end(a: Array, b: Array) -> Array:
    unbounded = FloatFormat(8, NARROW.mantissa_bits, NARROW.bias)
    return single(near(chain(a, b, partial(add, fmt=unbounded))))


@mutant("apytypes 0.5.1 issue 857: 50000 in a 16-bit accumulator, no overflow is handled", "product_member", FIXED)
def overflow_not_handled(a: Array, b: Array) -> Array:
    return single(chain(a, b, lambda s, p: s + p))


@mutant("apytypes 0.5.1 issue 857: -15536 where 32767 was asked for, it wraps instead of saturating", "steps", FIXED)
def wraps_for_saturates(a: Array, b: Array) -> Array:
    return single(chain(a, b, lambda s, p: (s + p + 128) % 256 - 128))


@mutant("of a kind: symmetric saturation: -127 where two's complement reaches -128", "steps", FIXED)
def saturates_symmetrically(a: Array, b: Array) -> Array:
    return single(chain(a, b, lambda s, p: np.clip(s + p, -127, 127)))


@mutant("of a kind: numpy's and C's products of int16 wrap around where saturation is claimed", "steps", WIDER)
def int16_wraps(a: Array, b: Array) -> Array:
    return (a.astype(np.int16) @ b.astype(np.int16)).astype(np.float32)


@mutant("of a kind: int16 sums are kept in int32 and clipped once, at the end", "steps", WIDER)
def int16_clipped_at_the_end(a: Array, b: Array) -> Array:
    return single(np.clip(chain(a, b, lambda s, p: s + p), -32768, 32767))


@mutant("of a kind: sums of binary32 become infinite, as hardware's do, where saturation is claimed", "steps", SINGLE)
def binary32_becomes_infinite(a: Array, b: Array) -> Array:
    return single(chain(a, b, lambda s, p: own.odd_sum(s, p).astype(np.float32).astype(np.float64)))


@mutant("of a kind: the batch's stride of b is taken for 0: every matrix is multiplied by the first b", "batched")
def first_b_for_all(a: Array, b: Array) -> Array:
    return single(chain(a, np.broadcast_to(b[:1], b.shape) if b.ndim > 2 else b))


@mutant("of a kind: DSP blocks of 48 bits: the accumulator has two bits more than the model says and does not stagnate")
def two_bits_more(a: Array, b: Array) -> Array:
    more = FloatFormat(4, NARROW.mantissa_bits + 2, infinities=False, nan=NanEncoding.NONE)
    return single(near(chain(a, b, partial(add, fmt=more))))


@mutant(
    "arXiv 2401.14110 (LBA) cuts the magnitude: floor of the value lets sums drift down",
    "product_odd",
    CUT,
)
def floor_for_cut(a: Array, b: Array) -> Array:
    return single(chain(a, b, partial(add, up=lambda part, whole, x: (part > 0) & (x < 0))))


@mutant("of a kind: subnormal products are flushed (FTZ), where the claim is gradual underflow")
def products_flushed(a: Array, b: Array) -> Array:
    return single(chain(a, b, lambda s, p: add(s, np.where(np.abs(p) < NARROW.smallest_normal, 0, p))))


@mutant("of a kind: subnormal sums are flushed (FTZ), where the claim is gradual underflow")
def sums_flushed(a: Array, b: Array) -> Array:
    def step(total: Array, product: Array) -> Array:
        result = add(total, product)
        return np.where(np.abs(result) < NARROW.smallest_normal, 0, result)

    return single(chain(a, b, step))


@mutant("of a kind: c is added after the chain, as a bias, not before it", "steps", ADDEND)
def addend_last(a: Array, b: Array, c: Array) -> Array:
    return single(add(chain(a, b), c.astype(np.float64)))


@mutant("of a kind: c is forgotten where K is 0: a kernel that stores only after a product", "single", ADDEND)
def addend_lost_without_products(a: Array, b: Array, c: Array) -> Array:
    return single(chain(a, b, start=c)) if a.shape[-1] else single(zeros(a, b))


@mutant("CUTLASS issue 2674: with K = 0 the accumulator keeps what was in it", "single")
def garbage_without_products(a: Array, b: Array) -> Array:
    return single(chain(a, b)) if a.shape[-1] else single(zeros(a, b) + 3.0)


@mutant("ThunderKittens PR 141: the accumulator is not zeroed before the next tile", "product_reproducible")
def accumulator_not_zeroed(a: Array, b: Array) -> Array:
    result = chain(a, b)
    if result.shape[-1] > 1:
        result = add(result, np.concatenate([np.zeros_like(result[..., :1]), result[..., :-1]], axis=-1))
    return single(result)


def _stale(_: int) -> AccumulatorUnderTest:
    left = [0.0]

    def workspace_not_cleared(a: Array, b: Array) -> Array:
        result = chain(a, b, start=np.full(zeros(a, b).shape, left[0]))
        left[0] = float(near(np.abs(result).max(initial=0.0))) / 2
        return single(result)

    return as_accumulator(workspace_not_cleared, Accumulator(NARROW), operands=OPERAND)


_MUTANTS.append(
    Mutant(
        "workspace_not_cleared",
        "CK's split-K (PR 2697): the workspace holds the sums of the call before",
        _stale,
        "product_reproducible",
        PLAIN,
    )
)


@mutant("of a kind: the shape decides the kernel: a single column is summed from the other end", "product_reproducible")
def another_kernel_for_vectors(a: Array, b: Array) -> Array:
    return single(chain(a[..., ::-1], b[..., ::-1, :]) if b.shape[-1] == 1 else chain(a, b))


@mutant("bitsandbytes issue 1342: operands are read as if their rows were contiguous", "product_reproducible")
def reads_rows_as_contiguous(a: Array, b: Array) -> Array:
    return single(chain(a.ravel(order="K").reshape(a.shape), b))


@mutant("of a kind: operands are scaled in place", "product_reproducible")
def scales_its_operands(a: Array, b: Array) -> Array:
    result = single(chain(a, b))
    if a.flags.writeable:
        a *= np.float32(0.5)
    return result


@mutant("NuMojo PR 382: a vector of a is loaded where one element is to be broadcast", "steps")
def vector_for_broadcast(a: Array, b: Array) -> Array:
    return single(chain(np.concatenate([a[..., :1], a[..., :-1]], axis=-1) if a.shape[-1] > 8 else a, b))


@mutant("of a kind: ties of the sum away from zero: an adder that adds half an ulp and cuts")
def sums_tie_away(a: Array, b: Array) -> Array:
    return single(chain(a, b, partial(add, up=own.away)))


@mutant("of a kind: an adder without a sticky bit: what is shifted out beyond the guard bit is lost")
def adder_without_sticky(a: Array, b: Array) -> Array:
    return single(chain(a, b, partial(add, up=lambda part, whole, x: own.even(np.floor(part * 2) / 2, whole, x))))


@mutant("of a kind: one word for all steps of a chain: errors that were to cancel add up", "product_moments", DRAWN)
def one_word_for_all_steps(a: Array, b: Array, words: Array) -> Array:
    return by_words(a, b, words, lambda k: 0)


@mutant("of a kind: words in the order of the outputs' memory: step s reads the word of step S - 1 - s", "steps", DRAWN)
def words_from_the_other_end(a: Array, b: Array, words: Array) -> Array:
    return by_words(a, b, words, lambda k: words.shape[-1] - 1 - k)


@mutant("one word for a column of outputs: llm.c PR 597 in a product", "product_reproducible", DRAWN)
def word_of_the_first_row(a: Array, b: Array, words: Array) -> Array:
    return by_words(a, b, np.broadcast_to(words[..., :1, :, :], words.shape))


@mutant("of a kind: the adder uses fewer random bits than its words have", "product_moments", DRAWN)
def fewer_random_bits(a: Array, b: Array, words: Array) -> Array:
    total = zeros(a, b)
    for k, product in enumerate(products(a, b)):
        low, step, part = own.split(own.odd_sum(total, product), THREE)
        up = np.floor(part * 4) + words[..., k] // 8 >= 4
        total = own.saturate(low + step * up, total + product, THREE)
    return single(total)


MUTANTS = tuple(_MUTANTS)
