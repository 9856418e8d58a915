"""What the panel of a diagnosis shows: the error of every layer, who suffers, and which layers to restore."""

from __future__ import annotations

from typing import TypedDict

from workbench_widgets.seam.cells import Drawing, HeatCell
from workbench_widgets.seam.comparison_view import PicturesView


class LayerError(TypedDict):
    """A layer's error with those before it, its own, and what is clipped of its results."""

    layer: str
    operator: str
    note: str
    changed: bool
    cells: list[HeatCell]


class StepScore(TypedDict):
    """What the recipe up to a step gets right, and what this step has lost."""

    step: str
    score: str
    drop: str


class ClassDrop(TypedDict):
    """A class that lost, and what it is taken for."""

    name: str
    drop: str
    taken: str


class Found(TypedDict):
    """What a diagnosis has found; without a chart there is none yet."""

    chart: Drawing | None
    layers: list[LayerError]
    steps: list[StepScore]
    classes: list[ClassDrop]
    pictures: PicturesView | None


class Trial(TypedDict):
    """Layers that were restored, and the loss that was left."""

    restored: str
    left: str


class BisectionView(TypedDict):
    """The least set of layers that explains the loss."""

    sentences: list[str]
    layers: list[str]
    trials: list[Trial]


class DiagnosisView(Found):
    """The chosen variant's diagnosis and bisection; `id` is "" where nothing can be diagnosed."""

    id: str
    name: str
    empty: str
    busy: bool
    sentences: list[str]
    bisection: BisectionView | None
