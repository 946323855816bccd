"""The order of every sum, against plain loops that follow the documented order through the oracle."""

import itertools

import numpy as np
import pytest
import torch

from emul.geometry import Conv2dGeometry, LinearGeometry
from numerics import Accumulator, Quantizer, Rounding, matmul, parse_format, reference

#: Truncating, coarse and chunked: almost any other order gives other bits.
SUMS = Accumulator(
    parse_format("lba_m4e3_b3_paper"), Rounding.RTZ, product=Quantizer(parse_format("e4m3fn"), Rounding.RTZ), chunk=4
)

CONVOLUTIONS = [
    Conv2dGeometry((4, 5), (3, 2), (1, 1), (0, 0, 0, 0), (1, 1), 1),
    Conv2dGeometry((4, 5), (3, 2), (2, 1), (1, 1, 1, 1), (1, 2), 2),
    Conv2dGeometry((5, 5), (2, 2), (2, 3), (0, 1, 1, 0), (1, 1), 1),
    Conv2dGeometry((4, 4), (1, 1), (1, 1), (2, 2, 2, 2), (1, 1), 2),  # more padding than the kernel reaches
    Conv2dGeometry((5, 6), (2, 2), (3, 3), (0, 0, 0, 0), (1, 1), 4),  # rows that no window sees; depthwise
]


def multiply(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(matmul(a.numpy(), b.numpy(), SUMS))


def draw(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randint(-12, 13, shape, generator=generator) / 4.0


def chain(pairs: list[tuple[float, float]]) -> float:
    return reference.accumulate([a for a, _ in pairs], [b for _, b in pairs], SUMS)


def at(image: torch.Tensor, row: int, column: int) -> float:
    """A pixel, or the zero around the image."""
    inside = 0 <= row < image.shape[0] and 0 <= column < image.shape[1]
    return float(image[row, column]) if inside else 0.0


def problem(geometry: Conv2dGeometry) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    activation = draw(2, 4, *geometry.size)
    weight = draw(4, 4 // geometry.groups, *geometry.kernel)
    return activation, weight, draw(2, 4, *geometry.output_size)


def taps(geometry: Conv2dGeometry) -> list[tuple[int, int]]:
    return list(itertools.product(*map(range, geometry.kernel)))


@pytest.mark.parametrize("geometry", CONVOLUTIONS)
def test_forward_sums_over_channel_and_kernel_position(geometry):
    activation, weight, gradient = problem(geometry)
    left, _, top, _ = geometry.padding
    expected = np.zeros(gradient.shape, np.float32)
    for n, o, y, x in np.ndindex(*gradient.shape):
        first = o // (4 // geometry.groups) * weight.shape[1]
        expected[n, o, y, x] = chain(
            [
                (
                    at(
                        activation[n, first + c],
                        y * geometry.stride[0] + i * geometry.dilation[0] - top,
                        x * geometry.stride[1] + j * geometry.dilation[1] - left,
                    ),
                    float(weight[o, c, i, j]),
                )
                for c in range(weight.shape[1])
                for i, j in taps(geometry)
            ]
        )
    result = geometry.forward(activation, weight, multiply)
    assert result.is_contiguous()
    np.testing.assert_array_equal(result.numpy(), expected, strict=True)


@pytest.mark.parametrize("geometry", CONVOLUTIONS)
def test_grad_weight_sums_over_sample_and_output_position(geometry):
    activation, weight, gradient = problem(geometry)
    left, _, top, _ = geometry.padding
    expected = np.zeros(weight.shape, np.float32)
    for o, c, i, j in np.ndindex(*weight.shape):
        first = o // (4 // geometry.groups) * weight.shape[1]
        expected[o, c, i, j] = chain(
            [
                (
                    float(gradient[n, o, y, x]),
                    at(
                        activation[n, first + c],
                        y * geometry.stride[0] + i * geometry.dilation[0] - top,
                        x * geometry.stride[1] + j * geometry.dilation[1] - left,
                    ),
                )
                for n, y, x in np.ndindex(len(gradient), *geometry.output_size)
            ]
        )
    result = geometry.grad_weight(gradient, activation, multiply)
    assert result.is_contiguous()
    np.testing.assert_array_equal(result.numpy(), expected, strict=True)


@pytest.mark.parametrize("geometry", CONVOLUTIONS)
def test_grad_input_sums_over_output_channel_and_position_of_the_gradient(geometry):
    activation, weight, gradient = problem(geometry)
    left, _, top, _ = geometry.padding
    per_group = 4 // geometry.groups
    expected = np.zeros(activation.shape, np.float32)
    for n, c, h, w in np.ndindex(*activation.shape):
        group, inner = divmod(c, weight.shape[1])
        pairs = []
        for o in range(group * per_group, (group + 1) * per_group):
            for i, j in reversed(taps(geometry)):  # the last tap meets the first row and column of the gradient
                row, no_row = divmod(h + top - i * geometry.dilation[0], geometry.stride[0])
                column, no_column = divmod(w + left - j * geometry.dilation[1], geometry.stride[1])
                value = 0.0 if no_row or no_column else at(gradient[n, o], row, column)
                pairs.append((value, float(weight[o, inner, i, j])))
        expected[n, c, h, w] = chain(pairs)
    result = geometry.grad_input(gradient, weight, multiply)
    assert result.is_contiguous()
    np.testing.assert_array_equal(result.numpy(), expected, strict=True)


def test_the_convolutions_above_notice_another_order():
    geometry = CONVOLUTIONS[0]
    activation, weight, _ = problem(geometry)
    turned = geometry.forward(activation.flip(1), weight.flip(1), multiply)
    assert not torch.equal(turned, geometry.forward(activation, weight, multiply))


@pytest.mark.parametrize("lead", [(), (3,), (2, 3), (0,), (2, 0)])
def test_linear_sums_over_features_and_samples(lead):
    activation, weight, gradient = draw(*lead, 6), draw(5, 6), draw(*lead, 5)
    rows, gradients = activation.reshape(-1, 6).numpy(), gradient.reshape(-1, 5).numpy()
    geometry = LinearGeometry()
    for result, expected in (
        (geometry.forward(activation, weight, multiply), reference.matmul(rows, weight.mT.numpy(), SUMS)),
        (geometry.grad_input(gradient, weight, multiply), reference.matmul(gradients, weight.numpy(), SUMS)),
        (geometry.grad_weight(gradient, activation, multiply), reference.matmul(gradients.T, rows, SUMS)),
    ):
        assert result.is_contiguous()
        np.testing.assert_array_equal(result.numpy(), expected.reshape(result.shape), strict=True)


@pytest.mark.parametrize("geometry", CONVOLUTIONS)
def test_an_empty_batch(geometry):
    activation, weight, gradient = problem(geometry)
    assert geometry.forward(activation[:0], weight, multiply).shape == (0, 4, *geometry.output_size)
    assert geometry.grad_input(gradient[:0], weight, multiply).shape == (0, 4, *geometry.size)
    assert torch.equal(geometry.grad_weight(gradient[:0], activation[:0], multiply), torch.zeros_like(weight))
