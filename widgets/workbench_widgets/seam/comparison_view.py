"""What two variants side by side show, and the images whose answer changed."""

from __future__ import annotations

from typing import TypedDict


class Picture(TypedDict):
    """An image as a data URI, what it is, and both answers."""

    url: str
    label: str
    before: str
    after: str
    sure: str
    alt: str


class PictureKind(TypedDict):
    """The images of one kind of change, of `total` the surest."""

    value: str
    label: str
    meaning: str
    total: int
    note: str
    pictures: list[Picture]


class PicturesView(TypedDict):
    """The kinds of change that there are."""

    kinds: list[PictureKind]


class StepOfOne(TypedDict):
    """A step that only one of the two recipes has."""

    only: str
    step: str


class FigureOfBoth(TypedDict):
    """A figure of both, and what becomes of it."""

    label: str
    one: str
    two: str
    change: str
    trend: str


class LayerOfBoth(TypedDict):
    """A layer that differs, in the order of the columns."""

    layer: str
    cells: list[str]


class ClassOfBoth(TypedDict):
    """A class that is answered otherwise, and whether that could be chance."""

    name: str
    one: str
    two: str
    change: str
    sure: str
    taken: str


class Answers(TypedDict):
    """Class by class and image by image."""

    sentences: list[str]
    classes: list[ClassOfBoth]
    pictures: PicturesView | None


class ComparisonView(TypedDict):
    """What becomes of the first variant in the second: differences only."""

    names: list[str]
    recipe: list[StepOfOne]
    figures: list[FigureOfBoth]
    columns: list[str]
    layers: list[LayerOfBoth]
    same: str
    missing: str
    busy: bool
    answers: Answers | None
