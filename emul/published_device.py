"""The published functions that have CUDA kernels, on CUDA tensors: torch's memory and stream around `numerics.device_luq`
and `numerics.device_masks`.

Imported when such a function meets its first CUDA tensor; this loads numba.cuda. Each takes the arguments of the numpy
function, with tensors, and returns the result there; or NotImplemented, and then the call goes over the host: an empty or
wrong operand, of which the CPU's function knows the sentence, blocks of more than 32, integers to be packed.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from numerics import random_words
from numerics.binary import PackedMatrix
from numerics.device_luq import ap2_on, code_dtype_of, luq_alpha_on, luq_decode_on, luq_on, sign_on
from numerics.device_masks import mvue_on, pack_on, product_on, top_n_on
from numerics.formats.integers import whole

from . import device

_FLOATS = (torch.float32, torch.float64)
_WIDEST = 32  # elements of a block


def _ready(x: Any, out: Any = None) -> bool:
    """Whether x is an operand of the kernels, and out, if given, a place for a result of x's shape and dtype."""
    fits = isinstance(x, Tensor) and x.dtype in _FLOATS and x.numel() > 0
    return fits and (out is None or (isinstance(out, Tensor) and (out.shape, out.dtype) == (x.shape, x.dtype)))


def _host(value: Any) -> Any:
    """Words for the host, where they are checked; a number out of a tensor."""
    if not isinstance(value, Tensor):
        return value
    return value.numpy(force=True) if value.dim() else value.item()


def _drawn(keys: dict[str, Any]) -> bool:
    return (keys.get("seed") is None) != (keys.get("words") is None)


def _kept(result: Tensor, out: Tensor | None) -> Tensor:
    return result if out is None else out.copy_(result)


def _elementwise(name: str, x: Tensor, out: Tensor | None, run: Any, dtype: torch.dtype | None = None) -> Tensor:
    device.check_capture(name)
    with device.memory(name, x.numel() * x.element_size(), x.device):
        source = x.detach().contiguous()
        result = torch.empty(source.shape, dtype=dtype or x.dtype, device=x.device)
        run(source, result, queue=device.queue(x.device))
        return _kept(result, out)


def luq_alpha(x: Any, levels: Any = 7, *, power_of_two: Any = None) -> Any:
    """`numerics.luq.alpha`."""
    if not _ready(x):
        return NotImplemented
    device.check_capture("emul.luq.alpha")
    return luq_alpha_on(x.detach().contiguous(), levels, power_of_two=power_of_two, queue=device.queue(x.device))


def luq_quantize(x: Any, levels: Any = 7, *, out: Any = None, **keys: Any) -> Any:
    """`numerics.luq.quantize`."""
    if not (_ready(x, out) and _drawn(keys)):
        return NotImplemented
    call = {label: _host(value) for label, value in keys.items()}
    return _elementwise("emul.luq.quantize", x, out, lambda x, y, queue: luq_on(x, y, levels, **call, queue=queue))


def luq_encode(x: Any, levels: Any = 7, **keys: Any) -> Any:
    """`numerics.luq.encode`."""
    if not (_ready(x) and _drawn(keys)):
        return NotImplemented
    call = {label: _host(value) for label, value in keys.items()}
    kind = getattr(torch, code_dtype_of(levels).name)
    run = lambda x, y, queue: luq_on(x, y, levels, **call, queue=queue)  # noqa: E731
    return _elementwise("emul.luq.encode", x, None, run, kind)


def luq_decode(codes: Any, alpha: Any, levels: Any = 7, *, dtype: Any = np.float64) -> Any:
    """`numerics.luq.decode`."""
    kind = dtype if isinstance(dtype, torch.dtype) else getattr(torch, np.dtype(dtype).name, None)
    if kind not in _FLOATS or not isinstance(codes, Tensor) or codes.dtype != torch.uint8 or not codes.numel():
        return NotImplemented
    number = _host(alpha)
    run = lambda x, y, queue: luq_decode_on(x, number, levels, y, queue=queue)  # noqa: E731
    return _elementwise("emul.luq.decode", codes, None, run, kind)


def sign(x: Any) -> Any:
    """`numerics.binary.sign`."""
    if not _ready(x):
        return NotImplemented
    return _elementwise("emul.binary.sign", x, None, lambda x, y, queue: sign_on(x, y, queue=queue))


def stochastic_sign(x: Any, **keys: Any) -> Any:
    """`numerics.binary.stochastic_sign`."""
    if not (_ready(x) and _drawn(keys)):
        return NotImplemented
    call = {label: _host(value) for label, value in keys.items()}
    run = lambda x, y, queue: sign_on(x, y, stochastic=True, **call, queue=queue)  # noqa: E731
    return _elementwise("emul.binary.stochastic_sign", x, None, run)


def ap2(x: Any) -> Any:
    """`numerics.binary.ap2`."""
    if not _ready(x):
        return NotImplemented
    return _elementwise("emul.binary.ap2", x, None, lambda x, y, queue: ap2_on(x, y, queue=queue))


def _blocks(x: Tensor, m: int, axis: int) -> Tensor:
    """x [...] in whole blocks along the axis, zeros behind it, the axis last: [..., blocks, m], contiguous."""
    last = x.detach().movedim(axis, -1)
    short = -last.shape[-1] % m
    padded = (pad(last, (0, short)) if short else last).contiguous()
    return padded.view(*padded.shape[:-1], padded.shape[-1] // m, m)


def _whole(blocks: Tensor, x: Tensor, axis: int) -> Tensor:
    """The way back."""
    return blocks.flatten(-2)[..., : x.shape[axis]].movedim(-1, axis).contiguous()


def _pattern(x: Any, n: Any, m: Any, axis: Any, out: Any) -> tuple[int, int, int] | None:
    """(n, m, axis) of a call that kernels take."""
    numbers = tuple(whole(number) for number in (n, m, axis))
    if not _ready(x, out) or None in numbers:
        return None
    keep, size, place = (int(number) for number in numbers if number is not None)
    known = 1 <= keep <= size <= _WIDEST and -x.dim() <= place < x.dim()
    return (keep, size, place % x.dim()) if known else None


def top_n(x: Any, n: Any = 2, m: Any = 4, *, axis: Any = -1, out: Any = None) -> Any:
    """`numerics.sparsity.top_n`."""
    found = _pattern(x, n, m, axis, out)
    if found is None:
        return NotImplemented
    n, m, axis = found
    device.check_capture("emul.sparsity.top_n")
    with device.memory("emul.sparsity.top_n", x.numel() * x.element_size(), x.device):
        source = _blocks(x, m, axis)
        if source.isnan().any():  # the sentence names the element of x
            return NotImplemented
        result = torch.empty_like(source)
        top_n_on(source, result, n, m, queue=device.queue(x.device))
        return _kept(_whole(result, x, axis), out)


def mvue(x: Any, n: Any = 2, m: Any = 4, *, method: Any = "exact", axis: Any = -1, out: Any = None, **keys: Any) -> Any:
    """`numerics.sparsity.mvue`."""
    found = _pattern(x, n, m, axis, out)
    if found is None or not _drawn(keys):
        return NotImplemented
    n, m, axis = found
    device.check_capture("emul.sparsity.mvue")
    with device.memory("emul.sparsity.mvue", x.numel() * x.element_size(), x.device):
        source = _blocks(x, m, axis)
        if not source.isfinite().all():
            return NotImplemented
        call = {label: _host(value) for label, value in keys.items()}
        shape = [*x.shape[:axis], source.shape[-2], *x.shape[axis + 1 :]]
        bits = call.get("random_bits", 32)
        if call.get("words") is None and axis != x.dim() - 1:  # words are in the order of x, blocks in that of the axis
            drawn = {label: call.pop(label) for label in ("seed", "stream", "offset") if label in call}
            call["words"] = random_words(int(np.prod(shape)), bits, **drawn).reshape(shape)
        if call.get("words") is not None:
            words = np.asarray(call["words"])
            if list(words.shape) != shape:
                return NotImplemented
            call["words"] = np.moveaxis(words, axis, -1).reshape(-1)
        result = torch.empty_like(source)
        mvue_on(source, result, n, m, method=method, **call, queue=device.queue(x.device))
        return _kept(_whole(result, x, axis), out)


def _packable(x: Any) -> bool:
    return _ready(x) and x.dim() == 2 and x.shape[1] < 1 << 28


def _bits(x: Tensor, signed: bool) -> Tensor:
    """Rows of x [R, K] as words int64 [R, ceil(K/64)]."""
    words = torch.empty(x.shape[0], -(-x.shape[1] // 64), dtype=torch.int64, device=x.device)
    pack_on(x.detach().contiguous(), words, signed=signed, queue=device.queue(x.device))
    return words


def pack(x: Any, *, signed: bool = True) -> Any:
    """`numerics.binary.pack`: packed there, the bits then brought to the host."""
    if not _packable(x):
        return NotImplemented
    device.check_capture("emul.binary.pack")
    return PackedMatrix(_bits(x, signed).cpu().numpy().view(np.uint64), x.shape[1], signed)


def pack_bits(x: Any) -> Any:
    """`numerics.binary.pack_bits`."""
    return pack(x, signed=False)


def xnor_matmul(a: Any, b: Any, *, signed: bool = True) -> Any:
    """`numerics.binary.xnor_matmul`; a packed operand's bits are brought to the device."""
    where = next(operand.device for operand in (a, b) if isinstance(operand, Tensor))
    lengths = [x.length if isinstance(x, PackedMatrix) else None for x in (a, b)]
    for operand, length in zip((a, b), lengths, strict=True):
        if (length is None and not _packable(operand)) or (length is not None and operand.signed != signed):
            return NotImplemented
    depth = a.shape[1] if lengths[0] is None else lengths[0]
    if depth != (b.shape[0] if lengths[1] is None else lengths[1]) or not depth:
        return NotImplemented
    device.check_capture("emul.binary.xnor_matmul")

    def words(operand: Any, turned: bool) -> Tensor:
        if isinstance(operand, PackedMatrix):
            return torch.from_numpy(operand.words.view(np.int64)).to(where)
        return _bits(operand.mT if turned else operand, signed)

    left, right = words(a, False), words(b, True)
    asked = 4 * left.shape[0] * right.shape[0]
    with device.memory("emul.binary.xnor_matmul", asked, where):
        out = torch.empty(left.shape[0], right.shape[0], dtype=torch.int32, device=where)
        if out.numel():
            product_on(left, right, depth, out, signed=signed, queue=device.queue(where))
        return out


def matmul_bits(a: Any, b: Any) -> Any:
    """`numerics.binary.matmul_bits`."""
    return xnor_matmul(a, b, signed=False)
