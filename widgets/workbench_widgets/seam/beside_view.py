"""What any number of variants side by side show, each compared with the first."""

from __future__ import annotations

from typing import TypedDict

from workbench_widgets.seam.comparison_view import PicturesView


class BesideName(TypedDict):
    """A variant that stands side by side with others."""

    id: str
    name: str


class BesideCell(TypedDict):
    """A figure with its interval, and its paired difference from that of the first."""

    text: str
    sub: str
    change: str
    trend: str


class BesideRow(TypedDict):
    """A figure, a layer or a class: one cell a variant."""

    label: str
    cells: list[BesideCell]


class BesideImages(TypedDict):
    """What a variant answers otherwise than the first, in sentences and pictures."""

    name: str
    sentences: list[str]
    pictures: PicturesView | None


class BesideView(TypedDict):
    """Variants side by side; with fewer than two there is nothing to show but `empty`."""

    variants: list[BesideName]
    empty: str
    figures: list[BesideRow]
    cost: str
    layers: list[BesideRow]
    classes: list[BesideRow]
    images: list[BesideImages]
    missing: str
    busy: bool
    asked: bool
