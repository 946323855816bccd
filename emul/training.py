"""One reproducible training run: the loop, its settings, what is measured, and when it counts as diverged."""

from __future__ import annotations

import hashlib
import math
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch

from .course import Course, PhaseRecord
from .culprits import NotFiniteError
from .datasets import Dataset, Task
from .schedule import Schedule
from .state import native_state_dict
from .tasks import scores_of


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How every row trains: by "sgd" with momentum or by "adamw", the learning rate falling to zero by a cosine.

    `epochs` is the training from scratch, `fine_tune_epochs` the short training that starts from the native net; `steps`
    instead of epochs gives the steps of the first, and the second in proportion. The learning rate climbs over the first
    `warm_up` steps, or over a quarter of them where there are fewer. The loss is multiplied by `loss_scale` before the
    backward pass and the gradients are divided by it after, both exact for a power of two: it keeps small gradients in
    the range of few exponent bits. `clip` bounds the norm of all gradients. `momentum` is AdamW's first beta too.
    `threads` is the number of torch's own threads: torch sums in an order that depends on it, so that the native
    float32 figures are a function of it. The emulated products give the same bits on any number of threads.
    `device` is where nets and batches are: "cpu", "cuda" or "cuda:1". Emulated products have the same bits there; torch's
    own operators (native products, biases, activations, the loss, the optimizer) add in an order of the device.
    """

    epochs: int = 15
    fine_tune_epochs: int = 5
    steps: int | None = None
    batch: int = 32
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = 0.05
    fine_tune_learning_rate: float = 0.01
    momentum: float = 0.9
    warm_up: int = 0
    clip: float | None = None
    loss_scale: float = 1.0
    threads: int = 1
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name in ("epochs", "fine_tune_epochs", "steps", "batch", "threads"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give at least 1")
        for name in ("learning_rate", "fine_tune_learning_rate", "clip"):
            if getattr(self, name) is not None and not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; give a positive number")
        if self.optimizer not in ("sgd", "adamw"):
            raise ValueError(f"optimizer is {self.optimizer!r}; give 'sgd' or 'adamw'")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum is {self.momentum}; give a number in [0, 1)")
        if self.warm_up < 0:
            raise ValueError(f"warm_up is {self.warm_up}; give 0 or more steps")
        if not 0 < self.loss_scale < math.inf or math.frexp(self.loss_scale)[0] != 0.5:
            raise ValueError(f"loss_scale is {self.loss_scale}; give a power of two, whose product is exact")
        if not re.fullmatch(r"cpu|cuda(:\d+)?", self.device):
            raise ValueError(f"device is {self.device!r}; give cpu, cuda or cuda:N")

    def training_steps(self, samples: int) -> int:
        """Steps of the training from scratch on so many samples."""
        return self.steps or self.epochs * batches_per_epoch(samples, self.batch)

    def fine_tuning_steps(self, samples: int) -> int:
        """Steps of the fine-tuning on so many samples; at least one."""
        if self.steps is None:
            return self.fine_tune_epochs * batches_per_epoch(samples, self.batch)
        return -(-self.steps * self.fine_tune_epochs // self.epochs)

    def rate(self, step: int, steps: int, peak: float) -> float:
        """The learning rate of step 0, 1, ... of `steps`: up a ramp, then down half a cosine."""
        warm = min(self.warm_up, steps // 4)
        if step < warm:
            return peak * (step + 1) / warm
        return peak * 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm)))

    @property
    def on_cuda(self) -> bool:
        """Whether the nets are on a CUDA device."""
        return self.device != "cpu"


#: A look at every row in well under a minute; the nets are not trained to the end.
QUICK = Settings(epochs=4, fine_tune_epochs=1)
#: For the small GPT. Losses are means over a thousand places: the scale brings their gradients back into FP8's range.
TEXT = Settings(
    epochs=4,
    fine_tune_epochs=1,
    steps=600,
    batch=16,
    optimizer="adamw",
    learning_rate=4e-3,
    fine_tune_learning_rate=1e-3,
    warm_up=20,
    clip=1.0,
    loss_scale=2.0**12,
)


def usual(task: Task, *, quick: bool = False) -> Settings:
    """The settings that a task is trained with where nothing is said; `quick` for a look."""
    if task == "classification":
        return QUICK if quick else Settings()
    return replace(TEXT, steps=100) if quick else TEXT


@dataclass(frozen=True)
class Training:
    """Losses and wall times of one training, a value per step; `diverged` says why it stopped early, else is empty.

    phases: of its schedule, as they went.
    """

    losses: tuple[float, ...]
    seconds: tuple[float, ...]
    diverged: str
    phases: tuple[PhaseRecord, ...] = ()


@dataclass(frozen=True)
class Evaluation:
    """Correct test labels, mean test loss in nats, wall time of each full forward batch; `diverged` as in Training."""

    correct: int
    loss: float
    seconds: tuple[float, ...]
    diverged: str


def check_device(settings: Settings) -> None:
    """ValueError where the device of the settings is not there."""
    if settings.on_cuda and not torch.cuda.is_available():
        raise ValueError(f"device is {settings.device!r}, and torch finds no CUDA device; give cpu")
    number = torch.device(settings.device).index or 0
    if settings.on_cuda and number >= torch.cuda.device_count():
        raise ValueError(f"device is {settings.device!r}, and torch finds {torch.cuda.device_count()} CUDA device(s)")


@contextmanager
def reproducible(settings: Settings) -> Iterator[None]:
    """Deterministic algorithms and the settings' threads inside; torch's settings and generators are put back.

    On CUDA float32 is float32, without TF32; what torch cannot make deterministic there it warns of.
    """
    before = torch.get_num_threads()
    deterministic, warn_only = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    tf32 = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    with torch.random.fork_rng(devices=[settings.device] if settings.on_cuda else []):
        torch.set_num_threads(settings.threads)
        torch.use_deterministic_algorithms(True, warn_only=settings.on_cuda)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        try:
            yield
        finally:
            torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = tf32
            torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
            torch.set_num_threads(before)


def phase_seed(seed: int, phase: str) -> int:
    """A 63-bit seed for one phase of the run `seed`: the data orders of the two trainings must not be the same."""
    digest = hashlib.blake2b(f"{seed} {phase}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def fingerprint(model: torch.nn.Module) -> str:
    """SHA-256 over the names, types, shapes and bits of a model's parameters and buffers, swapped or not."""
    digest = hashlib.sha256()
    for name, tensor in sorted(native_state_dict(model).items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def batches_per_epoch(samples: int, batch: int) -> int:
    """Steps of an epoch; the last batch may be short."""
    return -(-samples // batch)


def train(
    model: torch.nn.Module,
    data: Dataset,
    settings: Settings,
    *,
    steps: int,
    learning_rate: float,
    seed: int,
    tick: Callable[[], None] = lambda: None,
    schedule: Schedule | None = None,
) -> Training:
    """Trains `model`, which is on the settings' device, in place by cross-entropy.

    schedule: the arithmetic of its phases, put into the model in turn; None: the model as it is.

    `seed` alone decides the data order and torch's global generator. `tick` is called after each step. Training stops
    at the first loss or parameter that is not finite. Wall times cover forward, backward and optimizer step, not the
    choice of the batch and what a schedule does after a step.
    """
    torch.manual_seed(seed)  # for layers that draw, such as dropout
    model.train()
    optimizer = _optimizer(model, settings, learning_rate)
    course = None if schedule is None else Course(model, schedule, steps)
    losses: list[float] = []
    seconds: list[float] = []
    for number, index in zip(range(1, steps + 1), orders(len(data.train_labels), settings.batch, seed), strict=False):
        inputs, labels = _there(data.train_inputs[index], settings), _there(data.train_labels[index], settings)
        for group in optimizer.param_groups:
            rate = settings.rate(len(losses), steps, learning_rate)
            group["lr"] = rate if course is None else course.rate(learning_rate, rate)
        begin = _now(settings)
        try:
            loss = loss_of(scores_of(model(inputs)), labels)
            losses.append(loss.item())
            if math.isfinite(losses[-1]):
                _descend(loss, model, optimizer, settings)
            seconds.append(_now(settings) - begin)
            if not (diverged := _diverged(losses, model)) and course is not None:
                course.step(partial(_scaled_loss, model, inputs, labels, settings))
        except (ValueError, OverflowError) as error:
            return Training(tuple(losses), tuple(seconds), f"step {number}: {not_finite(error)}", _phases(course))
        tick()
        if diverged:
            return Training(tuple(losses), tuple(seconds), diverged, _phases(course))
    return Training(tuple(losses), tuple(seconds), "", _phases(course))


def _diverged(losses: list[float], model: torch.nn.Module) -> str:
    """Why the latest step is the last one; "" where it is not."""
    if not math.isfinite(losses[-1]):
        return f"the loss of step {len(losses)} is {losses[-1]}"
    if not all(bool(torch.isfinite(parameter).all()) for parameter in model.parameters()):
        return f"a weight is not finite after step {len(losses)}"
    return ""


def _phases(course: Course | None) -> tuple[PhaseRecord, ...]:
    return () if course is None else course.phases


def _scaled_loss(
    model: torch.nn.Module, inputs: torch.Tensor, labels: torch.Tensor, settings: Settings
) -> torch.Tensor:
    """That of a batch as `_descend` takes its gradient: ratios of gradients do not change, their range does."""
    return loss_of(scores_of(model(inputs)), labels) * settings.loss_scale


def orders(samples: int, batch: int, seed: int) -> Iterator[torch.Tensor]:
    """The indices of batch after batch, without end: epoch after epoch in an order of its own; the last may be short."""
    order = torch.Generator().manual_seed(seed)
    while True:
        yield from torch.split(torch.randperm(samples, generator=order), batch)


def evaluate(
    model: torch.nn.Module, data: Dataset, settings: Settings, *, tick: Callable[[], None] = lambda: None
) -> Evaluation:
    """Counts the test labels that `model` gets right, in evaluation mode and in batches of the training size."""
    model.eval()
    correct, loss = 0, 0.0
    seconds: list[float] = []
    with torch.no_grad():
        for start in range(0, len(data.test_labels), settings.batch):
            inputs = _there(data.test_inputs[start : start + settings.batch], settings)
            labels = _there(data.test_labels[start : start + settings.batch], settings)
            begin = _now(settings)
            try:
                scores = scores_of(model(inputs))
            except (ValueError, OverflowError) as error:
                return Evaluation(correct, math.nan, tuple(seconds), f"in the test, {not_finite(error)}")
            elapsed = _now(settings) - begin
            if len(labels) == settings.batch or start == 0:
                seconds.append(elapsed)
            correct += int((scores.argmax(-1) == labels).sum())
            loss += float(loss_of(scores, labels, "sum"))
            tick()
    loss /= data.test_labels.numel()
    return Evaluation(correct, loss, tuple(seconds), "" if math.isfinite(loss) else f"the test loss is {loss}")


def loss_of(scores: torch.Tensor, labels: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
    """Cross-entropy over all labels, of [samples, classes] or [samples, length, classes]."""
    return torch.nn.functional.cross_entropy(
        scores.reshape(-1, scores.shape[-1]), labels.flatten(), reduction=reduction
    )


def _optimizer(model: torch.nn.Module, settings: Settings, learning_rate: float) -> torch.optim.Optimizer:
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(model.parameters(), learning_rate, betas=(settings.momentum, 0.95))
    return torch.optim.SGD(model.parameters(), learning_rate, momentum=settings.momentum)


def _descend(loss: torch.Tensor, model: torch.nn.Module, optimizer: torch.optim.Optimizer, settings: Settings) -> None:
    """The backward pass and a step of the optimizer."""
    optimizer.zero_grad()
    torch.autograd.backward(loss if settings.loss_scale == 1 else loss * settings.loss_scale)
    if settings.loss_scale != 1:
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.grad /= settings.loss_scale
    if settings.clip is not None:
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
    optimizer.step()


def _there(batch: torch.Tensor, settings: Settings) -> torch.Tensor:
    return batch.to(settings.device)


def _now(settings: Settings) -> float:
    """Seconds, once the device has done what it was given."""
    if settings.on_cuda:
        torch.cuda.synchronize(settings.device)
    return time.perf_counter()


def not_finite(error: ValueError | OverflowError) -> str:
    """The sentence by which emulated arithmetic refuses operands that are not finite; other errors are raised again.

    Where torch would go on with NaN, emulated products refuse: both mean that the run has diverged.
    """
    if isinstance(error, OverflowError | NotFiniteError) or "finite" in str(error):
        return str(error)
    raise error
