"""Binary threshold nets in integers: their evaluation, the width that it needs, and all nets of a tiny size.

Harel, Hoza, Vardi, Evron, Srebro, Soudry: Provable tempered overfitting of minimal nets and typical nets,
arXiv 2410.19092. A layer is h' = 1[gamma (W h) + b > 0] with W of 0 and 1, gamma in {-1, 0, 1} and integer b; the
comparison is strict. What the paper proves is asymptotic: interpolators of noisy labels, the smallest or drawn uniformly,
are tempered, their error neither near that of the teacher nor near a coin's. That was read in its abstract. Seen in
secondary descriptions only: this form of the layers, |b| <= inputs, and the limit 2 eps (1 - eps) for independent label noise
(`memorizing_error`). So biases are bounded by an argument here, and what tiny nets show is an observation.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import combinations, pairwise, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .binary import matmul_bits
from .formats.integers import whole
from .operands import as_array
from .words import random_words

__all__ = [
    "ThresholdLayer",
    "accumulator_width",
    "draw_net",
    "evaluate",
    "interpolator_error",
    "interpolators",
    "mean_error",
    "memorizing_error",
    "net_counts",
    "neuron_counts",
    "sample_interpolator",
    "truth_table",
]

Bits = NDArray[np.uint8]
_INTEGERS = ("bool", "int", "uint")  # as names of dtypes begin, here and in other libraries


@dataclass(frozen=True, eq=False)
class ThresholdLayer:
    """weights 0/1 [out, in], signs -1, 0 or 1 [out], biases int [out]: numpy's arrays, or others that compare like them.

    Errors: TypeError for what is no array, ValueError for other values or shapes. Source: as this module.
    """

    weights: Any
    signs: Any
    biases: Any

    def __post_init__(self) -> None:
        if not all(hasattr(values, "ndim") for values in (self.weights, self.signs, self.biases)):
            raise TypeError("weights, signs, biases: give arrays, as np.array of these makes them")
        if self.weights.ndim != 2 or not (self.weights.shape[:1] == self.signs.shape == self.biases.shape):
            raise ValueError(
                f"weights {self.weights.shape}, signs {self.signs.shape}, biases {self.biases.shape}:"
                " give [out, in], [out] and [out]"
            )
        for label, values, low in (
            ("weight", self.weights, 0),
            ("sign", self.signs, -1),
            ("biases", self.biases, None),
        ):
            if not str(values.dtype).rpartition(".")[2].startswith(_INTEGERS):
                raise ValueError(f"{label} of dtype {values.dtype}: give integers")
            if low is not None and (wrong := (values < low) | (values > 1)).any():
                raise ValueError(f"{label} {int(values[wrong][0])}: give an integer from {low} to 1")


def _as_integer(bits: Iterable[Any]) -> int:
    return sum(int(y) << i for i, y in enumerate(bits))


def evaluate(layers: tuple[ThresholdLayer, ...], x: Any, *, packed: bool = False) -> Bits:
    """The outputs of a net: x 0/1 [n, inputs] -> 0/1 uint8 [n, outputs], exact.

    packed: sums by AND and population count of 64 bits at a time; the same bits. Errors: ValueError for other values of x
    and for layers whose widths do not fit. Source: arXiv 2410.19092, by secondary descriptions; see this module.
    """
    h = as_array(x, "x", "a matrix of 0 and 1")
    if h.ndim != 2 or ((h != 0) & (h != 1)).any():
        raise ValueError(f"x of shape {h.shape}: give a matrix [n, inputs] of 0 and 1")
    h = h.astype(np.uint8)
    for number, layer in enumerate(layers):
        if layer.weights.shape[1] != h.shape[1]:
            raise ValueError(f"layer {number} takes {layer.weights.shape[1]} inputs and gets {h.shape[1]}")
        if packed:
            sums = matmul_bits(h, layer.weights.astype(np.uint8).T).astype(np.int64)
        else:
            sums = h.astype(np.int64) @ layer.weights.astype(np.int64).T
        h = (layer.signs * sums + layer.biases > 0).astype(np.uint8)
    return h


def accumulator_width(inputs: int, bias: int = 0) -> int:
    """Bits of two's complement that gamma (W h) + b needs, |b| <= bias: the fewest that hold every value.

    Without bias (b is compared with, and not added) ceil(log2(inputs + 1)) + 1, the certificate for these nets. It does
    not cover a bias that is added: |b| <= inputs takes one bit more, reached by 1 + 1 = 2 of a single input.
    Errors: TypeError for what is no integer, ValueError for negative arguments. Source: derived.
    """
    terms, bound = whole(inputs), whole(bias)
    if terms is None or bound is None:
        raise TypeError(f"inputs = {inputs!r}, bias = {bias!r}: give integers")
    if terms < 0 or bound < 0:
        raise ValueError(f"inputs = {terms}, bias = {bound}: give at least 0")
    return (terms + bound).bit_length() + 1


def memorizing_error(noise: Fraction) -> Fraction:
    """2 eps (1 - eps): the error, on labels flipped with probability eps, of a teacher that is itself flipped so.

    Exact for Fractions. Errors: ValueError for a probability outside [0, 1]. Source: arXiv 2410.19092, by a secondary
    description: the limit for independent label noise.
    """
    _check_noise(noise)
    return 2 * noise * (1 - noise)


def _check_noise(noise: Fraction) -> None:
    if not 0 <= noise <= 1:
        raise ValueError(f"noise = {noise}: give the probability with which a label is flipped, 0 to 1")


# All nets of a tiny size. A function of d bits is an integer: bit x, x = sum h_i 2**i, is its value at x.


def truth_table(layers: tuple[ThresholdLayer, ...]) -> int:
    """The function of a net of one output. Errors: ValueError for another number of them. Source: derived."""
    if not layers or layers[-1].weights.shape[0] != 1:
        raise ValueError(f"{layers[-1].weights.shape[0] if layers else 'no'} outputs: give a net of one")
    width = layers[0].weights.shape[1]
    x = np.arange(1 << width)[:, None] >> np.arange(width) & 1
    return _as_integer(evaluate(layers, x)[:, 0])


@lru_cache(maxsize=16)
def neuron_counts(inputs: int, bias: int | None = None) -> dict[int, int]:
    """Of every function of a neuron, how many parameters give it: 2**inputs weights, 3 signs, 2 bias + 1 biases.

    bias: None for |b| <= inputs, beyond which no function is new. Errors: ValueError for inputs outside 1 ... 4 and
    a negative bias. Source: derived.
    """
    if not 1 <= inputs <= 4:
        raise ValueError(f"inputs = {inputs}: all nets are counted for 1 to 4")
    bound = inputs if bias is None else bias
    if bound < 0:
        raise ValueError(f"bias = {bound}: give at least 0, |b| is at most that")
    x = np.arange(1 << inputs)
    counts: Counter[int] = Counter()
    for weights in range(1 << inputs):
        sums = np.bitwise_count(x & weights).astype(np.int64)
        for sign in (-1, 0, 1):
            for b in range(-bound, bound + 1):
                counts[_as_integer(sign * sums + b > 0)] += 1
    return dict(counts)


@lru_cache(maxsize=16)
def net_counts(inputs: int = 3, hidden: int = 3, bias: int | None = None) -> dict[int, int]:
    """Of every function, how many nets inputs-hidden-1 compute it: the prior of a net drawn uniformly, exact.

    bias: as in `neuron_counts`. Errors: ValueError for more than 3 inputs or 3 hidden units and a
    negative bias. Source: derived.
    """
    if not (1 <= inputs <= 3 and 1 <= hidden <= 3):
        raise ValueError(f"{inputs}-{hidden}-1: all nets are counted up to 3-3-1")
    unit, output = neuron_counts(inputs, bias), neuron_counts(hidden, bias)
    # The hidden codes of all inputs, 4 bits each, and in how many ways they come about.
    points = 1 << inputs
    spread = {f: sum((f >> x & 1) << (4 * x) for x in range(points)) for f in unit}
    codes: Counter[int] = Counter({0: 1})
    for place in range(hidden):
        longer: Counter[int] = Counter()
        for code, ways in codes.items():
            for f, count in unit.items():
                longer[code | spread[f] << place] += ways * count
        codes = longer
    arranged = np.array(list(codes), np.int64)[:, None] >> (4 * np.arange(points)) & 15
    totals = np.zeros(1 << points, np.int64)
    ways_of = np.array(list(codes.values()), np.int64)
    for g, count in output.items():
        functions = ((g >> arranged & 1) << np.arange(points)).sum(axis=1)
        np.add.at(totals, functions, ways_of * count)
    return {f: int(n) for f, n in enumerate(totals) if n}


def interpolators(counts: dict[int, int], labels: dict[int, int]) -> dict[int, int]:
    """The functions that give each input its label, with their counts: input -> 0 or 1. Source: derived."""
    return {f: n for f, n in counts.items() if all(f >> x & 1 == y for x, y in labels.items())}


def mean_error(counts: dict[int, int], teacher: int, points: int, noise: Fraction) -> Fraction:
    """Mean error of a function drawn in proportion to its count, on labels of the teacher flipped with probability eps.

    Inputs are uniform over 0 ... points - 1; disagreement d with the teacher gives d (1 - eps) + (1 - d) eps.
    Errors: ValueError where nothing is counted, and for a probability outside [0, 1]. Source: derived.
    """
    _check_noise(noise)
    total = sum(counts.values())
    if not total:
        raise ValueError("no function to draw from: no net of this size has these labels")
    wrong = sum(n * ((f ^ teacher) & ((1 << points) - 1)).bit_count() for f, n in counts.items())
    return _noisy(Fraction(wrong, total * points), noise)


def _noisy(disagreement: Fraction, noise: Fraction) -> Fraction:
    """The error on flipped labels of what disagrees with the teacher so often."""
    return disagreement * (1 - noise) + (1 - disagreement) * noise


def _by_labels(counts: dict[int, int], teacher: int, points: int, seen: int) -> dict[int, tuple[int, int]]:
    """Of the labels that functions give the inputs `seen`: their count, and count times disagreements with the teacher."""
    groups: dict[int, tuple[int, int]] = {}
    for f, n in counts.items():
        total, wrong = groups.get(f & seen, (0, 0))
        disagreements = ((f ^ teacher) & ((1 << points) - 1)).bit_count()
        groups[f & seen] = total + n, wrong + n * disagreements
    return groups


def interpolator_error(
    sizes: Sequence[dict[int, int]], teacher: int, points: int, noise: Fraction, samples: int
) -> Fraction:
    """Mean error of an interpolator of noisy labels: over all sets of `samples` inputs and all their flips, exact.

    sizes: counts of nets, smallest first; of the first that has an interpolator one is drawn in proportion to its count.
    Labels nobody interpolates are left out, and their probability with them. The error is that of `mean_error`.
    Errors: ValueError for more samples than points, a probability outside [0, 1], and where no labels have an interpolator.
    Source: arXiv 2410.19092 for the two learners; the enumeration is derived.
    """
    _check_noise(noise)
    if not 0 <= samples <= points:
        raise ValueError(f"samples = {samples} of {points} inputs: give 0 to {points}")
    weight = error = Fraction(0)
    for chosen in combinations(range(points), samples):
        seen = sum(1 << x for x in chosen)
        grouped = [_by_labels(counts, teacher, points, seen) for counts in sizes]
        for flips in product((0, 1), repeat=samples):
            labels = (teacher & seen) ^ sum(1 << x for x, flip in zip(chosen, flips, strict=True) if flip)
            total, wrong = next((group[labels] for group in grouped if labels in group), (0, 0))
            if total:
                probability = noise ** sum(flips) * (1 - noise) ** (samples - sum(flips))
                weight += probability
                error += probability * _noisy(Fraction(wrong, total * points), noise)
    if not weight:
        raise ValueError(f"no labels of {samples} inputs have an interpolator: give a larger net")
    return error / weight


# Nets drawn uniformly


def draw_net(widths: Sequence[int], *, seed: int, stream: int = 0, offset: int = 0) -> tuple[ThresholdLayer, ...]:
    """A net of uniform parameters, |b| <= inputs of its layer: widths (inputs, ..., outputs).

    Net `offset` of (seed, stream) takes a word of 32 bits for each parameter, word * choices / 2**32 rounded down: layer by
    layer weights, signs, biases. A choice of c is drawn with probability 1/c up to 2**-32.
    Errors: ValueError for fewer than two widths, one below 1 or no integer. Source: arXiv 2410.19092, typical nets.
    """
    if len(widths) < 2 or min(whole(width) or 0 for width in widths) < 1:
        raise ValueError(f"widths = {tuple(widths)}: give inputs and outputs, integers of at least 1")
    shapes = [(n, m) for m, n in pairwise(widths)]
    size = sum(n * (m + 2) for n, m in shapes)
    drawn = random_words(size, seed=seed, stream=stream, offset=offset * size).astype(np.int64)
    layers = []
    for n, m in shapes:
        weights, signs, biases = np.split(drawn[: n * (m + 2)], [n * m, n * m + n])
        drawn = drawn[n * (m + 2) :]
        biases = (biases * (2 * m + 1) >> 32) - m
        layers.append(ThresholdLayer((weights * 2 >> 32).reshape(n, m), (signs * 3 >> 32) - 1, biases))
    return tuple(layers)


def sample_interpolator(
    widths: Sequence[int], x: Any, labels: Any, *, seed: int, stream: int = 0, offset: int = 0, draws: int = 10_000
) -> tuple[tuple[ThresholdLayer, ...], int]:
    """The first net of `draw_net` from `offset` on that interpolates, and its number: x 0/1 [n, inputs], labels 0/1 [n].

    Such nets are drawn uniformly from all interpolators. The next is found from the number after it.
    Errors: RuntimeError if none of `draws` nets interpolates; ValueError as `evaluate`, and for labels that are not 0 or 1,
    one for each x, widths that end in another number than 1, draws below 1. Source: as `draw_net`.
    """
    wanted = as_array(labels, "labels", "an array of 0 and 1").reshape(-1, 1)
    inputs = as_array(x, "x", "a matrix of 0 and 1")
    if inputs.ndim == 2 and len(wanted) != len(inputs):
        raise ValueError(f"{len(wanted)} labels for {len(inputs)} inputs: give one for each")
    if ((wanted != 0) & (wanted != 1)).any():
        raise ValueError(f"label {wanted[(wanted != 0) & (wanted != 1)][0]}: give 0 or 1")
    if len(widths) and widths[-1] != 1:
        raise ValueError(f"widths = {tuple(widths)}: a label is one bit, so end them in 1")
    if draws < 1:
        raise ValueError(f"draws = {draws}: give how many nets may be drawn, at least 1")
    for number in range(offset, offset + draws):
        layers = draw_net(widths, seed=seed, stream=stream, offset=number)
        if np.array_equal(evaluate(layers, x), wanted):
            return layers, number
    raise RuntimeError(f"none of {draws} nets {'-'.join(map(str, widths))} has these labels: give more draws or units")
