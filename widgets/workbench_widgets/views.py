"""What the panels for editing and running show: pure functions from the state to plain values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from workbench.charts import COLUMNS
from workbench.cost.calibrated import THIS_MACHINE
from workbench.cost.network import Totals
from workbench.cost.on_device import predictor
from workbench.jobs import Job
from workbench.plan import Plan, Row
from workbench.report.words import count
from workbench.step import REGISTRY
from workbench_widgets.controls import controls
from workbench_widgets.formatting import times, unfolded
from workbench_widgets.seam.page_view import (
    HeadView,
    JobLine,
    PredictedRow,
    PredictionView,
    Region,
    RunView,
    StatusView,
)
from workbench_widgets.seam.recipe_view import Family, RecipeView, StepCard, Technique
from workbench_widgets.store import Entry, State
from workbench_widgets.tour import stops

TITLE = "Workbench"
REGIONS = (
    ("models", "Model"),
    ("recipe", "Recipe"),
    ("chart", "Variants"),
    ("layers", "Layers"),
    ("diagnosis", "Diagnosis"),
)
SUBTITLE = "Make a trained network small and fast, and see what that really costs."


def head(_state: State) -> HeadView:
    """The title of the page."""
    regions: list[Region] = [{"panel": panel, "label": name} for panel, name in REGIONS]
    return {"title": TITLE, "subtitle": SUBTITLE, "regions": regions, "tour": stops()}


def recipe(state: State) -> RecipeView:
    """The steps with their controls, and the menu of what can be added."""
    return {
        "steps": [_step(entry, index, state) for index, entry in enumerate(state.stack)],
        "menu": _menu() if state.menu else [],
        "ready": [{"name": one.name, "title": _title(one.name), "summary": one.summary} for one in state.catalogue],
        "hint": "No step yet. Choose one below: its effect on cost shows at once, before anything runs."
        if state.menu
        else "Loading the techniques.",
        "can_undo": bool(state.past),
        "can_redo": bool(state.future),
        "focus": state.focus,
        "code": state.recipe.code() if state.stack else "",
        "yaml": state.recipe.to_yaml() if state.stack else "",
    }


def _step(entry: Entry, index: int, state: State) -> StepCard:
    step = entry.step
    every = controls(step, index, state.problem, state.seen_by(index))
    before = sum(type(other.step) is type(step) for other in state.stack[:index])
    rows = _planned(state, index)
    return {
        "key": f"{type(step).__name__}-{before}",
        "index": index,
        "title": step.title or type(step).__name__,
        "summary": step.summary,
        "on": entry.on,
        "reach": _reach(rows) if entry.on else "Off: kept here, left out of the recipe.",
        "idle": bool(rows) and not any(row.applies for row in rows),
        "main": every[:1],
        "more": every[1:],
    }


def _title(name: str) -> str:
    """A file's name as words: `tucker-int8` is `Tucker int8`."""
    return name[:1].upper() + name[1:].replace("-", " ")


def _planned(state: State, index: int) -> Sequence[Row]:
    """What a step that is on is planned to do, layer by layer; nothing where that is not known yet."""
    place = sum(entry.on for entry in state.stack[:index])
    known = state.plan is not None and state.planned == state.recipe and state.stack[index].on
    return state.plan.parts[place].rows if known and state.plan and place < len(state.plan.parts) else ()


def _reach(rows: Sequence[Row]) -> str:
    """How many layers a step changes; where none, the first reason why."""
    touched = sum(row.applies for row in rows)
    if rows and not touched:
        return f"Changes nothing here. {rows[0].layer}: {rows[0].action}."
    return f"{count(touched, 'layer changes', 'layers change')}, {len(rows) - touched} left alone." if rows else ""


#: The families that most people begin with; others follow as they register.
FAMILIES = ("low-rank", "pruning", "precision")


def _menu() -> list[Family]:
    groups: dict[str, list[Technique]] = {}
    for name, kind in REGISTRY.items():
        entry = Technique(name=name, title=kind.title or name, summary=kind.summary)
        groups.setdefault(kind.family or "other", []).append(entry)
    order = sorted(groups, key=lambda family: FAMILIES.index(family) if family in FAMILIES else len(FAMILIES))
    return [{"family": family.capitalize(), "steps": groups[family]} for family in order]


#: The rows of the prediction: their names are columns' names.
PREDICTED = (*(field.name for field in fields(Totals)), "latency_ms", "file_bytes", "compressed_bytes")


def prediction(state: State) -> PredictionView:
    """Each cost before and after the recipe, as it will be."""
    plan = state.plan
    before = Plan(plan.original, plan.original, ()) if plan else None
    rows = [_predicted(name, before, plan) for name in PREDICTED]
    return {"rows": rows, "note": plan.problem if plan and plan.problem else _note()}


def _note() -> str:
    here = predictor().name == THIS_MACHINE
    where = ", for this machine" if here else "; latency for a server core: the first run calibrates this machine"
    return f"Per image{where}. Fewer MACs are not yet speed."


def _predicted(name: str, old: Plan | None, new: Plan | None) -> PredictedRow:
    shown = COLUMNS[name]
    before, after = getattr(old, name, math.nan), getattr(new, name, math.nan)
    if math.isnan(before) or math.isnan(after):
        return PredictedRow(name=name, label=shown.label, before="–", after="–", change="", trend="", share=0)
    change, trend = times(before, after)
    return {
        "name": name,
        "label": shown.label,
        "before": shown.text(before),
        "after": shown.text(after),
        "change": change,
        "trend": trend,
        "share": round(min(100.0, 100 * after / before), 1) if before else 0,
    }


def run(state: State) -> RunView:
    """The button, what it would do, and the jobs on their way."""
    ready, note = _readiness(state)
    apart = [one.job for one in state.searches]  # they have a panel of their own
    own = [job for job in state.jobs if job not in apart]
    jobs = [job for job in own if not job.done] or own[-1:]
    return {
        "enabled": ready,
        "label": f"Run {state.recipe.name}" if state.recipe.steps else "Run",
        "note": note,
        "jobs": [job_line(job) for job in jobs],
    }


def _readiness(state: State) -> tuple[bool, str]:
    if state.study is None:
        return False, "The model is still loading."
    if not state.recipe.steps:
        return False, "Add a step first."
    if state.problem is not None:
        return False, f"A setting cannot be used, so this is not what would run. {state.problem.sentence}"
    known = state.plan if state.planned == state.recipe else None
    if known is not None and known.problem:
        return False, "This recipe cannot run; the reason stands above."
    if known is not None and known.idle:
        return False, f"There is nothing to run: this recipe changes nothing of the model. {known.idle}"
    if state.study.find(state.recipe) is not None:
        return True, "Already measured: running it again shows the result at once."
    expectation = None if known is None else state.study.expect(state.recipe)
    return True, str(expectation or "Applies it, and measures what it writes against the original.")


def job_line(job: Job[Any]) -> JobLine:
    """How far a job is."""
    progress = job.progress
    ended = {"done": "Finished", "failed": "Failed", "cancelled": "Cancelled"}
    return {
        "id": id(job),
        "name": job.name,
        "state": job.state,
        "active": not job.done,
        "percent": 100 if job.state == "done" else round(100 * progress.fraction),
        "stage": ended.get(job.state, progress.stage[:1].upper() + progress.stage[1:]),
        "seconds": progress.seconds,
        "left": None if job.done else progress.seconds_left,
        "details": unfolded(job.error) if job.state == "failed" else [],
    }


def status(state: State) -> StatusView:
    """The latest message."""
    return {"text": state.message.text, "kind": state.message.kind}
