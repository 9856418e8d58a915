"""What the page's head, its strip of messages, the prediction and the running jobs show."""

from __future__ import annotations

from typing import TypedDict


class Region(TypedDict):
    """A panel that the head leads to."""

    panel: str
    label: str


class HeadView(TypedDict):
    """The title of the page and the way to its regions."""

    title: str
    subtitle: str
    regions: list[Region]


class StatusView(TypedDict):
    """The latest message; `kind` is info, busy or error."""

    text: str
    kind: str


class PredictedRow(TypedDict):
    """A cost before and after the recipe; `share` is what is left of it, in percent."""

    name: str
    label: str
    before: str
    after: str
    change: str
    trend: str
    share: float


class PredictionView(TypedDict):
    """Every cost that is known before anything runs."""

    rows: list[PredictedRow]
    note: str


class JobLine(TypedDict):
    """A job on its way or at its end; `left` is how many seconds it still needs, where that is known."""

    id: int
    name: str
    state: str
    active: bool
    percent: float
    stage: str
    seconds: float
    left: float | None
    details: list[str]


class RunView(TypedDict):
    """The button that runs the recipe, and the jobs."""

    enabled: bool
    label: str
    note: str
    jobs: list[JobLine]
