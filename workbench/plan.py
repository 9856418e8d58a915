"""`Plan`: what a step or a recipe will do to a network, layer by layer, before anything runs. One frozen value.

Recipes give it (`recipe.plan(model)`), the screen draws it, the command line prints it, manifests and the engine's
checks read it. Its rows say in a `Decision` what happens to a layer, with the numbers; sentences are made from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from workbench.cost.by_layer import COSTS, Pair, pairs
from workbench.cost.compressed import compressed_bytes
from workbench.cost.file_size import file_bytes
from workbench.cost.network import Network, Totals
from workbench.cost.on_device import predictor
from workbench.errors import OutOfReach

if TYPE_CHECKING:
    import pandas as pd

    from workbench.cost.layer import Layer

LEFT = "left alone: "
EDGES = (
    "first or last layer: keeping {energy:.0%} of its energy saves nothing ({ranks_said}); an explicit rank overrides"
)


class Decision(Enum):
    """What happens to a layer: whether it changes, and the sentence that is made with the row's data."""

    # What changes a layer.
    FACTORIZED = True, "{ranks_said}"
    ZEROED = True, "{share:.0%} of {of} become zero; the shape stays"
    PATTERNED = True, "{n} of every {m} weights stay; the shape stays"
    CODED = True, "weights of {values}: {share:.0%} less to store, the same speed"
    SHARED = True, "at most {values} different weights{trained}; the shape stays"
    SHIFTED = True, "{channels} channels shifted, then a 1 x 1 convolution"
    NARROWED = True, "{before} to {about}{after} channels{together}"
    NARROWED_INPUT = True, "{inputs}{why}"
    FOLLOWS = True, "follows its input: {before} to {about}{after} channels"
    TRAINED = True, "trained for {times}, {how}"
    RE_ESTIMATED = True, "statistics from up to {images} calibration images"
    RESIZED = True, "sees images of {height} x {width}"
    IN_BITS = True, "{bits_said}{unless}"
    GOES = True, "goes{why}"
    CHANGED = True, "{what}"  # whatever has no word of its own
    # What leaves it as it is.
    END_KEPT = False, "the first and the last layer are kept"
    NO_ZEROS = False, "{share:.0%} of {of} become zero; the shape stays"
    NOT_CHOSEN = False, "not among the chosen layers"
    UNFIT = False, LEFT + "{why}"
    BROKEN = False, LEFT + "its weights hold NaN or infinite values"
    UNNAMED = False, LEFT + "the mapping of ranks does not name it"
    FULL_RANK = False, LEFT + "{ranks_said} is the full rank, nothing to save"
    LARGER = False, LEFT + "{ranks_said} would make it {times:.2f} times as large"
    EDGE = False, LEFT + EDGES
    BETTER_SPENT = False, LEFT + "the budget is better spent on other layers"
    OUT_OF_REACH = False, LEFT + "the budget cannot be reached"
    TIED = False, "{why}"
    FROZEN = False, "{why}"
    FOLLOWS_UNCHANGED = False, "follows its input, which keeps its {before} channels"
    KEEPS_WIDTH = False, "{why}"
    FLOAT = False, "stays in float32: {why}"
    NOTHING = False, LEFT + "the network has no {treats}"
    STAYS = False, "stays: {why}"  # whatever has no word of its own

    applies: bool
    sentence: str

    def __new__(cls, applies: bool, sentence: str) -> Decision:
        """Decisions of one sentence are different ones."""
        one = object.__new__(cls)
        one._value_ = len(cls.__members__)
        one.applies, one.sentence = applies, sentence
        return one


class Row(NamedTuple):
    """One line of a plan: what a step will do to a layer, or why it leaves it alone."""

    step: str
    layer: str
    kind: str
    decision: Decision
    data: Mapping[str, Any] = {}  # what the decision's sentence is made with
    macs: int = 0
    macs_after: int = 0
    params: int = 0
    params_after: int = 0
    relative_error: float | None = None  # of the weight, where the step knows it in closed form
    about: bool = False  # settled only once an earlier step has made the weights

    @property
    def applies(self) -> bool:
        """Whether the layer changes."""
        return self.decision.applies

    @property
    def action(self) -> str:
        """What happens to the layer, or why nothing does, as a sentence."""
        said = self.decision.sentence.format_map(self.data)
        if not self.about:
            return said
        return f"about {said}" if self.applies else f"{said}; what an earlier step makes of it may change that"


def row(step: str, layer: Layer, decision: Decision, data: Mapping[str, Any], after: Layer | None = None) -> Row:
    """The line about one layer, which becomes `after` or keeps its costs."""
    macs, params, _ = layer.costs
    new_macs, new_params, _ = layer.costs if after is None else after.costs
    return Row(step, layer.module or layer.name, layer.kind, decision, data, macs, new_macs, params, new_params)


@dataclass(frozen=True)
class Plan:
    """What a step or a recipe will do to `original`: the rows, the network after it, and what follows from both.

    `exact`: it follows from shapes and from weights that are known, and must come true to the number. Where weights
    that an earlier step will make decide, or the data do, the rows say "about".
    `parts`: of a recipe, the plan of each step on the network that the steps before it leave.
    `problem`: why it cannot be carried out, where a budget is out of reach; the rows say for every layer why.

    As a table, for people: `frame()`, whose columns and methods are at hand on the plan itself.
    """

    original: Network
    network: Network
    rows: tuple[Row, ...]
    exact: bool = True
    parts: tuple[Plan, ...] = field(default=(), repr=False)
    problem: str = ""

    @property
    def before(self) -> Totals:
        """The costs of the network that it is for."""
        return self.original.totals

    @property
    def totals(self) -> Totals:
        """The costs as they will be."""
        return self.network.totals

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one input, as they will be."""
        return self.totals.macs

    @property
    def params(self) -> int:
        """Parameters, as they will be."""
        return self.totals.params

    @property
    def memory_access_bytes(self) -> int:
        """Bytes that the runtime will move for one input."""
        return self.totals.memory_access_bytes

    @property
    def peak_activation_bytes(self) -> int:
        """The largest sum of tensors that will be alive at once."""
        return self.totals.peak_activation_bytes

    @property
    def latency_ms(self) -> float:
        """Predicted milliseconds for one input on this machine; on a server core until it is calibrated."""
        return predictor().latency_ms(self.network)

    @cached_property
    def file_bytes(self) -> float:
        """Bytes of the exported file, as predicted."""
        return file_bytes(self.network)

    @cached_property
    def compressed_bytes(self) -> float:
        """Bytes of the exported file once it is compressed, as predicted."""
        return compressed_bytes(self.network)

    @cached_property
    def weight_errors(self) -> Mapping[str, float]:
        """The relative error of each layer's weight that is approximated, where it is known in closed form."""
        return {one.layer: one.relative_error for one in self.rows if one.applies and one.relative_error is not None}

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """Every layer that costs something, with what it becomes."""
        found = pairs(self.original, self.network)
        return tuple(pair for pair in found if any(max(pair.cost(name)) for name in COSTS))

    @property
    def changes(self) -> bool:
        """Whether any layer changes."""
        return any(one.applies for one in self.rows)

    @property
    def idle(self) -> str:
        """Where no layer changes: the first reason why; else ""."""
        if not self.rows or self.changes:
            return ""
        return f"{self.rows[0].step}, {self.rows[0].layer}: {self.rows[0].action}."

    def seen_by(self, index: int) -> Network:
        """The network that the step at `index` of a recipe is given."""
        return self.parts[index - 1].network if 0 < index <= len(self.parts) else self.original

    def required(self) -> Plan:
        """The plan itself. Raises: `OutOfReach` where it cannot be carried out."""
        if self.problem:
            raise OutOfReach(self.problem, self.rows)
        return self

    def frame(self) -> pd.DataFrame:
        """One row a step and layer.

        Columns: step, layer, kind, applies, action, macs, macs_after, params, params_after, relative_error.
        """
        import pandas as pd

        columns = [
            "step", "layer", "kind", "applies", "action", "macs", "macs_after", "params", "params_after",
            "relative_error",
        ]  # fmt: skip
        return pd.DataFrame([[getattr(one, name) for name in columns] for one in self.rows], columns=columns)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # what copying and pickling ask for
            raise AttributeError(name)
        return getattr(self.frame(), name)

    def __getitem__(self, key: Any) -> Any:
        return self.frame()[key]

    def __len__(self) -> int:
        return len(self.rows)

    def __bool__(self) -> bool:
        return True  # the plan of an empty recipe is one, too

    def _repr_html_(self) -> str:
        return str(self.frame()._repr_html_())  # type: ignore[operator]  # pandas' own, which its stubs do not know

    def __str__(self) -> str:
        return self.frame().to_string()


def chained(original: Network, parts: Sequence[Plan]) -> Plan:
    """The plan of steps one after the other."""
    return Plan(
        original,
        parts[-1].network if parts else original,
        tuple(one for part in parts for one in part.rows),
        all(part.exact for part in parts),
        tuple(parts),
        next((part.problem for part in parts if part.problem), ""),
    )
