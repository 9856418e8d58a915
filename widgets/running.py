"""Jobs of one visitor: submitted, followed, ended. Progress and results go to the store."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from workbench.errors import BadValue, Cancelled, WorkbenchError
from workbench.jobs import Job
from workbench.recipe import Recipe
from workbench.study import Study
from workbench.variant import Variant
from workbench_widgets.store import Message, State, Store
from workbench_widgets.words import arrived

REPORTS_EVERY = 0.1  # seconds between two reports of a running job that reach the page


class Running:
    """Runs recipes in the background; `guarded` turns whatever goes wrong into a sentence."""

    def __init__(self, store: Store, guarded: Callable[[Callable[[], object]], None]) -> None:
        self.store, self._guarded = store, guarded
        self._reported = 0.0

    def run(self, study: Study | None, recipe: Recipe) -> None:
        """Apply a recipe and measure the variant. Raises `BadValue` where there is nothing to run."""
        if study is None or not recipe.steps:
            raise BadValue("There is nothing to run yet. Choose a model and add a step.")
        self.submit(study, recipe, f"Running {recipe.name}.")

    def submit(self, study: Study, recipe: Recipe, sentence: str) -> Job[Variant]:
        """Start a job that shows on the screen."""
        job = study.submit(recipe)
        self.store.edit(lambda s: replace(s, jobs=(*_active(s), job), message=Message(sentence, "busy")))
        job.on_change(lambda changed: self._guarded(lambda: self._report(study, recipe, changed)))
        return job

    def cancel(self, job: int) -> None:
        """Ask a job to stop; finished variants are kept."""
        for one in self.store.state.jobs:
            if id(one) == job:
                one.cancel()
                self.store.say(f"Stopping {one.name}.", "busy")

    def _report(self, study: Study, recipe: Recipe, job: Job[Variant]) -> None:
        """On the job's thread: pass progress on, a few times a second, and the end in any case."""
        now = time.monotonic()
        if not job.done and now - self._reported < REPORTS_EVERY:
            return
        self._reported = now
        variant = study.find(recipe) if job.state == "done" else None  # its own thread must not wait for its result
        self.store.edit(lambda s: _reported(s, study, job, variant))


def _active(state: State) -> tuple[Job[Any], ...]:
    return tuple(job for job in state.jobs if not job.done)


def _reported(state: State, study: Study, job: Job[Variant], variant: Variant | None) -> State:
    """With a job's progress; at its end with its variant, or with the reason why there is none."""
    state = replace(state, tick=state.tick + 1)
    if not job.done:
        return state
    if variant is None:
        return _failed(state, study, job)
    message = Message(arrived(variant, study.find(Recipe())))
    if state.study is not study:
        return replace(state, message=message)
    return replace(state, frame=study.frame(), selected=variant.id, message=message)


def _failed(state: State, study: Study, job: Job[Variant]) -> State:
    cancelled = isinstance(job.error, Cancelled)
    if cancelled and state.study is not study:  # the visitor has moved on; it says nothing about what is shown
        return replace(state, jobs=tuple(one for one in state.jobs if one is not job))
    return replace(state, message=Message(_reason(job), "info" if cancelled else "error"))


def _reason(job: Job[Variant]) -> str:
    if isinstance(job.error, Cancelled):
        return f"{job.name} was cancelled. Variants finished before it are kept."
    if isinstance(job.error, WorkbenchError):
        return str(job.error)
    return f"{job.name} failed ({type(job.error).__name__}: {job.error}). Variants finished before it are kept."
