"""What a student can learn from its teacher: losses on logits and on feature maps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn import functional

from workbench.errors import StepFailed
from workbench.modules.calling import Inputs, call, copied, tensors_map
from workbench.statistics.collector import hooked
from workbench.tasks import Task
from workbench.training.answers import Answers

Tensor = torch.Tensor

#: The terms that `Distillation` knows, and "none".
METHODS = ("none", "logits", "soft", "hints", "attention", "relational")
ANGLE_WEIGHT = 2.0  # of the angles against the distances, as in Park et al. 2019


def logits(student: Tensor, teacher: Tensor) -> Tensor:
    """Half the mean squared difference of two (N, classes) logits (Ba & Caruana 2014, eq. 1)."""
    return functional.mse_loss(student, teacher) / 2


def hint(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared difference of two maps (N, C, ...), relative to the teacher's (Romero et al. 2015, eq. 3)."""
    return functional.mse_loss(student, teacher) / teacher.square().mean().clamp_min(1e-12)


def attention(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared distance of the normalised maps of mean squared channels (Zagoruyko & Komodakis 2017, eq. 2)."""
    pair = [functional.normalize(x.square().mean(1).flatten(1), dim=1) for x in (student, teacher)]
    return (pair[0] - pair[1]).square().sum(1).mean()


def relational(student: Tensor, teacher: Tensor) -> Tensor:
    """Huber loss on the distances and angles among a batch's vectors (N, D) (Park et al. 2019, eqs. 5 to 8)."""
    apart = functional.smooth_l1_loss(_distances(student), _distances(teacher))
    turned = functional.smooth_l1_loss(_angles(student), _angles(teacher))
    return apart + ANGLE_WEIGHT * turned


def _distances(x: Tensor) -> Tensor:
    squared = (x[:, None] - x[None]).square().sum(2)
    away = squared.clamp_min(1e-12).sqrt() * (1 - torch.eye(len(x), device=x.device))
    return away / (away.sum() / max(len(x) * (len(x) - 1), 1)).clamp_min(1e-12)


def _angles(x: Tensor) -> Tensor:
    towards = functional.normalize(x[None] - x[:, None], dim=2)  # [j, i]: from j to i
    return towards @ towards.mT


class Distillation(nn.Module):
    """One term between a student and its teacher, on logits or on the outputs of layers that both have.

    Its parameters are the regressors of "hints": 1 x 1 convolutions from the student's channels to the teacher's.

    Args:
        method: one of `METHODS` but "none".
        pair: the student and the teacher, which is used in evaluation mode and not changed.
        task: what the outputs are, so that "soft" compares them accordingly.
        layers: the layers whose outputs are compared, for "hints" and "attention"; for "relational" the last one's.
        example: one input (1, ...), which tells the layers' shapes.
        answers: what the teacher said before, also to others.
    """

    def __init__(
        self, method: str, pair: tuple[nn.Module, nn.Module], task: Task, layers: Sequence[str], example: Inputs,
        answers: Answers | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.method, self.names, self.task = method, tuple(layers), task
        self.answers = answers or Answers()
        self.pair = student, teacher = pair  # in a tuple, so that they are no submodules
        self.regressors = nn.ModuleList()
        if method == "hints":
            widths = zip(shapes(student, self.names, example), shapes(teacher, self.names, example), strict=True)
            with torch.random.fork_rng():
                torch.manual_seed(0)
                self.regressors.extend(_regressor(mine, its) for mine, its in widths)

    def forward(self, x: Inputs, temperature: float) -> tuple[Tensor, Tensor]:
        """The student's logits for inputs (N, ...) and the term."""
        student, teacher = self.pair
        with outputs_of(student, self.names) as mine:
            answer = self.task.tensor(call(student, copied(x))).float()  # a network may write into what it is given

        def ask() -> Tensor:
            return self.task.tensor(call(teacher, copied(x))).float()

        with torch.no_grad(), outputs_of(teacher, self.names) as its:
            wanted = ask() if self.names else self.answers.to(x, ask)  # maps are too large to be remembered
        return answer, self._term((answer, wanted), (mine, its), temperature)

    def _term(
        self, ends: tuple[Tensor, Tensor], maps: tuple[dict[str, Tensor], dict[str, Tensor]], temperature: float
    ) -> Tensor:
        if self.method == "logits":
            return logits(*ends)
        if self.method == "soft":
            return self.task.taught(*ends, temperature)
        pairs = [(maps[0][name].float(), maps[1][name].float()) for name in self.names]
        if self.method == "relational":
            return relational(*(vectors(one) for one in pairs[-1]))
        if self.method == "hints":
            pairs = [(fit(a), b) for fit, (a, b) in zip(self.regressors, pairs, strict=True)]
            return torch.stack([hint(a, b) for a, b in pairs]).mean()
        return torch.stack([attention(a, b) for a, b in pairs]).mean()


@contextmanager
def outputs_of(module: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """The outputs of the named layers, filled in while the module runs; a layer used twice gives its last."""
    found: dict[str, Tensor] = {}
    with hooked(module, gives={name: _noting(found, name) for name in names}):
        yield found


def _noting(found: dict[str, Tensor], name: str) -> Callable[[Tensor], Tensor]:
    """Keeps an output, with its way back; the network goes on with a copy, as what follows may write into it."""

    def note(out: Tensor) -> Tensor:
        found[name] = out
        return out.clone()

    return note


@torch.no_grad()
def shapes(module: nn.Module, names: Sequence[str], example: Inputs) -> list[tuple[int, ...]]:
    """The shapes (without the batch) of the named layers' outputs."""
    with outputs_of(module.eval(), names) as found:
        call(module, tensors_map(torch.clone, example))
    missing = [name for name in names if not isinstance(found.get(name), Tensor)]
    if missing:
        raise StepFailed(f"The layer {missing[0]!r} gives no tensor to compare. Name others to learn from.")
    return [tuple(found[name].shape[1:]) for name in names]


def common_layers(student: nn.Module, teacher: nn.Module, example: Inputs) -> tuple[str, ...]:
    """The last layer of each map size that both networks have, in execution order: the ends of the stages."""
    both = {name for name, m in teacher.named_modules() if not any(m.children())}
    both &= {name for name, m in student.named_modules() if not any(m.children())}
    sizes = [_map_sizes(net, both, example) for net in (student, teacher)]
    last: dict[tuple[int, ...], str] = {}
    for name, size in sizes[1].items():
        if sizes[0].get(name) == size:
            last.pop(size, None)
            last[size] = name
    return tuple(last.values())


def vectors(x: Tensor) -> Tensor:
    """One vector for each input: the means of a map's channels."""
    return x.flatten(2).mean(2) if x.dim() > 2 else x


@torch.no_grad()
def _map_sizes(module: nn.Module, names: set[str], example: Inputs) -> dict[str, tuple[int, ...]]:
    """The layers that give maps (N, C, H, W) and their H, W, in the order of their last use."""
    found: dict[str, tuple[int, ...]] = {}

    def noting(name: str) -> Callable[[Tensor], Tensor]:
        def note(out: Tensor) -> Tensor:
            if out.dim() == 4:
                found.pop(name, None)
                found[name] = tuple(out.shape[2:])
            return out

        return note

    with hooked(module, gives={name: noting(name) for name in names}):
        call(module.eval(), tensors_map(torch.clone, example))
    return found


def _regressor(mine: tuple[int, ...], its: tuple[int, ...]) -> nn.Module:
    if mine[1:] != its[1:]:
        raise StepFailed(f"The layer gives maps of {mine[1:]} in the student and {its[1:]} in the teacher.")
    if len(its) == 1:
        return nn.Linear(mine[0], its[0])
    return nn.Conv2d(mine[0], its[0], 1)
