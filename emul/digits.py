"""The real data of the comparison, scikit-learn's bundled handwritten digits, and two small models to train on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

#: Pixels are counts of black dots, 0 to 16. Divided by 16 they have at most four significant bits, so that
#: quantizing the input of the first layer to E4M3 changes no bit of it.
PIXEL_SCALE = 16.0


@dataclass(frozen=True, eq=False)
class Dataset:
    """Train and test parts of a classification problem.

    Inputs are float32 tensors ``[samples, ...]``, labels int64 tensors ``[samples]``.
    """

    name: str
    train_inputs: torch.Tensor
    train_labels: torch.Tensor
    test_inputs: torch.Tensor
    test_labels: torch.Tensor

    def __post_init__(self) -> None:
        for part, inputs, labels in (
            ("train", self.train_inputs, self.train_labels),
            ("test", self.test_inputs, self.test_labels),
        ):
            if inputs.dtype != torch.float32 or labels.dtype != torch.int64:
                raise TypeError(
                    f"the {part} part of {self.name!r} holds {inputs.dtype} inputs and {labels.dtype} labels; "
                    "give float32 inputs and int64 labels"
                )
            if labels.ndim != 1 or inputs.ndim < 1 or len(inputs) != len(labels) or len(labels) == 0:
                raise ValueError(
                    f"the {part} part of {self.name!r} has inputs {list(inputs.shape)} and labels "
                    f"{list(labels.shape)}; give at least one sample and one label for each"
                )

    def head(self, train: int, test: int) -> Dataset:
        """The first `train` training and the first `test` test samples, for quick looks."""
        if train < 1 or test < 1:
            raise ValueError(f"{train} training and {test} test samples were asked for; ask for at least one of each")
        return Dataset(
            self.name,
            self.train_inputs[:train],
            self.train_labels[:train],
            self.test_inputs[:test],
            self.test_labels[:test],
        )


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
    return Dataset("digits", inputs[~test], labels[~test], inputs[test], labels[test])


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
