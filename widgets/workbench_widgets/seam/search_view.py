"""What the panel of the search shows: what is asked for, how far it is, what was predicted and found."""

from __future__ import annotations

from typing import TypedDict

from workbench_widgets.seam.cells import Option
from workbench_widgets.seam.page_view import JobLine


class SearchLimit(TypedDict):
    """A row of the limits: a figure, the words before its number and the unit behind, and why it cannot be read."""

    figure: str
    figures: list[Option]
    words: str
    text: str
    unit: str
    problem: str


class SearchPoint(TypedDict):
    """A point of the predicted front; `id` takes its recipe to the editor."""

    id: str
    name: str
    value: str
    loss: str
    gap: str
    measured: bool


class SearchReason(TypedDict):
    """A layer of the best: the channels that it keeps, what was chosen, what came second, what that would cost."""

    layer: str
    kept: str
    chosen: str
    second: str
    cost: str


class Proof(TypedDict):
    """What is proved of the best on one split, as a sentence; `passes` where it keeps to the limit."""

    text: str
    passes: bool


class SearchFound(TypedDict):
    """What was found; `id` is "" where nothing keeps to the limits."""

    id: str
    name: str
    verdict: str
    proofs: list[Proof]
    tried: str
    why: list[SearchReason]
    why_note: str
    notes: list[str]


class SearchView(TypedDict):
    """What a search is asked for, and the latest one of the study that is shown."""

    ready: bool
    minimise: str
    goals: list[Option]
    minutes: str
    minutes_hint: str
    minutes_problem: str
    train: bool
    train_hint: str
    limits: list[SearchLimit]
    more: bool
    label: str
    problem: str
    job: JobLine | None
    said: str
    heads: list[str]
    front: list[SearchPoint]
    found: SearchFound | None
