"""What variants are called: by their recipe, by what tells them from others of that name, or as a user says."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Set
from dataclasses import asdict, dataclass
from typing import Any

from workbench.recipe import Recipe

_LISTED = 3  # of a list of layers, as many as fit into a name


@dataclass(frozen=True)
class Label:
    """What a user wrote on a variant. An empty `name` leaves it the one that its recipe gives."""

    name: str = ""
    tags: tuple[str, ...] = ()
    text: str = ""
    archived: bool = False

    def to_json(self) -> str:
        """As it is stored."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Label | None:
        """What `to_json` wrote; None for anything else."""
        try:
            found = json.loads(text)
            tags = tuple(str(tag) for tag in found["tags"])
            return cls(str(found["name"]), tags, str(found["text"]), bool(found.get("archived", False)))
        except (ValueError, TypeError, KeyError, RecursionError):
            return None


class Names:
    """The names and labels of a study's variants by id; its variants look them up here."""

    def __init__(self) -> None:
        self.labels: dict[str, Label] = {}
        self._names: dict[str, str] = {}

    def update(self, recipes: Mapping[str, Recipe]) -> None:
        """Name the variants anew: theirs are all the recipes by id."""
        given = {identity: self.label(identity).name for identity in recipes}
        own = distinct(recipes.values(), set(given.values()))
        self._names = {identity: given[identity] or name for identity, name in zip(recipes, own, strict=True)}

    def name(self, identity: str) -> str:
        """A variant's name; "" for one that was never named here."""
        return self._names.get(identity, "")

    def label(self, identity: str) -> Label:
        """What a user wrote on a variant."""
        return self.labels.get(identity, Label())

    def taken(self, name: str, other_than: str) -> bool:
        """Whether another variant has this name."""
        return any(one == name and identity != other_than for identity, one in self._names.items())


def distinct(recipes: Iterable[Recipe], taken: Set[str] = frozenset()) -> list[str]:
    """A name for each recipe: its steps in a few words, and where several read alike the settings that differ.

    `SVD(0.5)` and `SVD(0.5, layers="fc")` are "SVD 0.5" and "SVD 0.5 (layers fc)". None is one of `taken`.
    """
    groups: dict[str, list[Recipe]] = {}
    recipes = list(recipes)
    for one in recipes:
        groups.setdefault(one.name, []).append(one)
    names: list[str] = []
    used = set(taken)
    for one in recipes:
        differing = _differing(one, groups[one.name])
        name = f"{one.name} ({', '.join(differing)})" if differing else one.name
        names.append(_free(name, used))
        used.add(names[-1])
    return names


def _free(name: str, used: Set[str]) -> str:
    """The name itself, or with a number: the same recipe under other settings of the study differs in order alone."""
    numbered = (f"{name} #{number}" for number in itertools.count(2))
    return name if name not in used else next(one for one in numbered if one not in used)


def _differing(recipe: Recipe, others: list[Recipe]) -> list[str]:
    """The settings of a recipe that are not its defaults and not those of all others, in order.

    Not those that differ from layer to layer, which a name has no room for: a number tells such recipes apart.
    """
    found = []
    for place, step in enumerate(recipe):
        for key, value in step.options().items():
            if not isinstance(value, Mapping) and any(_setting(other, place, key) != value for other in others):
                found.append(_shown(key, value))
    return found


def _setting(recipe: Recipe, place: int, key: str) -> Any:
    return getattr(recipe.steps[place], key, None) if place < len(recipe) else None


def _shown(key: str, value: Any) -> str:
    if isinstance(value, bool):
        return key if value else f"no {key}"
    if isinstance(value, (tuple, list)):
        more = len(value) - _LISTED
        value = "+".join(str(one) for one in value[:_LISTED]) + (f"+{more} more" if more > 0 else "")
    return f"{key} {value}"
