"""Products whose gradient knows their accumulator: `numerics.chain_gradients` as a torch operator, `emul::chain_gradients`.

On CUDA tensors it goes to the host and back: the same bits, and slow. The product itself is that of `emul.matmul`.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from numerics import Accumulator, spec
from numerics import chain_gradients as numpy_chain_gradients
from numerics.questions import check_question

from . import ops
from .operators import batching
from .operators.checks import WIDE
from .operators.eager import followed, unwatched
from .operators.library import call, define, direct, signed, unsigned
from .operators.reading import array_of

__all__ = ["chain_gradients", "matmul"]

#: What the operators take after the tensors, one argument past the dispatcher: accumulator, keys, rule, event, tolerance.
Asked = tuple[Accumulator, int, int, str, str, float]


def matmul(
    a: Tensor,
    b: Tensor,
    accumulator: Accumulator,
    *,
    rule: str = "immediate",
    event: str = "diff",
    tolerance: float = 0.0,
    seed: int | None = None,
    stream: int = 0,
) -> Tensor:
    """`emul.matmul(a, b, accumulator)`, whose gradient is `chain_gradients`; differentiable once.

    a [..., M, K], b [..., K, N], seed, stream, torch.vmap: as there. rule, event, tolerance: as in
    `numerics.chain_gradients`; those that it refuses are refused before the product.
    """
    check_question(accumulator, rule, event, tolerance)
    product: Tensor
    if unwatched(a, b) and ops.fit(a, b, accumulator, seed):
        asked = accumulator, 0 if seed is None else seed, stream, rule, event, tolerance
        product = direct("chain_matmul", followed(a, b))(a, b, asked)
        return product
    ops.check_product(a, b, accumulator, seed)
    if a.dtype not in WIDE:
        options: dict[str, Any] = {"rule": rule, "event": event, "tolerance": tolerance, "seed": seed, "stream": stream}
        return matmul(a.float(), b.float(), accumulator, **options).to(a.dtype)
    keys = signed("seed", 0 if seed is None else seed), signed("stream", stream)
    product = call("chain_matmul", a, b, spec.dumps(accumulator), rule, event, float(tolerance), *keys)
    return product


def chain_gradients(
    a: Tensor,
    b: Tensor,
    gradient: Tensor,
    accumulator: Accumulator,
    *,
    rule: str = "immediate",
    event: str = "diff",
    tolerance: float = 0.0,
    seed: int | None = None,
    stream: int = 0,
) -> tuple[Tensor, Tensor]:
    """`numerics.chain_gradients` of tensors: gradients of a and b from that of `emul.matmul(a, b, accumulator)`.

    a [..., M, K], b [..., K, N], gradient [..., M, N]: float32 or float64, on the CPU or one CUDA device, any strides; the
    results have the shapes and dtypes of a and b and are contiguous; to differentiate them is refused. Under torch.vmap
    they are those of a loop.
    Errors: TypeError for another dtype or type; ValueError for two devices, a missing seed and what
    `numerics.chain_gradients` refuses.
    """
    check_question(accumulator, rule, event, tolerance)
    if not (unwatched(a, b, gradient) and a.dtype in WIDE and b.dtype in WIDE and gradient.dtype in WIDE):
        for tensor, label in ((a, "a"), (b, "b"), (gradient, "gradient")):
            ops.check_operand(tensor, label)
            ops.check_together(a, tensor, "a", label)
    if accumulator.stochastic and rule != "identity" and seed is None:
        raise ValueError("a stochastic accumulator needs random words: give seed=, the one of the product")
    return _gradients(a, b, gradient, (accumulator, 0 if seed is None else seed, stream, rule, event, tolerance))


def _gradients(a: Tensor, b: Tensor, gradient: Tensor, asked: Asked) -> tuple[Tensor, Tensor]:
    found: tuple[Tensor, Tensor]
    if unwatched(a, b, gradient):
        found = direct("chain_gradients", followed(a, b, gradient))(a, b, gradient, asked)
    else:
        accumulator, seed, stream, rule, event, tolerance = asked
        keys = signed("seed", seed), signed("stream", stream)
        found = call("chain_gradients", a, b, gradient, spec.dumps(accumulator), rule, event, float(tolerance), *keys)
    return found


def _on_host(a: Tensor, b: Tensor, gradient: Tensor, asked: Asked) -> tuple[Tensor, Tensor]:
    accumulator, seed, stream, rule, event, tolerance = asked
    arrays = [array_of(x) for x in (a, b, gradient)]
    options: dict[str, Any] = {"rule": rule, "event": event, "tolerance": tolerance, "seed": seed, "stream": stream}
    found = numpy_chain_gradients(arrays[0], arrays[1], arrays[2], accumulator, **options)
    of_a, of_b = map(torch.from_numpy, found)
    return (of_a, of_b) if a.is_cpu else (of_a.to(a.device), of_b.to(a.device))


def _gradients_here(a: Tensor, b: Tensor, gradient: Tensor, *question: Any) -> tuple[Tensor, Tensor]:
    return _on_host(a, b, gradient, _crossed(*question))


def _crossed(accumulator: str, rule: str, event: str, tolerance: float, seed: int, stream: int) -> Asked:
    """What came through the dispatcher."""
    return spec.loads(accumulator), unsigned(seed), unsigned(stream), rule, event, tolerance


def _fake(a: Tensor, b: Tensor, gradient: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return a.new_empty(a.shape), b.new_empty(b.shape)


def _refuse_backward(ctx: Any, *_: Any) -> tuple[Tensor | None, ...]:
    raise NotImplementedError("emul::chain_gradients has no gradient of its own: masks are steps; differentiate once")


def _gradients_batched(info: Any, in_dims: Any, *arguments: Any) -> Any:
    return batching.loop(partial(call, "chain_gradients"), info, in_dims, *arguments)


def _matmul_cpu(a: Tensor, b: Tensor, accumulator: str, rule: str, event: str, tolerance: float, *keys: int) -> Tensor:
    return ops.matmul_cpu(a, b, accumulator, *keys)


def _matmul_cuda(a: Tensor, b: Tensor, accumulator: str, rule: str, event: str, tolerance: float, *keys: int) -> Tensor:
    return ops.matmul_cuda(a, b, accumulator, *keys)


def _matmul_fake(a: Tensor, b: Tensor, accumulator: str, rule: str, event: str, tolerance: float, *keys: int) -> Tensor:
    return ops.matmul_fake(a, b, accumulator, *keys)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:2])
    ctx.question = inputs[2:]


def _matmul_backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    (a, b), question, needs = ctx.saved_tensors, ctx.question, ctx.needs_input_grad
    asked = question[0] if len(question) == 1 else _crossed(*question)
    of_a, of_b = _gradients(a, b, gradient, asked)
    return of_a if needs[0] else None, of_b if needs[1] else None, *(None,) * len(ctx.question)


define(
    "chain_gradients(Tensor a, Tensor b, Tensor gradient, str accumulator, str rule, str event, float tolerance,"
    " int seed, int stream) -> (Tensor, Tensor)",
    plain=_on_host,
    cpu=_gradients_here,
    cuda=_gradients_here,
    fake=_fake,
    batched=_gradients_batched,
    backward=_refuse_backward,
)
define(
    "chain_matmul(Tensor a, Tensor b, str accumulator, str rule, str event, float tolerance, int seed, int stream)"
    " -> Tensor",
    plain=ops.product_of,
    cpu=_matmul_cpu,
    cuda=_matmul_cuda,
    fake=_matmul_fake,
    batched=partial(ops.matmul_batched, "chain_matmul"),
    backward=_matmul_backward,
    keep=_keep,
)
