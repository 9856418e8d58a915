"""`PruneChannels`: whole channels removed for real, through every layer that is tied to them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from workbench.cost.layer import WITH_WEIGHTS, Layer
from workbench.cost.network import Network
from workbench.cost.trace import trace
from workbench.cost.weights import Weights
from workbench.data import Split
from workbench.errors import BadValue, OutOfReach
from workbench.lowrank.ranks import freeze, thaw
from workbench.modules.calling import call, copied, first
from workbench.pruning.axes import Units
from workbench.pruning.channels import OUTPUTS, Channels, Group, follow, makes
from workbench.pruning.importance import (
    FROM_WEIGHTS,
    KINDS,
    Reader,
    by_gradient,
    by_readers,
    from_weights,
    narrowed,
    readers,
)
from workbench.pruning.refit import refit
from workbench.pruning.surgery import cut
from workbench.pruning.widths import Goal, Scores, Widths
from workbench.settings import doublings
from workbench.statistics.collector import Feed
from workbench.statistics.moments import collect
from workbench.step import Context, Decision, Layers, Plan, Rewrite, Row, Step, layers_setting, row, select, setting
from workbench.steps.recalibrate import Recalibrate
from workbench.tasks.entropy import cross_entropy

if TYPE_CHECKING:
    from torch import nn

#: What is said of a layer whose outputs stay; its inputs may change with those of the layers before it.
_UNTOUCHED = frozenset({Decision.FROZEN, Decision.KEEPS_WIDTH, Decision.NOT_CHOSEN, Decision.TIED})
#: What tells one group from another: the layers that make its channels, and those that read them.
Key = tuple[tuple[str, ...], tuple[str, ...]]
#: Images that scores and fits look at in every round.
IMAGES = 500


@dataclass(frozen=True)
class PruneChannels(Rewrite):
    """Remove the channels that matter least, in several small cuts, and fit the layers that read them anew.

    Layers whose channels are added, concatenated or passed on by a depthwise convolution lose the same
    channels together: the plan shows them as a group. What cannot be followed is left alone, with the reason.
    The widths come first, in closed form; the importance then says which channels go. Sources: Li et al.
    2017; Liu et al. 2017; Molchanov et al. 2017; He et al. 2017 for the fit; Fang et al. 2023 for the groups.
    """

    title: ClassVar[str] = "Prune channels"
    summary: ClassVar[str] = "Remove whole channels: fewer MACs and a network that is faster on any hardware."
    family: ClassVar[str] = "pruning"
    settles_norms: ClassVar[bool] = True

    ratio: float | str | Mapping[str, float] = setting(
        "macs:0.5",
        "rank",
        "Share of the channels to remove, of all layers or {layer: share}; 'macs:0.5' leaves half of the MACs.",
        low=0.05,
        high=0.95,
    )
    importance: str = setting(
        "activation",
        "choice",
        "What makes a channel matter: its weights, its batch-norm scale, the loss's gradient, or what its readers "
        "would lose.",
        choices=KINDS,
    )
    scope: str = setting(
        "layer",
        "choice",
        "The same share in every layer, or one threshold over all layers.",
        choices=("layer", "global"),
    )
    # 16 floats are a vector register: `benchmarks/pruning.py --parts rounding` shows what that is worth.
    round_to: int = setting(
        16,
        "integer",
        "Widths become multiples of this, which kernels like; finer in narrow layers.",
        low=1,
        high=64,
        stops=doublings(1, 64),
    )
    rounds: int = setting(3, "integer", "Cuts that it takes, so that what each one changes counts.", low=1, high=20)
    refit: bool = setting(True, "flag", "Fit the layers behind anew on calibration images after each cut.")
    layers: Layers = layers_setting()

    def __post_init__(self) -> None:
        object.__setattr__(self, "ratio", freeze(self.ratio))
        super().__post_init__()
        self._goal()

    def options(self) -> dict[str, Any]:
        """The settings that differ from their defaults, as plain values."""
        return {name: thaw(value) for name, value in super().options().items()}

    @property
    def effort(self) -> float:
        """That of its cuts."""
        return 6.0 * self.rounds

    # The plan.

    def plan_on(self, network: Network, weights: Weights) -> Plan:
        """The widths of every group. Exact but for one threshold over scores that only the data tell."""
        channels = _followed(network, weights)
        groups = self._groups(channels)
        try:
            widths = self._goal().widths(channels, groups, self._known_scores(channels, groups, weights))
        except OutOfReach as error:
            raise OutOfReach(str(error), self._refused(channels)) from error
        after = widths.network
        rows = [
            self._row(channels, layer, new, widths)
            for layer, new in zip(network.layers, after.layers, strict=True)
            if layer.module and layer.kind in WITH_WEIGHTS
        ]
        return Plan(network, after, tuple(rows), self.exact)

    def _refused(self, channels: Channels) -> list[Row]:
        """A row for each layer whose channels cannot be removed, or not far enough for the budget."""
        rows = []
        for layer in channels.network.layers:
            if layer.module and layer.kind in WITH_WEIGHTS:
                why = channels.why_frozen(layer.module) if layer.module in channels.made else ""
                decision = Decision.UNFIT if why else Decision.OUT_OF_REACH
                rows.append(row(self.brief, layer, decision, {"why": why}))
        return rows

    def without(self, layers: Collection[str], network: Network, weights: Weights) -> Step | None:
        """As for every step; of the layers that only follow their input none can be named."""
        made = _followed(network, weights).made
        return super().without([name for name in layers if name in made], network, weights)

    @property
    def exact(self) -> bool:
        """True when the widths follow from shapes and weights alone."""
        return self.scope == "layer" or self.importance in FROM_WEIGHTS

    def _goal(self) -> Goal:
        ratio, where = self.ratio, f"PruneChannels(ratio={self.ratio!r})"
        if isinstance(ratio, str):
            kind, _, text = ratio.partition(":")
            try:
                share = float(text) if kind == "macs" else -1.0
            except ValueError:
                share = -1.0
            if not 0 < share <= 1:
                raise BadValue(f"{where}: write a share of channels such as 0.5, or the MACs to keep as 'macs:0.5'.")
            return Goal(None, share, self.round_to)
        if isinstance(ratio, Mapping):
            wrong = {name: one for name, one in ratio.items() if not _is_share(one)}
            if wrong or not ratio or self.scope != "layer":
                raise BadValue(
                    f"{where}: give each layer the share of its channels to remove, at least 0 and less than 1. One "
                    "threshold over all layers (scope='global') has no use for shares."
                )
            return Goal(ratio, None, self.round_to)
        if not _is_share(ratio):
            hint = f" For {ratio:g} % write {ratio / 100:g}." if isinstance(ratio, (int, float)) and ratio > 1 else ""
            raise BadValue(f"{where}: the ratio must be at least 0 and less than 1, or 'macs:0.5'.{hint}")
        return Goal(float(ratio), None, self.round_to)

    def _groups(self, channels: Channels) -> tuple[Group, ...]:
        """The groups all of whose layers are chosen."""
        chosen = set(select(self.layers, channels.made))
        return tuple(group for group in channels.groups if chosen.issuperset(group.layers))

    def _known_scores(self, channels: Channels, groups: tuple[Group, ...], weights: Weights) -> list[Scores] | None:
        """Scores for one threshold from the weights, where these are known; a stand-in for those from data."""
        unknown = any(weights.of(name) is None for group in groups for name in group.layers)
        if self.scope == "layer" or unknown:
            return None
        kind = self.importance if self.importance in FROM_WEIGHTS else "magnitude"
        return from_weights(kind, weights.module, channels, groups)

    def _row(self, channels: Channels, layer: Layer, new: Layer, widths: Widths) -> Row:
        changes = (layer.input, layer.output) != (new.input, new.output)
        decision, data = self._decision(channels, layer, new, widths)
        if changes and decision in _UNTOUCHED:
            decision = Decision.NARROWED_INPUT
        return row(self.brief, layer, decision, data, new)

    def _decision(
        self, channels: Channels, layer: Layer, new: Layer, widths: Widths
    ) -> tuple[Decision, dict[str, Any]]:
        """What happens to a layer's outputs, and why."""
        name = layer.module
        width = {"before": layer.c_out, "after": new.c_out, "about": "" if self.exact else "about "}
        if not makes(layer):
            return Decision.FOLLOWS if layer.c_out != new.c_out else Decision.FOLLOWS_UNCHANGED, width
        inputs = "" if layer.c_in == new.c_in else f"inputs {layer.c_in} to {width['about']}{new.c_in}; "
        group = next((g for g in channels.groups if name in g.layers), None)
        if group is None:
            return Decision.FROZEN, {"inputs": inputs, "why": "outputs left alone: " + channels.why_frozen(name)}
        tied = ", ".join(other for other in group.layers if other != name)
        if group not in widths.groups:
            return self._not_chosen(channels, group, name, inputs)
        if layer.c_out == new.c_out:
            why = f"keeps its {layer.c_out} channels"
            return Decision.KEEPS_WIDTH, {"inputs": inputs, "why": why}
        return Decision.NARROWED, {**width, "together": f", together with {tied}" if tied else ""}

    def _not_chosen(self, channels: Channels, group: Group, name: str, inputs: str) -> tuple[Decision, dict[str, Any]]:
        chosen = set(select(self.layers, channels.made))
        if name not in chosen:
            return Decision.NOT_CHOSEN, {"inputs": inputs, "why": "not among the chosen layers"}
        others = ", ".join(other for other in group.layers if other not in chosen and other != name)
        return Decision.TIED, {"inputs": inputs, "why": f"left alone: tied to {others}, not chosen"}

    # The work.

    def apply(self, module: nn.Module, context: Context) -> nn.Module:
        """A copy with fewer channels. Raises: `BadValue`, `StepFailed`, `Cancelled`."""
        channels = follow(trace(module, context.example), module, context.example)
        groups, report = self._groups(channels), context.progress
        known = self._read(module, channels, groups, replace(context, progress=report.part(0.0, 0.6)))
        scores = None if self.scope == "layer" else self._scores(module, channels, groups, known, context)
        final = self._goal().widths(channels, groups, scores)
        goal = {group.key: (len(group.units), kept) for group, kept in zip(final.groups, final.kept, strict=True)}
        self._tell(channels, context, any(kept < count for count, kept in goal.values()))
        module = copy.deepcopy(module)
        cutting = report.part(0.6, 0.85)
        for index in range(self.rounds):
            scene = replace(context, progress=cutting.part(index / self.rounds, (index + 1) / self.rounds))
            if index and self.importance == "taylor":  # whose gradients are those of the network as it has become
                module = Recalibrate(images=IMAGES).apply(module, scene)
            module, known = self._round(module, known, _between(goal, (index + 1) / self.rounds), scene)
        return Recalibrate(images=IMAGES).apply(module, replace(context, progress=report.part(0.85, 1.0)))

    def scores(self, module: nn.Module, context: Context) -> dict[Key, Scores]:
        """How much each unit matters, of every group whose layers are chosen, by the group's key."""
        channels = follow(trace(module, context.example), module, context.example)
        groups = self._groups(channels)
        known = self._read(module, channels, groups, context)
        found = self._scores(module, channels, groups, known, context)
        return {group.key: one for group, one in zip(groups, found, strict=True)}

    def _tell(self, channels: Channels, context: Context, cuts: bool) -> None:
        """What could not be done as asked."""
        if cuts and context.calibration is None and (self.refit or self.importance not in FROM_WEIGHTS):
            context.progress.note(
                f"{self.brief}: without calibration images channels are scored by magnitude and nothing is fitted anew."
            )
        tied = {name for group in channels.groups for name in group.layers}
        chosen = select(self.layers, channels.made)
        skipped = [f"{name} ({channels.why_frozen(name)})" for name in chosen if name not in tied]
        skipped = [one for one in skipped if OUTPUTS not in one]
        if skipped:
            context.progress.note(f"{self.brief} could not follow the channels of {', '.join(skipped)}; they stay.")

    def _round(
        self, module: nn.Module, known: dict[str, Reader], goal: dict[Key, int], context: Context
    ) -> tuple[nn.Module, dict[str, Reader]]:
        """One cut to the widths of `goal`, and what is known of the readers behind it."""
        channels = follow(trace(module, context.example), module, context.example)
        groups = tuple(g for g in channels.groups if goal.get(g.key, len(g.units)) < len(g.units))
        if not groups:
            return module, known
        context.progress(0.0, "Removing channels" + ", and fitting the layers behind anew" * self.refit)
        scores = self._scores(module, channels, groups, known, context)
        counts = tuple(goal[group.key] for group in groups)
        best = [_highest(*one) for one in zip(groups, scores, counts, strict=True)]
        kept = Widths(channels, groups, counts).mask(best)
        if self.refit:
            refit(module, channels, kept, known)
        return cut(module, channels, kept), narrowed(known, channels, kept)

    def _read(
        self, module: nn.Module, channels: Channels, groups: Sequence[Group], context: Context
    ) -> dict[str, Reader]:
        """What is known of the layers that read channels of the groups, where that is needed: one pass over the images.

        It serves every round: what is left of a moment when inputs go is a part of it.
        """
        if context.calibration is None or not (self.refit or self.importance == "activation"):
            return {}
        feed = Feed.of(context.calibration.first(IMAGES), channels.network)
        moments = collect(module, _readers(channels, groups), feed, context.progress.part(0.0, 0.8), context.seed)
        return readers(module, channels, moments, context.progress.part(0.8, 1.0))

    def _scores(
        self, module: nn.Module, channels: Channels, groups: Sequence[Group], known: dict[str, Reader], context: Context
    ) -> list[Scores]:
        """The scores of every group's units."""
        if self.importance == "taylor" and context.calibration is not None:
            return by_gradient(module, channels, groups, *_judged(module, context), context.progress)
        if self.importance == "activation" and known:
            return by_readers(module, channels, groups, known)
        kind = self.importance if self.importance in FROM_WEIGHTS else "magnitude"
        return from_weights(kind, module, channels, groups)


def _is_share(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1


def _followed(network: Network, weights: Weights) -> Channels:
    return follow(network, weights.module, weights.example)


def _highest(group: Group, scores: Scores, count: int) -> Units:
    return np.sort(group.units[np.argsort(-scores, kind="stable")[:count]])


def _between(goal: dict[Key, tuple[int, int]], share: float) -> dict[Key, int]:
    """Widths on the way from the old to the new ones, by equal factors."""
    return {key: round(old * (new / old) ** share) for key, (old, new) in goal.items()}


def _readers(channels: Channels, groups: Sequence[Group]) -> dict[str, Layer]:
    """The layers that read channels of the groups, and can be fitted anew."""
    units: Units = np.concatenate([group.units for group in groups]) if groups else np.empty(0, dtype=np.int64)
    return {
        layer.module: layer
        for layer, reads in zip(channels.network.layers, channels.reads, strict=True)
        if makes(layer) and layer.kind != "conv_transpose" and layer.groups == 1 and len(layer.kernel) < 3
        and layer.module and np.isin(reads, units).any()
    }  # fmt: skip


@torch.no_grad()
def _judged(module: nn.Module, context: Context) -> tuple[Split, Callable[[Any, Any], torch.Tensor]]:
    """Labelled images, and the loss whose gradients say what is missed: the task's, on training images.

    Without labels to train on, the network's own classes stand in for them; where its outputs are values, random
    directions of these, along which a change has on average its own size (Hutchinson 1990).
    """
    train, task = context.train, context.task
    if train is not None and train.labelled and task.loss is not None:
        return train.first(IMAGES), lambda outputs, labels: task.on(outputs, labels) * len(labels)
    assert context.calibration is not None
    images, network = context.calibration.first(IMAGES), trace(module, context.example)
    one = task.tensor(call(module, copied(context.example)))
    if task.answers is not None and one.dim() > 1 and one.shape[1] > 1:
        said = torch.cat([task.tensor(call(module, batch)).argmax(1) for batch in Feed.of(images, network)])
        return images.with_labels(said), lambda given, labels: cross_entropy(first(given), labels, reduction="sum")
    shape = (len(images), *one.shape[1:])
    directions = torch.randn(shape, generator=torch.Generator().manual_seed(context.seed))
    return images.with_labels(directions), lambda given, along: (task.tensor(given) * along).sum()
