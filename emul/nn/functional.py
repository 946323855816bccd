"""Attention as a function of tensors and a rule, and what the layers share with it."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.attention.bias import CausalBias, CausalVariant

from ..autograd import Draw, layer_product
from ..culprits import given
from ..distributed import replica_of
from ..functional.mode import off
from ..geometry import BatchGeometry
from ..operators.eager import check_eager
from ..ops import check_operand, check_together
from ..recipe import Rule

__all__ = ["scaled_dot_product_attention"]

#: (name of the product, activation [..., M, K], weight [..., N, K]) -> [..., M, N].
BatchProduct = Callable[[str, Tensor, Tensor], Tensor]


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    rule: Rule,
    seed: int = 0,
    name: str = "",
    step: int = 0,
    replica: int | None = None,
) -> Tensor:
    """torch's namesake with both products emulated: softmax(scale (query @ key^T) + mask) @ value.

    query [..., H, L, E], key [..., H, S, E], value [..., H, S, V] -> [..., H, L, V], float32 or float64; leading dimensions
    broadcast, and the gradient of a tensor that is repeated so is torch's own sum over its repetitions. Two products,
    "scores" and "context", each with the rule's forward, grad_input and grad_weight: query and the probabilities have
    the role activation, key and value that of the weight. Scores sum over E, the context over S, gradients of query and
    probabilities over S and V, of key and value over L; all in ascending order. The scale (None: 1/sqrt(E)) multiplies
    the rounded scores; scale, mask, softmax and dropout are torch's own, in the tensors' dtype.

    attn_mask: broadcasts to [..., H, L, S]; bool, True where a query may look, or floats of the tensors' dtype, added; or
    one of torch.nn.attention.bias.
    A query that may look nowhere gets zeros. is_causal: position i sees the first i + 1. enable_gqa: key and value may
    have fewer heads, and query heads h G ... h G + G - 1 share head h: their products, and the sums of its gradients,
    run over (query head, position). dropout_p is torch.nn.Dropout's: it draws from torch's default generator, which a
    training run seeds and saves, as all dropout of a model does; name and seed have no part in it.

    name, seed and step key the random words, as a layer's: give each call of a training step its own name. replica: which
    of several processes that train one model this is, each of which draws its own, as `emul.swap_` takes it.
    Errors: TypeError for dtypes that differ or are others; ValueError for shapes that do not match, a mask beside
    is_causal, a dropout_p outside [0, 1], a rule with keep=True.
    """
    if rule.keep:
        raise ValueError(f"the rule {rule.pattern!r} keeps layers native: call torch's scaled_dot_product_attention")

    check_eager(f"attention {name!r}", query, key, value)

    def product(part: str, activation: Tensor, weight: Tensor) -> Tensor:
        draw = Draw(seed, f"{name}.{part}" if name else part, step, replica=replica_of(replica), shared=False)
        with off():
            return layer_product(activation, weight, BatchGeometry(), rule, draw)

    return attention(product, repr(name), query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa)


def attention(
    product: BatchProduct,
    name: str,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    dropout: float,
    is_causal: bool,
    scale: float | None,
    grouped: bool,
) -> Tensor:
    """`scaled_dot_product_attention` by any product; sentences call it attention and the name."""
    label = f"attention {name}"
    query, key, value = _broadcast(label, query, key, value, grouped)
    if is_causal:
        if mask is not None:
            raise ValueError(f"{label} has attn_mask and is_causal=True: give one of them")
        mask = causal(query, key)
    if isinstance(mask, CausalBias):
        mask = _values_of(mask, query.device)
    with given(label, {"query": query, "key": key, "value": value}):
        output, _ = attend(product, label, query, key, value, mask, dropout, scale)
    return output


def causal(query: Tensor, key: Tensor) -> Tensor:
    """The mask [L, S] by which position i sees the first i + 1."""
    return torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool, device=query.device).tril()


def _values_of(bias: CausalBias, device: torch.device) -> Tensor:
    """The mask that one of torch.nn.attention.bias stands for, whose own memory holds nothing."""
    beyond = bias.seq_len_kv - bias.seq_len_q if bias.variant == CausalVariant.LOWER_RIGHT else 0
    return torch.ones(bias.seq_len_q, bias.seq_len_kv, dtype=torch.bool, device=device).tril(beyond)


def attend(
    product: BatchProduct,
    label: str,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    dropout: float,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """(output [..., H, L, V], probabilities [..., H, L, S] after dropout), as `scaled_dot_product_attention` says."""
    if not 0 <= dropout <= 1:
        raise ValueError(f"dropout_p of {label} is {dropout}: give a probability, 0 to 1")
    shape = (*query.shape[:-1], key.shape[-2])
    scores = product("scores", _folded(query, key), key).reshape(shape)
    scores = scores * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if mask is not None:
        scores = masked(scores, mask, label)
    # A row of infinities has no softmax: it becomes zeros, and so does its gradient.
    nowhere = (scores == -math.inf).all(-1, keepdim=True)
    weights = torch.softmax(scores.masked_fill(nowhere, 0), -1).masked_fill(nowhere, 0)
    if dropout:
        weights = torch.nn.Dropout(dropout)(weights)  # the model's own, from the generator that all of them draw from
    context = product("context", _folded(weights, key), value.mT)
    return context.reshape(*query.shape[:-1], value.shape[-1]), weights


def masked(scores: Tensor, mask: Tensor, label: str) -> Tensor:
    """scores [..., L, S] with -infinity where a bool mask is False, or with a float mask added."""
    if mask.dtype not in (torch.bool, scores.dtype):
        raise TypeError(f"the mask of {label} is {mask.dtype}: give torch.bool or {scores.dtype}")
    check_together(scores, mask, f"the query of {label}", "its mask")
    sizes = zip(reversed(mask.shape), reversed(scores.shape), strict=False)
    if mask.dim() > scores.dim() or any(own not in (1, wanted) for own, wanted in sizes):
        raise ValueError(
            f"the mask of {label} has shape {list(mask.shape)}: give one that broadcasts to {list(scores.shape)}"
        )
    return scores.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores + mask


def _folded(rows: Tensor, key: Tensor) -> Tensor:
    """[..., H, L, n] with the heads that share one of the key as rows of one matrix: [..., key heads, H/key heads L, n]."""
    if rows.shape[:-2] == key.shape[:-2]:
        return rows
    return rows.reshape(*key.shape[:-2], -1, rows.shape[-1])


def _broadcast(label: str, query: Tensor, key: Tensor, value: Tensor, grouped: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The three with one batch: all leading dimensions, of grouped ones those before the heads. Refused are others."""
    own = 2 + grouped
    for role, tensor in (("query", query), ("key", key), ("value", value)):
        check_operand(tensor, f"the {role} of {label}")
        if tensor.dtype != query.dtype:
            raise TypeError(f"the query of {label} is {query.dtype} and its {role} {tensor.dtype}: convert one of them")
        check_together(query, tensor, f"the query of {label}", f"its {role}")
        if tensor.dim() < own:
            wanted = "[..., heads, positions, features]" if grouped else "[..., positions, features]"
            raise ValueError(f"the {role} of {label} has shape {list(tensor.shape)}: give {wanted}")
    shapes = f"the query of {label} is {list(query.shape)}, key {list(key.shape)} and value {list(value.shape)}"
    if query.shape[-1] != key.shape[-1] or key.shape[-own:-1] != value.shape[-own:-1]:
        raise ValueError(f"{shapes}: give [..., L, E], [..., S, E] and [..., S, V]")
    if grouped and (not key.shape[-3] or query.shape[-3] % key.shape[-3]):
        raise ValueError(f"{shapes}: enable_gqa wants the query's heads to be a multiple of the key's")
    tensors = query, key, value
    batches = [tensor.shape[:-own] for tensor in tensors]
    if batches[0] == batches[1] == batches[2]:
        return tensors
    try:
        batch = torch.broadcast_shapes(*batches)  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        remedy = "" if grouped else ", or enable_gqa=True for fewer heads of the key"
        raise ValueError(f"{shapes}: give leading dimensions that broadcast{remedy}") from error
    query, key, value = (tensor.expand(*batch, *tensor.shape[-own:]) for tensor in tensors)
    return query, key, value
