"""What the file of a technique is made with: the two kinds of steps, what they may use, and how settings are described.

A step is a frozen dataclass. `plan_on` says from shapes (and cached spectra) what it will do to a
network; `apply` or `lower` does it. Nothing outside a technique's own file knows it by name.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from workbench.cost.layer import WITH_WEIGHTS
from workbench.cost.weights import Weights
from workbench.jobs import Reporter
from workbench.modules.calling import Inputs
from workbench.plan import Decision, Plan, Row, row
from workbench.recipe import REGISTRY, Step
from workbench.settings import Layers, Setting, Stops, check, layers_setting, select, setting
from workbench.tasks import Task
from workbench.tasks.unlabelled import UNLABELLED

if TYPE_CHECKING:
    from torch import nn

    from workbench.data import Split

__all__ = [
    "REGISTRY", "WITH_WEIGHTS", "Context", "Decision", "Layers", "Lower", "Plan", "Rewrite", "Row", "Setting", "Step",
    "Stops", "Weights", "check", "layers_setting", "row", "select", "setting",
]  # fmt: skip


@dataclass(frozen=True)
class Context:
    """What a step may use while it works. It never sees the test split."""

    example: Inputs  # one input, batch of 1, normalised
    progress: Reporter = field(default_factory=Reporter)
    calibration: Split | None = None  # inputs in memory, (N, ...), become a split without labels
    train: Split | None = None
    validation: Split | None = None
    task: Task = UNLABELLED  # what is asked of the network: judged, and trained towards
    original: nn.Module | None = None  # the unmodified network, as a teacher or a reference
    cache: dict[tuple[str, Hashable], Any] = field(default_factory=dict)  # as in `Weights`, for unchanged layers
    seed: int = 0
    folder: Path | None = None  # where this step may keep what a killed process needs to go on
    keep: Callable[[nn.Module, str], Path] | None = None  # writes a network to a file that `wb.load` reads

    def __post_init__(self) -> None:
        if self.calibration is not None:
            from workbench.data.batches import as_split

            object.__setattr__(self, "calibration", as_split(self.calibration))


class Rewrite(Step, abstract=True):
    """A step that rewrites the torch module."""

    #: True where batch-norm statistics are right after it: nobody needs to estimate them anew.
    settles_norms: ClassVar[bool] = False

    @abstractmethod
    def apply(self, module: nn.Module, context: Context) -> nn.Module:
        """A new module; the one given is left as it was. Raises `StepFailed`, `Cancelled`."""


class Lower(Step, abstract=True):
    """A step that turns one ONNX artefact into another, such as a quantized one."""

    lowers: ClassVar[bool] = True

    @abstractmethod
    def lower(self, source: Path, target: Path, context: Context) -> None:
        """Read the ONNX file `source`, write `target`. Raises `StepFailed`, `Cancelled`."""
