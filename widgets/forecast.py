"""What a recipe will do, layer by layer, computed from shapes before anything runs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

from workbench.cost.by_layer import COSTS, Pair, pairs
from workbench.cost.compressed import compressed_bytes
from workbench.cost.file_size import file_bytes
from workbench.cost.network import Network, Totals
from workbench.cost.roofline import Device
from workbench.errors import WorkbenchError
from workbench.measure.variant import predictor
from workbench.recipe import Recipe
from workbench.step import Row, Sketch
from workbench.study import Study


@dataclass(frozen=True)
class Outcome:
    """What is predicted of a file and its run: milliseconds an image on `device`, and bytes, compressed too."""

    latency_ms: float
    file_bytes: float
    compressed_bytes: float
    device: str = ""


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

    @cached_property
    def outcomes(self) -> tuple[Outcome, Outcome]:
        """Latency and file sizes of the original, and as they will be."""
        device = predictor()
        return _outcome_before(self.original, device.name), _outcome(self.network, device)

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """Every layer that costs something, with what it becomes."""
        found = pairs(self.original, self.network)
        return tuple(pair for pair in found if any(max(pair.cost(name)) for name in COSTS))

    @property
    def rows(self) -> list[Row]:
        """The plan: one row a step and layer."""
        return [row for sketch in self.sketches for row in sketch.rows]

    @property
    def idle(self) -> str:
        """Where no step changes anything: the first reason why; else ""."""
        if not self.rows or any(row.applies for row in self.rows):
            return ""
        return f"{self.rows[0].step}, {self.rows[0].layer}: {self.rows[0].action}."

    def seen_by(self, index: int) -> Network:
        """The network that the step at `index` of the recipe is given."""
        return self.sketches[index - 1].network if 0 < index <= len(self.sketches) else self.original


def _outcome(network: Network, device: Device) -> Outcome:
    return Outcome(device.latency_ms(network), file_bytes(network), compressed_bytes(network), device.name)


@lru_cache(maxsize=8)
def _outcome_before(network: Network, _device: str) -> Outcome:
    """Kept, since the original stays while a slider moves."""
    return _outcome(network, predictor())


def predict(study: Study, recipe: Recipe) -> Forecast:
    """The forecast of a recipe; one that cannot work leaves the network as it is and says why."""
    original = study.model.network
    try:
        return Forecast(recipe, original, tuple(recipe.sketches(study.model)))
    except WorkbenchError as error:
        return Forecast(recipe, original, problem=str(error))
