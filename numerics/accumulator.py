"""Accumulator: the format and the order in which a sum of products is rounded."""

from dataclasses import dataclass, field
from typing import Any

from .formats import FloatFormat
from .parameters import check_policy, check_rounding
from .quantizer import Quantizer
from .rounding import Overflow, Rounding, check_members
from .text import remember_text
from .words import check_random_bits

ORDERS = ("sequential",)


@dataclass(frozen=True)
class Accumulator:
    """How a dot product is accumulated: every step's exact sum is rounded once to `format`.

    product: None for a fused step, the exact product added before the one rounding; or a Quantizer that rounds each
    product first. chunk=n: inner chains of n products from +0, the last may be short; their sums are then combined from
    left to right by `outer` (None: the same accumulator without chunk). The product quantizer is applied to products
    only, never to the sums of chunks.
    """

    format: FloatFormat
    rounding: Rounding = Rounding.RNE
    overflow: Overflow = Overflow.SATURATE
    product: Quantizer | None = field(default=None, kw_only=True)
    order: str = field(default="sequential", kw_only=True)
    chunk: int | None = field(default=None, kw_only=True)
    outer: "Accumulator | None" = field(default=None, kw_only=True)
    random_bits: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.format, FloatFormat):
            raise TypeError(
                f"format {str(self.format)[:60]!r}: sums are accumulated in a FloatFormat so far; parse_format(name) gives"
                " one by name (codes of log formats: numerics.logscale.matmul)"
            )
        check_members(self.rounding, self.overflow)
        check_policy(self.format, self.overflow)
        check_rounding(self.format, self.rounding)
        bits = check_random_bits(self.rounding.stochastic, self.random_bits, self.rounding.name)
        object.__setattr__(self, "random_bits", bits)
        if self.product is not None and not isinstance(self.product, Quantizer):
            raise TypeError(f"product {self.product!r}: give a Quantizer, or None for exact products")
        if self.product is not None and not isinstance(self.product.fmt, FloatFormat):
            raise TypeError(
                f"product format {self.product.fmt}: products are rounded to a FloatFormat so far; give a Quantizer of one"
            )
        if self.order not in ORDERS:
            raise ValueError(f"order {self.order!r} is not known: known are {', '.join(ORDERS)}")
        if self.chunk is not None and (
            not isinstance(self.chunk, int) or isinstance(self.chunk, bool) or self.chunk < 1
        ):
            raise ValueError(f"chunk = {self.chunk!r}: give a number of products of at least 1, or None for one chain")
        self._check_outer()
        self._check_parts()
        if self.stochastic:
            mode = self.rounding if self.product is None or self.rounding.stochastic else self.product.rounding
            raise ValueError(f"{mode.name} in an accumulator is not there yet: use a deterministic mode")
        remember_text(self)

    def _check_outer(self) -> None:
        if self.outer is None:
            return
        if not isinstance(self.outer, Accumulator):
            raise TypeError(f"outer {self.outer!r}: give an Accumulator, or None for the same one without chunk")
        if self.chunk is None:
            raise ValueError("outer combines the sums of chunks: give chunk= as well")
        if self.outer.chunk is not None or self.outer.product is not None:
            raise ValueError("outer adds sums of chunks one by one: it takes neither chunk= nor product=")

    def _check_parts(self) -> None:
        parts = [part for part in (self, self.product, self.outer) if part is not None]
        for fmt in (part.fmt if isinstance(part, Quantizer) else part.format for part in parts):
            if not fmt.signed:
                raise ValueError(f"{fmt} is unsigned: sums and products may be negative; use a signed format")
        if {Overflow.ERROR, Overflow.IEEE} <= {part.overflow for part in parts}:
            raise ValueError(
                "Overflow.ERROR in one part of an accumulator and Overflow.IEEE in another: an infinity would not tell"
                " which of them overflowed; give every part ERROR, or none"
            )

    @property
    def stochastic(self) -> bool:
        """Whether it needs a seed or words."""
        parts: tuple[Any, ...] = (self.rounding, self.product, self.outer)
        return any(part is not None and part.stochastic for part in parts)

    @property
    def product_format(self) -> FloatFormat | None:
        """The format that products are rounded to before they are added, None where they are exact."""
        if self.product is None:
            return None
        assert isinstance(self.product.fmt, FloatFormat)
        return self.product.fmt

    @property
    def combining(self) -> "Accumulator":
        """The accumulator whose format the results have: `outer` where chunks are combined, else this one."""
        return self if self.outer is None else self.outer
