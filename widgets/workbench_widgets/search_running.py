"""Searches of one visitor: begun, watched, ended. What they predict and find goes to the store."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from workbench.errors import BadValue, WorkbenchError
from workbench.recipe import Recipe
from workbench.report.words import count, verdict
from workbench.search.found import Promise
from workbench.search.goal import goal_of
from workbench.study import Study
from workbench_widgets import search_state, wishes
from workbench_widgets.running import Running
from workbench_widgets.searches import Search
from workbench_widgets.store import Message, State, Store
from workbench_widgets.wishes import Wish

#: What may be lost of a share where no row says so; the engine's own rule.
USUAL = 0.01


class Searching:
    """Starts searches through the runner of all jobs, and shows what they tell on their way."""

    def __init__(self, store: Store, running: Running) -> None:
        self._store, self._running = store, running

    def start(self) -> None:
        """Search as the panel says. Raises: `BadValue` and what `submit_search` raises, said in the panel as well."""
        state = self._store.state
        study, wish = state.study, state.wish
        if study is None:
            raise BadValue("The model is still loading.")
        if (running := search_state.of(state)) is not None and running.active:
            raise BadValue("A search of this study is on its way. Stop it first.")
        before = frozenset(one.id for one in study.variants)
        self._store.edit(lambda s: search_state.begun(s, Search(study, wish, before)))
        try:
            self._submit(study, wish)
        except WorkbenchError as error:
            sentence = str(error)
            self._store.edit(lambda s: search_state.changed(s, study, problem=sentence))
            raise

    def _submit(self, study: Study, wish: Wish) -> None:
        where, minutes = wishes.where(wish, study.task.principal), wishes.minutes(wish)
        most = _allowed(study, wish, where)
        job = study.submit_search(
            wish.minimise, where, minutes, train=wish.train, watch=lambda promises: self._seen(study, promises, most)
        )
        self._store.edit(lambda s: search_state.changed(s, study, job=job))
        self._running.follow(study, job, "Searching. The predicted front comes first.", lambda s: _ended(s, study))
        job.on_change(lambda _: self._arrived(study))

    def _seen(self, study: Study, promises: Sequence[Promise], most: float) -> None:
        """On the job's thread: the front was predicted, or corrected by what was measured."""
        front = search_state.expected(study, promises, most)
        self._store.edit(lambda s: search_state.changed(s, study, front=front))

    def _arrived(self, study: Study) -> None:
        """On the job's thread: show what was measured in the meantime."""
        state = self._store.state
        if state.study is study and len(study.variants) != len(state.frame):
            self._store.edit(lambda s: replace(s, frame=study.frame()) if s.study is study else s)


def _allowed(study: Study, wish: Wish, where: Sequence[str]) -> float:
    """How much may be lost of what the study is judged by."""
    metric = study.task.principal
    goal = goal_of(wish.minimise, where, metric)
    if goal.loss is not None:
        return goal.loss
    baseline = study.find(Recipe())
    if goal.floor is not None and baseline is not None:
        return abs(goal.allowed(baseline, metric))
    return USUAL if metric.share else math.inf


def _ended(state: State, study: Study) -> State:
    """With what was found; its best is chosen."""
    search = next(one for one in state.searches if one.study is study)
    assert search.job is not None
    found = search.job.result()
    state = search_state.changed(state, study, found=found)
    if found.best is None:
        tried = count(len(found), "variant", "variants")
        said = f"The search tried {tried}, and none keeps to the limits. The panel of the search says what is nearest."
    else:
        original = study.find(Recipe())
        assert original is not None  # everything is compared with it
        said = f"Found {found.best.name}: {verdict(found.best, original)}"
    state = replace(state, message=Message(said))
    if state.study is not study:
        return state
    return replace(state, frame=study.frame(), selected=found.best.id if found.best else state.selected)
