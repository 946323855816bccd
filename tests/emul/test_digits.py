"""The bundled digits, their fixed split, and the two models."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

from emul import digits  # noqa: E402
from numerics import Quantizer, catalog  # noqa: E402


@pytest.fixture(scope="module")
def data() -> digits.Dataset:
    return digits.load()


def test_split_is_whole_disjoint_and_stratified(data: digits.Dataset) -> None:
    from sklearn.datasets import load_digits

    bundled = load_digits()
    assert len(data.train_labels) == 1352
    assert len(data.test_labels) == 445
    every = torch.cat([data.train_inputs, data.test_inputs]).mul(16).to(torch.int64).flatten(1).tolist()
    assert sorted(map(tuple, every)) == sorted(tuple(row) for row in bundled.data.astype(int).tolist())
    for digit in range(10):
        total = int((bundled.target == digit).sum())
        assert int((data.test_labels == digit).sum()) == total // 4
    # every fourth zero of the bundled order, counted by hand from its positions
    zeros = [index for index, label in enumerate(bundled.target) if label == 0]
    expected = torch.tensor(bundled.images[zeros[3::4]], dtype=torch.float32) / 16
    assert torch.equal(data.test_inputs[data.test_labels == 0], expected.unsqueeze(1))


def test_pixels_are_members_of_e4m3(data: digits.Dataset) -> None:
    pixels = data.train_inputs.numpy()
    assert pixels.min() == 0
    assert pixels.max() == 1
    assert data.train_inputs.shape[1:] == (1, 8, 8)
    assert (Quantizer(catalog.E4M3).quantize(pixels) == pixels).all()


@pytest.mark.parametrize(("name", "products"), [("cnn", 84_224), ("mlp", 25_856)])
def test_models_have_the_documented_size(name: str, products: int, data: digits.Dataset) -> None:
    model = digits.build(name, 0)
    counted = 0

    def count(layer: torch.nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal counted
        counted += output[0].numel() * layer.weight[0].numel()

    for layer in model.modules():
        if isinstance(layer, torch.nn.Linear | torch.nn.Conv2d):
            layer.register_forward_hook(count)
    assert model(data.test_inputs[:3]).shape == (3, 10)
    assert counted == products
    assert f"{products:_}".replace("_", " ") in (digits.builder(name).__doc__ or "")


def test_build_is_a_function_of_the_seed_and_leaves_the_generator() -> None:
    before = torch.get_rng_state()
    first, again, other = digits.build("mlp", 3), digits.build("mlp", 3), digits.build("mlp", 4)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(next(first.parameters()), next(other.parameters()))


def test_unknown_model_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no model called 'vgg'; the known ones are cnn, mlp"):
        digits.build("vgg", 0)


def test_unfit_datasets_are_refused(data: digits.Dataset) -> None:
    x, y = data.test_inputs, data.test_labels
    with pytest.raises(TypeError, match="float64 inputs"):
        digits.Dataset("mine", x.double(), y, x, y)
    with pytest.raises(TypeError, match="int32 labels"):
        digits.Dataset("mine", x, y, x, y.int())
    with pytest.raises(ValueError, match=r"the test part of 'mine' has inputs \[445, 1, 8, 8\] and labels \[444\]"):
        digits.Dataset("mine", x, y, x, y[1:])
    with pytest.raises(ValueError, match="at least one"):
        digits.Dataset("mine", x[:0], y[:0], x, y)
    with pytest.raises(ValueError, match="0 training and 5 test samples"):
        data.head(0, 5)
