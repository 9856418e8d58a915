"""The screen's one mutable thing: a state, replaced as a whole under a lock, and those who want to know."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from workbench.cost.network import Network
from workbench.diagnosis import Bisection, Comparison, Diagnosis, Sensitivity
from workbench.jobs import Job
from workbench.manifest import Manifest
from workbench.plan import Plan
from workbench.published import Published
from workbench.recipe import Recipe
from workbench.step import Step
from workbench.study import Study
from workbench.variant import Variant
from workbench_widgets.desk import Kept
from workbench_widgets.searches import Search
from workbench_widgets.wishes import Wish


@dataclass(frozen=True)
class Message:
    """What the status strip says; `kind` is info, busy or error."""

    text: str = "Ready."
    kind: str = "info"


def unexpected(error: Exception) -> str:
    """The sentence about an error that is not ours."""
    return f"Something unexpected went wrong ({type(error).__name__}: {error}). Nothing that was finished is lost."


@dataclass(frozen=True)
class Card:
    """One model of the gallery. `accuracy` is that of the original on the test split, where it is known."""

    name: str
    accuracy: float | None
    macs: float
    params: float


@dataclass(frozen=True)
class Ready:
    """A recipe of the catalogue: its name there, its steps in a few words, what it is for."""

    name: str
    steps: str
    summary: str


@dataclass(frozen=True)
class Problem:
    """A setting that cannot be used: which, what was typed, and the sentence that says why."""

    step: int
    setting: str
    text: str
    sentence: str


@dataclass(frozen=True)
class Entry:
    """One step in the editor. A step that is off keeps its settings and is left out of the recipe."""

    step: Step
    on: bool = True


Stack = tuple[Entry, ...]


@dataclass(frozen=True)
class State:
    """Everything that the screen shows, as one value."""

    cards: tuple[Card, ...] = ()
    model: str = ""  # the chosen model's name; its study may still be loading
    study: Study | None = None
    earlier: tuple[Kept, ...] = ()  # studies of before, the latest first
    home: str = "fashion-mnist"  # the data to go back to from those that were opened
    menu: bool = False  # the techniques are imported
    catalogue: tuple[Ready, ...] = ()
    stack: Stack = ()  # what the editor holds
    recipe: Recipe = field(default_factory=Recipe)  # the steps of the stack that are on
    past: tuple[Stack, ...] = ()
    future: tuple[Stack, ...] = ()
    focus: int = 0  # the step being edited, which a choice of layers is for
    layers: tuple[str, ...] = ()  # chosen before there is a step to scope
    cost: str = "macs"  # what the chart of layers shows
    times: tuple[tuple[Recipe, Mapping[str, float]], ...] = ()  # milliseconds of each layer, by recipe
    sensitivity: Sensitivity | None = None  # the latest
    editing: tuple[int, str] | None = None  # the setting whose slider is being dragged
    problem: Problem | None = None
    plan: Plan | None = None  # of `planned`, the recipe as it is or, for a moment, as it was
    planned: Recipe | None = None
    jobs: tuple[Job[Any], ...] = ()
    tick: int = 0  # counts the reports of jobs
    frame: pd.DataFrame = field(default_factory=pd.DataFrame)
    selected: str = ""
    published: Published | None = None  # a study of the same model and data, measured elsewhere
    x: str = "speedup"
    y: str = "accuracy"
    size: str = "params"  # what the area of a mark shows
    log: frozenset[str] = frozenset()  # the axes with a logarithmic scale
    limit: str = ""  # as typed, such as "accuracy >= 0.92"
    limit_problem: str = ""
    lineage: bool = False  # the table stands in the order of what was made from what
    archived: bool = False  # archived variants are shown too
    columns: tuple[str, ...] = ()  # of the table; none stands for the usual ones
    beside: tuple[str, ...] = ()  # ids of the variants side by side, the first is what the others are compared with
    compared: str = ""  # id of the variant beside the chosen one
    tab: str = "tradeoff"
    parallel: tuple[str, ...] = ()  # the columns of the parallel axes; none stands for the usual ones
    wish: Wish = field(default_factory=Wish)  # what a search is asked for
    searches: tuple[Search, ...] = ()  # the latest of each study
    exporting: str = ""  # id of the variant
    exported: tuple[tuple[str, Manifest], ...] = ()  # the latest export of each variant, by id
    diagnoses: tuple[tuple[str, Diagnosis], ...] = ()  # the latest of each variant, by id
    bisections: tuple[tuple[str, Bisection], ...] = ()
    comparisons: tuple[tuple[tuple[str, str], Comparison], ...] = ()  # by the ids of both
    message: Message = Message("Starting", "busy")

    def variant(self, id: str) -> Variant | None:  # noqa: A002  # the frame's word
        """The variant of this id, measured here or elsewhere."""
        if self.study is None or not id:
            return None
        here = (one for one in self.study.variants if one.id == id)
        there = (one for one in (self.published.variants if self.published else ()) if one.id == id)
        return next(here, None) or next(there, None)

    def seen_by(self, index: int) -> Network | None:
        """The network that the step at `index` of the stack is given, as far as it is known."""
        if self.study is None:
            return None
        place = sum(entry.on for entry in self.stack[:index])
        return self.plan.seen_by(place) if self.plan is not None else self.study.model.network

    def original(self) -> Variant | None:
        """The original's measurement: of here, else of elsewhere."""
        return self.variant(self.study.id_of(Recipe())) if self.study else None


Listener = Callable[[State, State], None]


class Store:
    """Holds the `State`. Any thread may change it; listeners are told of one change after another.

    Changes are made under one lock and told under another: while the screen draws, the state can be changed, and what
    a listener changes itself is told when all of them have heard of the change before it.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._changing, self._telling = threading.RLock(), threading.RLock()
        self._untold: deque[tuple[State, State]] = deque()
        self._busy = False  # a thread is telling; read and set under its lock
        self._listeners: list[Listener] = []

    @property
    def state(self) -> State:
        """The state as it is now; a value, safe to read from any thread."""
        return self._state

    def edit(self, change: Callable[[State], State]) -> State:
        """Replace the state by `change(state)`; returns when the listeners were told (old, new), in order."""
        with self._changing:
            old = self._state
            self._state = new = change(old)
            if new is not old:
                self._untold.append((old, new))
        self.between(lambda _: None)
        return new

    def between(self, work: Callable[[State], None]) -> None:
        """Do `work(state)` when the listeners know of every change up to now, and of none meanwhile."""
        with self._telling:
            self._tell()
            work(self._state)

    def _tell(self) -> None:
        if self._busy:  # a listener's own change
            return
        self._busy = True
        try:
            while self._untold:
                old, new = self._untold.popleft()
                for listener in tuple(self._listeners):
                    self._guarded(listener, old, new)
        finally:
            self._busy = False

    def _guarded(self, listener: Listener, old: State, new: State) -> None:
        """Tell one listener; its failure is said, and is neither the others' nor that of who made the change."""
        try:
            listener(old, new)
        except Exception as error:  # noqa: BLE001  # whatever it is, the others must be told
            if new.message.kind != "error":  # else one that always fails would never come to an end
                self.say(unexpected(error), "error")

    def update(self, **changes: Any) -> State:
        """Replace some fields of the state."""
        return self.edit(lambda state: replace(state, **changes))

    def say(self, text: str, kind: str = "info") -> None:
        """Put a sentence into the status strip."""
        self.update(message=Message(text, kind))

    def subscribe(self, listener: Listener) -> None:
        """Call `listener(old, new)` after every change, on the thread that made it."""
        with self._telling:
            self._listeners.append(listener)
