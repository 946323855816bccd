"""Binarized and quantized nets: Hubara, Courbariaux, Soudry, El-Yaniv and Bengio, arXiv 1602.02830 and 1609.07061."""

from numerics import Accumulator, FixedFormat, Overflow

from ..norm import Norm
from ..operands import LinearQuant, Operand, Sign, StochasticSign
from ..recipe import Product, Recipe, Rule
from ..schedule import Phase, Schedule
from .parts import SUMS, WEIGHTED, batch_norm, everywhere, recipe

_INPUT_BITS = 8
#: Sums of signs, exactly, and of 8-bit inputs times signs; more than 24 bits raise an error.
_COUNTS = Accumulator(FixedFormat(24), overflow=Overflow.ERROR)
_INPUTS = Accumulator(FixedFormat(24, _INPUT_BITS - 1), overflow=Overflow.ERROR)


def bnn(
    seed: int = 0,
    *,
    first: str | None = None,
    stochastic: bool = False,
    shift_batch_norm: bool = False,
    keep: str = "",
) -> Recipe:
    """Signs of activations and weights, +1 at 0; the gradient passes both where the magnitude is at most 1.

    forward: signs, summed exactly (K - 2 popcount). grad_input and grad_weight: the gradient in float times the signs,
    in binary32. Verified: sign, hard-tanh estimator, clipping of the weights to [-1, 1] (in `bnn_schedule`). first:
    pattern of the layer that sees the net's input, in 8 bits (clip to [-1, 1), secondary source); `emul compare` gives
    the first layer. Signs of what is nowhere negative are all +1: nets for it have norms and Hardtanh where others have
    ReLU, as `emul.digits.normed`. stochastic: signs of activations by chance, hard sigmoid (the paper's other form).
    shift_batch_norm: batch norms by shifts. Left out: the rate of each weight by its Glorot factor (code).
    Attention stays native.
    """
    activation: Operand = StochasticSign() if stochastic else Sign()
    norms = (batch_norm(Norm("shift")),) if shift_batch_norm else ()
    return recipe("bnn", seed, *norms, *_inputs(first), _hidden(activation, _COUNTS), keep=keep)


def bnn_schedule(seed: int = 0, **options: object) -> Schedule:
    """`bnn`, with weights kept in [-1, 1] after every step."""
    return _clipped(bnn(seed, **options))  # type: ignore[arg-type]


def qnn(
    seed: int = 0,
    *,
    first: str | None = None,
    activation_bits: int = 2,
    weight_bits: int = 1,
    shift_batch_norm: bool = False,
    keep: str = "",
) -> Recipe:
    """Activations of two bits and weights of one: the linear quantizer of the paper, and signs.

    forward: clip(round(x 2**(k-1)) / 2**(k-1), -1, 1 - 2**(1-k)) of activations, the same of weights or signs where
    weight_bits is 1, summed exactly. grad_input and grad_weight: the gradient in float times these, in binary32; the
    gradient passes where the magnitude is at most 1. Verified in a secondary source: the quantizer, and one bit and two
    for AlexNet. Nets as for `bnn`. Ties are to even, not seen. Gradients of fewer bits, which the paper tries too, are
    left out. first, shift_batch_norm: as `bnn`.
    """
    activation = LinearQuant(activation_bits, gradient="hard_tanh")
    weight: Operand = Sign() if weight_bits == 1 else LinearQuant(weight_bits, gradient="hard_tanh")
    fraction = activation_bits - 1 + (0 if weight_bits == 1 else weight_bits - 1)
    sums = Accumulator(FixedFormat(24, fraction), overflow=Overflow.ERROR)
    norms = (batch_norm(Norm("shift")),) if shift_batch_norm else ()
    return recipe("qnn", seed, *norms, *_inputs(first), _hidden(activation, sums, weight), keep=keep)


def qnn_schedule(seed: int = 0, **options: object) -> Schedule:
    """`qnn`, with weights kept in [-1, 1] after every step."""
    return _clipped(qnn(seed, **options))  # type: ignore[arg-type]


def _clipped(arithmetic: Recipe) -> Schedule:
    return Schedule((Phase(recipe=arithmetic, clip_weights=1.0),), "scratch", arithmetic.name)


def _hidden(activation: Operand, sums: Accumulator, weight: Operand | None = None, pattern: str = ".*") -> Rule:
    weight = Sign() if weight is None else weight
    return everywhere(
        pattern=pattern,
        types=WEIGHTED,
        forward=Product(accumulator=sums, activation=activation, weight=weight),
        grad_input=Product(accumulator=SUMS, weight=weight),
        grad_weight=Product(accumulator=SUMS, activation=activation),
    )


def _inputs(first: str | None) -> tuple[Rule, ...]:
    """The rule of the layer of the net's inputs, where one is named: 8 bits times signs."""
    stage = LinearQuant(_INPUT_BITS, gradient="clipped")
    return () if first is None else (_hidden(stage, _INPUTS, pattern=first),)
