"""Post-training quantization: what a pass over data finds, and the grids of channels."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import emul
from emul import recipes
from emul.operands import Calibrated, Channels
from numerics import (
    clipping,
)


def net() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3))


def problem() -> tuple[torch.Tensor, torch.Tensor]:
    """Three classes of 16 points around their centers."""
    generator = torch.Generator().manual_seed(2)
    labels = torch.arange(48) % 3
    centers = torch.randn(3, 8, generator=generator)
    return (centers[labels] + 0.1 * torch.randn(48, 8, generator=generator)) / 4, labels


def test_calibration_takes_the_clips_from_one_pass():
    model, (x, _) = net(), problem()
    found = emul.calibration.clips(model, x.split(16), bits=4, distribution="laplace")
    first, second = found
    assert (first.layer, first.bits, first.distribution) == ("0", 8, "range")
    assert (first.low, first.high) == (float(x.min()), float(x.max()))
    hidden = torch.relu(model[0](x)).detach().numpy()
    spread = float(hidden[hidden > 0].astype(np.float64).mean())  # b of a Laplace that a ReLU was given
    wanted = min(clipping.aciq_alpha(4, "laplace", half_range=True) * spread, float(hidden.max()))
    assert (second.layer, second.low, second.bits) == ("2", 0.0, 4)
    assert second.high == pytest.approx(wanted, rel=1e-9)
    recipe = emul.calibration.aciq_ptq(model, x.split(16), seed=4, distribution="laplace")
    assert recipe.rules[1].forward.activation == Calibrated(4, 0.0, second.high)
    assert recipe.rules[1].forward.weight == Channels(4)
    assert recipe.rules[2] == recipes.aciq_ptq().rules[0]
    before = model(x)
    weights = model[2].weight.clone()
    emul.swap_(model, recipe).eval()
    near = model(x)
    assert 0 < (near - before).abs().max() < 0.5 * before.abs().max()
    assert torch.equal(emul.restore_(model)[2].weight, weights)
    assert model.training is False


def test_what_a_relu_was_given_is_told_by_its_positive_outputs():
    """63 ones and one 40 of 128: b is the mean of the positive, whatever the zeros; 40 is clipped."""
    model = nn.Sequential(nn.Linear(1, 1, False), nn.ReLU(), nn.Linear(1, 1))
    with torch.no_grad():
        model[0].weight.fill_(1.0)
    x = torch.cat([torch.ones(63), torch.tensor([40.0]), -torch.ones(64)])[:, None]
    for distribution, spread in (("laplace", 103 / 64), ("gauss", math.sqrt((63 + 1600) / 64))):
        _, clip = emul.calibration.clips(model, [x], bits=3, distribution=distribution)
        wanted = clipping.aciq_alpha(3, distribution, half_range=True) * spread
        assert wanted < 40
        assert (clip.low, clip.high) == (0.0, pytest.approx(wanted, rel=1e-12))


def test_calibration_refuses_what_it_cannot_see():
    with pytest.raises(ValueError, match="Flatten has no layer to calibrate"):
        emul.calibration.clips(nn.Flatten(), [torch.ones(2, 3)])
    with pytest.raises(ValueError, match="no batch reached a layer"):
        emul.calibration.clips(net(), [])


class ByName(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(input=x)


def test_calibration_sees_inputs_given_by_name_and_leaves_out_empty_batches():
    x = problem()[0]
    (found,) = emul.calibration.clips(ByName(), [x[:0], x])
    assert (found.low, found.high) == (float(x.min()), float(x.max()))


@pytest.mark.parametrize(
    ("batches", "options", "error", "sentence"),
    [
        ([torch.ones(2, 8) / 0], {}, ValueError, "layer '0' is given inf: a range wants finite numbers"),
        ([torch.ones(0, 8)], {}, ValueError, "no batch reached a layer"),
        ([(torch.ones(2, 8), 3)], {}, TypeError, "a batch that is a tuple, .*: give inputs alone, such as"),
        ([torch.ones(2, 8)], {"bits": 0}, ValueError, "bits = 0: give 1 to 20"),
        ([torch.ones(2, 8)], {"first_bits": 2.5}, ValueError, r"bits = 2\.5: give 1 to 20"),
        ([], {"distribution": "cauchy"}, ValueError, "cauchy"),
    ],
)
def test_calibration_refuses(batches, options, error, sentence):
    with pytest.raises(error, match=sentence):
        emul.calibration.clips(net(), batches, **options)


def test_calibration_refuses_layers_of_16_bits():
    with pytest.raises(TypeError, match=r"the input of layer '0' is torch\.bfloat16: emul takes"):
        emul.calibration.clips(net().bfloat16(), [torch.ones(2, 8).bfloat16()])


def test_channels_have_their_own_clips_and_bits_and_keep_mean_and_deviation():
    generator = np.random.default_rng(0)
    w = generator.laplace(size=(4, 64)).astype(np.float32) * np.array([[64], [1], [1], [0]], np.float32)
    stage = Channels(3)
    bits = stage.bits_of(w)
    low, high = clipping.clip_range(w, 3, axis=0)
    assert bits.tolist() == clipping.bit_allocation((high - low) / 2, 3).tolist()
    assert bits[0] > bits[1] and bits[3] == 0
    out = stage.apply(w, 1.0).values
    assert out.dtype == np.float32
    np.testing.assert_allclose(out.mean(1), w.mean(1), atol=1e-6)
    np.testing.assert_allclose(out.std(1), w.std(1), rtol=1e-5)
    for row, n in zip(Channels(3, correct=False).apply(w, 1.0).values, bits, strict=True):
        assert len(np.unique(row)) <= 2**n
    plain = Channels(3, allocate=False, correct=False)
    assert plain.bits_of(w).tolist() == [3] * 4
    low, high = clipping.clip_range(w[1], 3)
    codes, scale, zero = clipping.affine(w[1], 3, lo=low, hi=high)
    assert np.array_equal(plain.apply(w, 1.0).values[1], clipping.dequantize(codes, scale, zero, dtype=np.float32))
    for bad, sentence in ((lambda: Channels(9), "bits = 9"), (lambda: Channels(4, "cauchy"), "cauchy")):
        with pytest.raises(ValueError, match=sentence):
            bad()
    with pytest.raises(ValueError, match="give the lower end first"):
        Calibrated(4, 2.0, 1.0)
