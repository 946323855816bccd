"""Norm layers whose sums are emulated: no products of matrices, but sums of as many terms.

A rule has one meaning for all of them. forward: its accumulator has the sums of the statistics, that of the elements
(times ones) and that of products of deviations. grad_input: the two sums of their gradient. grad_weight: the sum of
gradient times normalized value, that of the gain. The gradient of the bias is torch's own sum, and all that is no sum
is torch's own arithmetic in the operands' dtype. An accumulator None is torch's own sum. There are no operands to
quantize: a rule with quantizers is refused. swap_ makes these layers where a rule's `types` name them.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..autograd import Draw
from ..culprits import given, told
from ..norm import Norm
from ..operators.checks import widened
from ..operators.eager import EAGER
from ..recipe import ROLES, Product, Rule
from .base import Emulated
from .row_norms import L2, inverse_deviation, normalized, scaled


class EmulatedNorm(Emulated):
    """What the norm layers have in common."""

    @classmethod
    def check_rule(cls, rule: Rule, name: str) -> None:
        """Refuse a rule that has more than accumulators, and a form of batch norm for another layer."""
        for product in ROLES:
            given = getattr(rule, product)
            if given != Product(accumulator=given.accumulator):
                raise ValueError(
                    f"{cls.__name__} {name!r} has sums and no operands: its {product} product takes an accumulator and"
                    " nothing else; quantize in the layers around it"
                )
        if rule.norm is not None and not issubclass(cls, _BatchNorm):
            raise ValueError(f"{cls.__name__} {name!r} has no form {rule.norm}: norm= is for batch norms")

    def _start(self, rule: Rule, seed: int, name: str) -> None:
        self.check_rule(rule, name)
        super()._start(rule, seed, name)

    def _over_features(
        self, input: Tensor, weight: Tensor | None, shape: tuple[int, ...], epsilon: float, centred: bool
    ) -> Tensor:
        """Each sample of `input` normalized over its last dimensions, those of `shape`, times the gain of each feature."""
        input = widened(input)
        other = input if weight is None else weight
        self._check(input, other)
        if tuple(input.shape[input.dim() - len(shape) :]) != shape or 0 in shape:
            raise ValueError(
                f"the input of {type(self).__name__} {self.emulation.name!r} has shape {list(input.shape)}: its last"
                f" dimensions must be {list(shape)}, and none 0"
            )
        rows = input.reshape(input.shape[: input.dim() - len(shape)].numel(), torch.Size(shape).numel())

        def compute(draw: Draw) -> Tensor:
            rule = self.emulation.rule
            values, _, _ = normalized(rows, L2, epsilon, rule, draw, centred=centred)
            if weight is None:
                return values.clone()  # its backward needs them, and what follows may change them in place
            return scaled(values.mT, weight.reshape(-1), L2, rule, draw).mT

        output: Tensor = self._apart(compute, input, other)
        return output.reshape(input.shape)

    @torch.compiler.disable(reason=EAGER)  # type: ignore[untyped-decorator, no-untyped-call]
    def _apart(self, compute: Callable[[Draw], Tensor], input: Tensor, weight: Tensor) -> Tensor:
        """A call that a compiled model makes as it is: the step is not a constant."""
        with given(f"{type(self).__name__} {self.emulation.name!r}", {"input": input}):
            return self._call(compute, (input, weight))


class LayerNorm(EmulatedNorm, torch.nn.LayerNorm):
    """torch.nn.LayerNorm whose sums are emulated: [..., *normalized_shape] -> the same.

    (x - mean) / sqrt(mean (x - mean)**2 + eps) * weight + bias, in this order; sums run over the normalized elements in
    C order, that of the gain's gradient over samples in C order. name and seed, types: as for `Linear`.
    """

    def __init__(
        self,
        normalized_shape: int | list[int] | torch.Size,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        rule: Rule,
        seed: int = 0,
        name: str = "",
    ) -> None:
        super().__init__(normalized_shape, eps, elementwise_affine, bias, device, dtype)
        self._start(rule, seed, name)

    def forward(self, input: Tensor) -> Tensor:
        """[..., *normalized_shape] -> the same."""
        output: Tensor = self._over_features(input, self.weight, tuple(self.normalized_shape), self.eps, True)
        bias = self.bias
        return output if bias is None else output + bias


class RMSNorm(EmulatedNorm, torch.nn.RMSNorm):
    """torch.nn.RMSNorm whose sums are emulated: [..., *normalized_shape] -> the same.

    x / sqrt(mean x**2 + eps) * weight, eps None being that of the dtype; sums as in `LayerNorm`.
    """

    def __init__(
        self,
        normalized_shape: int | list[int] | torch.Size,
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        rule: Rule,
        seed: int = 0,
        name: str = "",
    ) -> None:
        super().__init__(normalized_shape, eps, elementwise_affine, device, dtype)
        self._start(rule, seed, name)

    def forward(self, x: Tensor) -> Tensor:
        """[..., *normalized_shape] -> the same."""
        x = widened(x)  # its type says what epsilon is
        epsilon = torch.finfo(x.dtype).eps if self.eps is None else self.eps
        output: Tensor = self._over_features(x, self.weight, tuple(self.normalized_shape), epsilon, False)
        return output


class _BatchNorm(EmulatedNorm):
    """A batch norm over the namesake in torch.nn, in the form that its rule names."""

    num_features: int
    weight: Tensor | None
    bias: Tensor | None
    eps: float
    momentum: float | None
    track_running_stats: bool
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        rule: Rule,
        seed: int = 0,
        name: str = "",
    ) -> None:
        given = (num_features, eps, momentum, affine, track_running_stats)
        super().__init__(*given, device, dtype)
        self._start(rule, seed, name)

    def forward(self, input: Tensor) -> Tensor:
        """[N, C, ...] -> the same."""
        self._check_input_dim(input)  # type: ignore[operator]  # torch's own, and its sentence
        input, weight, bias = widened(input), self.weight, self.bias  # once, as a Linear
        other = input if weight is None else weight
        self._check(input, other)
        title = f"the input of {type(self).__name__} {self.emulation.name!r} has shape {list(input.shape)}"
        if input.shape[1] != self.num_features:
            raise ValueError(f"{title}: give {self.num_features} channels, [N, {self.num_features}, ...]")
        rows = input.transpose(0, 1).reshape(self.num_features, -1)
        if self._of_the_batch and rows.shape[1] == 1:
            remedy = (
                "call eval()" if self.training and self.track_running_stats else "track_running_stats=True and eval()"
            )
            raise ValueError(f"{title}: one element of a channel has no deviation; give more, or {remedy}")
        values: Tensor = self._apart(lambda draw: self._normalized(rows, weight, draw), input, other)
        if bias is not None:
            values = values + bias[:, None]
        shape = (input.shape[1], input.shape[0], *input.shape[2:])
        return values.reshape(shape).transpose(0, 1).contiguous()

    @property
    def _of_the_batch(self) -> bool:
        """Whether the statistics are those of the batch."""
        return self.training or self.running_mean is None or self.running_var is None

    def _normalized(self, rows: Tensor, weight: Tensor | None, draw: Draw) -> Tensor:
        """[C, n] -> the same, times the gain."""
        rule = self.emulation.rule
        norm = rule.norm or L2
        if not rows.shape[1]:  # as torch: a batch that is counted, and moves no statistic
            values = rows.clone()
            if self.training and self.track_running_stats and self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
        elif self._of_the_batch:
            self._check_form(rows, norm)
            values, mean, variance = normalized(rows, norm, self.eps, rule, draw)
            if weight is None:
                values = values.clone()  # its backward needs them, and what follows may change them in place
            if self.training:
                self._track(mean, variance, rows.shape[1], norm)
        else:
            assert self.running_mean is not None
            assert self.running_var is not None
            with told(f"forward of layer {draw.layer!r}", {"running_var": self.running_var}, {}):
                factor = inverse_deviation(self.running_var, self.eps, norm)
            values = (rows - self.running_mean[:, None]) * factor[:, None]
        return values if weight is None else scaled(values, weight, norm, rule, draw)

    def _check_form(self, rows: Tensor, norm: Norm) -> None:
        """Refuse a batch that the form has no statistic of; what the form itself would say names no layer."""
        n = rows.shape[1]
        title = f"a channel of the input of {type(self).__name__} {self.emulation.name!r} has {n} elements"
        if norm.form == "topk" and n < norm.k:
            raise ValueError(
                f"{title}: {norm} wants {norm.k}; give a larger batch (drop_last of a DataLoader), or a lower k"
            )
        if norm.form == "range" and (n - 1) % -(-n // norm.chunks) == 0:
            raise ValueError(
                f"{title}, of which {norm} leaves a run of 1: give fewer chunks, or another batch (drop_last of a DataLoader)"
            )

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, n: int, norm: Norm) -> None:
        """Move the running statistics."""
        if not self.track_running_stats or self.running_mean is None or self.running_var is None:
            return
        share = self.momentum
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            share = 1 / float(self.num_batches_tracked) if share is None else share
        share = 0.0 if share is None else share
        if norm.form == "l2":  # the others are kept as they normalize the batch
            variance = variance * (n / (n - 1))
        self.running_mean.copy_((1 - share) * self.running_mean + share * mean)
        self.running_var.copy_((1 - share) * self.running_var + share * variance)


class BatchNorm1d(_BatchNorm, torch.nn.BatchNorm1d):  # type: ignore[misc]
    """torch.nn.BatchNorm1d in any form, with emulated sums: [N, C] or [N, C, L] -> the same. As `BatchNorm2d`."""


class BatchNorm2d(_BatchNorm, torch.nn.BatchNorm2d):  # type: ignore[misc]
    """torch.nn.BatchNorm2d in any form, with emulated sums: [N, C, H, W] -> the same.

    (x - mean) / sqrt(variance + eps) * weight + bias for each channel, the variance being the square of what the rule's
    `norm` estimates sigma by; in the form "shift" factor and weight are rounded to powers of two. Sums run over (sample,
    row, column) in C order. running_var has that variance, times n / (n - 1) in the form "l2", so that a native model's
    buffers go on here, and these there; in evaluation nothing is summed. name and seed, types: as for `Linear`.
    A batch of no elements is counted in num_batches_tracked and moves no statistic, as in torch.
    Errors: ValueError for other shapes, and in training for a single element in each channel, and for fewer than the
    form takes: k, or two for each chunk.
    """


class BatchNorm3d(_BatchNorm, torch.nn.BatchNorm3d):  # type: ignore[misc]
    """torch.nn.BatchNorm3d in any form, with emulated sums: [N, C, D, H, W] -> the same. As `BatchNorm2d`."""
