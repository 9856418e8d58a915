"""What a search chooses for, what it is about to build, and what it has built."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from workbench.recipe import Recipe, Step
from workbench.search.choice import Chosen
from workbench.search.forecast import Result
from workbench.search.harm import Harm
from workbench.search.menu import Menu

if TYPE_CHECKING:
    from workbench.models.model import Model
    from workbench.variant import Variant


@dataclass(frozen=True)
class Start:
    """A network to choose for: the steps that lead to it, its menus, and the harm of their options."""

    steps: Recipe
    model: Model
    menus: tuple[Menu, ...]
    harm: Harm
    own: float = 0.0  # harm of the steps that lead to it

    def recipe(self, chosen: Chosen, training: Sequence[Step]) -> Recipe:
        """Everything that is to be done to the original."""
        steps = chosen.selection.recipe(self.menus[0]).steps
        kept = [one for one in steps if not one.lowers]
        return Recipe((*self.steps, *kept, *training, *self.menus[0].lowering))

    def parts(self, chosen: Chosen) -> tuple[float, float, float]:
        """The harm by kind."""
        return (*self.harm.parts(self.menus[0], chosen.selection), self.own)


class Wish(NamedTuple):
    """What to choose next: of what is minimised at most so much, of one kind of options alone where it is named, of
    what harm might be too where a seed is given, and for one start alone.
    """

    aim: float
    kind: str = ""
    seed: int = 0
    start: Start | None = None


@dataclass(frozen=True)
class Tried:
    """A variant that was built, and what it came from."""

    variant: Variant
    chosen: Chosen
    start: Start
    aim: float  # of what is minimised, as predicted
    loss: float
    epochs: int
    expected: float = math.nan  # times as fast as the original, before it was built

    def size(self, minimise: str) -> float:
        """What it came to of what is minimised, as predicted."""
        return float(getattr(self.chosen.price, minimise))

    @property
    def result(self) -> Result:
        """What the forecast learns from."""
        return Result(self.start.parts(self.chosen), self.loss)


@dataclass(frozen=True, eq=False)
class Pick:
    """A choice that is to be built: what it is of, the aim that it was chosen for, and how long it is trained."""

    start: Start
    chosen: Chosen
    aim: float  # of what is minimised, as predicted
    epochs: int
    recipe: Recipe
    expected: float  # times as fast as the original
