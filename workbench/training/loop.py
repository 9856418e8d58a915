"""The training loop: one for every step that trains."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from workbench.data.batches import count
from workbench.errors import Cancelled, StepFailed
from workbench.jobs import Reporter
from workbench.modules.calling import Inputs, call, copied, first, flatten, tensors_map
from workbench.tasks import Task
from workbench.tasks.metric import Tally
from workbench.training.augment import augmented
from workbench.training.checkpoint import Checkpoint, Tensors, nested, unnested
from workbench.training.schedule import rate

if TYPE_CHECKING:
    from workbench.data import Split

Tensor = torch.Tensor
#: A loss of the inputs and labels of a batch, None where there are none; it runs the student itself.
Loss = Callable[[Any, Any], Tensor]

OPTIMIZERS = ("sgd", "adam")
SAVE_SECONDS = 60.0  # between two checkpoints inside an epoch
SCORE_BATCH = 100  # feature maps stay in the cache
CLIP = 5.0  # the largest norm of a step's gradient


class Diverged(StepFailed):
    """The loss became NaN or infinite."""


@dataclass(frozen=True)
class Settings:
    """How to train. Equal settings on equal data give the same batches in the same order."""

    epochs: int
    lr: float
    batch: int = 64
    optimizer: str = "sgd"  # sgd (Nesterov, momentum 0.9), adam
    schedule: str = "one-cycle"
    warmup: float = 0.0
    weight_decay: float = 0.0
    patience: int = 0  # epochs without a better validation score before it stops; 0 never stops early
    augmentation: str = "none"
    precision: str = "auto"  # auto, float32, bfloat16
    seed: int = 0
    device: str = "auto"  # auto, cpu


@dataclass(frozen=True)
class Score:
    """A task's principal figure on a split, and the mean loss, which decides where figures are equal."""

    figure: float
    loss: float

    def beats(self, other: Score, *, more: bool = True) -> bool:
        """True when it is the better one; `more` says whether the larger figure is."""
        sign = 1 if more else -1
        return (sign * self.figure, -self.loss) > (sign * other.figure, -other.loss)


@dataclass
class History:
    """The score on validation at the start and after each epoch, and which of them is the best."""

    scores: list[Score] = field(default_factory=list)
    best: int = 0

    @property
    def stale(self) -> int:
        """Epochs since the best."""
        return len(self.scores) - 1 - self.best


@dataclass
class Trainer:
    """What is trained, on what, towards what. `fit` does it.

    `extra` holds further parameters of the loss, such as regressors. `after_step()` and `after_epoch(rate)`
    put the weights back where they must lie; `rate` is the share of the highest learning rate.
    """

    student: nn.Module
    loss: Loss
    split: Split
    validation: Split | None
    settings: Settings
    task: Task
    teacher: nn.Module | None = None  # whose answers are wanted where there are no labels
    checkpoint: Checkpoint | None = None
    extra: nn.Module = field(default_factory=nn.Module)
    after_step: Callable[[], None] = lambda: None
    after_epoch: Callable[[float], None] = lambda rate: None

    def fit(self, progress: Reporter) -> History:
        """Train the student in place; leave it with its best weights on validation, the start's included.

        With a checkpoint, a run that was killed or cancelled goes on where it was, with the result that it
        would have had without the break. Without a validation split the last weights count as the best.

        Raises: `Diverged` when the loss is not finite, `Cancelled`. Then too the student has its best weights.
        """
        self._begin()
        try:
            while not self._finished:
                self._epoch(progress)
        except Cancelled:
            self._save()
            raise
        finally:
            self.student.load_state_dict(self._best)
            move(self.student, torch.device("cpu"), torch.contiguous_format).eval()
        return self.history

    # The state of a run.

    def _begin(self) -> None:
        self._device = place(self.settings.device)
        for part in (self.student, self.extra):  # channels last: up to twice as fast on processors too
            move(part, self._device, torch.channels_last)
        parameters = [p for part in (self.student, self.extra) for p in part.parameters() if p.requires_grad]
        self.history, self._step, self._saved = History(), 0, time.monotonic()
        self._optimizer = _optimizer(self.settings, parameters)
        if not self._resume():
            self._best = _copy(self.student)
            self.history.scores.append(self._score())

    @cached_property
    def _steps_an_epoch(self) -> int:
        return -(-len(self.split) // self.settings.batch)

    @property
    def _finished(self) -> bool:
        return len(self.history.scores) > self.settings.epochs or 0 < self.settings.patience <= self.history.stale

    def _save(self) -> None:
        if self.checkpoint is None:
            return
        momenta = {
            f"{index}.{name}": value
            for index, state in self._optimizer.state_dict()["state"].items()
            for name, value in state.items()
            if isinstance(value, Tensor)
        }
        parts = {"student": _copy(self.student), "best": self._best, "extra": _copy(self.extra), "optimizer": momenta}
        tensors = {key: value for name, part in parts.items() for key, value in nested(name, part).items()}
        scores = [[one.figure, one.loss] for one in self.history.scores]
        self.checkpoint.save(tensors, {"step": self._step, "scores": scores, "best": self.history.best})
        self._saved = time.monotonic()

    def _resume(self) -> bool:
        found = self.checkpoint.load() if self.checkpoint is not None else None
        if found is None:
            return False
        tensors, metadata = found
        self.student.load_state_dict(unnested("student", tensors))
        self.extra.load_state_dict(unnested("extra", tensors))
        self._best, self._step = unnested("best", tensors), metadata["step"]
        self.history = History([Score(*one) for one in metadata["scores"]], metadata["best"])
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in unnested("optimizer", tensors).items():
            index, _, key = name.partition(".")
            state.setdefault(int(index), {})[key] = value
        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": state})
        return True

    # The work.

    def _epoch(self, progress: Reporter) -> None:
        """The rest of the current epoch, then the score."""
        epoch = len(self.history.scores) - 1
        done = self._step - epoch * self._steps_an_epoch
        order = torch.randperm(len(self.split), generator=_generator(self.settings.seed, epoch))
        self.student.train()
        for inputs, labels in self.split.batches(self.settings.batch, order[done * self.settings.batch :]):
            self._train(inputs, labels)
            self._report(progress)
            if time.monotonic() - self._saved > SAVE_SECONDS:
                self._save()
        self.after_epoch(self._rate / self.settings.lr)
        self.history.scores.append(self._score())
        best, more = self.history.scores[self.history.best], self.task.principal.more_is_better
        if self.validation is None or self.history.scores[-1].beats(best, more=more):
            self._best, self.history.best = _copy(self.student), len(self.history.scores) - 1
        self._save()

    @property
    def _rate(self) -> float:
        how, steps = self.settings, self.settings.epochs * self._steps_an_epoch
        return how.lr * rate(how.schedule, self._step, steps, how.warmup)

    def _train(self, inputs: Inputs, labels: Any) -> None:
        """One step of the optimizer."""
        random = _generator(self.settings.seed, self._step, 1)
        x, labels = augmented(inputs, labels, self.settings.augmentation, random)
        x = cast("Inputs", tensors_map(self._placed, x))
        with self._autocast:
            loss = self.loss(x, tensors_map(lambda one: one.to(self._device), labels))
        self._last = float(loss.detach())
        if not self._last - self._last == 0:  # NaN or infinite
            raise Diverged(self._divergence())
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate
        self._optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self._optimizer.param_groups[0]["params"], CLIP)
        self._optimizer.step()
        self.after_step()
        self._step += 1

    def _placed(self, x: Tensor) -> Tensor:
        return x.to(self._device, memory_format=torch.channels_last if x.dim() == 4 else torch.preserve_format)

    @cached_property
    def _autocast(self) -> torch.autocast:
        """bfloat16 where it is asked for, or pays: on CUDA, and on processors that compute in it.

        Depthwise convolutions are slower in it there, forwards and backwards.
        """
        how = self.settings.precision
        fast = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
        deep = any(getattr(part, "groups", 1) > 1 for part in self.student.modules())
        pays = self._device.type == "cuda" or (bool(fast) and not deep)
        enabled = how == "bfloat16" or (how == "auto" and pays)
        return torch.autocast(self._device.type, torch.bfloat16, enabled=enabled)

    def _report(self, progress: Reporter) -> None:
        epochs, latest = self.settings.epochs, self.history.scores[-1]
        words = f"epoch {(self._step - 1) // self._steps_an_epoch + 1} of {epochs}, loss {self._last:.3f}"
        if self.validation is not None:
            metric = self.task.principal
            words += f", validation {metric.word} {metric.text(latest.figure)}"
        progress(self._step / (epochs * self._steps_an_epoch), words)

    def _divergence(self) -> str:
        epoch, step = divmod(self._step, self._steps_an_epoch)
        return (
            f"the loss became {self._last} at step {step + 1} of {self._steps_an_epoch} in epoch {epoch + 1} of "
            f"{self.settings.epochs}, at a learning rate of {self._rate:.2g}. Use a lower lr"
        )

    def _score(self) -> Score:
        if self.validation is None:
            return Score(0.0, 0.0)
        return score(self.student, self.validation, self.task, self.teacher)


@torch.no_grad()
def score(module: nn.Module, split: Split, task: Task, teacher: nn.Module | None = None) -> Score:
    """The task's principal figure and the mean loss of a module in evaluation mode, in float32.

    Without labels the teacher's answers are wanted. Raises: `BadValue` for labels that do not fit the outputs.
    """
    module.eval()
    where = next((p.device for p in module.parameters()), torch.device("cpu"))
    tally, loss = Tally(task.principal), 0.0
    for inputs, known in split.batches(SCORE_BATCH):
        labels = None if task.name == "none" else known
        wanted = call(teacher, copied(inputs)) if labels is None and teacher is not None else labels
        n, placed = count(inputs), cast("Inputs", tensors_map(lambda one: one.to(where), inputs))
        given = tensors_map(Tensor.cpu, call(module, placed))
        loss += n * _loss(task, given, wanted, labelled=labels is not None)
        tally.add(_seen(task, given), _seen(task, wanted) if labels is None else tensors_map(_array, labels))
    return Score(tally.value(), loss / max(tally.n, 1))


def _loss(task: Task, given: Any, wanted: Any, *, labelled: bool) -> float:
    """The mean loss of a batch; none where labels cannot be trained on."""
    outputs = task.tensor(given).float()
    if not labelled:
        return float(task.taught(outputs, task.tensor(wanted).float(), 1.0))
    return 0.0 if task.loss is None else float(task.loss(outputs, wanted, None))


def _seen(task: Task, outputs: Any) -> Any:
    """A network's outputs as a metric takes them."""
    if task.principal.several:
        return tuple(_array(one) for one in flatten(outputs))
    return _array(first(outputs))


def _array(value: Tensor) -> Any:
    return value.detach().float().cpu().numpy() if value.is_floating_point() else value.cpu().numpy()


def place(device: str) -> torch.device:
    """CUDA where torch sees it and nothing else is asked for."""
    return torch.device("cuda" if device == "auto" and torch.cuda.is_available() else "cpu")


def move(module: nn.Module, device: torch.device, layout: torch.memory_format) -> nn.Module:
    """Move a module in place, and lay out its weights of four axes."""
    module.to(device)
    for parameter in module.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.to(memory_format=layout)
    return module


def _optimizer(settings: Settings, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    if settings.optimizer == "adam":
        return torch.optim.Adam(parameters, settings.lr, weight_decay=settings.weight_decay)
    return torch.optim.SGD(parameters, settings.lr, momentum=0.9, nesterov=True, weight_decay=settings.weight_decay)


def _generator(*numbers: int) -> torch.Generator:
    """Random numbers that depend on nothing but these, so that a resumed run draws the same."""
    seed = 0
    for number in numbers:
        seed = (seed * 1_000_003 + number + 1) % (1 << 62)
    return torch.Generator().manual_seed(seed)


def _copy(module: nn.Module) -> Tensors:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}
