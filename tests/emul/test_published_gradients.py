"""The gradients of the published functions: in full, or where a mask lets them pass."""

from functools import partial

import numpy as np
import pytest
import torch

import emul

X = torch.tensor([[0.3, -1.7, 0.0, 2.5, -0.01, 0.9], [-0.6, 0.05, 4.0, -0.0, 1.0, -3.3]])


def gradient_of(function, x):
    """The gradient at x of a sum of the results with weights that tell elements apart."""
    leaf = x.clone().requires_grad_()
    weights = torch.arange(1.0, x.numel() + 1, dtype=x.dtype).reshape(x.shape)
    result = function(leaf)
    assert result.requires_grad and result.detach().equal(function(x))
    (result * weights).sum().backward()
    return leaf.grad / weights


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("function", [emul.luq.quantize, emul.luq.smp, emul.luq.rdnp, emul.sparsity.mvue])
def test_unbiased_functions_pass_the_gradient(function, dtype):
    drawn = {} if function is emul.luq.rdnp else {"seed": 1}
    assert gradient_of(partial(function, **drawn), X.to(dtype)).equal(torch.ones_like(X, dtype=dtype))


@pytest.mark.parametrize("keyword", [False, True])
def test_the_mean_over_all_words_has_that_gradient(keyword):
    # By words of 8 bits: a central difference of the mean of all 256 results, at points where it is exact.
    def mean(x):
        words = torch.arange(256)[:, None].expand(256, x.numel())
        many = x.expand(256, x.numel())
        given = {"x": many} if keyword else {}
        return emul.luq.quantize(*(() if keyword else (many,)), **given, alpha=1.0, words=words, random_bits=8).mean(0)

    x, step = torch.tensor([0.25, 1.5, -2.5, 12.0], dtype=torch.float64), 1 / 32
    assert torch.autograd.functional.jacobian(mean, x).equal(torch.eye(4, dtype=torch.float64))
    assert ((mean(x + step) - mean(x - step)) / (2 * step)).equal(torch.ones(4, dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("n", "m", "axis"), [(2, 4, -1), (1, 2, 0), (3, 4, 1)])
def test_top_n_passes_the_gradient_of_what_it_keeps(n, m, axis, dtype):
    # Which elements are kept, told by a second way: nonzero magnitudes apart by their order, zeros last of all.
    x = torch.tensor([[0.0, 5.0, 0.0, -0.0, 1.0, 1.0], [2.0, 0.0, -2.0, 2.0, 0.0, 0.0], [0.0] * 6, [5e-45] * 6]).to(
        dtype
    )
    rows = x.movedim(axis, -1)
    kept = torch.zeros(rows.shape, dtype=dtype)
    for row, marks in zip(rows, kept, strict=True):
        for start in range(0, len(row), m):
            order = sorted(range(start, min(start + m, len(row))), key=lambda i: (-abs(row[i].item()), i))
            marks[order[:n]] = 1
    assert gradient_of(lambda t: emul.sparsity.top_n(t, n, m, axis=axis), x).equal(kept.movedim(-1, axis))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_signs_pass_the_gradient_inside(dtype):
    x = torch.tensor([-1.5, -1.0, -0.2, -0.0, 0.7, 1.0, np.nextafter(1.0, 2.0), np.inf], dtype=dtype)
    inside = (x.abs() <= 1).to(dtype)
    assert gradient_of(emul.binary.sign, x).equal(inside)
    assert gradient_of(partial(emul.binary.stochastic_sign, seed=1), x).equal(inside)
    leaf = torch.tensor([2.0], requires_grad=True)
    emul.binary.sign(leaf).backward(torch.tensor([np.inf]))
    assert leaf.grad.item() == 0  # infinity times the mask would be NaN


def test_gradients_of_gradients():
    x = X.double().requires_grad_()
    (first,) = torch.autograd.grad((emul.binary.sign(x) * x**2).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    inside = (x.abs() <= 1).double()
    torch.testing.assert_close(second, 2 * emul.binary.sign(x.detach()) + 4 * x.detach() * inside)


def test_other_results_are_detached_and_nothing_is_tracked_without_need():
    leaf = X.clone().requires_grad_()
    assert not emul.binary.ap2(leaf).requires_grad
    assert not emul.luq.encode(leaf, seed=1).requires_grad
    with torch.no_grad():
        assert not emul.luq.quantize(leaf, seed=1).requires_grad
    assert "Gradient: none" in emul.binary.ap2.__doc__ and "|x| <= 1" in emul.binary.sign.__doc__
