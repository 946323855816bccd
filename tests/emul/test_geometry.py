"""The order of every sum, against plain loops that follow the documented order through the oracle."""

import itertools

import numpy as np
import pytest
import torch

from emul.geometry import ConvGeometry, GroupGeometry, LinearGeometry
from numerics import Accumulator, Quantizer, Rounding, matmul, parse_format, reference

#: Truncating, coarse and chunked: almost any other order gives other bits.
SUMS = Accumulator(
    parse_format("lba_m4e3_b3_paper"), Rounding.RTZ, product=Quantizer(parse_format("e4m3fn"), Rounding.RTZ), chunk=4
)

CONVOLUTIONS = [
    ConvGeometry((4, 5), (3, 2), (1, 1), (0, 0, 0, 0), (1, 1), 1),
    ConvGeometry((4, 5), (3, 2), (2, 1), (1, 1, 1, 1), (1, 2), 2),
    ConvGeometry((5, 5), (2, 2), (2, 3), (0, 1, 1, 0), (1, 1), 1),
    ConvGeometry((4, 4), (1, 1), (1, 1), (2, 2, 2, 2), (1, 1), 2),  # more padding than the kernel reaches
    ConvGeometry((5, 6), (2, 2), (3, 3), (0, 0, 0, 0), (1, 1), 4),  # rows that no window sees; depthwise
    ConvGeometry((7,), (3,), (2,), (1, 2), (2,), 2),
    ConvGeometry((3, 2, 4), (2, 1, 2), (1, 2, 2), (0, 1, 1, 0, 1, 0), (1, 1, 2), 2),
]


def multiply(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(matmul(a.numpy(), b.numpy(), SUMS))


def draw(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randint(-12, 13, shape, generator=generator) / 4.0


def chain(pairs: list[tuple[float, float]]) -> float:
    return reference.accumulate([a for a, _ in pairs], [b for _, b in pairs], SUMS)


def at(image: torch.Tensor, position: list[int]) -> float:
    """A pixel, or the zero around the image."""
    inside = all(0 <= place < length for place, length in zip(position, image.shape, strict=True))
    return float(image[tuple(position)]) if inside else 0.0


def problem(geometry: ConvGeometry) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    activation = draw(2, 4, *geometry.size)
    weight = draw(4, 4 // geometry.groups, *geometry.kernel)
    return activation, weight, draw(2, 4, *geometry.output_size)


def taps(geometry: ConvGeometry) -> list[tuple[int, ...]]:
    return list(itertools.product(*map(range, geometry.kernel)))


def before(geometry: ConvGeometry) -> tuple[int, ...]:
    """Zeros before each dimension, the first one first."""
    return geometry.padding[::2][::-1]


def seen(geometry: ConvGeometry, place: tuple[int, ...], tap: tuple[int, ...]) -> list[int]:
    """The pixel that a tap sees at an output position."""
    parts = zip(place, geometry.stride, tap, geometry.dilation, before(geometry), strict=True)
    return [y * step + i * gap - zeros for y, step, i, gap, zeros in parts]


@pytest.mark.parametrize("geometry", CONVOLUTIONS)
def test_forward_sums_over_channel_and_kernel_position(geometry):
    activation, weight, gradient = problem(geometry)
    expected = np.zeros(gradient.shape, np.float32)
    for n, o, *place in np.ndindex(*gradient.shape):
        first = o // (4 // geometry.groups) * weight.shape[1]
        expected[(n, o, *place)] = chain(
            [
                (at(activation[n, first + c], seen(geometry, place, tap)), float(weight[(o, c, *tap)]))
                for c in range(weight.shape[1])
                for tap in taps(geometry)
            ]
        )
    result = geometry.forward(activation, weight, multiply)
    assert result.is_contiguous()
    np.testing.assert_array_equal(result.numpy(), expected, strict=True)


@pytest.mark.parametrize("geometry", CONVOLUTIONS)
def test_grad_weight_sums_over_sample_and_output_position(geometry):
    activation, weight, gradient = problem(geometry)
    expected = np.zeros(weight.shape, np.float32)
    for o, c, *tap in np.ndindex(*weight.shape):
        first = o // (4 // geometry.groups) * weight.shape[1]
        expected[(o, c, *tap)] = chain(
            [
                (float(gradient[(n, o, *place)]), at(activation[n, first + c], seen(geometry, place, tap)))
                for n, *place in np.ndindex(len(gradient), *geometry.output_size)
            ]
        )
    result = geometry.grad_weight(gradient, activation, multiply)
    assert result.is_contiguous()
    np.testing.assert_array_equal(result.numpy(), expected, strict=True)


@pytest.mark.parametrize("geometry", CONVOLUTIONS)
def test_grad_input_sums_over_output_channel_and_position_of_the_gradient(geometry):
    activation, weight, gradient = problem(geometry)
    per_group = 4 // geometry.groups
    expected = np.zeros(activation.shape, np.float32)
    for n, c, *pixel in np.ndindex(*activation.shape):
        group, inner = divmod(c, weight.shape[1])
        pairs = []
        for o in range(group * per_group, (group + 1) * per_group):
            for tap in reversed(taps(geometry)):  # the last tap meets the first position of the gradient
                parts = zip(pixel, before(geometry), tap, geometry.dilation, geometry.stride, strict=True)
                places = [divmod(h + zeros - i * gap, step) for h, zeros, i, gap, step in parts]
                between = any(rest for _, rest in places)
                value = 0.0 if between else at(gradient[n, o], [place for place, _ in places])
                pairs.append((value, float(weight[(o, inner, *tap)])))
        expected[(n, c, *pixel)] = chain(pairs)
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


@pytest.mark.parametrize(("samples", "ends"), [(7, (2, 2, 7)), (7, (3, 4, 5)), (0, (0, 0, 0)), (2, (0, 0, 0))])
def test_groups_sum_over_features_and_their_own_rows(samples, ends):
    geometry = GroupGeometry(ends)
    activation, weight, gradient = draw(samples, 6), draw(3, 5, 6), draw(samples, 5)
    starts = (0, *ends)
    expected = torch.zeros(samples, 5), torch.zeros(samples, 6), torch.zeros(3, 5, 6)
    longest = max(end - start for start, end in zip(starts, ends, strict=False))
    for group, (start, end) in enumerate(zip(starts, ends, strict=False)):
        own = slice(start, end)
        filled = [torch.nn.functional.pad(x[own], (0, 0, 0, longest - end + start)) for x in (gradient, activation)]
        for whole, place, a, b in (
            (expected[0], own, activation[own], weight[group].T),
            (expected[1], own, gradient[own], weight[group]),
            (expected[2], group, filled[0].T, filled[1]),
        ):
            whole[place] = torch.from_numpy(reference.matmul(a.numpy(), b.numpy(), SUMS))
    found = (
        geometry.forward(activation, weight, multiply),
        geometry.grad_input(gradient, weight, multiply),
        geometry.grad_weight(gradient, activation, multiply),
    )
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
