"""Two networks side by side, layer by layer: what each layer of one became in the other."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from workbench.cost.layer import Layer
from workbench.cost.network import Network

if TYPE_CHECKING:
    import pandas as pd

#: The costs that add up over layers.
COSTS = ("macs", "params", "memory_access_bytes")


@dataclass(frozen=True)
class Pair:
    """One layer of the first network, and the layers of the second that took its place: none, one or several."""

    name: str
    before: Layer | None  # None for what only the second network has
    after: tuple[Layer, ...]

    @property
    def kind(self) -> str:
        """The kind of the layer; see `workbench.cost.kinds`."""
        return (self.before or self.after[0]).kind

    @cached_property
    def costs(self) -> dict[str, tuple[int, int]]:
        """Each of `COSTS` before and after."""
        return {
            name: (getattr(self.before, name, 0), sum(getattr(layer, name) for layer in self.after)) for name in COSTS
        }

    def cost(self, name: str) -> tuple[int, int]:
        """A cost of `COSTS` before and after."""
        return self.costs[name]


def origin(name: str, known: Collection[str]) -> str:
    """The layer that `name` was made from: itself, or the one whose parts are called `layer.0`, `layer.1`, ...

    "" where none of the known names fits.
    """
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name


def pairs(before: Network, after: Network) -> list[Pair]:
    """Every layer of `before` in execution order with what it became, then what only `after` has."""
    known = {layer.name: layer for layer in before.layers}
    became: dict[str, list[Layer]] = {name: [] for name in known}
    for layer in after.layers:
        became.setdefault(origin(layer.name, known) or layer.name, []).append(layer)
    return [Pair(name, known.get(name), tuple(layers)) for name, layers in became.items()]


def by_layer(before: Network, after: Network) -> pd.DataFrame:
    """One row a layer. Columns: layer, module, kind, each of `COSTS`, and each with `_after`."""
    return to_frame(pairs(before, after))


def to_frame(found: Iterable[Pair]) -> pd.DataFrame:
    """`by_layer` of pairs that are known."""
    import pandas as pd

    rows = []
    for pair in found:
        row: dict[str, object] = {"layer": pair.name, "module": pair.before.module if pair.before else ""}
        row["kind"] = pair.kind
        for name in COSTS:
            row[name], row[f"{name}_after"] = pair.cost(name)
        rows.append(row)
    columns = ["layer", "module", "kind", *(c + end for c in COSTS for end in ("", "_after"))]
    return pd.DataFrame(rows, columns=columns)
