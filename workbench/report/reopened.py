"""Variants of a study that is kept, with their model and data again: read, and nothing written."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from workbench.data import Data
from workbench.errors import BadValue, UnknownName
from workbench.measure.affordable import drawn
from workbench.models import Model
from workbench.tasks import Task, recognise, seen_of
from workbench.variant import Variant

if TYPE_CHECKING:
    from workbench.kept import Kept


def reopened(kept: Kept, model: Model, data: Data) -> list[Variant]:
    """The variants of a kept study. Raises: `BadValue` where it is empty, or about another model or other data."""
    if not kept.variants:
        raise BadValue(f"Nothing is measured yet in {kept.name}, so there is nothing to report. Run a recipe first.")
    fed = data.like(model.example)
    for noun, given in (("model", model), ("data", fed)):
        wanted = kept.about.get(noun)
        if wanted not in {None, given.hash}:
            raise BadValue(
                f"The study {kept.name} was made with other {noun} than {given.name}: {wanted}, and this is "
                f"{given.hash}. Give what it was made with: --{noun}."
            )
    task = _task(model, fed, kept.about.get("judged_by", ""))
    told = replace(_as_measured(kept, fed, task), task=task)
    return [Variant(model=model, data=told, **vars(one)) for one in kept.variants]


def _task(model: Model, data: Data, judged_by: str) -> Task:
    seen = seen_of(model.module, model.example, data["test"])
    task = recognise(seen, None, None)
    if judged_by in {"", task.principal.name}:
        return task
    try:
        return recognise(seen, None, judged_by)
    except UnknownName as error:
        raise BadValue(
            f"The study is judged by {judged_by!r}, a metric of your own. Write the report where it is defined: "
            "wb.report(study, 'report.html')."
        ) from error


def _as_measured(kept: Kept, data: Data, task: Task) -> Data:
    """The inputs that the study judged by: fewer than there are where its time was limited."""
    original = next((one for one in kept.variants if not one.recipe.steps), None)
    known = None if original is None else original.estimates.get(task.principal.name)
    return data if known is None or known.n == len(data["test"]) else drawn(data, known.n)
