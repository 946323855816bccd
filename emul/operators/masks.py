"""LUQ and the N:M masks as operators: the numpy functions' bits, on CUDA tensors too.

Words are tensors of integers, or None where a seed draws them; alpha is a tensor of no dimensions, or None for that of x.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from numerics import luq, sparsity

from . import batching
from .checks import WIDE, check_operands
from .eager import followed, unwatched
from .library import call, define, direct, signed, straight, unsigned
from .reading import read


def luq_quantize(
    x: Tensor,
    levels: int,
    alpha: Tensor | None,
    power_of_two: str | None,
    words: Tensor | None,
    random_bits: int,
    seed: int | None,
    stream: int,
    offset: int,
) -> Tensor:
    """The operator; seed, stream, offset: unsigned."""
    step = () if alpha is None else (alpha,)
    asked = levels, alpha, power_of_two, words, random_bits, seed, stream, offset
    return _drawn("luq_quantize", x, words, step, asked)


def mvue(
    x: Tensor,
    n: int,
    m: int,
    method: str,
    axis: int,
    words: Tensor | None,
    random_bits: int,
    seed: int | None,
    stream: int,
    offset: int,
) -> Tensor:
    """The operator; seed, stream, offset: unsigned."""
    return _drawn("mvue", x, words, (), (n, m, method, axis, words, random_bits, seed, stream, offset))


def top_n(x: Tensor, n: int, m: int, axis: int) -> Tensor:
    """The operator."""
    return _of_one("top_n", "x", x, n, m, axis)


def transposable_mask(w: Tensor, n: int, m: int, method: str) -> Tensor:
    """The operator."""
    return _of_one("transposable_mask", "w", w, n, m, method)


def _of_one(name: str, label: str, tensor: Tensor, *others: Any) -> Tensor:
    result: Tensor
    if unwatched(tensor) and tensor.dtype in WIDE:
        result = direct(name, followed(tensor))(tensor, *others)
    else:
        check_operands(**{label: tensor})
        result = call(name, tensor, *others)
    return result


def _drawn(name: str, x: Tensor, words: Tensor | None, step: tuple[Tensor, ...], asked: tuple[Any, ...]) -> Tensor:
    past = unwatched(x, *step) and x.dtype in WIDE and (not step or not followed(*step) or followed(x))
    if words is not None or not past:
        check_operands(x=x, words=words)
        *options, seed, stream, offset = asked
        keys = None if seed is None else signed("seed", seed), signed("stream", stream), signed("offset", offset)
        past = past and words is not None and unwatched(words)
    result: Tensor
    if past:
        result = direct(name, followed(x))(x, asked)
    else:
        result = call(name, x, *options, *keys)
    return result


def _array(tensor: Tensor | None) -> Any:
    return None if tensor is None else read(tensor)


def _keys(seed: int | None, stream: int, offset: int) -> dict[str, Any]:
    return {
        "seed": None if seed is None else unsigned(seed),
        "stream": unsigned(stream),
        "offset": unsigned(offset),
    }


def _through_the_host(form: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The form on CUDA tensors: a round trip."""

    def there_and_back(x: Tensor, *arguments: Any) -> Tensor:
        here = (argument.cpu() if isinstance(argument, Tensor) else argument for argument in arguments)
        return form(x.cpu(), *here).to(x.device)

    return there_and_back


def _on_the_card(
    name: str, form: Callable[..., Tensor], arguments: Callable[..., dict[str, Any]]
) -> Callable[..., Tensor]:
    """The form on CUDA tensors: the kernel of `published_device`, or by way of the host what it does not take.

    arguments: of the operator, x aside, as the kernel's keywords.
    """
    by_the_host = _through_the_host(form)

    def there(x: Tensor, *given: Any) -> Tensor:
        try:
            from .. import published_device
        except ImportError:  # no numba-cuda
            return by_the_host(x, *given)
        result = getattr(published_device, name)(x, **arguments(*given))
        return by_the_host(x, *given) if result is NotImplemented else result

    return there


def _luq_keywords(
    levels: int, alpha: Any, power_of_two: Any, words: Any, random_bits: int, *keys: Any
) -> dict[str, Any]:
    step = {"levels": levels, "alpha": alpha, "power_of_two": power_of_two}
    return {**step, "words": words, "random_bits": random_bits, **_keys(*keys)}


def _mvue_keywords(n: int, m: int, method: str, axis: int, words: Any, random_bits: int, *keys: Any) -> dict[str, Any]:
    pattern = {"n": n, "m": m, "method": method, "axis": axis}
    return {**pattern, "words": words, "random_bits": random_bits, **_keys(*keys)}


def _top_n_keywords(n: int, m: int, axis: int) -> dict[str, Any]:
    return {"n": n, "m": m, "axis": axis}


def _looped(name: str) -> Callable[..., Any]:
    def rule(info: Any, in_dims: Any, *arguments: Any) -> Any:
        return batching.loop(partial(call, name), info, in_dims, *arguments)

    return rule


def _like(x: Tensor, *arguments: Any) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def _luq(x: Tensor, asked: tuple[Any, ...]) -> Tensor:
    """asked: what the operator takes after x, keys unsigned."""
    levels, alpha, power_of_two, words, random_bits, seed, stream, offset = asked
    values = luq.quantize(
        read(x),
        levels,
        alpha=None if alpha is None else alpha.item(),
        power_of_two=power_of_two,
        seed=seed,
        words=_array(words),
        random_bits=random_bits,
        stream=stream,
        offset=offset,
    )
    return torch.from_numpy(values)


def _mvue(x: Tensor, asked: tuple[Any, ...]) -> Tensor:
    """asked: what the operator takes after x, keys unsigned."""
    n, m, method, axis, words, random_bits, seed, stream, offset = asked
    values = sparsity.mvue(
        read(x),
        n,
        m,
        method=method,
        seed=seed,
        words=_array(words),
        random_bits=random_bits,
        stream=stream,
        offset=offset,
        axis=axis,
    )
    return torch.from_numpy(values)


def _top_n(x: Tensor, n: int, m: int, axis: int) -> Tensor:
    return torch.from_numpy(sparsity.top_n(read(x), n, m, axis=axis))


def _transposable(w: Tensor, n: int, m: int, method: str) -> Tensor:
    return torch.from_numpy(sparsity.transposable_mask(read(w), n, m, method=method))


def _crossed(form: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The form of what comes through the dispatcher, seed, stream and offset the last of it."""

    def crossed(x: Tensor, *arguments: Any) -> Tensor:
        *others, seed, stream, offset = arguments
        keys = None if seed is None else unsigned(seed), unsigned(stream), unsigned(offset)
        return form(x, (*others, *keys))

    return crossed


def _top_n_batched(info: Any, in_dims: Any, x: Tensor, n: int, m: int, axis: int) -> tuple[Tensor, int]:
    return call("top_n", x.movedim(in_dims[0], 0), n, m, batching.axis_behind(axis)), 0


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(inputs[0], output)
    ctx.pattern = inputs[1:]


def _kept(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    """To what is kept. Zeros are kept only where there is room beside all that are not zero."""
    x, result = ctx.saved_tensors
    room = top_n(1 + (x != 0).to(x.dtype), *ctx.pattern)
    return gradient.where((result != 0) | ((x == 0) & (room != 0)), 0), None, None, None


_luq_here, _mvue_here = _crossed(_luq), _crossed(_mvue)
#: The forms on CUDA tensors.
luq_there = _on_the_card("luq_quantize", _luq_here, _luq_keywords)
mvue_there = _on_the_card("mvue", _mvue_here, _mvue_keywords)
top_n_there = _on_the_card("top_n", _top_n, _top_n_keywords)

define(
    "luq_quantize(Tensor x, int levels, Tensor? alpha, str? power_of_two, Tensor? words, int random_bits, int? seed,"
    " int stream, int offset) -> Tensor",
    plain=_luq,
    cpu=_luq_here,
    cuda=luq_there,
    fake=_like,
    batched=_looped("luq_quantize"),
    backward=straight,
)
define(
    "mvue(Tensor x, int n, int m, str method, int axis, Tensor? words, int random_bits, int? seed, int stream,"
    " int offset) -> Tensor",
    plain=_mvue,
    cpu=_mvue_here,
    cuda=mvue_there,
    fake=_like,
    batched=_looped("mvue"),
    backward=straight,
)
define(
    "top_n(Tensor x, int n, int m, int axis) -> Tensor",
    plain=_top_n,
    cpu=_top_n,
    cuda=top_n_there,
    fake=_like,
    batched=_top_n_batched,
    backward=_kept,
    keep=_keep,
)
define(
    "transposable_mask(Tensor w, int n, int m, str method) -> Tensor",
    plain=_transposable,
    cpu=_transposable,
    cuda=_through_the_host(_transposable),
    fake=lambda w, *arguments: w.new_empty(w.shape, dtype=torch.bool),
    batched=_looped("transposable_mask"),
)
