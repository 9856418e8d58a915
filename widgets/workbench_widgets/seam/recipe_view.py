"""What the editor of the recipe shows: steps with their controls, and what can be added."""

from __future__ import annotations

from typing import Literal, TypedDict

Widget = Literal["slider", "text", "choice", "flag"]


class Track(TypedDict):
    """How a slider moves: evenly from `low` to `high`, or along `stops`; `prefix` stands before its number."""

    low: float | None
    high: float | None
    step: float
    stops: list[float]
    prefix: str


class Control(Track):
    """What edits one setting. `value` is a flag's; all others are shown and typed as `text`."""

    name: str
    label: str
    help: str
    widget: Widget
    text: str
    value: bool | None
    problem: str
    unit: str
    free: bool
    choices: list[str]
    suggestions: list[str]


class StepCard(TypedDict):
    """One step: its first control, and the others behind a fold. `idle`: it is planned, and changes nothing.

    `key` is the same wherever the step is moved to, unless another of its kind is passed.
    """

    key: str
    index: int
    title: str
    summary: str
    on: bool
    reach: str
    idle: bool
    main: list[Control]
    more: list[Control]


class Technique(TypedDict):
    """A step of the menu, or a recipe of the catalogue."""

    name: str
    title: str
    summary: str


class Family(TypedDict):
    """Techniques that belong together."""

    family: str
    steps: list[Technique]


class RecipeView(TypedDict):
    """The recipe being edited; `focus` is the index of the step that was touched last."""

    steps: list[StepCard]
    menu: list[Family]
    ready: list[Technique]
    hint: str
    can_undo: bool
    can_redo: bool
    focus: int
    code: str
    yaml: str
