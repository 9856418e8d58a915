"""Puts the panels on a page and ties each to the parts of the state that it shows."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import ipywidgets

from workbench.errors import WorkbenchError, unknown
from workbench.study import Study
from workbench.untrusted import quota
from workbench_widgets import (
    beside,
    charting,
    diagnosing,
    exporting,
    layers,
    models,
    results,
    scope,
    searching,
    taking,
    variant,
    views,
)
from workbench_widgets.page import Loader, Panel, View
from workbench_widgets.seam.page_view import Answer
from workbench_widgets.session import Session
from workbench_widgets.static_snapshot import PLAIN, Still
from workbench_widgets.store import State, Store, unexpected

#: What the hollow marks of the chart follow.
HOLLOW = ("plan", "searches")
#: Each panel: what it shows, and the parts of the state that it must be drawn anew for; drawn in this order, so
#: what a slider waits for stands first.
PANELS: dict[str, tuple[Callable[[State], View], tuple[str, ...]]] = {
    "head": (views.head, ()),
    "prediction": (views.prediction, ("plan",)),
    "models": (models.models, ("cards", "model", "study", "earlier")),
    "recipe": (views.recipe, ("menu", "catalogue", "stack", "past", "future", "problem", "study", "focus", "plan")),
    "run": (views.run, ("study", "recipe", "plan", "problem", "jobs", "tick", "frame")),
    "layers": (
        layers.layers,
        ("plan", "stack", "focus", "layers", "cost", "times", "sensitivity", "jobs"),
    ),
    "search": (searching.search, ("study", "wish", "searches", "tick", "frame")),
    "chart": (
        charting.chart,
        ("frame", "published", "archived", "x", "y", "size", "log", "limit", "tab", "parallel", "jobs", *HOLLOW),
    ),
    "table": (results.table, ("frame", "published", "x", "y", "limit", "lineage", "archived", "columns", "beside")),
    "beside": (beside.beside, ("frame", "published", "beside", "comparisons", "jobs", "cost")),
    "variant": (
        variant.variant,
        ("frame", "published", "selected", "compared", "comparisons", "jobs", "exporting", "exported"),
    ),
    "diagnosis": (
        diagnosing.diagnosis,
        ("frame", "published", "selected", "study", "jobs", "diagnoses", "bisections"),
    ),
    "status": (views.status, ("message",)),
}

#: What stands beside the recipe, from the top down.
RESULTS = ("search", "chart", "table", "beside", "variant", "layers", "diagnosis")
SURROGATES = re.compile("[\ud800-\udfff]")
#: The panels that show which variant is chosen among many.
SELECTING = ("chart", "table")
#: The parts of the state that say which layers are chosen.
SCOPING = ("stack", "focus", "layers", "study")


def guarded(view: Callable[[State], View], state: State) -> View:
    """What a panel shows; where that cannot be drawn, the sentence that says so, and the other panels go on."""
    try:
        return view(state)
    except Exception as error:  # noqa: BLE001  # a panel stands for itself
        return failed(error)


def failed(error: Exception) -> View:
    """What stands in the place of a panel that cannot be drawn."""
    about = str(error) if isinstance(error, WorkbenchError) else f"{type(error).__name__}: {error}"
    return {"failed": f"This part cannot be drawn ({about}). The others go on, and nothing measured is lost."}


def _plain(value: object) -> bool:
    """Whether a value can be sent back as it came: half of a surrogate pair cannot."""
    return isinstance(value, int) or (isinstance(value, str) and not SURROGATES.search(value))


class Screen(ipywidgets.Box):  # type: ignore[misc]  # ipywidgets ships no types
    """The whole screen. Every widget is made here, at once; threads only change what panels show."""

    def __init__(self, study: Study | None = None) -> None:
        quota.here().hold_memory()
        self.store = Store(State())
        self.session = Session(self.store, study)
        self.panels = {name: Panel(name, guarded(view, State()), self._act(name)) for name, (view, _) in PANELS.items()}
        loader = Loader()
        loader.add_class("wb-loader")
        super().__init__([loader, self._grid()])
        self.add_class("wb-screen")
        self._still = Still()
        self._made = taking.Made()
        self._subscribe()
        self.session.start()

    def alone(self, *names: str) -> ipywidgets.Box:
        """Some of the panels, from the top down, live and without the rest of the screen: for a lesson, or a page.

        Args:
            names: such as "recipe", "prediction" and "layers"; `screen.panels` has them all.

        Raises: `UnknownName` for a panel that there is not.
        """
        for name in names:
            if name not in self.panels:
                raise unknown("panel", name, self.panels)
        column = ipywidgets.Box([self.panels[name] for name in names])
        column.add_class("wb-results")
        found = ipywidgets.Box([self.children[0], column])  # the loader brings the page's module
        found.add_class("wb-screen")
        return found

    def _repr_mimebundle_(self, **how: Any) -> Any:
        """The live screen; before it a picture for readers without a kernel, which follows what is measured."""
        self._still.place()
        self._still.follow(self.store.state)
        bundle = super()._repr_mimebundle_(**how)
        return bundle if bundle is None else {**bundle, "text/plain": PLAIN}

    def _grid(self) -> ipywidgets.Box:
        panels = self.panels
        edit = ipywidgets.Box([panels[name] for name in ("recipe", "prediction", "run", "status")])
        shown = ipywidgets.Box([panels[name] for name in RESULTS])
        grid = ipywidgets.Box([panels["head"], panels["models"], edit, shown])
        for box, name in ((edit, "wb-edit"), (shown, "wb-results"), (grid, "wb-grid")):
            box.add_class(name)
        return grid

    def _act(self, panel: str) -> Callable[[str, dict[str, Any]], None]:
        def act(action: str, detail: dict[str, Any]) -> None:
            if action == "piece" and detail.get("file") in taking.MAKERS:
                self.session.background.spawn(lambda: self._answer(panel, self._made_part, detail))
            elif action == "piece":
                self._answer(panel, lambda **part: (True, [exporting.piece(self.store.state, **part)]), detail)
            elif action == "upload":
                self._answer(panel, lambda **part: (self.session.opening.upload(**part), None), detail)
            elif action == "again":
                self.store.between(lambda state: self._draw(panel, state))
            else:
                self.session.act(action, detail)

        return act

    def _made_part(self, **part: Any) -> tuple[bool, list[bytes]]:
        return True, [self._made.piece(self.store.state, **part)]

    def _answer(self, panel: str, find: Callable[..., Any], detail: dict[str, Any]) -> None:
        """Answer what a panel asks about a part of a file, a download's or an upload's: the page waits for it."""
        about = {key: value for key, value in detail.items() if key in {"file", "offset"} and _plain(value)}
        answer, content = cast(Answer, about), None
        try:
            answer["done"], content = find(**detail)
        except (WorkbenchError, OSError) as error:
            answer["error"] = str(error)
        except Exception as error:  # noqa: BLE001  # the page waits for an answer in any case
            answer["error"] = unexpected(error)
        self.panels[panel].send(answer, content)

    def _subscribe(self) -> None:
        """Each part of the screen hears of changes by itself, so that one that fails leaves no other stale."""
        self.store.subscribe(self._picture)
        self.store.subscribe(self._choose)
        for name in PANELS:
            self.store.subscribe(partial(self._show, name))
        self.store.subscribe(self._scope)

    def _picture(self, old: State, new: State) -> None:
        if new.frame is not old.frame or new.published is not old.published:
            self._still.follow(new)

    def _choose(self, _old: State, new: State) -> None:
        for name in SELECTING:
            self.panels[name].selected = new.selected

    def _show(self, name: str, old: State, new: State) -> None:
        if any(getattr(old, part) is not getattr(new, part) for part in PANELS[name][1]):
            self._draw(name, new)

    def _draw(self, name: str, state: State) -> None:
        """Show a panel's view. One that cannot be sent is one that cannot be drawn."""
        try:
            self.panels[name].view = dict(guarded(PANELS[name][0], state))
        except Exception as error:  # noqa: BLE001  # as in `guarded`
            self.panels[name].view = dict(failed(error))

    def _scope(self, old: State, new: State) -> None:
        if any(getattr(old, part) is not getattr(new, part) for part in SCOPING):
            self.panels["diagnosis"].selected = " ".join(sorted(scope.chosen(new)))
