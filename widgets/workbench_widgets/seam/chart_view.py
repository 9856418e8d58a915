"""What the charts and the table of all variants show."""

from __future__ import annotations

from typing import Literal, TypedDict

from workbench_widgets.seam.cells import Cell, Drawing, Heading, Label, Option

Axis = Literal["x", "y"]


class ChartAxes(TypedDict):
    """The columns of the chart of trade-offs."""

    x: str
    y: str
    size: str


class LimitField(TypedDict):
    """The limits as typed, why they cannot be read, and how many variants keep them."""

    text: str
    problem: str
    said: str


class LimitRule(TypedDict):
    """An axis' limit as a rule to drag, in the axis' unit; `low` where it is the least that is allowed."""

    axis: Axis
    label: str
    sign: str
    low: bool
    value: float | None
    unit: str
    column: str


class Elsewhere(TypedDict):
    """Where the variants were measured that were not measured here, and the button that measures them."""

    text: str
    button: str
    busy: bool


class ChartView(Drawing):
    """A chart over all variants. `axes` is the trade-off's, `shown` that of the parallel axes."""

    tabs: list[Option]
    tab: str
    axes: ChartAxes | None
    log: list[str]
    options: list[Option]
    shown: list[str] | None
    limit: LimitField
    rules: list[LimitRule]
    caption: str
    elsewhere: Elsewhere | None
    empty: str


class Mark(TypedDict):
    """A variant's mark in the charts, as the path of an SVG."""

    path: str
    colour: str
    label: str
    hollow: bool


class VariantRow(TypedDict):
    """A variant's figures, in the order of the columns; `depth` is its place in the lineage.

    `label`: what the user says of it; None where it was measured elsewhere.
    """

    id: str
    name: str
    mark: Mark
    grey: bool
    remark: str
    why: str
    depth: int
    label: Label | None
    cells: list[Cell]


class TableView(TypedDict):
    """All variants. `options` are the columns that can be shown, `files` what the table can be taken as.

    `hidden` counts archived variants, `beside` are the ids of those that stand side by side.
    """

    columns: list[Heading]
    rows: list[VariantRow]
    lineage: bool
    archived: bool
    hidden: int
    options: list[Option]
    beside: list[str]
    files: list[str]
    empty: str
    note: str
