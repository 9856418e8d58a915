"""What every technique is made of: its settings, its plan, its work.

A step is a frozen dataclass. `plan_on` says from shapes (and cached spectra) what it will do to a
network; `apply` or `lower` does it. Nothing outside a technique's own file knows it by name.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from workbench.calling import Inputs
from workbench.cost.layer import WITH_WEIGHTS
from workbench.cost.network import Network
from workbench.cost.weights import Weights
from workbench.errors import OutOfReach, StepFailed
from workbench.jobs import Reporter
from workbench.plan import Decision, Plan, Row, row
from workbench.settings import Layers, Setting, Stops, check, layers_setting, matching, select, setting

if TYPE_CHECKING:
    import torch
    from torch import nn

    from workbench.data import Split
    from workbench.models import Model
    from workbench.recipe import Recipe


#: Every step by its class name, in the order of definition; the menu, the files and the CLI read it.
REGISTRY: dict[str, type[Step]] = {}

__all__ = [
    "REGISTRY", "WITH_WEIGHTS", "Context", "Decision", "Layers", "Lower", "Plan", "Rewrite", "Row", "Setting", "Step",
    "Stops", "Weights", "check", "layers_setting", "row", "select", "setting",
]  # fmt: skip


@dataclass(frozen=True)
class Context:
    """What a step may use while it works. It never sees the test split."""

    example: Inputs  # one input, batch of 1, normalised
    progress: Reporter = field(default_factory=Reporter)
    calibration: torch.Tensor | None = None  # (N, ...) inputs, normalised
    train: Split | None = None
    validation: Split | None = None
    original: nn.Module | None = None  # the unmodified network, as a teacher or a reference
    cache: dict[tuple[str, Hashable], Any] = field(default_factory=dict)  # as in `Weights`, for unchanged layers
    seed: int = 0
    folder: Path | None = None  # where this step may keep what a killed process needs to go on
    keep: Callable[[nn.Module, str], Path] | None = None  # writes a network to a file that `wb.load` reads


class Step(ABC):
    """One technique with its settings. Subclasses are frozen dataclasses and register themselves."""

    title: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    family: ClassVar[str] = ""  # the heading that it stands under: low-rank, pruning, precision, ...

    def __init_subclass__(cls, abstract: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not abstract:
            REGISTRY[cls.__name__] = cls

    def __post_init__(self) -> None:
        for spec in self.settings():
            value = getattr(self, spec.name)
            if isinstance(value, list):  # a step is hashable
                value = tuple(value)
                object.__setattr__(self, spec.name, value)
            check(type(self).__name__, spec, value)

    @classmethod
    @cache
    def settings(cls) -> tuple[Setting, ...]:
        """The description of every field: a technique's own first, then those that its kind has in common."""
        fields = dataclasses.fields(cls)  # type: ignore[arg-type]  # every concrete step is a dataclass
        return tuple(
            Setting(name=f.name, default=f.default, **{"label": f.name.replace("_", " "), **f.metadata["setting"]})
            for f in sorted(fields, key=lambda f: f.kw_only is True)
        )

    @property
    def effort(self) -> float:
        """How long it takes beside other steps and beside measuring, as a rule: progress is shared out by it."""
        return 4.0

    def stops(self, network: Network) -> Mapping[str, Stops]:
        """What the sliders of settings stop at on this network, where that follows from it; of all others nothing."""
        return {}

    def settings_on(self, network: Network) -> tuple[Setting, ...]:
        """`settings`, with the sliders as they suit a network."""
        own = self.stops(network)
        return tuple(replace(one, stops=own.get(one.name, one.stops)) for one in self.settings())

    @abstractmethod
    def plan_on(self, network: Network, weights: Weights) -> Plan:
        """What this step will do to `network`; computes nothing but closed forms and cached spectra.

        Raises: `BadValue`, `UnknownName`; `OutOfReach` with the rows that say why.
        """

    def planned(self, network: Network, weights: Weights) -> Plan:
        """`plan_on`, remembered, and never silent: a row says so where there is nothing to do, or no way to do it."""
        return weights.remembered(network, self, lambda: self._planned(network, weights))

    def _planned(self, network: Network, weights: Weights) -> Plan:
        try:
            found = self.plan_on(network, weights)
        except OutOfReach as refused:
            return Plan(network, network, refused.rows, problem=str(refused))
        nothing = Row(self.brief, "", "network", Decision.NOTHING)
        return found if found.rows else replace(found, rows=(nothing,))

    def without(self, layers: Collection[str], network: Network, weights: Weights) -> Step | None:
        """The same step leaving these layers of `network` as they are; None where nothing is left for it to do.

        Raises: `StepFailed` where it would change one of them and cannot leave out single layers.
        """
        changed = self.changed(network, weights)
        todo = [name for name in changed if name in layers]
        if not todo or len(todo) == len(changed):
            return None if todo else self
        kinds = {spec.name: spec.kind for spec in self.settings()}
        if kinds.get("layers") == "layers":
            return self._with("layers", [*_listed(getattr(self, "layers")), *(f"!{name}" for name in todo)])  # noqa: B009
        if "exclude" in kinds:
            known = list(network.by_module)  # a layer named there may be gone with an earlier step
            given = [one for one in _listed(getattr(self, "exclude")) if matching(one, known)]  # noqa: B009
            return self._with("exclude", [*given, *todo])
        raise StepFailed(
            f"{self.expression()} works on the network as a whole and cannot leave out {', '.join(todo)}. "
            "Take the step out of the recipe, or weaken it."
        )

    def changed(self, network: Network, weights: Weights) -> list[str]:
        """The convolutions and linear layers of `network` that this step will change, in execution order."""
        known = network.by_module
        rows = (row for row in self.planned(network, weights).rows if row.applies and row.kind in WITH_WEIGHTS)
        return list(dict.fromkeys(row.layer for row in rows if row.layer in known))

    def _with(self, name: str, values: Sequence[str]) -> Step:
        new: Step = replace(self, **{name: tuple(values)})  # type: ignore[type-var]  # every step is a dataclass
        return new

    def options(self) -> dict[str, Any]:
        """The settings that differ from their defaults."""
        return {s.name: getattr(self, s.name) for s in self.settings() if getattr(self, s.name) != s.default}

    @property
    def brief(self) -> str:
        """A few characters for a chart or a table, such as `Tucker 0.5`."""
        first = [s for s in self.settings() if s.kind != "layers"][:1]
        return " ".join([type(self).__name__, *(str(getattr(self, s.name)) for s in first)])

    def expression(self) -> str:
        """What makes this step in Python, such as `wb.Tucker(rank=0.5)`."""
        return f"wb.{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.options().items())})"

    # A single step is a recipe of one. Recipes are built of steps, hence the late imports.

    def recipe(self) -> Recipe:
        """The recipe of this step alone."""
        from workbench.recipe import Recipe

        return Recipe((self,))

    def __or__(self, other: Recipe | Step) -> Recipe:
        return self.recipe() | other

    def plan(self, model: Model) -> Plan:
        """As `Recipe.plan`."""
        return self.recipe().plan(model)

    def code(self) -> str:
        """As `Recipe.code`."""
        return self.recipe().code()

    def save(self, path: str | Path) -> None:
        """As `Recipe.save`."""
        self.recipe().save(path)


class Rewrite(Step, abstract=True):
    """A step that rewrites the torch module."""

    #: True where batch-norm statistics are right after it: nobody needs to estimate them anew.
    settles_norms: ClassVar[bool] = False

    @abstractmethod
    def apply(self, module: nn.Module, context: Context) -> nn.Module:
        """A new module; the one given is left as it was. Raises `StepFailed`, `Cancelled`."""


class Lower(Step, abstract=True):
    """A step that turns one ONNX artefact into another, such as a quantized one."""

    @abstractmethod
    def lower(self, source: Path, target: Path, context: Context) -> None:
        """Read the ONNX file `source`, write `target`. Raises `StepFailed`, `Cancelled`."""


def _listed(value: Layers) -> list[str]:
    """Patterns given as one text, with commas, or as a list."""
    given = value.split(",") if isinstance(value, str) else value
    return [one.strip() for one in given if one.strip()]
