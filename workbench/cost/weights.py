"""The layers' weights, and what was computed from them once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from torch import fx

if TYPE_CHECKING:
    import torch
    from torch import nn

T = TypeVar("T")


@dataclass(frozen=True)
class Weights:
    """The weights that a sketch may look at, with a cache for what is computed from them once.

    `changed` are layers that an earlier step of the recipe will have altered: their weights are not
    known before that step has run.
    """

    module: nn.Module
    cache: dict[tuple[str, str], Any] = field(default_factory=dict)
    changed: frozenset[str] = frozenset()

    @property
    def tied(self) -> Mapping[str, str]:
        """Layers that share a weight with another one, and which."""
        key = ("", "tied")
        if key not in self.cache:
            self.cache[key] = tied_weights(self.module)
        found: dict[str, str] = self.cache[key]
        return found

    def of(self, layer: str) -> torch.Tensor | None:
        """The weight of the layer at this module path, or None where it is not known yet."""
        if any(layer == name or layer.startswith(f"{name}.") for name in self.changed):
            return None
        key = (layer, "")
        if key not in self.cache:  # torch looks a parameter up by splitting its path
            self.cache[key] = self.module.get_parameter(f"{layer}.weight").detach()
        weight: torch.Tensor = self.cache[key]
        return weight

    def analysed(self, layer: str, what: str, compute: Callable[[torch.Tensor], T]) -> T | None:
        """`compute(weight)`, remembered under (layer, what); None where the weight is not known yet."""
        weight = self.of(layer)
        if weight is None:
            return None
        key = (layer, what)
        if key not in self.cache:
            self.cache[key] = compute(weight)
        value: T = self.cache[key]
        return value


def tied_weights(module: nn.Module) -> dict[str, str]:
    """Layers that share a weight with another one, or with an operation that reads it, and which."""
    owners: dict[int, list[str]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        path, _, leaf = name.rpartition(".")
        if leaf == "weight":
            owners.setdefault(id(parameter), []).append(path)
    for node in module.graph.nodes if isinstance(module, fx.GraphModule) else ():
        if node.op == "get_attr":
            read = next(iter(node.users), node)
            owners.get(id(_held(module, str(node.target))), []).append(read.meta.get("owner") or read.name)
    groups = [paths for paths in owners.values() if len(paths) > 1]
    return {one: other for paths in groups for one in paths for other in [_other(paths, one)] if other}


def _held(module: nn.Module, path: str) -> object:
    parent, _, leaf = path.rpartition(".")
    return getattr(module.get_submodule(parent), leaf)


def _other(paths: list[str], one: str) -> str:
    return next((other for other in paths if other != one), "")
