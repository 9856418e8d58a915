"""A search as the screen knows it: what it was asked for, what it predicts, what it found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from workbench.jobs import Job
from workbench.recipe import Recipe
from workbench.search.found import Found
from workbench.study import Study
from workbench_widgets.wishes import Wish


@dataclass(frozen=True)
class Expected:
    """A point of the predicted front: its recipe, and its figures in the columns of a study's frame."""

    recipe: Recipe
    figures: Mapping[str, float]
    loss: float
    gap: float


@dataclass(frozen=True)
class Search:
    """One search: of which study, for what, how far it is, and what it found. `problem`: why it could not begin."""

    study: Study
    wish: Wish
    before: frozenset[str] = frozenset()  # ids of the variants that were there
    job: Job[Found] | None = None
    front: tuple[Expected, ...] = ()
    found: Found | None = None
    problem: str = ""

    @property
    def active(self) -> bool:
        """Whether it is on its way."""
        return not self.problem and (self.job is None or not self.job.done)

    @property
    def measured(self) -> int:
        """How many variants it has made."""
        return sum(one.id not in self.before and bool(one.recipe.steps) for one in self.study.variants)
