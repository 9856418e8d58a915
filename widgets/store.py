"""The screen's one mutable thing: a state, replaced as a whole under a lock, and those who want to know."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from workbench.cost.network import Totals
from workbench.export import Manifest
from workbench.jobs import Job
from workbench.recipe import Recipe
from workbench.study import Study


@dataclass(frozen=True)
class Message:
    """What the status strip says; `kind` is info, busy or error."""

    text: str
    kind: str = "info"


@dataclass(frozen=True)
class Card:
    """One model of the gallery. `accuracy` is that of the original on the test split, where it is known."""

    name: str
    accuracy: float | None
    macs: float
    params: float


@dataclass(frozen=True)
class Problem:
    """A setting that cannot be used: which, what was typed, and the sentence that says why."""

    step: int
    setting: str
    text: str
    sentence: str


@dataclass(frozen=True)
class Forecast:
    """What a recipe will do, computed from shapes before anything runs. `problem` stands where it cannot work."""

    recipe: Recipe
    before: Totals
    after: Totals
    plan: pd.DataFrame
    problem: str = ""


@dataclass(frozen=True)
class State:
    """Everything that the screen shows, as one value."""

    cards: tuple[Card, ...] = ()
    model: str = ""  # the chosen model's name; its study may still be loading
    study: Study | None = None
    menu: bool = False  # the techniques are imported
    recipe: Recipe = field(default_factory=Recipe)
    past: tuple[Recipe, ...] = ()
    future: tuple[Recipe, ...] = ()
    editing: tuple[int, str] | None = None  # the setting whose slider is being dragged
    problem: Problem | None = None
    forecast: Forecast | None = None
    jobs: tuple[Job[Any], ...] = ()
    tick: int = 0  # counts the reports of jobs
    frame: pd.DataFrame = field(default_factory=pd.DataFrame)
    selected: str = ""
    x: str = "latency_ms"
    y: str = "accuracy"
    tab: str = "tradeoff"
    exporting: str = ""  # id of the variant
    exported: tuple[tuple[str, Manifest], ...] = ()  # the latest export of each variant, by id
    message: Message = Message("Starting", "busy")


Listener = Callable[[State, State], None]


class Store:
    """Holds the `State`. Any thread may change it; listeners are told of one change after another."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._lock = threading.RLock()
        self._listeners: list[Listener] = []

    @property
    def state(self) -> State:
        """The state as it is now; a value, safe to read from any thread."""
        return self._state

    def edit(self, change: Callable[[State], State]) -> State:
        """Replace the state by `change(state)` and tell the listeners (old, new), in the order of changes."""
        with self._lock:
            old = self._state
            self._state = new = change(old)
            if new is not old:
                for listener in self._listeners:
                    listener(old, new)
            return new

    def update(self, **changes: Any) -> State:
        """Replace some fields of the state."""
        return self.edit(lambda state: replace(state, **changes))

    def say(self, text: str, kind: str = "info") -> None:
        """Put a sentence into the status strip."""
        self.update(message=Message(text, kind))

    def subscribe(self, listener: Listener) -> None:
        """Call `listener(old, new)` after every change, on the thread that made it."""
        with self._lock:
            self._listeners.append(listener)
