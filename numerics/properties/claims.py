"""What is claimed of each kind of function, which check shows it, and why a claim does not apply where it does not."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..formats import BlockFormat
from ..matrix_unit import MatrixUnit
from ..rounding import Overflow
from . import (
    block_checks,
    block_places,
    block_scale_checks,
    code_checks,
    mask_checks,
    mask_draws_check,
    mask_places,
    moment_checks,
    product_checks,
    product_moments,
    product_shapes,
    rounding_checks,
    shape_checks,
    step_checks,
    wiring_checks,
)
from .accumulators import AccumulatorUnderTest
from .batch_check import batched
from .block_draws_check import block_draws
from .draws_check import draws
from .evidence import Evidence
from .masks import MaskUnderTest
from .product_problems import word_bits
from .quantizers import QuantizerUnderTest

Subject = QuantizerUnderTest | AccumulatorUnderTest | MaskUnderTest


@dataclass(frozen=True)
class Claim:
    """A named statement about a subject; check(subject) returns Evidence or raises ClaimError.

    excuse: why the claim does not apply to a subject, None where it does.
    """

    check: Callable[..., Evidence]
    excuse: Callable[[Any], str | None]

    @property
    def name(self) -> str:
        """Also the name of its check."""
        return self.check.__name__

    @property
    def statement(self) -> str:
        """The first sentence of the check."""
        return (self.check.__doc__ or "").partition("\n")[0].strip()


def claims_of(subject: Subject) -> tuple[Claim, ...]:
    """All claims about subjects of this kind, those that do not apply included."""
    if isinstance(subject, AccumulatorUnderTest):
        return ACCUMULATOR_CLAIMS
    if isinstance(subject, MaskUnderTest):
        return MASK_CLAIMS
    return QUANTIZER_CLAIMS if subject.elementwise else BLOCK_CLAIMS


def _always(_: Any) -> str | None:
    return None


def _wraps(q: QuantizerUnderTest) -> str | None:
    return "overflow wraps around" if q.overflow is Overflow.WRAP else None


def _odd(q: QuantizerUnderTest) -> str | None:
    if q.rounding in rounding_checks.DIRECTED:
        return f"{q.rounding.name} looks at the sign"
    if not q.element.signed:
        return f"{q.element} is unsigned"
    return _not_random(q)


def _not_random(q: QuantizerUnderTest) -> str | None:
    return "it draws for itself: no two calls have the same words" if q.sampler else None


def _one_rounding(q: QuantizerUnderTest) -> str | None:
    if q.sampler:
        return "it draws for itself: which neighbour is a matter of chance, see draws"
    return None


def _enumerated(q: QuantizerUnderTest) -> str | None:
    if not q.stochastic:
        return f"{q.rounding.name} draws nothing"
    return "it draws for itself: see draws" if q.sampler else None


def _projects(q: QuantizerUnderTest) -> str | None:
    if q.source is not None:
        own = q.element
        return None if own == q.source else f"results in {own} are no inputs of {q.source}"
    return None


def _draws(q: QuantizerUnderTest) -> str | None:
    if q.sampler:
        return None
    return "all its words can be enumerated" if q.stochastic else f"{q.rounding.name} draws nothing"


def _specials(q: QuantizerUnderTest) -> str | None:
    if q.source is not None or q.codes:
        return "codes in or out: signs of zeros and NaNs are the codes' own"
    return None


def _values(q: QuantizerUnderTest) -> str | None:
    return None if q.source is None else f"it takes codes of {q.source}, no values between them"


def _table(q: QuantizerUnderTest) -> str | None:
    if q.source is None:
        return "it takes values, no codes"
    if q.sampler:
        return "it draws for itself: which neighbour is a matter of chance, see draws"
    if q.source.bits > code_checks.ENTRIES:
        return f"{q.source} has 2**{q.source.bits} codes: all are tried of at most {code_checks.ENTRIES} bits"
    return None


def _tensor_scale(q: QuantizerUnderTest) -> str | None:
    return None if isinstance(q.fmt, BlockFormat) and q.fmt.tensor_scale else f"{q.fmt} has no scale of the tensor"


QUANTIZER_CLAIMS = (
    Claim(rounding_checks.member, _always),
    Claim(rounding_checks.fixed_points, _always),
    Claim(rounding_checks.projection, _projects),
    Claim(rounding_checks.monotone, lambda q: _wraps(q) or _not_random(q)),
    Claim(rounding_checks.odd, _odd),
    Claim(rounding_checks.faithful, _always),
    Claim(rounding_checks.decision, _one_rounding),
    Claim(rounding_checks.saturation, _always),
    Claim(rounding_checks.specials, _specials),
    Claim(step_checks.every_step, _values),
    Claim(code_checks.every_code, _table),
    Claim(moment_checks.unbiased, _enumerated),
    Claim(moment_checks.bias, _enumerated),
    Claim(moment_checks.variance, _enumerated),
    Claim(moment_checks.variance_bound, _enumerated),
    Claim(moment_checks.word_order, _enumerated),
    Claim(draws, _draws),
    Claim(wiring_checks.independent, _not_random),
    Claim(wiring_checks.reproducible, _not_random),
    Claim(shape_checks.any_shape, _not_random),
)

BLOCK_CLAIMS = (
    Claim(block_checks.block_decision, _always),
    Claim(block_scale_checks.every_scale, _always),
    Claim(block_scale_checks.block_specials, _always),
    Claim(block_scale_checks.tensor_scales, _tensor_scale),
    Claim(block_draws, _draws),
    Claim(block_checks.block_apart, _not_random),
    Claim(block_places.any_blocks, _always),
)


def _bounded(a: AccumulatorUnderTest) -> str | None:
    if isinstance(a.claim, MatrixUnit):
        return "no bound is published for a matrix unit"
    if a.claim.overflow is Overflow.WRAP:
        return "sums wrap around"
    return None


def _all_words(a: AccumulatorUnderTest) -> str | None:
    if not a.stochastic:
        return "it rounds nothing at random"
    if a.roundings(1) * word_bits(a) > product_moments.ENUMERATED:
        needed = f"{a.roundings(1)} roundings of {word_bits(a)} bits for one product"
        return f"{needed}: all words are tried for at most {product_moments.ENUMERATED} bits in all"
    return None


ACCUMULATOR_CLAIMS = (
    Claim(product_checks.steps, _always),
    Claim(product_checks.single, _always),
    Claim(product_checks.product_member, _always),
    Claim(product_checks.error_bound, _bounded),
    Claim(product_checks.product_odd, product_checks.symmetric),
    Claim(product_moments.product_moments, _all_words),
    Claim(product_checks.product_reproducible, _always),
    Claim(product_shapes.any_block, _always),
    Claim(batched, _always),
)


def _top_n(k: MaskUnderTest) -> str | None:
    return None if k.kind == "top_n" else "what is kept is drawn, not the largest"


def _mask_words(k: MaskUnderTest) -> str | None:
    if not k.stochastic:
        return "it draws nothing"
    if not k.takes_words:
        return "it draws for itself: see mask_draws"
    if int(k.random_bits or 0) > mask_checks.ENUMERATED:
        return f"{k.random_bits} random bits: all words are tried for at most {mask_checks.ENUMERATED}"
    return None


def _mask_pairs(k: MaskUnderTest) -> str | None:
    if k.method != "sequential" and k.stochastic:
        return f"method {k.method!r} does not say which elements are kept together"
    return _mask_words(k)


def _mask_samples(k: MaskUnderTest) -> str | None:
    return "it draws for itself: no two calls have the same words" if k.stochastic and not k.takes_words else None


def _mask_draws(k: MaskUnderTest) -> str | None:
    if not k.stochastic:
        return "it draws nothing"
    return "all its words can be enumerated" if k.takes_words else None


MASK_CLAIMS = (
    Claim(mask_checks.pattern, _always),
    Claim(mask_checks.kept_values, _always),
    Claim(mask_checks.largest, _top_n),
    Claim(mask_checks.marginals, _mask_words),
    Claim(mask_checks.mask_pairs, _mask_pairs),
    Claim(mask_checks.mask_unbiased, _mask_words),
    Claim(mask_checks.mask_variance, _mask_words),
    Claim(mask_draws_check.mask_draws, _mask_draws),
    Claim(mask_checks.blocks_apart, _mask_samples),
    Claim(mask_places.any_place, _mask_samples),
)
