"""What a recipe makes of each layer, as lines of a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from workbench.cost.by_layer import Pair, origin
from workbench.cost.layer import Layer
from workbench.plan import Plan, Row


@dataclass(frozen=True)
class Line:
    """One layer: the pair of costs, its shape, what is done to it, and the relative error of its weight."""

    pair: Pair
    shape: str
    actions: tuple[str, ...]
    error: float | None

    @property
    def kind(self) -> str:
        """The kind of layer, in words."""
        return self.pair.kind.replace("_", " ")


def lines(plan: Plan) -> list[Line]:
    """Every layer that a plan knows, in the order of execution."""
    found = plan.pairs
    about = rows_by_layer(plan.rows, [pair.name for pair in found])
    return [_line(pair, about.get(pair.name, [])) for pair in found]


def rows_by_layer(rows: Sequence[Row], names: Sequence[str]) -> dict[str, list[Row]]:
    """A plan's rows by the original layer that each is about."""
    known = set(names)
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(origin(row.layer, known), []).append(row)
    return found


def layer_shape(layer: Layer) -> str:
    """Channels in and out and the kernel of a convolution, such as `64 → 128, 3×3`; else the output's shape."""
    if not layer.kernel:
        return f"{layer.input[-1]} → {layer.output[-1]}" if layer.kind == "linear" else "×".join(map(str, layer.output))
    text = f"{layer.c_in} → {layer.c_out}, {'×'.join(map(str, layer.kernel))}"
    return text + (f", {layer.groups} groups" if layer.groups > 1 else "")


def weight_error(rows: Sequence[Row]) -> float | None:
    """The largest ‖W − W′‖ ÷ ‖W‖ that rows about one layer know."""
    known = [row.relative_error for row in rows if row.applies and row.relative_error is not None]
    return max((one for one in known if not pd.isna(one)), default=None)


def _line(pair: Pair, rows: Sequence[Row]) -> Line:
    actions = dict.fromkeys(f"{row.step}: {row.action}" for row in rows)
    return Line(pair, layer_shape(pair.before or pair.after[0]), tuple(actions), weight_error(rows))
