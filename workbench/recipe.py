"""`Recipe`: an ordered, immutable, hashable tuple of steps. What the user did, as a value."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from workbench.arguments import check_kinds
from workbench.cost.network import Network
from workbench.cost.weights import Weights
from workbench.disk import told
from workbench.errors import BadValue, shown, unknown
from workbench.plan import Plan, chained
from workbench.step import REGISTRY, WITH_WEIGHTS, Layers, Lower, Step, select
from workbench.untrusted import parse_json, parse_yaml, read_text

if TYPE_CHECKING:
    import pandas as pd

    from workbench.models import Model

#: The recipes that come with the package.
CATALOGUE = Path(__file__).with_name("recipes")
#: Steps that a recipe from a file may have.
MOST_STEPS = 100


def recipes() -> pd.DataFrame:
    """The recipes that come with the package, for `Recipe.load(name)`: name, steps, what for."""
    import pandas as pd

    rows = [
        (path.stem, Recipe.load(path).name, path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# "))
        for path in sorted(CATALOGUE.glob("*.yaml"))
    ]
    return pd.DataFrame(rows, columns=["name", "steps", "what_for"])


@dataclass(frozen=True)
class Recipe:
    """Steps in order: those that rewrite the module first, then at most one that lowers it to the artefact."""

    steps: tuple[Step, ...] = ()

    def __post_init__(self) -> None:
        given = (self.steps,) if isinstance(self.steps, Step) else self.steps
        if not isinstance(given, (tuple, list)):
            raise BadValue(f"A recipe is made of steps, got {given!r}. Chain steps with |.")
        object.__setattr__(self, "steps", tuple(given))
        for step in self.steps:
            if not isinstance(step, Step):
                raise BadValue(f"A recipe is made of steps, got {step!r}. Chain steps with |.")
        lowering = [isinstance(step, Lower) for step in self.steps]
        if lowering != sorted(lowering):
            late = self.steps[lowering.index(True) :]
            raise BadValue(
                f"{late[0].expression()} works on the exported artefact, so it must come after every step that "
                f"rewrites the network. Move it behind {late[-1].expression()}."
            )

        precise = [step for step in self.steps if isinstance(step, Lower)]
        if len(precise) > 1:
            raise BadValue(
                f"{precise[0].expression()} and {precise[1].expression()} both set the precision of the artefact. "
                "Keep one of them; QAT quantizes by itself."
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
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    def plan(self, model: Model) -> Plan:
        """What the steps will do, layer by layer, and what that comes to. Nothing is computed but shapes and spectra.

        Remembered: at another rank, complete with latency and file size, it takes a few milliseconds on a large
        network. A budget that a step cannot meet is the plan's `problem`, with its reasons in the rows; running the
        recipe is refused.
        Raises: `UnknownName` for a layer that the model does not have, `BadValue`.
        """
        check_model(model)
        return model.weights.remembered(model.network, self.steps, lambda: self._plan(model.network, model.weights))

    def _plan(self, network: Network, weights: Weights) -> Plan:
        original = network
        parts: list[Plan] = []
        for step in self.steps:
            part = step.planned(network, weights)
            known = part.exact and (not parts or parts[-1].exact)  # nothing exact follows from what is told as "about"
            parts.append(part if known == part.exact else replace(part, exact=known))
            network, weights = parts[-1].network, _after(parts[-1], weights)
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
        check_model(model)
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
        """`to_list` as JSON, the same text for equal recipes."""
        return json.dumps(self.to_list(), sort_keys=True)

    def to_yaml(self) -> str:
        """`to_list` as YAML under the key `recipe`."""
        plain = json.loads(self.to_json())  # tuples become lists
        return yaml.safe_dump({"recipe": plain}, sort_keys=False)

    def save(self, path: str | Path) -> None:
        """Write YAML, or JSON where the name ends in .json. Raises: `StorageFailed`."""
        path = _path(path)
        with told(path, "Saving the recipe"):
            path.write_text(self.to_json() if path.suffix == ".json" else self.to_yaml(), encoding="utf-8")

    @classmethod
    def from_list(cls, steps: object) -> Recipe:
        """The recipe of `to_list`. Raises `UnknownName` for a step or setting, `BadValue` for its value."""
        if not isinstance(steps, list):
            raise BadValue(f"A recipe is a list of steps, got {type(steps).__name__}.")
        if len(steps) > MOST_STEPS:
            raise BadValue(f"The recipe has {len(steps):,} steps; at most {MOST_STEPS} are taken.")
        return cls(tuple(_step(entry) for entry in steps))

    @classmethod
    @check_kinds
    def from_json(cls, text: str | bytes) -> Recipe:
        """The recipe of `to_json`. Raises as `from_list`, and `BadFile`."""
        return cls.from_list(parse_json(text, "The recipe"))

    @classmethod
    @check_kinds
    def from_yaml(cls, text: str) -> Recipe:
        """The recipe of `to_yaml`, or of a bare list of steps. Raises as `from_list`, and `BadFile`."""
        content = parse_yaml(text, "The recipe")
        return cls.from_list(content.get("recipe") if isinstance(content, dict) else content)

    @classmethod
    def load(cls, path: str | Path) -> Recipe:
        """Read a file that `save` wrote, or one of `wb.recipes()` by its name.

        Raises: `BadFile`, `UnknownName`, `BadValue`.
        """
        path = _path(path)
        named = CATALOGUE / f"{path}.yaml"
        path = named if path.name == str(path) and named.exists() else path
        text = read_text(path, "The recipe")
        return cls.from_json(text) if path.suffix == ".json" else cls.from_yaml(text)


def _after(plan: Plan, weights: Weights) -> Weights:
    """What is known of the weights after a step."""
    return weights.after(row.layer for row in plan.rows if row.applies or row.about)


def _with_weights(model: Model) -> list[str]:
    return [name for name, ops in model.network.by_module.items() if name and ops[0].kind in WITH_WEIGHTS]


def _within(name: str, layer: str) -> bool:
    """Whether a layer of a rewritten network stands in the place of one of the original."""
    return name == layer or name.startswith(f"{layer}.")


def _path(given: object) -> Path:
    if not isinstance(given, (str, Path)):
        raise BadValue(f"A recipe's file is the name of one, got {given!r}.")
    return Path(given)


def check_model(model: object) -> None:
    """Raise `BadValue` for anything else than a `Model`, such as a bare torch module."""
    from workbench.models import Model

    if not isinstance(model, Model):
        raise BadValue(
            f"A recipe is planned for a model from wb.load, got {type(model).__name__}. "
            "Load it first: wb.load(module, example=one_input)."
        )


def as_recipe(value: Recipe | Step) -> Recipe:
    """A single step is a recipe of one."""
    if isinstance(value, Recipe):
        return value
    return Recipe((value,))


def _step(entry: object) -> Step:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("step"), str):
        raise BadValue(f"Each step is a mapping with the key 'step' and a name, got {shown(entry)}.")
    options = {str(k): v for k, v in entry.items() if k != "step"}
    if entry["step"] not in REGISTRY:
        raise unknown("step", entry["step"], REGISTRY)
    kind = REGISTRY[entry["step"]]
    known = [s.name for s in kind.settings()]
    for name in options:
        if name not in known:
            raise unknown(f"setting of {kind.__name__}", name, known)
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in options.items()})
