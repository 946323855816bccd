"""What nets are trained on: two parts of samples with their labels, one label for each sample or one for each place."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch

#: "classification": one label for each sample. "next-token": one for each place of a sequence of tokens.
Task = Literal["classification", "next-token"]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Train and test parts of a classification problem, or of one of predicting each next token of a sequence.

    Classification: inputs are float32 tensors ``[samples, ...]``, labels int64 tensors ``[samples]``. Next token: inputs
    and labels are int64 tensors ``[samples, length]``, and a label is the token that follows the inputs up to its place.
    `classes` is the number of labels, 0 for one more than the largest; `token` says what a token is ("character"), in
    the names of figures. Errors: TypeError for other dtypes, ValueError for shapes that do not match and labels that are
    negative or not below `classes`.
    """

    name: str
    train_inputs: torch.Tensor
    train_labels: torch.Tensor
    test_inputs: torch.Tensor
    test_labels: torch.Tensor
    classes: int = 0
    token: str = "token"

    def __post_init__(self) -> None:
        for part, inputs, labels in (
            ("train", self.train_inputs, self.train_labels),
            ("test", self.test_inputs, self.test_labels),
        ):
            self._check(part, inputs, labels)
        if self.task == "next-token" and self.test_inputs.shape[1] != self.train_inputs.shape[1]:
            raise ValueError(
                f"the parts of {self.name!r} have sequences of {self.train_inputs.shape[1]} and of"
                f" {self.test_inputs.shape[1]} tokens; cut both to one length"
            )
        numbers = [self.train_labels, self.test_labels]
        numbers += [self.train_inputs, self.test_inputs] if self.task == "next-token" else []
        low, high = min(int(part.min()) for part in numbers), max(int(part.max()) for part in numbers)
        if low < 0 or (self.classes and high >= self.classes):
            raise ValueError(
                f"{self.name!r} has labels from {low} to {high}; number its {self.classes or high + 1} classes from 0"
            )
        if not self.classes:
            object.__setattr__(self, "classes", high + 1)
        if not self.token.isidentifier():
            raise ValueError(f"token is {self.token!r}; give one word, such as 'character'")

    def _check(self, part: str, inputs: torch.Tensor, labels: torch.Tensor) -> None:
        sequences = labels.ndim == 2
        wanted = torch.int64 if sequences else torch.float32
        if inputs.dtype != wanted or labels.dtype != torch.int64:
            raise TypeError(
                f"the {part} part of {self.name!r} holds {inputs.dtype} inputs and {labels.dtype} labels; "
                f"give {str(wanted).removeprefix('torch.')} inputs and int64 labels"
            )
        if labels.ndim not in (1, 2) or labels.ndim != self.train_labels.ndim or labels.numel() == 0:
            fits = False
        else:
            fits = inputs.shape == labels.shape if sequences else inputs.ndim > 0 and len(inputs) == len(labels)
        if not fits:
            raise ValueError(
                f"the {part} part of {self.name!r} has inputs {list(inputs.shape)} and labels "
                f"{list(labels.shape)}; give at least one sample and one label for each"
                f"{' place of it' if sequences else ''}"
            )

    @property
    def task(self) -> Task:
        """What the labels are."""
        return "next-token" if self.train_labels.ndim == 2 else "classification"

    def head(self, train: int, test: int) -> Dataset:
        """The first `train` training and the first `test` test samples, for quick looks."""
        if train < 1 or test < 1:
            raise ValueError(f"{train} training and {test} test samples were asked for; ask for at least one of each")
        return replace(
            self,
            train_inputs=self.train_inputs[:train],
            train_labels=self.train_labels[:train],
            test_inputs=self.test_inputs[:test],
            test_labels=self.test_labels[:test],
        )
