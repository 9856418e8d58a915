"""A model card as on the Hugging Face hub: YAML for machines, then Markdown for people.

Source of the header: https://github.com/huggingface/hub-docs/blob/main/modelcard.md.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import workbench
from workbench.charts import column
from workbench.errors import BadValue
from workbench.report import sentences, tables
from workbench.report.about import about_data, about_model
from workbench.report.classes import by_class
from workbench.report.proofs import Proofs, proofs
from workbench.report.subject import Subject
from workbench.variant import Variant

#: What the hub calls a task on pictures.
PIPELINES = {
    "classification": "image-classification", "multi-label": "image-classification",
    "segmentation": "image-segmentation", "detection": "object-detection", "images": "image-to-image",
    "embeddings": "image-feature-extraction",
}  # fmt: skip
#: Characters that Markdown reads as its own.
_MARKS = re.compile(r"([\\`*_\[\]|#~!$])")
CLASSES = 40


def card(about: Subject) -> str:
    """The card of the chosen variant. Raises: `BadValue` where there is none."""
    chosen = about.chosen
    if chosen is None:
        raise BadValue(f"A model card is about one variant. {sentences.answer(about)} Name one: chosen=variant.")
    return re.sub(r"\n{3,}", "\n\n", _environment().get_template("card.md.j2").render(_shown(about, chosen)))


@cache
def _environment() -> Environment:
    loader = PackageLoader("workbench", "report")
    # Whatever is put in is plain text: Markdown's own characters are escaped here, HTML's by autoescape.
    return Environment(loader=loader, autoescape=True, finalize=plain, undefined=StrictUndefined, trim_blocks=True)


def plain(value: Any) -> Any:
    """Text on one line in which nothing is Markdown."""
    return value if isinstance(value, Markup) else _MARKS.sub(r"\\\1", " ".join(str(value).split()))


def _shown(about: Subject, chosen: Variant) -> dict[str, Any]:
    classes = by_class(about.original, chosen, about.metric)
    proved = proofs(about, chosen) if chosen.recipe.steps else Proofs(why="It is the original.")
    return {
        "header": yaml.safe_dump(header(about, chosen), sort_keys=False, allow_unicode=True, width=10_000).strip(),
        "version": workbench.__version__,
        "title": f"{about.title}: {chosen.name}",
        "answer": sentences.answer(about),
        "keeps": sentences.keeps(about),
        "annotation": chosen.annotation,
        "about_model": about_model(about.model),
        "about_data": about_data(about.data),
        "code": _fenced(chosen.recipe.code()),
        "notes": chosen.notes,
        "table": tables.figure_table(about, chosen),
        "classes": tables.class_table(classes, CLASSES),
        "classes_why": classes.why,
        "certificates": [str(one) for _, one in proved.named()],
        "certificate_why": proved.why,
        "verdict": chosen.verdict or "There is no verdict on its speed.",
        "measured": sentences.measured(about),
        "limits": sentences.limits(about, classes, proved),
    }


def header(about: Subject, chosen: Variant) -> dict[str, Any]:
    """What the hub reads: library, tags, task, and the results with their intervals in the metrics' names."""
    pictures = about.data["test"].pictures
    found: dict[str, Any] = {"library_name": "onnx"}
    if pictures and about.data.task.name in PIPELINES:
        found["pipeline_tag"] = PIPELINES[about.data.task.name]
    if about.model.source.startswith("hf:"):
        found["base_model"] = about.model.source.removeprefix("hf:")
    steps = dict.fromkeys(type(step).__name__.lower() for step in chosen.recipe)
    found["tags"] = ["onnx", "model-compression", *steps]
    found["datasets"] = [_slug(about.data.name)]
    found["metrics"] = [about.metric.name]
    return found | {"model-index": [{"name": f"{about.model.name} {chosen.name}", "results": [_result(about, chosen)]}]}


def _result(about: Subject, chosen: Variant) -> dict[str, Any]:
    task = about.data.task
    kind = PIPELINES.get(task.name, task.name) if about.data["test"].pictures else task.name
    names = [one.name for one in task.metrics if one.name in chosen.estimates]
    names += [f"{one}_change" for one in names if f"{one}_change" in chosen.estimates]
    return {
        "task": {"type": kind, "name": task.title},
        "dataset": {"type": _slug(about.data.name), "name": about.data.name, "split": "test"},
        "metrics": [_metric(name, chosen) for name in [*names, "speedup"]],
    }


def _metric(name: str, chosen: Variant) -> dict[str, Any]:
    estimate, shown = chosen[name], column(name)
    ends = f"95 % interval {shown.number(estimate.low)} to {shown.number(estimate.high)} {shown.unit}".rstrip()
    return {"type": name, "value": float(f"{estimate.value:.6g}"), "name": f"{shown.label} ({ends})"}


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-").lower() or "data"


def _fenced(code: str) -> Markup:
    """Code between fences that are longer than any in it."""
    longest = max((len(run) for run in re.findall(r"`+", code)), default=0)
    fence = "`" * max(3, longest + 1)
    return Markup(f"{fence}python\n{code.strip()}\n{fence}")  # the fence holds it, whatever it is
