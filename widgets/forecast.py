"""What a recipe will do, layer by layer, computed from shapes before anything runs."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.cost.network import Network, Totals
from workbench.errors import WorkbenchError
from workbench.recipe import Recipe
from workbench.steps.base import Row, Sketch
from workbench.study import Study


@dataclass(frozen=True)
class Forecast:
    """The network before and after a recipe. `problem` stands where the recipe cannot work."""

    recipe: Recipe
    original: Network
    sketches: tuple[Sketch, ...] = ()
    problem: str = ""

    @property
    def network(self) -> Network:
        """The network as it will be."""
        return self.sketches[-1].network if self.sketches else self.original

    @property
    def before(self) -> Totals:
        """The costs of the original."""
        return self.original.totals

    @property
    def after(self) -> Totals:
        """The costs as they will be."""
        return self.network.totals

    @property
    def rows(self) -> list[Row]:
        """The plan: one row a step and layer."""
        return [row for sketch in self.sketches for row in sketch.rows]

    def seen_by(self, index: int) -> Network:
        """The network that the step at `index` of the recipe is given."""
        return self.sketches[index - 1].network if 0 < index <= len(self.sketches) else self.original


def predict(study: Study, recipe: Recipe) -> Forecast:
    """The forecast of a recipe; one that cannot work leaves the network as it is and says why."""
    original = study.model.network
    try:
        return Forecast(recipe, original, tuple(recipe.sketches(study.model)))
    except WorkbenchError as error:
        return Forecast(recipe, original, problem=str(error))
