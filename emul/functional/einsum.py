"""An einsum of two operands as one batched product of matrices, where it is one."""

from typing import NamedTuple

from torch import Tensor


class Unfit(Exception):  # noqa: N818  # it is no error: the call stays native
    """Why a call is not one product of matrices; its words end a sentence."""


class Plan(NamedTuple):
    """Letters of the batch, of the rows of either operand, of the sum, in the order of the first operand; the output's."""

    batch: str
    left: str
    right: str
    summed: str
    output: str


def plan(equation: str, a: Tensor, b: Tensor) -> tuple[Plan, str, str, dict[str, int]]:
    """(plan, letters of a, letters of b, sizes). Errors: Unfit."""
    given, arrow, output = equation.replace(" ", "").partition("->")
    first, comma, second = given.partition(",")
    if not comma or "," in second:
        raise Unfit("it has not two operands")
    spare = iter(letter for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if letter not in equation)
    hidden = "".join(spare)[: max(a.dim() - len(first.replace("...", "")), b.dim() - len(second.replace("...", "")), 0)]
    first, second = _spelt(first, a, hidden), _spelt(second, b, hidden)
    if arrow:
        output = output.replace("...", hidden)
    else:
        once = sorted(letter for letter in set(first + second) - set(hidden) if (first + second).count(letter) == 1)
        output = hidden + "".join(once)
    sizes: dict[str, int] = {}
    for letters, tensor in ((first, a), (second, b)):
        if len(set(letters)) != len(letters):
            raise Unfit("it takes a diagonal")
        for letter, size in zip(letters, tensor.shape, strict=True):
            if sizes.setdefault(letter, size) != size:
                raise Unfit(f"the sizes of {letter!r} differ, {sizes[letter]} and {size}")
    if len(set(output)) != len(output) or not set(output) <= set(first + second):
        raise Unfit(f"its output {output!r} is none of its letters, each once")
    both = [letter for letter in first if letter in second]
    found = Plan(
        "".join(letter for letter in both if letter in output),
        "".join(letter for letter in first if letter not in second),
        "".join(letter for letter in second if letter not in first),
        "".join(letter for letter in both if letter not in output),
        output,
    )
    if not found.summed:
        raise Unfit("it has no sum over a letter of both operands")
    if lost := set(found.left + found.right) - set(output):
        raise Unfit(f"it sums over {sorted(lost)}, letters of one operand, besides")
    return found, first, second, sizes


def matrices(tensor: Tensor, letters: str, batch: str, rows: str, summed: str, sizes: dict[str, int]) -> Tensor:
    """[batch, rows, summed], or [rows, summed] without batch."""
    moved = tensor.permute([letters.index(letter) for letter in batch + rows + summed])
    shape = [_count(rows, sizes), _count(summed, sizes)]
    return moved.reshape([_count(batch, sizes), *shape] if batch else shape)


def arranged(product: Tensor, letters: str, output: str, sizes: dict[str, int]) -> Tensor:
    """A product with these letters, flattened, as the einsum's output."""
    shaped = product.reshape([sizes[letter] for letter in letters])
    return shaped.permute([letters.index(letter) for letter in output])


def _spelt(letters: str, tensor: Tensor, hidden: str) -> str:
    """With letters in the place of an ellipsis, those of the last dimensions where it stands for fewer than the other's."""
    named = len(letters.replace("...", ""))
    count = tensor.dim() - named
    if count < 0 or (count and "..." not in letters):
        raise Unfit(f"an operand of {tensor.dim()} dimensions has the letters {letters!r}")
    return letters.replace("...", hidden[len(hidden) - count :])


def _count(letters: str, sizes: dict[str, int]) -> int:
    total = 1
    for letter in letters:
        total *= sizes[letter]
    return total
