"""The layers' weights, and what was computed from them once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from torch import fx

if TYPE_CHECKING:
    import torch
    from torch import nn

    from workbench.cost.network import Network
    from workbench.modules.calling import Inputs

T = TypeVar("T")


#: So many answers about networks are remembered; the older half of them goes at once.
_MOST = 256


@dataclass(frozen=True)
class Weights:
    """The weights that a plan may look at, with a cache for what is computed from them once.

    `changed` are layers that an earlier step of the recipe will have altered: their weights are not
    known before that step has run.
    """

    module: nn.Module
    cache: dict[tuple[str, Hashable], Any] = field(default_factory=dict)
    changed: frozenset[str] = frozenset()
    example: Inputs | None = None  # an input of the module
    _answers: dict[Hashable, tuple[Network, Hashable, Any]] = field(default_factory=dict, repr=False, compare=False)

    def after(self, changed: Iterable[str]) -> Weights:
        """What is known once a step has altered more layers."""
        return replace(self, changed=self.changed.union(changed))

    def remembered(self, network: Network, what: Hashable, compute: Callable[[], T]) -> T:
        """`compute()`, once for this network, this question and what is known of the weights.

        Values that are equal and written otherwise are different questions: a rank of 1 and one of 1.0.
        """
        key = (what, self.changed)
        known, asked, found = self._answers.get(key, (None, None, None))
        if known is network and (asked is what or repr(asked) == repr(what)):
            answer: T = found  # type: ignore[assignment]  # it was computed for this question
            return answer
        answer = compute()
        if len(self._answers) >= _MOST:
            for old in list(self._answers)[: _MOST // 2]:
                self._answers.pop(old, None)
        self._answers[key] = (network, what, answer)
        return answer

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
        if self.changed and self._is_changed(layer):
            return None
        key = (layer, "")
        if key not in self.cache:  # torch looks a parameter up by splitting its path
            self.cache[key] = self.module.get_parameter(f"{layer}.weight").detach()
        weight: torch.Tensor = self.cache[key]
        return weight

    def _is_changed(self, layer: str) -> bool:
        """Whether the layer, or what it is a part of, was altered."""
        while layer and layer not in self.changed:
            layer = layer.rpartition(".")[0]
        return layer in self.changed

    def analysed(self, layer: str, what: Hashable, compute: Callable[[torch.Tensor], T]) -> T | None:
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
