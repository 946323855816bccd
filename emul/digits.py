"""The real data of the comparison, scikit-learn's bundled handwritten digits, and two small models to train on it."""

from __future__ import annotations

from collections.abc import Callable

import torch

from .datasets import Dataset

#: Pixels are counts of black dots, 0 to 16. Divided by 16 they have at most four significant bits, so that
#: quantizing the input of the first layer to E4M3 changes no bit of it.
PIXEL_SCALE = 16.0


def load() -> Dataset:
    """The 1797 images of 8 x 8 pixels in [0, 1], split into 1352 for training and 445 for testing.

    The split is stratified and fixed, without random numbers: of each digit, in the bundled order, every fourth image
    is a test image. Inputs are ``[samples, 1, 8, 8]``.

    Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI repository, 1998, as bundled with
    scikit-learn (`sklearn.datasets.load_digits`).
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    inputs = torch.tensor(bunch.images, dtype=torch.float32).div_(PIXEL_SCALE).unsqueeze(1)
    labels = torch.tensor(bunch.target, dtype=torch.int64)
    test = torch.zeros(len(labels), dtype=torch.bool)
    for digit in range(10):
        test[torch.nonzero(labels == digit).flatten()[3::4]] = True
    return Dataset("digits", inputs[~test], labels[~test], inputs[test], labels[test], classes=10)


def cnn() -> torch.nn.Module:
    """Two 3 x 3 convolutions of 16 and 32 channels, each with ReLU and 2 x 2 max pooling, and a linear classifier.

    84 224 multiply-accumulates per image; sums of 9, 144 and 128 products.
    """
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(128, 10),
    )


def mlp() -> torch.nn.Module:
    """Two hidden layers of 128 units with ReLU and a linear classifier.

    25 856 multiply-accumulates per image; sums of 64, 128 and 128 products.
    """
    nn = torch.nn
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 128),
        nn.ReLU(),
        nn.Linear(128, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )


def normed() -> torch.nn.Module:
    """The layers of `mlp`, each followed by a batch norm, with Hardtanh between them: for signs, and for forms of norms.

    It is no model by name: `--model emul.digits:normed`.
    """
    nn = torch.nn
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 128),
        nn.BatchNorm1d(128),
        nn.Hardtanh(),
        nn.Linear(128, 128),
        nn.BatchNorm1d(128),
        nn.Hardtanh(),
        nn.Linear(128, 10),
        nn.BatchNorm1d(10),
    )


#: The models by name.
MODELS: dict[str, Callable[[], torch.nn.Module]] = {"cnn": cnn, "mlp": mlp}


def builder(name: str) -> Callable[[], torch.nn.Module]:
    """The function that builds the model called `name`; an unknown name is refused with a ValueError."""
    try:
        return MODELS[name]
    except KeyError:
        raise ValueError(f"there is no model called {name!r}; the known ones are {', '.join(MODELS)}") from None


def build(name: str, seed: int) -> torch.nn.Module:
    """The model called `name` with torch's initial weights for `seed`; torch's global generator is left as it was."""
    make = builder(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()
