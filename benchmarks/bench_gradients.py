"""Gradients through an accumulator, as ratios to the emulated product itself, in one run: one thread, 256 x 256 x 256.

Both gradients together: the chain once more with its masks, and two masked sums in float64. Each case first proves its bits
on a corner against the oracle. Times are the thread's own, so that other processes count for less.
"""

import time

import numpy as np
import pytest

from numerics import (
    Accumulator,
    Quantizer,
    Rounding,
    catalog,
    chain_gradients,
    chain_masks,
    matmul,
    random_words,
    reference,
    set_num_threads,
)

SIZE, CORNER, ROUNDS = 256, 2, 9
TARGETS = {"identity": None, "immediate": 2.5, "recursive": 4.0}  # times the product


def _lba(mantissa_bits, exponent_bits, bias, product_bias):
    sums, products = (catalog.lba(mantissa_bits, exponent_bits, b, paper=True) for b in (bias, product_bias))
    return Accumulator(sums, Rounding.RTZ, product=Quantizer(products, Rounding.RTZ), chunk=16)


ACCUMULATORS = {
    "12 bits, chunk 16": _lba(7, 4, 10, 12),
    "8 bits, chunk 16": _lba(4, 3, 3, 5),
    "binary16": Accumulator(catalog.BINARY16),
    "SR, p = 11, r = 12": Accumulator(catalog.BINARY16, Rounding.SR, random_bits=12),
}
QUESTIONS = [("identity", "diff")] + [
    (rule, event) for rule in ("immediate", "recursive") for event in ("diff", "overflow")
]


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    set_num_threads(1)


@pytest.fixture(scope="module")
def data():
    draw = np.random.default_rng(0)
    a, b, gradient = (draw.normal(size=(SIZE, SIZE)).astype(np.float32) for _ in range(3))
    return Quantizer(catalog.E4M3).quantize(a), Quantizer(catalog.E4M3).quantize(b), gradient


def _assert_exact_on_a_corner(a, b, gradient, accumulator, keys, question):
    a, b, gradient = a[:CORNER], b[:, :CORNER], gradient[:CORNER, :CORNER]
    words = None
    if accumulator.stochastic:
        span = accumulator.roundings(SIZE)
        words = random_words(CORNER**2 * span, accumulator.random_bits, **keys).reshape(CORNER, CORNER, span)
    wanted = reference.chains.chain_masks(a, b, accumulator, words=words, **question)
    np.testing.assert_array_equal(chain_masks(a, b, accumulator, **keys, **question), wanted)
    found = chain_gradients(a, b, gradient, accumulator, **keys, **question)
    for own, other in zip(found, reference.chains.chain_gradients(a, b, gradient, wanted), strict=True):
        np.testing.assert_array_equal(own, other)


def _seconds(call):
    begin = time.thread_time()
    call()
    return time.thread_time() - begin


@pytest.mark.parametrize(("rule", "event"), QUESTIONS)
@pytest.mark.parametrize("name", ACCUMULATORS)
def test_gradients(name, rule, event, data, benchmark):
    accumulator, question = ACCUMULATORS[name], {"rule": rule, "event": event}
    keys = {"seed": 1} if accumulator.stochastic else {}
    _assert_exact_on_a_corner(*data, accumulator, keys, question)
    a, b, _ = data

    def product():
        return matmul(a, b, accumulator, **keys)

    def gradients():
        return chain_gradients(*data, accumulator, **keys, **question)

    product(), gradients()
    mine, yardstick = [], []
    for _ in range(ROUNDS):
        mine.append(_seconds(gradients))
        yardstick.append(_seconds(product))
    benchmark.pedantic(gradients, rounds=1)
    target = TARGETS[rule]
    aim = "" if target is None else f", aimed at {target}"
    ratio = min(mine) / min(yardstick)
    benchmark.extra_info["times the product"] = ratio
    print(f"\n{name}, {rule} {event}: {ratio:.2f} times the product of {1e3 * min(yardstick):.1f} ms{aim}")
