"""SwiGLU and Smooth-SwiGLU, around linear layers that swap_ can emulate."""

from typing import Any

import torch
from torch import Tensor

from numerics import Quantizer
from numerics.formats.naming import made_from, named
from numerics.scaling import Smoothed

from .. import scaling
from ..once import anchor, once_differentiable
from ..operators.checks import widened


class SwiGLU(torch.nn.Module):
    """down(linear(x) * swish(gate(x))): input [..., in_features] -> [..., out_features].

    Three torch.nn.Linear: `linear` and `gate` to hidden_features, `down` to out_features (None: in_features). The product
    between them is `numerics.scaling.smooth_swiglu` with a scale of 1: swish by float64 within 4 ulp, each operation
    rounded once, the same bits on every device; so is its gradient.
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        out_features: int | None = None,
        bias: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        options = {"bias": bias, "device": device, "dtype": dtype}
        self.linear = torch.nn.Linear(in_features, hidden_features, **options)
        self.gate = torch.nn.Linear(in_features, hidden_features, **options)
        self.down = torch.nn.Linear(hidden_features, in_features if out_features is None else out_features, **options)

    def forward(self, input: Tensor) -> Tensor:
        """[..., in_features] -> [..., out_features]."""
        linear, gate = self._branches(input)
        values, _ = _smoothed(linear, gate, (), True, None, linear.new_ones([1] * linear.dim()))
        output: Tensor = self.down(values)
        return output

    def _branches(self, input: Tensor) -> tuple[Tensor, Tensor]:
        """What both layers make of it; torch's own make 16 bits of it under autocast."""
        return widened(self.linear(input)), widened(self.gate(input))


class SmoothSwiGLU(SwiGLU):
    """SwiGLU whose linear branch is divided by its largest magnitude before the product, which then has no outliers.

    per: "token", a scale for each, which multiplies the output of `down`; "channel", a scale over all tokens for each
    hidden channel, which multiplies the column of down's weight. power_of_two: scales are powers of two, and the result
    is SwiGLU's to the bit where nothing rounds between, over- or underflows. quantizer: rounds the product; a stochastic
    one, and what else `down` does to its activation, belong in its rule. Gradients take scales for constants and pass
    the rounding straight through. down's bias is added after the scale.
    Errors: ValueError for another `per`, a stochastic quantizer, and as `numerics.scaling.smooth_swiglu`.
    Source: Fishman, Chmiel, Banner and Soudry, Scaling FP8 training to trillion-token LLMs, arXiv 2409.12517: per channel;
    its released code: per token.
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        out_features: int | None = None,
        bias: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        per: str = "channel",
        power_of_two: bool = True,
        quantizer: Quantizer | None = None,
    ) -> None:
        if per not in ("channel", "token"):
            raise ValueError(f"per = {per!r}: give 'channel' or 'token'")
        if quantizer is not None and not isinstance(quantizer, Quantizer):
            raise TypeError(
                f"quantizer = {named(quantizer)}: give {made_from(quantizer, 'numerics.Quantizer')}, or None"
            )
        if quantizer is not None and quantizer.stochastic:
            raise ValueError(
                f"quantizer = {named(quantizer)} needs random words, which this module does not draw: give it to the rule"
                " of the layer `down`, as its activation"
            )
        super().__init__(in_features, hidden_features, out_features, bias, device, dtype)
        self.per, self.power_of_two, self.quantizer = per, power_of_two, quantizer

    def forward(self, input: Tensor) -> Tensor:
        """[..., in_features] -> [..., out_features]."""
        linear, gate = self._branches(input)
        axes = (-1,) if self.per == "token" else tuple(range(linear.dim() - 1))
        values, scale = _smoothed(linear, gate, axes, self.power_of_two, self.quantizer, None)
        weight, bias = self.down.weight, self.down.bias
        if self.per == "channel":
            weight = weight * scale.reshape(1, -1)
        changed = {"weight": weight, **({} if bias is None else {"bias": torch.zeros_like(bias)})}
        output: Tensor = torch.func.functional_call(self.down, changed, (values,))
        if self.per == "token":
            output = output * scale
        return output if bias is None else output + bias

    def extra_repr(self) -> str:
        """What the layers inside do not show."""
        return f"per={self.per!r}, power_of_two={self.power_of_two}, quantizer={named(self.quantizer)}"


def _smoothed(
    linear: Tensor,
    gate: Tensor,
    axes: tuple[int, ...],
    power_of_two: bool,
    quantizer: Quantizer | None,
    scale: Tensor | None,
) -> tuple[Tensor, Tensor]:
    found: tuple[Tensor, Tensor] = _Smoothed.apply(  # type: ignore[no-untyped-call]
        linear, gate, axes, power_of_two, quantizer, scale
    )
    return found


class _Smoothed(torch.autograd.Function):
    """(values, scale) of `numerics.scaling.smooth_swiglu`."""

    @staticmethod
    def forward(
        ctx: Any,
        linear: Tensor,
        gate: Tensor,
        axes: tuple[int, ...],
        power_of_two: bool,
        quantizer: Quantizer | None,
        scale: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        anchor(ctx, linear, gate)
        axes = tuple(range(linear.dim())) if scale is not None else axes
        values, divisor = scaling.smooth_swiglu(
            linear.detach(),
            gate.detach(),
            axis=axes,
            power_of_two=power_of_two,
            quantizer=quantizer,
            scale=scale,
        )
        ctx.save_for_backward(linear, gate, values, divisor)
        ctx.axes = axes
        ctx.mark_non_differentiable(divisor)
        return values, divisor

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        linear, gate, values, divisor = ctx.saved_tensors
        # The function wants the gradient of values * scale.
        upstream = gradient / divisor
        of_linear, of_gate = scaling.smooth_swiglu_gradient(
            linear, gate, Smoothed(values, divisor), upstream, axis=ctx.axes
        )
        return of_linear, of_gate, None, None, None, None
