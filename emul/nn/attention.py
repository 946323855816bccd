"""Multi-head attention with all of its products emulated."""

from typing import Any

import torch
from torch import Tensor

from ..culprits import given
from ..geometry import BatchGeometry, LinearGeometry
from ..operators.checks import widened
from ..recipe import Rule
from .base import Emulated
from .functional import attend, masked


class MultiheadAttention(Emulated, torch.nn.MultiheadAttention):
    """torch.nn.MultiheadAttention whose products are emulated, all by one rule, out_proj among them.

    Six products, each with forward, grad_input and grad_weight and with random words of its own, named as `parts`: the
    projections of query, key and value, each of its own, whatever tensors are the same; scores and context as in
    `emul.nn.functional.scaled_dot_product_attention`; the output's projection. Gradients of the projections' weights
    sum over (position, sample). query [L, N, E], key [S, N, kdim], value [S, N, vdim], or without N, or with batch_first
    [N, L, E] and so on -> (output of the query's shape, weights [N, L, S] or, not averaged, [N, heads, L, S], None
    unless need_weights).
    Parameters, masks (bool: True hides), bias_k and bias_v, add_zero_attn, dropout and what is returned are torch's;
    a query that may look nowhere gets zeros, where torch gives NaN or zeros. torch's fused paths are never taken.
    is_causal is torch's hint: it needs the attn_mask that it speaks of, and that mask is used.
    name and seed, types: as for `Linear`.
    """

    parts = ("query", "key", "value", "scores", "context", "output")

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        rule: Rule,
        seed: int = 0,
        name: str = "",
    ) -> None:
        super().__init__(
            embed_dim,
            num_heads,
            dropout,
            bias,
            add_bias_kv,
            add_zero_attn,
            kdim,
            vdim,
            batch_first,
            device,
            dtype,
        )
        self._start(rule, seed, name)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """(output, weights or None): see the class."""
        query, key, value = map(widened, (query, key, value))
        attn_mask, key_padding_mask = (None if m is None else widened(m) for m in (attn_mask, key_padding_mask))
        tensors = {"query": query, "key": key, "value": value, **dict(self.named_parameters())}
        with given(f"MultiheadAttention {self.emulation.name!r}", tensors):
            return self._attended(
                query, key, value, key_padding_mask, need_weights, attn_mask, average_attn_weights, is_causal
            )

    def _attended(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None,
        need_weights: bool,
        attn_mask: Tensor | None,
        average_attn_weights: bool,
        is_causal: bool,
    ) -> tuple[Tensor, Tensor | None]:
        label = f"MultiheadAttention {self.emulation.name!r}"
        if is_causal and attn_mask is None:
            raise ValueError(f"{label} has is_causal=True and no attn_mask: give the mask that it speaks of")
        batched = query.dim() == 3
        last, last_bias = self.out_proj.weight, self.out_proj.bias  # once, as a Linear
        for role, tensor in (("query", query), ("key", key), ("value", value)):
            self._check_input(label, role, tensor, query, last)
        if self.batch_first and batched:
            query, key, value = (tensor.transpose(0, 1) for tensor in (query, key, value))
        if not batched:
            query, key, value = (tensor.unsqueeze(1) for tensor in (query, key, value))
            key_padding_mask = None if key_padding_mask is None else key_padding_mask[None]
        if key.shape[:2] != value.shape[:2] or query.shape[1] != key.shape[1]:
            raise ValueError(
                f"{label} has {list(query.shape[:2])} queries, {list(key.shape[:2])} keys and {list(value.shape[:2])}"
                " values (positions, batch): give one key for each value, and one batch"
            )
        mask = self._mask(label, attn_mask, key_padding_mask, query, key)
        heads = [
            self._heads(self._projected(part, tensor, weight, bias))
            for (part, tensor), (weight, bias) in zip(
                (("query", query), ("key", key), ("value", value)), self._projections(), strict=True
            )
        ]
        q, k, v = heads[0], *(self._extended(*pair) for pair in zip(heads[1:], (self.bias_k, self.bias_v), strict=True))
        if mask is not None:  # what is appended is seen by all
            mask = torch.nn.functional.pad(mask, (0, k.shape[-2] - mask.shape[-1]))

        def product(part: str, activation: Tensor, weight: Tensor) -> Tensor:
            found: Tensor = self._product(activation, weight, BatchGeometry(), part)
            return found

        context, weights = attend(product, label, q, k, v, mask, self.dropout if self.training else 0.0)
        rows = context.permute(2, 0, 1, 3).reshape(query.shape)
        output = self._projected("output", rows, last, last_bias)
        if self.batch_first and batched:
            output = output.transpose(0, 1)
        if average_attn_weights:
            weights = weights.mean(1)
        if not batched:
            output, weights = output.squeeze(1), weights.squeeze(0)
        return output, weights if need_weights else None

    def _projected(self, part: str, rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        output: Tensor = self._product(rows, weight, LinearGeometry(), part)
        return output if bias is None else output + bias

    def _projections(self) -> list[tuple[Tensor, Tensor | None]]:
        """Weight and bias of query, key and value."""
        packed, bias = self.in_proj_weight, self.in_proj_bias
        biases = [None] * 3 if bias is None else bias.chunk(3)
        if packed is None:
            weights: Any = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        else:
            weights = packed.chunk(3)
        return list(zip(weights, biases, strict=True))

    def _heads(self, rows: Tensor) -> Tensor:
        """[positions, N, E] -> [N, heads, positions, E / heads]."""
        return rows.reshape(*rows.shape[:2], self.num_heads, self.head_dim).permute(1, 2, 0, 3)

    def _extended(self, heads: Tensor, bias: Tensor | None) -> Tensor:
        """Keys or values with the learned one, and with zeros, appended where the layer has them."""
        samples = heads.shape[0]
        if bias is not None:
            heads = torch.cat([heads, self._heads(bias.expand(1, samples, -1))], 2)
        if self.add_zero_attn:
            heads = torch.nn.functional.pad(heads, (0, 0, 0, 1))
        return heads

    def _mask(
        self, label: str, attn_mask: Tensor | None, key_padding_mask: Tensor | None, query: Tensor, key: Tensor
    ) -> Tensor | None:
        """What is added to the scores, [N or 1, heads or 1, L or 1, S]; None for nothing."""
        length, samples, sources = query.shape[0], query.shape[1], key.shape[0]
        total = None
        if attn_mask is not None:
            if attn_mask.shape == (length, sources):
                attn_mask = attn_mask[None, None]
            elif attn_mask.shape == (samples * self.num_heads, length, sources):
                attn_mask = attn_mask.reshape(samples, self.num_heads, length, sources)
            else:
                raise ValueError(
                    f"attn_mask of {label} has shape {list(attn_mask.shape)}: give {[length, sources]} or"
                    f" {[samples * self.num_heads, length, sources]}"
                )
            total = _added(attn_mask, query, label)
        if key_padding_mask is not None:
            if key_padding_mask.shape != (samples, sources):
                raise ValueError(
                    f"key_padding_mask of {label} has shape {list(key_padding_mask.shape)}: give {[samples, sources]}"
                )
            padding = _added(key_padding_mask.reshape(samples, 1, 1, sources), query, label)
            total = padding if total is None else total + padding
        return total

    def _check_input(self, label: str, role: str, tensor: Tensor, query: Tensor, last: Tensor) -> None:
        if getattr(tensor, "is_nested", False):
            raise ValueError(
                f"the {role} of {label} is a nested tensor: pad it, and hide the padding by key_padding_mask"
            )
        self._check(tensor, last)
        width = {"query": self.embed_dim, "key": self.kdim, "value": self.vdim}[role]
        if tensor.dim() not in (2, 3) or tensor.dim() != query.dim() or tensor.shape[-1] != width:
            raise ValueError(
                f"the {role} of {label} has shape {list(tensor.shape)}: give [positions, batch, {width}]"
                f" ([batch, positions, {width}] with batch_first), or [positions, {width}], for all three"
            )


def _added(mask: Tensor, query: Tensor, label: str) -> Tensor:
    """A mask of torch's modules, in which True hides, as numbers to add."""
    shown = ~mask if mask.dtype == torch.bool else mask
    return masked(query.new_zeros(mask.shape), shown, label)
