"""Problems of products for the CUDA kernels, and which plans and words they have."""

import numpy as np

from numerics import Accumulator, Quantizer, catalog, random_words, reference
from numerics.kernels.cuda import gemm
from numerics.planning import Plan, plans
from numerics.problem import Problem, facts
from numerics.steps import random_bits_of
from numerics.words import unit_bytes

OPERANDS = Quantizer(catalog.E4M3)


def members(shape, batches=(1, 1), addend=False):
    """a [Ba, M, K], b [Bb, K, N] and c [B, M, N] or None of values of E4M3, zeros of both signs among them; float32."""
    rows, depth, columns = shape
    rng = np.random.default_rng(rows + 10 * depth + 100 * columns)
    sizes = (batches[0], rows, depth), (batches[1], depth, columns), (max(batches), rows, columns)
    drawn = [rng.normal(size=size) * 2.0 ** rng.integers(-3, 4, size) * (rng.random(size) > 0.1) for size in sizes]
    a, b, c = (OPERANDS.quantize(x.astype(np.float32)) for x in drawn)
    return a, b, c if addend else None


def wanted_of(a, b, accumulator, *, seed=None, stream=0, words=None, **options):
    """The product in rationals, for which nothing is compiled; a, b of three dimensions."""
    if seed is not None:
        words = words_of(accumulator, (max(len(a), len(b)), a.shape[1], b.shape[2]), a.shape[2], seed, stream)
    return reference.matmul(a, b, accumulator, words=words, **options)


def words_of(accumulator, shape, depth, seed, stream):
    """[*shape, S], the words of a seed: step s of output o has that of element o*S + s, of the step's own bits."""
    bits = random_bits_of(accumulator, depth)
    words = np.zeros((*shape, len(bits)), np.uint32)
    for count in {int(count) for count in bits} - {0}:
        drawn = random_words(words.size, count, seed=seed, stream=stream).reshape(words.shape)
        words[..., bits == count] = drawn[..., bits == count]
    return words


def problem_of(a, b, c):
    return Problem(a, b, c, (facts(a, "a"), facts(b, "b"), None if c is None else facts(c, "c")), None)


def stepping_plans(problem: Problem, accumulator: Accumulator) -> list[Plan]:
    """All plans but those of BLAS."""
    return [plan for plan in plans(problem, accumulator) if "gemm" not in plan.kernel]


def drawn(accumulator: Accumulator, depth: int) -> int:
    """How the chain's words are drawn: whole blocks where every output begins one and products need none."""
    product, own = accumulator.product, accumulator.random_bits
    if (product is not None and product.stochastic) or own is None:
        return gemm.SINGLY
    return gemm.SINGLY if accumulator.roundings(depth) % (16 // unit_bytes(own)) else gemm.BLOCKS
