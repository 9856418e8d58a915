"""A report as one HTML page that stands alone: no server, nothing fetched, charts drawn by what is in it."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

import workbench
from workbench.certificate import Answer
from workbench.report import drawings, sentences, tables
from workbench.report.about import about_data, about_model
from workbench.report.classes import Classes, by_class
from workbench.report.layers import lines
from workbench.report.proofs import Proofs, proofs
from workbench.report.subject import Subject
from workbench.report.tables import Cell
from workbench.report.words import count, verdict
from workbench.variant import Variant

#: So many classes are shown, those that suffer most.
CLASSES = 40
#: What a certificate is about, by its name among the proofs.
PROVED = {
    "test": "On the test split", "worst": "In every class, on the test split", "validation": "On the validation split",
}  # fmt: skip
#: The answers of a certificate, in a word or three.
ANSWERS = {Answer.PASSES: "Passes", Answer.FAILS: "Fails", Answer.UNDECIDED: "Not known yet"}
OF_QUESTION = (("asked", "What was asked"), ("front", "The front"))
OF_CHOSEN = (
    ("chosen", "The chosen variant"), ("classes", "Every class"), ("certificate", "Certificate"),
    ("layers", "Layers"), ("verdict", "Verdict"), ("devices", "Devices"),
)  # fmt: skip
OF_ALL = (("measured", "How it was measured"), ("limits", "Limits"), ("variants", "All variants"))


def page(about: Subject) -> str:
    """The whole page."""
    chosen = about.chosen
    classes = by_class(about.original, chosen, about.metric) if chosen is not None else Classes()
    proved = proofs(about, chosen) if chosen is not None and chosen.recipe.steps else Proofs()
    shown = _always(about, classes, proved) | (_of_chosen(about, chosen, classes, proved) if chosen is not None else {})
    return _environment().get_template("page.html.j2").render(shown)


@cache
def _environment() -> Environment:
    loader = PackageLoader("workbench", "report")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)


def _script() -> str:
    """The module that draws the screen's charts draws those of a page that stands alone, too."""
    return (files("workbench_widgets") / "static" / "screen.js").read_text(encoding="utf-8")


def _always(about: Subject, classes: Classes, proved: Proofs) -> dict[str, Any]:
    certificates = [(PROVED[name], str(one)) for name, one in proved.named()]
    return {
        "version": workbench.__version__,
        "style": (files("workbench.report") / "page.css").read_text(encoding="utf-8"),
        "script": _script(),
        "title": about.title,
        "day": sentences.today(),
        "answer": sentences.answer(about),
        "keeps": sentences.keeps(about),
        "certificates": certificates,
        "tiles": tables.tiles(about, classes, _certificate(proved)),
        "contents": [
            ("asked", "What was asked"),
            ("front", "The front"),
            *(OF_CHOSEN if about.chosen else ()),
            *OF_ALL,
        ],
        "about_model": about_model(about.model),
        "about_data": about_data(about.data),
        "aim": about.asked.aim,
        "clauses": about.asked.clauses(),
        "chosen_how": sentences.chosen_how(about),
        "front": drawings.front(about),
        "measured": sentences.measured(about),
        "limits": sentences.limits(about, classes, proved),
        "variants": tables.variant_table(about),
        "every": [_told(about, one) for one in about.variants],
        "chosen": about.chosen,
    }


def _of_chosen(about: Subject, chosen: Variant, classes: Classes, proved: Proofs) -> dict[str, Any]:
    plan = chosen.recipe.plan(about.model)
    found = [one for one in lines(plan) if any(one.pair.cost("macs")) or one.actions]
    return {
        "figures": tables.figure_table(about, chosen),
        "code": chosen.recipe.code(),
        "class_rows": _of_classes(classes),
        "class_chart": drawings.class_chart(classes, CLASSES),
        "class_table": tables.class_table(classes, CLASSES),
        "classes_why": classes.why,
        "certificate_why": proved.why or "The original is what a certificate compares with.",
        "layer_chart": drawings.layer_chart(found),
        "layer_table": tables.layer_table(found),
        "predicted": drawings.predicted(about),
        "devices": tables.device_table(about, plan),
    }


def _of_classes(classes: Classes) -> str:
    if not classes.rows:
        return ""
    worse = sum(one.change.high < 0 for one in classes.rows)
    better = sum(one.change.low > 0 for one in classes.rows)
    named = f" Shown are the {CLASSES} that suffer most." if len(classes.rows) > CLASSES else ""
    return (
        f"Of {count(len(classes.rows), 'class', 'classes')} the 95 % intervals of {worse} show a loss and of {better} "
        f"a gain; in the others the change is not distinguishable from none.{named}"
    )


def _certificate(proved: Proofs) -> Cell | None:
    """The tile: the answer on the test split, and whether it holds in every class."""
    if not proved.named():
        return None
    first = proved.named()[0][1]
    worst = f"; in every class: {ANSWERS[proved.worst.answer].lower()}" if proved.worst is not None else ""
    good = {Answer.PASSES: True, Answer.FAILS: False}.get(first.answer)
    return Cell(ANSWERS[first.answer], f"at most {first.allowed} lost ({100 * (1 - first.alpha):g} %){worst}", good)


def _told(about: Subject, one: Variant) -> dict[str, Any]:
    """A variant in the list of all."""
    steps = one.recipe.steps
    said = [verdict(one, about.original) if steps else "The network as it was loaded.", one.verdict, *one.notes]
    said += [f"Tags: {', '.join(one.tags)}" if one.tags else "", one.annotation]
    return {
        "id": one.id,
        "name": one.name,
        "texts": [text for text in said if text],
        "code": one.recipe.code() if steps else "",
    }
