"""Rows normalized by one of the forms of batch norm, with every sum through the rule's accumulators."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from numerics.normalization import L1_CONSTANT, linf_constant, range_constant, top_constant

from .. import binary
from ..autograd import Draw
from ..culprits import told
from ..norm import Norm
from ..once import anchor, once_differentiable
from ..recipe import Rule

#: The form of layer norm, and of torch's own batch norm.
L2 = Norm()


def normalized(
    rows: Tensor, norm: Norm, epsilon: float, rule: Rule, draw: Draw, *, centred: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """(values [R, n], mean [R], variance [R]) of rows [R, n], n >= 1: values = (x - mean) / sqrt(variance + epsilon).

    Values are 0 where that is a division by 0. mean: sum x / n, or 0 unless `centred`. variance: the square of the
    form's estimate of sigma, see `Norm`. Two sums a row, "mean" of x times ones and "spread" of products of deviations,
    run in order of the row through the accumulator of rule.forward; None is torch's own sum. All else is torch's own,
    in the dtype of x. The gradient is that of the formula, straight through AP2, with its sums, of gradient times value
    and of the gradient, through the accumulator of rule.grad_input. Of elements of one magnitude the first is the
    largest. mean and variance have no gradient.
    """
    found: tuple[Tensor, Tensor, Tensor] = _Normalized.apply(  # type: ignore[no-untyped-call]
        rows, norm, epsilon, rule, draw, centred
    )
    return found


def scaled(rows: Tensor, gain: Tensor, norm: Norm, rule: Rule, draw: Draw) -> Tensor:
    """rows [R, n] times gain [R], AP2(gain) in the shift form; its gradient sums g x along each row as grad_weight says."""
    found: Tensor = _Scaled.apply(rows, gain, norm, rule, draw)  # type: ignore[no-untyped-call]
    return found


def inverse_deviation(variance: Tensor, epsilon: float, norm: Norm) -> Tensor:
    """1 / sqrt(variance + epsilon), in the shift form the power of two nearest to it by its logarithm; 0 for infinity."""
    if norm.form == "shift":
        inverse: Tensor = binary.inverse_root(variance + epsilon).to(variance.dtype)
    else:
        inverse = 1 / _root(variance + epsilon)
    return inverse.masked_fill(inverse.isinf(), 0)


class _Normalized(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, norm: Norm, epsilon: float, rule: Rule, draw: Draw, centred: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        anchor(ctx, rows)
        n = rows.shape[1]
        mean = _over(_total(draw, rule, "forward", "mean", rows), n) if centred else rows.new_zeros(rows.shape[0])
        deviations = rows - mean[:, None] if centred else rows
        variance, slopes = _spread(deviations, norm, rule, draw)
        with told(f"forward of layer {draw.layer!r}", {"input": rows}, {}):
            factor = inverse_deviation(variance, epsilon, norm)
        values = deviations * factor[:, None]
        exact = factor if norm.form != "shift" else inverse_deviation(variance, epsilon, L2)
        slopes = slopes.masked_fill(
            exact[:, None] == 0, 0
        )  # of an infinite sum they are infinite, and the values zeros
        ctx.save_for_backward(values, factor, exact, slopes)
        ctx.rule, ctx.draw, ctx.centred = rule, draw, centred
        ctx.mark_non_differentiable(mean, variance)
        return values, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        values, factor, exact, slopes = ctx.saved_tensors
        n = values.shape[1]
        along = _total(ctx.draw, ctx.rule, "grad_input", "along", gradient, values)
        # d factor / d x is -exact**3 slopes, whose deviations are values / factor.
        ratio = torch.where(factor > 0, exact / factor, 0)
        gradient = factor[:, None] * gradient - (along * ratio * exact)[:, None] * (exact[:, None] * slopes)
        if ctx.centred:
            gradient = gradient - _over(_total(ctx.draw, ctx.rule, "grad_input", "mean", gradient), n)[:, None]
        return gradient, None, None, None, None, None


class _Scaled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, gain: Tensor, norm: Norm, rule: Rule, draw: Draw) -> Tensor:
        anchor(ctx, rows, gain)
        factor: Tensor = binary.ap2(gain.detach()) if norm.form == "shift" else gain
        ctx.save_for_backward(rows, factor)
        ctx.rule, ctx.draw = rule, draw
        return rows * factor[:, None]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, factor = ctx.saved_tensors
        of_rows = gradient * factor[:, None] if ctx.needs_input_grad[0] else None
        of_gain = _total(ctx.draw, ctx.rule, "grad_weight", "gain", gradient, rows) if ctx.needs_input_grad[1] else None
        return of_rows, of_gain, None, None, None


def _total(draw: Draw, rule: Rule, product: str, part: str, a: Tensor, b: Tensor | None = None) -> Tensor:
    """The sum of a b along each row [R, n] -> [R]; b None: of a."""
    other = torch.ones_like(a) if b is None else b
    accumulator = getattr(rule, product).accumulator
    named = replace(draw, layer=f"{draw.layer}.{part}" if draw.layer else part, call=None)
    tensors = {"gradient" if product != "forward" else "input": a, "other operand": b}
    with told(f"{product} of layer {named.layer!r}", tensors, {}):
        return named.multiply(accumulator, product, a[:, None, :], other[:, :, None]).reshape(-1)


def _over(x: Tensor, n: int) -> Tensor:
    """x / n, rounded once. By a number of Python CUDA divides with the number's rounded reciprocal."""
    return x / x.new_full((), n)


def _root(x: Tensor) -> Tensor:
    """sqrt(x), rounded once. torch's own is off by an ulp now and then on a CPU with AVX-512, numpy's is not."""
    return torch.sqrt(x) if x.is_cuda else torch.from_numpy(np.asarray(np.sqrt(x.detach().numpy())))


def _spread(d: Tensor, norm: Norm, rule: Rule, draw: Draw) -> tuple[Tensor, Tensor]:
    """(variance [R], half its derivative by each deviation [R, n]), of deviations d [R, n]."""
    n = d.shape[1]

    def mean(part: Tensor, other: Tensor | None = None) -> Tensor:
        return _over(_total(draw, rule, "forward", "spread", part, other), part.shape[1])

    if norm.form == "l2":
        return mean(d, d), _over(d, n)
    if norm.form == "shift":
        power: Tensor = binary.ap2(d.detach())
        return mean(d, power), _over(power + d, 2 * n)
    if norm.form == "l1":
        scale = L1_CONSTANT * mean(d.abs())
        slopes = L1_CONSTANT / n * d.sign()
    elif norm.form == "linf":
        constant = linf_constant(n, norm.kind)
        scale = constant * d.abs().amax(1)
        slopes = torch.zeros_like(d).scatter_(1, d.abs().argmax(1, keepdim=True), constant) * d.sign()
    elif norm.form == "topk":
        constant = top_constant(n, norm.k, norm.kind)
        largest, places = (part[:, : norm.k] for part in d.abs().sort(stable=True, dim=1, descending=True))
        scale = constant * mean(largest)
        slopes = torch.zeros_like(d).scatter_(1, places, constant / norm.k) * d.sign()
    else:
        scale, slopes = _range(d, norm)
    return scale * scale, scale[:, None] * slopes


def _range(d: Tensor, norm: Norm) -> tuple[Tensor, Tensor]:
    """The mean over runs of the row of (max - min) times the constant of the run's length, and its derivative."""
    runs = torch.split(d, -(-d.shape[1] // norm.chunks), 1)
    estimates, slopes = [], []
    for run in runs:
        constant = range_constant(run.shape[1], norm.kind)
        top, bottom = run.argmax(1, keepdim=True), run.argmin(1, keepdim=True)
        estimates.append(constant * (run.gather(1, top) - run.gather(1, bottom)).squeeze(1))
        one = torch.full_like(run[:, :1], constant / len(runs))
        slopes.append(torch.zeros_like(run).scatter_add_(1, top, one).scatter_add_(1, bottom, -one))
    total = estimates[0]
    for estimate in estimates[1:]:
        total = total + estimate
    return _over(total, len(runs)), torch.cat(slopes, 1)
