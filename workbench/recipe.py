"""`Step` and `Recipe`: a technique with its settings, and steps in order. What the user did, as a value.

A step is a recipe of one, and a recipe is made of steps; the two are one file. What the file of a technique is made
with is in `workbench.step`, the form of recipe files in `workbench.recipe_file`.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from workbench import recipe_file
from workbench.artefact.whole import Whole, whole_of
from workbench.cost.layer import WITH_WEIGHTS
from workbench.cost.network import Network
from workbench.cost.weights import Weights
from workbench.errors import BadValue, OutOfReach, StepFailed, shown, unknown
from workbench.interface.arguments import check_kinds
from workbench.interface.neutral import neutrally
from workbench.models.model import Model, check_model
from workbench.plan import Decision, Plan, Row, chained, row
from workbench.schema import recipe_schema
from workbench.settings import Described, Layers, select

if TYPE_CHECKING:
    import pandas as pd

#: Every step by its class name, in the order of definition; the menu, the files and the CLI read it.
REGISTRY: dict[str, type[Step]] = {}


def recipes() -> pd.DataFrame:
    """The recipes that come with the package, for `Recipe.load(name)`: name, steps, what for.

    >>> "tucker-int8" in wb.recipes()["name"].tolist()
    True
    """
    import pandas as pd

    rows = [
        (path.stem, Recipe.load(path).name, path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# "))
        for path in sorted(recipe_file.CATALOGUE.glob("*.yaml"))
    ]
    return pd.DataFrame(rows, columns=["name", "steps", "what_for"])


class Step(Described, ABC):
    """One technique with its settings. Subclasses are frozen dataclasses and register themselves."""

    family: ClassVar[str] = ""  # the heading that it stands under: low-rank, pruning, precision, ...
    treats: ClassVar[str] = "layer with weights"  # what it works on, as a plan says it where there is none
    of_recurrent: ClassVar[str] = "recurrent layers are not taken apart"  # why it leaves them alone
    lowers: ClassVar[bool] = False  # whether it works on the exported artefact, after all that rewrite the network

    if TYPE_CHECKING:  # what a type checker knows of `wb.SVD(0.5)`: every technique is a dataclass

        def __init__(self, *values: Any, **settings: Any) -> None: ...

    def __init_subclass__(cls, abstract: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not abstract:
            REGISTRY[cls.__name__] = cls

    @property
    def effort(self) -> float:
        """How long it takes beside other steps and beside measuring, as a rule: progress is shared out by it."""
        return 4.0

    @abstractmethod
    def plan_on(self, network: Network, weights: Weights) -> Plan:
        """What this step will do to `network`; computes nothing but closed forms and cached spectra.

        Raises: `BadValue`, `UnknownName`; `OutOfReach` with the rows that say why.
        """

    def planned(self, network: Network, weights: Weights) -> Plan:
        """`plan_on`, remembered, and never silent: a row says so where there is nothing to do, or no way to do it."""
        return weights.remembered(network, self, lambda: self._planned(network, weights))

    def _planned(self, network: Network, weights: Weights) -> Plan:
        whole = whole_of(weights.module)
        if whole is not None and (self.needs_torch or whole.quantized):
            return self._stays_a_file(network, whole)
        try:
            found = self.plan_on(network, weights)
        except OutOfReach as refused:
            return Plan(network, network, refused.rows, problem=str(refused))
        rows = (*found.rows, *self._passed_over(network, found))
        return replace(found, rows=rows or (Row(self.brief, "", "network", Decision.NOTHING, {"treats": self.treats}),))

    @property
    def needs_torch(self) -> bool:
        """Whether a network that stays an ONNX file is out of its reach."""
        return not self.lowers

    def _stays_a_file(self, network: Network, whole: Whole) -> Plan:
        """Nothing happens, and what stands in the way."""
        why = whole.why if self.needs_torch else "It computes in integers already."
        rows = (Row(self.brief, "", "network", Decision.STAYS, {"why": why}),)
        needs = "layers of torch" if self.needs_torch else "a float network"
        problem = f"{self.expression()} needs {needs}, and this network stays an ONNX file: {why}"
        return Plan(network, network, rows, problem=problem)

    def _passed_over(self, network: Network, found: Plan) -> list[Row]:
        """Recurrent layers, of which a technique that works layer by layer knows nothing: no plan leaves them out."""
        if not network.recurrent or not any(one.kind == "layers" for one in self.settings()):
            return []
        told = {one.layer for one in found.rows}
        why = {"why": self.of_recurrent}
        left = (one for one in network.recurrent if (one.module or one.name) not in told)
        return [row(self.brief, one, Decision.UNFIT, why) for one in left]

    def without(self, layers: Collection[str], network: Network, weights: Weights) -> Step | None:
        """The same step leaving these layers of `network` as they are; None where nothing is left for it to do.

        Raises: `StepFailed` where it would change one of them and cannot leave out single layers.
        """
        changed = self.changed(network, weights)
        todo = [name for name in changed if name in layers]
        if not todo or len(todo) == len(changed):
            return None if todo else self
        new = self.leaving_out(todo, network.by_module)
        if new is None:
            raise StepFailed(
                f"{self.expression()} works on the network as a whole and cannot leave out {', '.join(todo)}. "
                "Take the step out of the recipe, or weaken it."
            )
        return new

    def changed(self, network: Network, weights: Weights) -> list[str]:
        """The convolutions and linear layers of `network` that this step will change, in execution order."""
        known = network.by_module
        rows = (row for row in self.planned(network, weights).rows if row.applies and row.kind in WITH_WEIGHTS)
        return list(dict.fromkeys(row.layer for row in rows if row.layer in known))

    def recipe(self) -> Recipe:
        """The recipe of this step alone."""
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


@dataclass(frozen=True)
class Recipe:
    """Steps in order: those that rewrite the module first, then at most one that lowers it to the artefact.

    >>> recipe = wb.Tucker(0.5) | wb.Quantize("int8")
    >>> recipe.name
    'Tucker 0.5 + int8'
    >>> wb.Recipe.from_yaml(recipe.to_yaml()) == recipe
    True
    """

    steps: tuple[Step, ...] = ()

    def __post_init__(self) -> None:
        given = (self.steps,) if isinstance(self.steps, Step) else self.steps
        wrong = [one for one in given if not isinstance(one, Step)] if isinstance(given, (tuple, list)) else [given]
        if wrong:
            raise BadValue(f"A recipe is made of steps, got {wrong[0]!r}. Chain steps with |.")
        object.__setattr__(self, "steps", tuple(given))
        lowering = [step.lowers for step in self.steps]
        if lowering != sorted(lowering):
            late = self.steps[lowering.index(True) :]
            raise BadValue(
                f"{late[0].expression()} works on the exported artefact, so it must come after every step that "
                f"rewrites the network. Move it behind {late[-1].expression()}."
            )
        if sum(lowering) > 1:
            raise BadValue(
                f"{self.steps[-2].expression()} and {self.steps[-1].expression()} both set the precision of the "
                "artefact. Keep one of them; QAT quantizes by itself."
            )

    def __or__(self, other: Recipe | Step) -> Recipe:
        return Recipe(self.steps + as_recipe(other).steps)

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    @property
    def name(self) -> str:
        """The steps in a few words, such as `Tucker 0.5 + int8`; `original` for the empty recipe."""
        return " + ".join(step.brief for step in self.steps) or "original"

    @property
    def key(self) -> str:
        """A digest of the steps and their settings (16 hex digits); equal recipes have equal keys."""
        return hashlib.sha256(json.dumps(self.to_list(), sort_keys=True).encode()).hexdigest()[:16]

    @neutrally
    def plan(self, model: Model) -> Plan:
        """What the steps will do, layer by layer, and what that comes to. Nothing is computed but shapes and spectra.

        Remembered: at another rank, complete with latency and file size, it takes a few milliseconds on a large
        network. A budget that a step cannot meet is the plan's `problem`, with its reasons in the rows; running the
        recipe is refused.
        Raises: `UnknownName` for a layer that the model does not have, `BadValue`.
        """
        check_model(model, "A recipe is planned for")
        return model.weights.remembered(model.network, self.steps, lambda: self._plan(model.network, model.weights))

    def _plan(self, network: Network, weights: Weights) -> Plan:
        original = network
        parts: list[Plan] = []
        for step in self.steps:
            if parts:
                network, weights = parts[-1].network, _after(parts[-1], weights)
            part = step.planned(network, weights)
            known = part.exact and (not parts or parts[-1].exact)  # nothing exact follows from what is told as "about"
            parts.append(part if known == part.exact else replace(part, exact=known))
        return chained(original, parts)

    def changed(self, model: Model) -> tuple[str, ...]:
        """The convolutions and linear layers of `model` that a step changes, in execution order."""
        names = {row.layer for row in self.plan(model).rows if row.applies and row.kind in WITH_WEIGHTS}
        return tuple(one for one in _with_weights(model) if any(_within(name, one) for name in names))

    def without(self, layers: Layers, model: Model) -> Recipe:
        """The same recipe leaving these layers of `model` as they are: what "restore this layer" gives.

        `layers`: names of convolutions or linear layers, globs, or a list of these. A step with nothing left
        to do is gone; one under a budget keeps the ranks that it gave to the other layers.

        Raises: `UnknownName`; `StepFailed` for a step that changes one of them but cannot leave it out.
        """
        check_model(model, "A recipe is planned for")
        names = select(layers, _with_weights(model))
        network, weights, kept = model.network, model.weights, []
        for step in self.steps:
            own = [name for name in network.by_module if any(_within(name, one) for one in names)]
            new = step.without(own, network, weights)
            if new is not None:
                kept.append(new)
                plan = new.planned(network, weights).required()
                network, weights = plan.network, _after(plan, weights)
        return Recipe(tuple(kept))

    def code(self) -> str:
        """Runnable Python that makes this recipe."""
        steps = " | ".join(step.expression() for step in self.steps) or "wb.Recipe()"
        return f"import workbench as wb\n\nrecipe = {steps}\n"

    def to_list(self) -> list[dict[str, Any]]:
        """Plain values: one `{"step": name, setting: value, ...}` a step, defaults left out."""
        return [{"step": type(step).__name__, **step.options()} for step in self.steps]

    def to_json(self) -> str:
        """`to_list` as JSON under the key `recipe`, beside the version; the same text for equal recipes."""
        return recipe_file.as_json(self.to_list())

    def to_yaml(self) -> str:
        """As `to_json`, in YAML."""
        return recipe_file.as_yaml(self.to_list())

    def save(self, path: str | Path) -> None:
        """Write YAML, or JSON where the name ends in .json. Raises: `StorageFailed`."""
        recipe_file.write(recipe_file.named(path), self.to_list())

    @classmethod
    def from_list(cls, steps: object) -> Recipe:
        """The recipe of `to_list`. Raises `UnknownName` for a step or setting, `BadValue` for its value."""
        if not isinstance(steps, list):
            raise BadValue(f"A recipe is a list of steps, got {type(steps).__name__}.")
        if len(steps) > recipe_file.MOST_STEPS:
            raise BadValue(f"The recipe has {len(steps):,} steps; at most {recipe_file.MOST_STEPS} are taken.")
        return cls(tuple(_step(entry) for entry in steps))

    @classmethod
    @check_kinds
    def from_json(cls, text: str | bytes) -> Recipe:
        """The recipe of `to_json`, or of a bare list of steps. Raises as `from_list`, and `BadFile`."""
        return cls.from_list(recipe_file.from_json(text))

    @classmethod
    @check_kinds
    def from_yaml(cls, text: str) -> Recipe:
        """As `from_json`, of YAML."""
        return cls.from_list(recipe_file.from_yaml(text))

    @staticmethod
    def schema() -> dict[str, Any]:
        """JSON Schema (draft 2020-12) of recipe files with every step and setting: editors complete and check by it."""
        return recipe_schema(REGISTRY)

    @classmethod
    def load(cls, path: str | Path) -> Recipe:
        """Read a file that `save` wrote, or one of `wb.recipes()` by its name.

        Raises: `BadFile`, also for one of a newer version; `UnknownName`, `BadValue`.
        """
        return cls.from_list(recipe_file.read(recipe_file.named(path)))


def _after(plan: Plan, weights: Weights) -> Weights:
    """What is known of the weights after a step."""
    return weights.after(row.layer for row in plan.rows if row.applies or row.about)


def _with_weights(model: Model) -> list[str]:
    return [name for name, ops in model.network.by_module.items() if name and ops[0].kind in WITH_WEIGHTS]


def _within(name: str, layer: str) -> bool:
    """Whether a layer of a rewritten network stands in the place of one of the original."""
    return name == layer or name.startswith(f"{layer}.")


def as_recipe(value: Recipe | Step) -> Recipe:
    """A single step is a recipe of one."""
    if isinstance(value, Recipe):
        return value
    return Recipe((value,))


def _step(entry: object) -> Step:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("step"), str):
        raise BadValue(f"Each step is a mapping with the key 'step' and a name, got {shown(entry)}.")
    options = {str(k): v for k, v in entry.items() if k != "step"}
    if entry["step"] not in REGISTRY:  # techniques register themselves, once somebody has asked for one
        importlib.import_module("workbench.steps")
    if entry["step"] not in REGISTRY:
        raise unknown("step", entry["step"], REGISTRY)
    kind = REGISTRY[entry["step"]]
    known = [s.name for s in kind.settings()]
    for name in options:
        if name not in known:
            raise unknown(f"setting of {kind.__name__}", name, known)
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in options.items()})
