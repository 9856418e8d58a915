"""What each option costs in answers: how far outputs move when it is done alone, measured once and scaled.

A family is fitted to every layer at one rank, and each of its chains tried alone in the original network; a group of
channels is cut alone at one width. What is measured is the divergence of the outputs from the original's on calibration
inputs, as the task has it; where int8 follows, also with its rounding, and the larger one counts. Between ranks it goes
with the energy that the weight loses over what it keeps, between widths with what the readers of the channels lose over
what they keep (both in closed form); over layers it adds up. What joint results show comes in by a factor for each kind
of option, see `forecast`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from workbench.cost.layer import WITH_WEIGHTS
from workbench.cost.trace import trace
from workbench.jobs import Reporter
from workbench.modules.calling import call
from workbench.pruning.importance import norms_after
from workbench.search.menu import FAMILIES, KEEP, Chain, Menu, Selection, Width, at_ranks
from workbench.search.rounding import round_off
from workbench.statistics.collector import Feed, private
from workbench.steps.prune_channels import PruneChannels

if TYPE_CHECKING:
    from torch import Tensor, nn

    from workbench.cost.network import Network
    from workbench.factorization.step import Factorize
    from workbench.models.model import Model
    from workbench.pruning.widths import Scores
    from workbench.step import Context

#: The kinds of harm that are weighed against each other: of channels that go, of chains in layers' places, and of
#: residual blocks that went before anything is chosen.
KINDS = CHANNELS, CHAINS, BLOCKS = "channels", "chains", "blocks"
#: How far the harm of one group or layer may be from what was measured (a standard deviation, in natural logarithms).
DOUBT = 0.4


@dataclass(frozen=True)
class Harm:
    """Divergence by group and level, and by family and layer where half of the energy is lost; a factor a kind."""

    widths: tuple[tuple[float, ...], ...]
    chains: Mapping[tuple[str, str], float]  # (family, layer): divergence where as much is lost as stays
    factors: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(KINDS, 1.0))

    def of_width(self, group: int, level: int) -> float:
        """Of a group at one of its widths."""
        return _times(self.factors[CHANNELS], self.widths[group][level])

    def of_chain(self, layer: str, chain: Chain) -> float:
        """Of a chain in a layer's place; infinite harm where the family was not tried there."""
        if chain.family == KEEP:
            return 0.0
        return _times(self.factors[CHAINS], self.chains.get((chain.family, layer), np.inf) * _lost(chain))

    def parts(self, menu: Menu, selection: Selection) -> tuple[float, float]:
        """The harm of a selection, of channels and of chains, before the factors."""
        plain = replace(self, factors=dict.fromkeys(KINDS, 1.0))
        widths = sum(plain.of_width(group, level) for group, level in enumerate(selection.levels))
        chains = sum(plain.of_chain(layer, chain) for layer, chain in selection.chains.items())
        return widths, chains

    def shaken(self, seed: int) -> Harm:
        """As it might be too: what is said of each group and each layer is uncertain."""
        draw = np.random.default_rng(seed)
        widths = tuple(tuple(value * times for value in one) for one in self.widths for times in [_about(draw)])
        layers = {layer: _about(draw) for layer in sorted({layer for _, layer in self.chains})}
        return replace(self, widths=widths, chains={key: one * layers[key[1]] for key, one in self.chains.items()})

    def only(self, kind: str) -> Harm:
        """With options of one kind alone: the other's do infinite harm."""
        return replace(self, factors={one: factor if one == kind else np.inf for one, factor in self.factors.items()})


def carried(harm: Harm, menu: Menu, other: Menu) -> Harm:
    """The harm of another network's options, which is the first's with some of its layers gone.

    What a layer or a group does is taken to be what it did; of a group that is no longer whole, what it did at the
    width that is nearest.
    """
    widths = []
    for width in other.widths:
        number = next(
            number for number, one in enumerate(menu.widths) if set(width.group.layers) & set(one.group.layers)
        )
        known = menu.widths[number]
        shares = [known.removed(level) for level in range(len(known.kept))]
        widths.append(
            tuple(float(np.interp(width.removed(x), shares, harm.widths[number])) for x in range(len(width.kept)))
        )
    return replace(harm, widths=tuple(widths))


def _about(draw: np.random.Generator) -> float:
    return float(draw.lognormal(0.0, DOUBT))


def _lost(chain: Chain) -> float:
    """The energy that a chain loses of the weight over what it keeps."""
    return chain.loss / max(1 - chain.loss, 1e-3)


def _times(factor: float, harm: float) -> float:
    return factor * harm if harm else 0.0


def measured(model: Model, menu: Menu, scene: Context, report: Reporter, until: float = np.inf) -> Harm:
    """Try every family on every layer alone, and every group at one width alone. Raises: `Cancelled`, `StepFailed`.

    `scene` has the calibration inputs, all of which are looked at. Families that there is no time for before `until`,
    on the monotonic clock, are left out: what was not tried is not chosen.
    """
    trial = _Trial.of(model.module, model.network, scene, lowered=bool(menu.lowering))
    scores = PruneChannels().scores(trial.module, replace(scene, progress=report.part(0.0, 0.1)))
    widths = []
    for number, width in enumerate(menu.widths):
        report(0.1 + 0.4 * number / len(menu.widths), f"Trying {width.group.layers[0]} with fewer channels")
        widths.append(trial.of_group(width, scores[width.group.key]))
    chains: dict[tuple[str, str], float] = {}
    kinds = [one for one in FAMILIES if any(_tried(menu, one.__name__))]
    for number, kind in enumerate(kinds):
        if time.monotonic() > until:
            report.note(f"There was no time to try {', '.join(one.title for one in kinds[number:])}.")
            break
        part = report.part(0.5 + 0.5 * number / len(kinds), 0.5 + 0.5 * (number + 1) / len(kinds))
        chains |= trial.of_family(kind, dict(_tried(menu, kind.__name__)), part)
    return Harm(tuple(widths), chains)


def apart(module: nn.Module, other: nn.Module, network: Network, scene: Context) -> float:
    """How far another network's answers are from one's on calibration inputs, as harm is measured."""
    trial = _Trial.of(module, network, scene)
    return trial.divergence(private(other))


def _tried(menu: Menu, family: str) -> Iterator[tuple[str, Chain]]:
    """The chain of a family that each layer is tried with: the middle one of those that it is offered."""
    for slot in menu.slots:
        offered = sorted({one.chain for one in slot.options if one.chain.family == family}, key=lambda one: one.loss)
        if offered:
            yield slot.layer, offered[len(offered) // 2]


@dataclass(frozen=True)
class _Trial:
    """The original network, and what it answers on calibration inputs."""

    module: nn.Module
    scene: Context
    network: Network
    answers: list[Tensor]
    feed: Feed
    rounded: nn.Module | None = None  # the same in about int8, where that follows

    @classmethod
    def of(cls, module: nn.Module, network: Network, scene: Context, *, lowered: bool = False) -> _Trial:
        assert scene.calibration is not None
        own, feed = private(module), Feed.of(scene.calibration, network)
        rounded = round_off(private(module), _weighted(network)) if lowered else None
        return cls(own, scene, network, _answers(own, feed, scene), feed, rounded)

    @cached_property
    def start(self) -> float:
        """What int8 alone does."""
        return 0.0 if self.rounded is None else self.divergence(self.rounded)

    def divergence(self, module: nn.Module) -> float:
        """How far a network's answers are from the original's."""
        pairs = zip(_answers(module, self.feed, self.scene), self.answers, strict=True)
        parts = [float(self.scene.task.taught(one, other, 1.0)) * len(other) for one, other in pairs]
        return max(sum(parts) / len(self.feed), 0.0)

    def of_family(
        self, kind: type[Factorize], chains: Mapping[str, Chain], report: Reporter
    ) -> dict[tuple[str, str], float]:
        """For each layer the divergence where half of the energy is lost."""
        step = at_ranks(kind, {name: one.ranks for name, one in chains.items()})
        changed = step.apply(self.module, replace(self.scene, progress=report.part(0.0, 0.7)))
        norms = {name: one for name, one in _norms(self.network, self.module).items() if name in chains}
        inside, found = _weighted(trace(changed, self.scene.example)), {}
        for index, (name, chain) in enumerate(chains.items()):
            report(0.7 + 0.3 * index / len(chains), f"Trying {kind.title} on {name} alone")
            places = [name, *([norms[name]] if name in norms else [])]
            with _swapped(self.module, changed, places):
                plain = self.divergence(self.module)
            found[kind.__name__, name] = max(plain, self._in_int8(changed, places, inside)) / _lost(chain)
        return found

    def _in_int8(self, changed: nn.Module, places: Sequence[str], layers: Sequence[str]) -> float:
        """What a chain, the first of these places, adds to the divergence where int8 follows; those of the changed
        network's layers that are in it are rounded for good.

        Most chains add what they do in float. Those whose parts cancel add more.
        """
        if self.rounded is None:
            return 0.0
        round_off(changed, [one for one in layers if f"{one}.".startswith(f"{places[0]}.")])
        with _swapped(self.rounded, changed, places):
            return self.divergence(self.rounded) - self.start

    def of_group(self, width: Width, scores: Scores) -> tuple[float, ...]:
        """The divergence at each width of a group: measured at the middle one, elsewhere by what its readers lose.

        Of what they read a share s goes, and harm is as s / (1 - s): the last channels are dearer than the first.
        """
        if len(width.kept) == 1:
            return (0.0,)
        tried, rising = len(width.kept) // 2, np.sort(scores)
        lost = [_odds(rising, len(rising) - count) for count in width.kept]
        step = PruneChannels({width.group.layers[0]: width.removed(tried)}, rounds=1)
        narrower = step.apply(self.module, replace(self.scene, progress=Reporter()))
        found = self.divergence(narrower)
        if self.rounded is not None:
            layers = _weighted(trace(narrower, self.scene.example))
            found = max(found, self.divergence(round_off(narrower, layers)) - self.start)
        return tuple(found * one / lost[tried] if lost[tried] > 0 else 0.0 for one in lost)


def _odds(rising: Scores, count: int) -> float:
    """What goes with the channels of the lowest scores, over what stays."""
    stays = float(rising[count:].sum())
    return float(rising[:count].sum()) / stays if stays > 0 else float(count)


def _weighted(network: Network) -> list[str]:
    """The layers whose weights int8 rounds."""
    return [name for name, ops in network.by_module.items() if ops[0].kind in WITH_WEIGHTS]


def _answers(module: nn.Module, feed: Feed, scene: Context) -> list[Tensor]:
    with torch.no_grad():
        return [scene.task.tensor(call(module, batch)) for batch in feed]


def _norms(network: Network, module: nn.Module) -> dict[str, str]:
    """The path of the norm behind each layer, whose statistics a fit moves."""
    paths = {one: name for name, one in module.named_modules()}
    return {name: paths[norm] for name, norm in norms_after(network, module).items()}


@contextlib.contextmanager
def _swapped(module: nn.Module, other: nn.Module, places: Sequence[str]) -> Iterator[None]:
    """Some modules of another network in the places of one's own."""
    own = {name: module.get_submodule(name) for name in places}
    for name in places:
        module.set_submodule(name, other.get_submodule(name))
    try:
        yield
    finally:
        for name, one in own.items():
            module.set_submodule(name, one)
