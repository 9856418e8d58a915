"""What the page's head, its strip of messages, the prediction and the jobs show; what answers about files."""

from __future__ import annotations

from typing import NotRequired, TypedDict


class Region(TypedDict):
    """A panel that the head leads to."""

    panel: str
    label: str


class Stop(TypedDict):
    """A panel that the tour stops at."""

    panel: str
    title: str
    text: str


class HeadView(TypedDict):
    """The title of the page, the way to its regions, and the tour of them."""

    title: str
    subtitle: str
    regions: list[Region]
    tour: list[Stop]


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


class Answer(TypedDict):
    """To what was asked about the part of a file from `offset` on: it is `done`, or why not. Bytes come beside it."""

    file: NotRequired[str]
    offset: NotRequired[int]
    done: NotRequired[bool]
    error: NotRequired[str]
