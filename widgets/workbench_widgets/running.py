"""Jobs of one visitor: submitted, followed, ended. Progress and results go to the store."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import pandas as pd

from workbench.errors import BadValue, Cancelled, WorkbenchError
from workbench.jobs import Job
from workbench.recipe import Recipe
from workbench.step import Step
from workbench.study import Study
from workbench.variant import Variant
from workbench_widgets.formatting import arrived
from workbench_widgets.store import Message, State, Store

K = TypeVar("K")
T = TypeVar("T")
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
        """Start a recipe's job."""
        return self.follow(study, study.submit(recipe), sentence, lambda s: _arrived(s, study, recipe))

    def measure_unasked(self, study: Study) -> Job[Variant]:
        """Start measuring the original. Nobody has asked for it, so it covers nothing that went wrong."""
        sentence = "Measuring the original, which everything else is compared with."
        job = study.submit(Recipe())
        return self.follow(study, job, sentence, lambda s: _arrived(s, study, Recipe()), over_errors=False)

    def follow(
        self, study: Study, job: Job[T], sentence: str, finish: Callable[[State], State], *, over_errors: bool = True
    ) -> Job[T]:
        """Show a job on the screen; when it is done, `finish` puts its result into the state."""

        def started(state: State) -> State:
            kept = state.message.kind == "error" and not over_errors
            message = state.message if kept else Message(sentence, "busy")
            return replace(state, jobs=(*_active(state), job), message=message)

        self.store.edit(started)
        job.on_change(lambda changed: self._guarded(lambda: self._report(study, changed, finish)))
        return job

    def diagnose(self, study: Study, variant: Variant) -> None:
        """Find out what a variant does otherwise than the original."""
        job = study.submit_diagnosis(variant)
        said = Message(f"{variant.name} is diagnosed: see which layers, steps and classes lost what.")
        self.follow(study, job, f"Diagnosing {variant.name}.", lambda s: replace(
            s, diagnoses=_kept(s.diagnoses, variant.id, job.result()), message=said
        ))  # fmt: skip

    def bisect(self, study: Study, variant: Variant) -> None:
        """Find the least set of layers that explains what a variant loses."""
        job = study.submit_bisection(variant)
        said = Message(f"The layers that explain the loss of {variant.name} are found.")
        self.follow(study, job, f"Restoring halves of the layers of {variant.name}.", lambda s: replace(
            s, bisections=_kept(s.bisections, variant.id, job.result()), message=said
        ))  # fmt: skip

    def sensitivity(self, study: Study, step: Step) -> None:
        """Find how much each layer suffers from a step."""
        job = study.submit_sensitivity(step)
        said = Message(f"The layers' sensitivity to {step.brief} stands in the table of layers.")
        self.follow(study, job, f"Trying {step.brief} on one layer at a time.", lambda s: replace(
            s, sensitivity=job.result() if s.study is study else s.sensitivity, message=said
        ))  # fmt: skip

    def times(self, study: Study, recipe: Recipe) -> None:
        """Time every layer of a recipe's artefact."""
        job = study.submit_profile(recipe)
        said = Message("The time of each layer stands in the table of layers.")
        self.follow(study, job, f"Timing every layer of {recipe.name}.", lambda s: replace(
            s, times=_timed(s, study, recipe, job.result()), message=said
        ))  # fmt: skip

    def compare(self, study: Study, first: Variant, second: Variant) -> None:
        """Find out what two variants answer otherwise than one another."""
        job = study.submit_comparison(first, second)
        said = Message(f"{first.name} and {second.name} are compared class by class and image by image.")
        self.follow(study, job, f"Comparing {first.name} with {second.name}.", lambda s: replace(
            s, comparisons=_kept(s.comparisons, (first.id, second.id), job.result()), message=said
        ))  # fmt: skip

    def cancel(self, job: int) -> None:
        """Ask a job to stop; finished variants are kept."""
        for one in self.store.state.jobs:
            if id(one) == job:
                self.store.say(f"Stopping {one.name}.", "busy")  # first: the job's own last word must stay
                one.cancel()

    def _report(self, study: Study, job: Job[Any], finish: Callable[[State], State]) -> None:
        """On the job's thread: pass progress on, a few times a second, and the end in any case."""
        now = time.monotonic()
        if not job.done and now - self._reported < REPORTS_EVERY:
            return
        self._reported = now
        self.store.edit(lambda s: _reported(s, study, job, finish))


def _active(state: State) -> tuple[Job[Any], ...]:
    return tuple(job for job in state.jobs if not job.done)


def _reported(state: State, study: Study, job: Job[Any], finish: Callable[[State], State]) -> State:
    """With a job's progress; at its end with its result, or with the reason why there is none."""
    state = replace(state, tick=state.tick + 1)
    if not job.done:
        return state
    state = replace(state, jobs=(*state.jobs,))  # another tuple: who shows that something runs is drawn again
    return finish(state) if job.state == "done" else _failed(state, study, job)


def _arrived(state: State, study: Study, recipe: Recipe) -> State:
    variant = study.find(recipe)
    assert variant is not None  # its job is done
    message = Message(arrived(variant, study.find(Recipe())))
    if state.study is not study:
        return replace(state, message=message)
    return replace(state, frame=study.frame(), selected=variant.id, message=message)


def _kept(pairs: tuple[tuple[K, T], ...], key: K, value: T) -> tuple[tuple[K, T], ...]:
    return (*(pair for pair in pairs if pair[0] != key), (key, value))


def _timed(
    state: State, study: Study, recipe: Recipe, table: pd.DataFrame
) -> tuple[tuple[Recipe, Mapping[str, float]], ...]:
    """With the milliseconds of a recipe's layers; what the runtime added is under ""."""
    if state.study is not study:
        return state.times
    found = {str(layer): float(ms) for layer, ms in table.groupby("layer")["ms"].sum().items()}
    return (*(pair for pair in state.times if pair[0] != recipe), (recipe, found))


def _failed(state: State, study: Study, job: Job[Any]) -> State:
    cancelled = isinstance(job.error, Cancelled)
    if cancelled and state.study is not study:  # the visitor has moved on; it says nothing about what is shown
        return replace(state, jobs=tuple(one for one in state.jobs if one is not job))
    return replace(state, message=Message(_reason(job), "info" if cancelled else "error"))


def _reason(job: Job[Any]) -> str:
    if isinstance(job.error, Cancelled):
        return f"{job.name} was cancelled. Variants finished before it are kept."
    if isinstance(job.error, WorkbenchError):
        return str(job.error)
    return f"{job.name} failed ({type(job.error).__name__}: {job.error}). Variants finished before it are kept."
