"""Products whose gradient knows their accumulator: `numerics.chain_gradients` as a torch operator, `emul::chain_gradients`.

On CUDA tensors it goes to the host and back: the same bits, and slow. The product itself is that of `emul.matmul`.
"""

from typing import Any

import torch
from torch import Tensor

from numerics import Accumulator, spec
from numerics import chain_gradients as numpy_chain_gradients
from numerics.chains import check_question
from numerics.words import counter

from . import ops
from .once import once_differentiable

__all__ = ["chain_gradients", "matmul"]

_LIBRARY = torch.library.Library("emul", "FRAGMENT")  # type: ignore[no-untyped-call]
_LIBRARY.define(  # type: ignore[no-untyped-call]
    "chain_gradients(Tensor a, Tensor b, Tensor gradient, str accumulator, str rule, str event, float tolerance,"
    " int seed, int stream) -> (Tensor, Tensor)",
    tags=(torch.Tag.pt2_compliant_tag,),
)


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

    a [..., M, K], b [..., K, N], seed, stream: as there. rule, event, tolerance: as in `numerics.chain_gradients`; those
    that it refuses are refused before the product.
    """
    check_question(accumulator, rule, event, tolerance)
    product: Tensor = _Product.apply(a, b, accumulator, (rule, event, tolerance), seed, stream)  # type: ignore[no-untyped-call]
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
    results have the shapes and dtypes of a and b, are contiguous and detached.
    Errors: TypeError for another dtype or type; ValueError for two devices, a missing seed and what
    `numerics.chain_gradients` refuses.
    """
    check_question(accumulator, rule, event, tolerance)
    for tensor, label in ((a, "a"), (b, "b"), (gradient, "gradient")):
        ops.check_operand(tensor, label)
        ops.check_together(a, tensor, "a", label)
    if accumulator.stochastic and rule != "identity" and seed is None:
        raise ValueError("a stochastic accumulator needs random words: give seed=, the one of the product")
    keys = (_signed(counter("seed", seed or 0)), _signed(counter("stream", stream)))
    found: tuple[Tensor, Tensor] = torch.ops.emul.chain_gradients(
        a, b, gradient, spec.dumps(accumulator), rule, event, float(tolerance), *keys
    )
    return found


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, a: Tensor, b: Tensor, accumulator: Accumulator, question: Any, seed: int | None, stream: int
    ) -> Tensor:
        ctx.accumulator, ctx.question, ctx.keys = accumulator, question, (seed, stream)
        ctx.save_for_backward(a, b)
        return ops.matmul(a, b, accumulator, seed=seed, stream=stream)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        a, b = ctx.saved_tensors
        (rule, event, tolerance), (seed, stream) = ctx.question, ctx.keys
        of_a, of_b = chain_gradients(
            a, b, gradient, ctx.accumulator, rule=rule, event=event, tolerance=tolerance, seed=seed, stream=stream
        )
        needs = ctx.needs_input_grad
        return of_a if needs[0] else None, of_b if needs[1] else None, None, None, None, None


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _on_host(
    a: Tensor,
    b: Tensor,
    gradient: Tensor,
    accumulator: str,
    rule: str,
    event: str,
    tolerance: float,
    seed: int,
    stream: int,
) -> tuple[Tensor, Tensor]:
    record = spec.loads(accumulator)
    found = numpy_chain_gradients(
        a.numpy(force=True),
        b.numpy(force=True),
        gradient.numpy(force=True),
        record,
        rule=rule,
        event=event,
        tolerance=tolerance,
        seed=seed % (1 << 64),
        stream=stream % (1 << 64),
    )
    of_a, of_b = (torch.from_numpy(x).to(a.device) for x in found)
    return of_a, of_b


def _fake(a: Tensor, b: Tensor, gradient: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return a.new_empty(a.shape), b.new_empty(b.shape)


def _refuse_backward(ctx: Any, *_: Any) -> tuple[Tensor | None, ...]:
    raise NotImplementedError("emul::chain_gradients has no gradient of its own: masks are steps; differentiate once")


for _key in ("CPU", "CUDA"):
    _LIBRARY.impl("chain_gradients", _on_host, _key)  # type: ignore[no-untyped-call]
torch.library.register_fake("emul::chain_gradients", _fake, lib=_LIBRARY)
torch.library.register_autograd("emul::chain_gradients", _refuse_backward, lib=_LIBRARY)
