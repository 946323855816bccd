"""Accumulator: the format and the order in which a sum of products is rounded."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from .formats import FixedFormat, FloatFormat
from .formats.integers import keep_whole, whole
from .formats.naming import format_in, made_from, named
from .formats.spelling import spelled
from .parameters import check_policy, check_rounding
from .quantizer import Quantizer
from .rounding import Overflow, Rounding, check_members
from .text import remember_text
from .words import check_random_bits

ORDERS = ("sequential", "pairwise", "kahan", "exact")


@dataclass(frozen=True)
class Accumulator:
    """How a dot product is accumulated: every step's exact sum is rounded once to `format`.

    product: None for a fused step, the exact product added before the one rounding; or a Quantizer that rounds each
    product first. chunk=n: chains of n products from +0, the last may be short; their sums are then combined from
    left to right by `outer` (None: the same accumulator without chunk and product). The product quantizer is applied to
    products only, never to the sums of chunks.

    order: "sequential", k ascending. "pairwise": neighbours (0, 1), (2, 3), ... are added and rounded, level by level,
    an odd one is carried up as it is; c, where given, is added last, and a lone exact product is rounded then. With
    block=n the leaves are the sums of chains of n products from +0. "kahan": y = a*b - r, t = s + y, r = (t - s) - y,
    s = t, each of the four rounded. "exact": the exact sum (of products rounded first, if so), rounded once at the end.
    """

    format: FloatFormat | FixedFormat
    rounding: Rounding = Rounding.RNE
    overflow: Overflow = Overflow.SATURATE
    product: Quantizer | None = field(default=None, kw_only=True)
    order: str = field(default="sequential", kw_only=True)
    chunk: int | None = field(default=None, kw_only=True)
    outer: "Accumulator | None" = field(default=None, kw_only=True)
    random_bits: int | None = field(default=None, kw_only=True)
    block: int | None = field(default=None, kw_only=True)

    __repr__ = spelled

    def __post_init__(self) -> None:
        if not isinstance(self.format, FloatFormat | FixedFormat):
            inner = format_in(self.format)
            own = "" if inner is None or inner is self.format else f" give its format, {inner}, and its rounding;"
            raise TypeError(
                f"format {named(self.format)}: sums are accumulated in a FloatFormat or a FixedFormat;{own}"
                " parse_format(name) gives one by name (codes of log formats: numerics.logscale.matmul)"
            )
        check_members(self.rounding, self.overflow)
        check_policy(self.format, self.overflow)
        check_rounding(self.format, self.rounding)
        bits = check_random_bits(self.rounding.stochastic, self.random_bits, self.rounding.name)
        object.__setattr__(self, "random_bits", bits)
        self._check_product()
        self._check_order()
        self._check_outer()
        self._check_parts()
        remember_text(self)

    def _check_product(self) -> None:
        if self.product is None:
            return
        if not isinstance(self.product, Quantizer):
            raise TypeError(
                f"product {named(self.product)}: give {made_from(self.product, 'Quantizer')}, or None for exact products"
            )
        if not isinstance(self.product.fmt, type(self.format)):
            kind = type(self.format).__name__
            raise TypeError(
                f"product format {self.product.fmt}: products of an accumulator in a {kind} are rounded to a {kind};"
                " give a Quantizer of one"
            )

    def _check_order(self) -> None:
        if self.order not in ORDERS:
            raise ValueError(f"order {self.order!r} is not known: known are {', '.join(ORDERS)}")
        for name in ("chunk", "block"):
            if getattr(self, name) is None:
                continue
            count = keep_whole(self, name)
            if count is None or count < 1:
                raise ValueError(
                    f"{name} = {getattr(self, name)!r}: give a number of products of at least 1, or None for one chain"
                )
        if self.block is not None and self.order != "pairwise":
            raise ValueError(
                f"block = {self.block} with order {self.order!r}: blocks are the leaves of the pairwise tree; give"
                ' order="pairwise", or chunk= for chains combined from left to right'
            )
        if self.order == "kahan" and isinstance(self.format, FixedFormat):
            raise ValueError(
                f'order "kahan" in {self.format}: sums on a fixed grid lose nothing that could be compensated;'
                ' use "sequential"'
            )

    def _check_outer(self) -> None:
        if self.outer is None:
            return
        if not isinstance(self.outer, Accumulator):
            raise TypeError(
                f"outer {named(self.outer)}: give {made_from(self.outer, 'Accumulator')}, or None for the same one without"
                " chunk"
            )
        if self.chunk is None:
            raise ValueError("outer combines the sums of chunks: give chunk= as well")
        if self.outer.chunk is not None or self.outer.product is not None:
            raise ValueError("outer adds sums of chunks one by one: it takes neither chunk= nor product=")

    def _check_parts(self) -> None:
        parts = [part for part in (self, self.product, self.outer) if part is not None]
        for fmt in (part.fmt if isinstance(part, Quantizer) else part.format for part in parts):
            if isinstance(fmt, FloatFormat) and not fmt.signed:
                raise ValueError(f"{fmt} is unsigned: sums and products may be negative; use a signed format")
        if {Overflow.ERROR, Overflow.IEEE} <= {part.overflow for part in parts}:
            raise ValueError(
                "Overflow.ERROR in one part of an accumulator and Overflow.IEEE in another: an infinity would not tell"
                " which of them overflowed; give every part ERROR, or none"
            )

    @cached_property
    def stochastic(self) -> bool:
        """Whether it needs a seed or words."""
        parts: tuple[Any, ...] = (self.rounding, self.product, self.outer)
        return any(part is not None and part.stochastic for part in parts)

    @property
    def product_format(self) -> FloatFormat | FixedFormat | None:
        """The format that products are rounded to before they are added, None where they are exact."""
        if self.product is None:
            return None
        assert isinstance(self.product.fmt, FloatFormat | FixedFormat)
        return self.product.fmt

    @cached_property
    def combining(self) -> "Accumulator":
        """The accumulator whose format the results have: `outer` where chunks are combined, else this one."""
        if self.outer is not None:
            return self.outer
        return self if self.chunk is None else replace(self, chunk=None, product=None)

    @cached_property
    def inner(self) -> "Accumulator":
        """The accumulator of one chunk: this one without chunk and outer."""
        return self if self.chunk is None else replace(self, chunk=None, outer=None)

    def roundings(self, depth: int) -> int:
        """How many roundings one output of a product over `depth` takes: the number of random words it has.

        Their order is the order of execution: product, then sum (of "kahan" the four), for each k. Pairwise: the
        products, or with block the chains' products and sums, then the tree level by level, then c (counted whether or
        not it is given). Exact: the products, then one. With chunk: those of all chunks, then those of the outer sum.
        """
        number = whole(depth)
        if number is None or number < 0:
            raise ValueError(f"depth = {depth!r}: give the number of products of an output, an integer of at least 0")
        return self._roundings(number)

    def _roundings(self, depth: int) -> int:
        if depth == 0:
            return 1
        if self.chunk is not None:
            full, short = divmod(depth, self.chunk)
            inside = full * self.inner._roundings(self.chunk) + (self.inner._roundings(short) if short else 0)
            return inside + self.combining._roundings(full + (short > 0))
        products = 0 if self.product is None else depth
        if self.order == "kahan":
            return products + 4 * depth
        if self.order == "exact":
            return products + 1
        return products + depth + (0 if self.block is None else -(-depth // self.block))
