"""What many panels show: choices, headings and cells of tables, and charts."""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict


class Option(TypedDict):
    """One of several to choose from."""

    value: str
    label: str


class Heading(TypedDict):
    """A column's heading, which sorts by it; columns of heat are shaded by their values."""

    key: str
    label: str
    numeric: bool
    unit: NotRequired[str]
    heat: NotRequired[bool]


class Cell(TypedDict):
    """A text, the value that it is sorted by (None comes last), and what stands small beneath."""

    value: float | str | None
    text: str
    sub: NotRequired[str]


class HeatCell(TypedDict):
    """A cell that is shaded by `heat` in [0, 1]; `trend` is the class of a change that is better or worse."""

    value: float | None
    text: str
    heat: float
    sub: NotRequired[str]
    trend: NotRequired[str]
    title: NotRequired[str]


class Drawing(TypedDict):
    """A Vega-Lite specification apart from its rows, and the chart in words."""

    spec: dict[str, Any]
    rows: list[dict[str, Any]]
    summary: str


class Label(TypedDict):
    """What the user says of a variant; `usual` is its name without that."""

    name: str
    usual: str
    tags: list[str]
    text: str
    archived: bool
    archivable: bool
    deletable: bool
