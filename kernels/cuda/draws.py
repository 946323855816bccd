"""Random words of a product's roundings by the word map of `..philox`: a block at a time, or each for itself."""

from functools import cache
from typing import Any

import numpy as np

from .._jit import core
from ..gemm import DETERMINISTIC, GIVEN, place_of, unit_bits_of
from ..modes import RANDOM_MASK, RANDOM_SHIFT
from ..philox import philox32
from ..primitives import shift_left
from ._jit import device, moves

U32, U64 = np.uint32, np.uint64
SEED, STREAM, SPAN, FIRST, DOWN, ALONG = range(6)  # of the numbers that a kernel is given


@core
def _place(step, facts):
    word, left = place_of(U64(step), unit_bits_of(facts))
    return U32(word), left


@core
def _block(element, numbers, facts):
    return philox32(U64(element >> unit_bits_of(facts)), numbers[STREAM], numbers[SEED])


@core
def _picked(w0, w1, w2, w3, place, facts):
    word, left = place
    low = w0 if word == U32(0) else w1
    high = w2 if word == U32(2) else w3
    return U32(shift_left(low if word < U32(2) else high, left) & U32(facts[RANDOM_MASK]))


@core
def _word_at(element, numbers, facts):
    w0, w1, w2, w3 = _block(element, numbers, facts)
    return _picked(w0, w1, w2, w3, _place(element, facts), facts)


@core
def _lifted(word, facts):
    return shift_left(U32(word), U32(U32(facts[RANDOM_SHIFT]) & U32(31)))


def _begins(step, facts):
    return U64(step) & U64(U64(U64(1) << unit_bits_of(facts)) - U64(1)) == U64(0)


def _element(numbers, batch, i, j, height, width):
    output = U64(
        U64(U64(batch) * U64(U64(height) * U64(width))) + U64(U64(i) * numbers[DOWN] + U64(j) * numbers[ALONG])
    )
    return U64(U64(output * numbers[SPAN]) + numbers[FIRST])


begins = device(_begins)  # (step, facts): whether a block begins with it
place = device(_place)  # (step, facts): where in its block a step's word is
block = device(_block)  # (element, numbers, facts): the four words of the block that holds an element
picked = device(_picked)  # (four words, place, facts): the word, aligned to the top
word_at = device(_word_at)  # (element, numbers, facts): the word of an element, drawn for it alone
element_of = device(_element)  # (numbers, batch, i, j, rows, columns): the element of the first rounding of an output
plus = device(lambda element, step: U64(element + U64(step)))
lifted = device(_lifted)  # (word that is given, facts): the word, aligned to the top


@cache
def make_word(source: int) -> Any:
    """(words that are given, an output's number, element of its first rounding, step, numbers, facts) -> a word or 0.

    Words are aligned to the top. For kernels of which a thread has one output.
    """
    if source == DETERMINISTIC:
        return moves(lambda words, output, first, step, numbers, facts: U32(0))
    if source == GIVEN:
        return moves(lambda words, output, first, step, numbers, facts: lifted(words[output, step], facts))
    return moves(lambda words, output, first, step, numbers, facts: word_at(plus(first, step), numbers, facts))
