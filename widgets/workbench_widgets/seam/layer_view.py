"""What the region of layers shows: the chart of their costs, and their table."""

from __future__ import annotations

from typing import Literal, TypedDict

from workbench_widgets.seam.cells import Drawing, Heading, HeatCell, Option


class LayerAction(TypedDict):
    """What a step does to a layer, or to the `part` of it that an earlier step has made."""

    step: str
    part: str
    text: str
    applies: bool


class LayerRow(TypedDict):
    """A layer of the original; `module` names it in recipes, `main` are those with MACs."""

    id: str
    module: str
    main: bool
    kind: str
    shape: str
    cells: list[HeatCell]
    actions: list[LayerAction]
    error: HeatCell
    chosen: bool


class Ask(TypedDict):
    """A button that measures something of every layer."""

    action: Literal["times", "sensitivity"]
    label: str
    enabled: bool
    hint: str


class LayersView(TypedDict):
    """The layers before and after the recipe. Without a chart nothing is known of them yet."""

    columns: list[Heading]
    rows: list[LayerRow]
    asks: list[Ask]
    chart: Drawing | None
    cost: str
    costs: list[Option]
    scope: str
    chosen: int
    summary: str
    note: str
    empty: str
