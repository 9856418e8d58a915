"""What a report is about: variants of one study, their original, and the one that is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from workbench.data import Data
from workbench.errors import BadValue, shown, unknown
from workbench.frames.frame import to_frame
from workbench.models import Model
from workbench.report.asked import Asked
from workbench.tasks import Metric
from workbench.variant import Variant


@dataclass(frozen=True)
class Subject:
    """Variants of one model on the same data, the original among them.

    `ruled` is the best by what was asked, None where nothing keeps to it. `chosen` is that one, unless another was
    `named` by whoever asked for the report.
    """

    variants: tuple[Variant, ...]
    original: Variant
    asked: Asked
    ruled: Variant | None
    chosen: Variant | None
    named: bool
    title: str

    @property
    def model(self) -> Model:
        """The network."""
        return self.original.model

    @property
    def data(self) -> Data:
        """What it was measured on."""
        return self.original.data

    @property
    def metric(self) -> Metric:
        """What the variants are judged by."""
        return self.asked.metric

    @cached_property
    def frame(self) -> Any:
        """One row a variant, as `Study.frame` has it, with `elsewhere`: timed on another machine than the original."""
        frame = to_frame(self.variants)
        frame.attrs["judged_by"] = self.metric.name
        frame.attrs["more_is_better"] = [one.name for one in self.data.task.metrics if one.more_is_better]
        return frame.assign(elsewhere=frame["machine"] != self.original.machine)


def subject(what: Any, chosen: Variant | str | None, minimise: str, where: str | Sequence[str], title: str) -> Subject:
    """Read what the user hands over. Raises: `BadValue`, `UnknownName`; see `workbench.report.report`."""
    variants = _variants(what)
    original = next((one for one in variants if not one.recipe.steps), None)
    if original is None:
        raise BadValue(
            "The original is not among the variants, and a report says what became of it. "
            "Pass the study, or add it: [study.baseline, *variants]."
        )
    _of_one_study(variants, original)
    asked = Asked.read(minimise, where, original)
    living = [one for one in variants if not one.archived]
    ruled = asked.best(living)
    pick = ruled if chosen is None else _picked(chosen, variants)
    if not isinstance(title, str):
        raise BadValue(f"The title is a text, got {shown(title)}.")
    name = title.strip() or f"{original.model.name} on {original.data.name}"
    kept = tuple(living if pick is None or not pick.archived else variants)
    return Subject(kept, original, asked, ruled, pick, chosen is not None, name)


def _variants(what: Any) -> tuple[Variant, ...]:
    given = getattr(what, "variants", what)  # a study, and what a search found, have them
    if isinstance(given, Variant):
        given = (given,)
    if not isinstance(given, Sequence) or isinstance(given, str) or not all(isinstance(v, Variant) for v in given):
        raise BadValue(f"A report is about a study or a list of its variants, got {shown(what)}.")
    if not given:
        raise BadValue("Nothing is measured yet, so there is nothing to report. Measure the original: study.baseline.")
    return tuple({one.id: one for one in given}.values())


def _of_one_study(variants: Sequence[Variant], original: Variant) -> None:
    for one in variants:
        same = one.model is original.model or one.model.hash == original.model.hash
        if not same or (one.data is not original.data and one.data.hash != original.data.hash):
            raise BadValue(
                f"{one.name} is a variant of {one.model.name} on {one.data.name}, and the original is "
                f"{original.model.name} on {original.data.name}. A report is about the variants of one study."
            )


def _picked(chosen: Any, variants: Sequence[Variant]) -> Variant:
    if isinstance(chosen, Variant):
        found = [one for one in variants if one.id == chosen.id]
    elif isinstance(chosen, str):
        found = [one for one in variants if chosen in (one.id, one.name)]
    else:
        raise BadValue(f"chosen is a variant, its id or its name, got {shown(chosen)}.")
    if not found:
        given = chosen if isinstance(chosen, str) else f"{chosen.name} ({chosen.id})"
        raise unknown("variant of this study", given, [text for one in variants for text in (one.name, one.id)])
    return found[0]
