"""What the panel of the search shows. Pure functions from the state to plain values."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from workbench.charts import column
from workbench.errors import BadValue, Cancelled
from workbench.measure.wording import signed
from workbench.recipe import Recipe
from workbench.report.words import compact, count, verdict
from workbench.search.found import Found
from workbench.search.goal import SMALL
from workbench.study import Study
from workbench.tasks import Metric
from workbench_widgets import search_state, wishes
from workbench_widgets.seam.page_view import JobLine
from workbench_widgets.seam.search_view import SearchFound, SearchLimit, SearchPoint, SearchReason, SearchView
from workbench_widgets.searches import Search
from workbench_widgets.store import State
from workbench_widgets.views import job_line
from workbench_widgets.wishes import Bound, Figure

TRAIN = "Fine-tunes every choice with distillation: finds more, takes longer."
NO_TRAIN = "These data have no 'train' split, so nothing can be trained on."


def search(state: State) -> SearchView:
    """The wishes, the progress, the predicted front and what was found."""
    study, wish, mine = state.study, state.wish, search_state.of(state)
    can_train = study is None or study.data.get("train") is not None
    shown = column(wish.minimise if mine is None else mine.wish.minimise)
    return {
        "ready": study is not None,
        "minimise": wish.minimise,
        "goals": [{"value": name, "label": word} for name, word in SMALL.items()],
        "minutes": wish.minutes,
        "minutes_hint": _at_most(),
        "minutes_problem": _problem(lambda: wishes.minutes(wish)),
        "train": wish.train,
        "train_hint": TRAIN if can_train else NO_TRAIN,
        "limits": _limits(state) if study is not None else [],
        "more": study is not None and len(wish.bounds) < len(wishes.figures(study.task.principal)),
        "label": "Search on" if mine and mine.wish == wish and _cancelled(mine) else "Find the best",
        "problem": _why_not(mine) if mine else "",
        "job": _progress(mine) if mine and mine.active and mine.job is not None else None,
        "said": _said(mine) if mine else "",
        "heads": [shown.label, _lost(study)] if study else [],
        "front": _front(mine) if mine else [],
        "found": _found(mine.study, mine.found, mine) if mine and mine.found else None,
    }


def _at_most() -> str:
    most = wishes.longest()
    return "" if math.isinf(most) else f"at most {most:g} on this page"


def _problem(read: Any) -> str:
    try:
        read()
    except BadValue as error:
        return str(error)
    return ""


def _limits(state: State) -> list[SearchLimit]:
    known = search_state.free_figures(state)
    options = {name: one.label for name, one in known.items()}
    return [_limit(one, known[one.figure], options) for one in state.wish.bounds if one.figure in known]


def _limit(bound: Bound, known: Figure, options: dict[str, str]) -> SearchLimit:
    return {
        "figure": bound.figure,
        "figures": [{"value": name, "label": label} for name, label in options.items()],
        "words": known.words,
        "text": bound.text,
        "unit": known.unit,
        "problem": _problem(lambda: wishes.limit(bound, known)),
    }


def _cancelled(mine: Search) -> bool:
    return mine.job is not None and isinstance(mine.job.error, Cancelled)


def _why_not(mine: Search) -> str:
    """Why a search did not begin, or came to nothing."""
    if mine.problem:
        return mine.problem
    if mine.job is None or not mine.job.done or mine.job.error is None or _cancelled(mine):
        return ""
    return str(mine.job.error) or type(mine.job.error).__name__


def _progress(mine: Search) -> JobLine:
    """How far it is. The time that is left follows from its budget; what has begun by then is finished."""
    assert mine.job is not None
    line = job_line(mine.job)
    left = max(60 * wishes.minutes(mine.wish) - line["seconds"], 0.0)
    return {**line, "name": "Searching", "left": None if mine.job.state == "waiting" else left}


def _said(mine: Search) -> str:
    """What has come of it so far, in a sentence."""
    made = count(mine.measured, "variant", "variants")
    if mine.active:
        front = "" if mine.front else " The predicted front appears as soon as the options are tried."
        return f"{made} measured so far.{front}"
    if _cancelled(mine):
        if not mine.measured:
            return "Stopped before anything was measured."
        kept = "is" if mine.measured == 1 else "are"
        return f"Stopped. {made} that it measured {kept} kept in table and chart; the same search goes on from there."
    return ""


def _lost(study: Study) -> str:
    metric = study.task.principal
    return f"{'Loss' if metric.more_is_better else 'Rise'} of {metric.word}"


def _front(mine: Search) -> list[SearchPoint]:
    name, metric = mine.wish.minimise, mine.study.task.principal
    names = [one.recipe.name for one in mine.front]
    return [
        {
            "id": f"{search_state.PROMISE} {n}",
            "name": names[n],
            "value": _size(one.figures[name], name),
            "loss": _amount(one.loss, metric),
            "gap": f"{100 * one.gap:.1f} %",
            "measured": mine.study.find(one.recipe) is not None,
        }
        for n, one in enumerate(mine.front)
    ]


def _size(value: float, name: str) -> str:
    """A value of what is minimised; of counts three digits, however small they are."""
    return column(name).text(value) if name == "latency_ms" else compact(value)


def _amount(loss: float, metric: Metric, *, sign: bool = False) -> str:
    """A loss in the metric's own unit, shares in points."""
    value, unit = (100 * loss, "points") if metric.share else (loss, metric.unit)
    return f"{signed(value, 2) if sign else f'{max(value, 0.0):.2f}'} {unit}".rstrip()


def _found(study: Study, found: Found, mine: Search) -> SearchFound:
    best, original = found.best, study.find(Recipe())
    tried = f"{count(len(found), 'variant', 'variants')} tried, {found.kept} within the limits."
    return {
        "id": best.id if best else "",
        "name": best.name if best else "",
        "verdict": verdict(best, original) if best and original else "",
        "proofs": [{"text": str(one), "passes": one.passes} for one in found.proofs],
        "tried": tried,
        "why": [] if found.why is None else [_reason(row, mine) for row in found.why.to_dict("records")],
        "why_note": _why_note(mine),
        "notes": list(found.notes),
    }


def _why_note(mine: Search) -> str:
    return (
        "Second is what would have been taken in this layer's place; its cost is predicted, as loss of "
        f"{mine.study.task.principal.word} and {SMALL[mine.wish.minimise]}."
    )


def _reason(row: dict[Any, Any], mine: Search) -> SearchReason:
    price, cost = row["price_more"], "–"
    if row["second"] and not pd.isna(price):
        more = f"{'−' if price < 0 else '+'}{_size(abs(price), mine.wish.minimise)}"
        cost = f"{_amount(row['harm_more'], mine.study.task.principal, sign=True)}, {more}"
    return {
        "layer": str(row["layer"]),
        "kept": f"{100 * row['channels_kept']:.0f} %",
        "chosen": str(row["chosen"]),
        "second": str(row["second"]) or "–",
        "cost": cost,
    }
