"""A canonical graph followed operation by operation: which channel each position of every tensor came from.

Nothing is computed that a layer computes: its output is noise of the right shape, its channels are new units. All
else is run, on noise, and watched (`operators`). Where an axis was split, channels may go along one of its parts, such
as the heads of an attention or the features of each: where the first choice leads nowhere the walk is done again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.utils._pytree import tree_flatten, tree_map

from workbench.cost.kinds import KINDS
from workbench.cost.layer import Layer
from workbench.cost.network import Network
from workbench.cost.weights import tied_weights
from workbench.modules.calling import Inputs, arguments
from workbench.pruning.axes import Axes, Spread, Ties, Units
from workbench.pruning.choices import Choices
from workbench.pruning.makers import MAKERS, Place, between, fitted, make
from workbench.pruning.operators import Labelling
from workbench.pruning.recorded import MISSING, Recorded, by_shape, last_uses
from workbench.pruning.resizing import Resized, run
from workbench.pruning.trials import Trial

Tensor = torch.Tensor

OUTPUTS = "its outputs are the network's outputs"
#: Walks at most: choices that are open in one network are few.
WALKS = 4


@dataclass
class Followed:
    """What a walk found; units are as they were made, before ties."""

    ties: Ties
    places: list[Place]
    facts: dict[fx.Node, Any]  # the `Spread` of each node that is a tensor, tuples of them, numbers
    constants: dict[str, Axes] = field(default_factory=dict)  # of tensors that no layer holds, by path
    parameters: dict[str, Units] = field(default_factory=dict)  # of layers with numbers for each channel, by path

    def free(self) -> float:
        """The multiply-accumulates of the layers that have channels to lose."""
        frozen = np.array(sorted(self.ties.frozen), dtype=np.int64)
        rooted = ((place, self.ties.roots(units)) for place in self.places for units in [place.made] if len(units))
        return sum(place.layer.macs for place, roots in rooted if not np.isin(roots, frozen).all())


def walk(network: Network, module: fx.GraphModule, example: Inputs | None) -> Followed:
    """Follow every channel; of several walks that which leaves the most layers something to cut."""
    memo: dict[Any, Any] = {}
    choices: Choices | None = Choices()
    best: Followed | None = None
    for _ in range(WALKS):
        assert choices is not None
        found = _Walk(network, module, choices, memo).run(example)
        best = found if best is None or found.free() > best.free() else best
        choices = choices.next(found.ties)
        if choices is None:
            break
    assert best is not None
    return best


class _Walk:
    def __init__(self, network: Network, module: fx.GraphModule, choices: Choices, memo: dict[Any, Any]) -> None:
        self.module, self.network = module, network
        self.parts = dict(module.named_modules())
        self.ties = Ties()
        self.mode = Labelling(self.ties, choices, memo)
        self.values: dict[fx.Node, Any] = {}
        self.by_tensor: dict[int, Tensor] = {}
        self.places = {id(layer): Place(layer) for layer in network.layers}
        self.found = Followed(self.ties, [], {})
        self.trial = Trial(self.ties, self.mode, self.parts, self.values, self.found.facts)
        self.calls = Counter(str(node.target) for node in module.graph.nodes if node.op == "call_module")
        self.tied = tied_weights(module)
        self.recorded = Recorded(network)

    def run(self, example: Inputs | None) -> Followed:
        """Every operation in turn."""
        last = last_uses(self.module.graph)
        self._inputs(example)
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            for node in self.module.graph.nodes:
                self.mode.begin(node.name, self.recorded.title(node))
                if node.op != "placeholder":
                    self.values[node] = self._visit(node)
                    self.found.facts[node] = tree_map(self._fact, self.values[node])
                for gone in last.get(node, ()):
                    self.values.pop(gone, None)
        self.found.places = [self.places[id(layer)] for layer in self.network.layers]
        return self.found

    def _fact(self, value: Any) -> Any:
        return self.mode.spread(value) if isinstance(value, Tensor) else value

    def _inputs(self, example: Inputs | None) -> None:
        nodes = [node for node in self.module.graph.nodes if node.op == "placeholder"]
        if example is None:
            given: list[Any] = [self.recorded.shaped(index) for index in range(len(nodes))]
        else:
            args, kwargs = arguments(example)
            given = [*args, *(kwargs[str(node.target)] for node in nodes[len(args) :])]
        count = 0
        for node, value in zip(nodes, given, strict=True):
            made = tree_map(self._stand_in, value)
            for leaf in tree_flatten(made)[0]:
                if isinstance(leaf, Tensor):
                    self.by_tensor[count] = self.mode.put(leaf, {})
                    count += 1
            self.values[node] = made
            self.found.facts[node] = tree_map(self._fact, made)

    def _stand_in(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        return self._noise(value.shape) if value.is_floating_point() else value.detach().clone().cpu()

    def _noise(self, shape: Sequence[int]) -> Tensor:
        return torch.empty(tuple(shape), device="meta")

    # One operation.

    def _visit(self, node: fx.Node) -> Any:
        if node.op == "get_attr":
            return self._constant(str(node.target))
        if node.op == "output":
            return self._output(node)
        layers = self.recorded.layers(node)
        self._fill_missing(node, layers)
        if any(self.values.get(one) is MISSING for one in node.all_input_nodes):
            return self._unknown(node, layers) if layers else MISSING
        value = self._layer(node, layers) if node.op == "call_module" else None
        if value is None:
            value = self._plain(node, layers)
        if node.op == "call_module" and self.calls[str(node.target)] > 1 and self._cuttable(str(node.target)):
            self._stay(node, value, f"{node.target!r} is used more than once")
        self._written(layers, value)
        return value

    def _cuttable(self, path: str) -> bool:
        """Whether a layer itself changes when channels go."""
        part = self.parts[path]
        return isinstance(part, nn.Unflatten) or next(part.parameters(), next(part.buffers(), None)) is not None

    def _fill_missing(self, node: fx.Node, layers: list[Layer]) -> None:
        """What reads a block that was taken out reads what went into it."""
        gone = [one for one in node.all_input_nodes if self.values.get(one) is MISSING]
        if len(gone) != 1 or not layers:
            return
        present = [self.values.get(one) for one in node.all_input_nodes if one not in gone]
        for tensor in layers[0].reads:
            value = self.by_tensor.get(tensor)
            if value is not None and not any(value is one for one in present):
                self.values[gone[0]] = value
                self.found.facts[gone[0]] = self._fact(value)
                return

    def _unknown(self, node: fx.Node, layers: list[Layer]) -> Tensor:
        """A result of which the shape alone is known."""
        tensors = [one for one in map(self.values.get, node.all_input_nodes) if isinstance(one, Tensor)]
        for tensor in tensors:
            for units in self.mode.axes(tensor).values():
                self.ties.freeze(units, f"{self.recorded.title(node)!r} works on them in a way that is not followed")
        value = self.mode.put(self._noise((1, *layers[-1].output)), {})
        self._written(layers, value)
        return value

    def _written(self, layers: list[Layer], value: Any) -> None:
        tensors = [one for one in tree_flatten(value)[0] if isinstance(one, Tensor)]
        for layer, tensor in zip(layers[-len(tensors) :], tensors, strict=False):
            self.by_tensor[layer.writes] = tensor

    def _constant(self, path: str) -> Any:
        parent, _, leaf = path.rpartition(".")
        held = getattr(self.module.get_submodule(parent), leaf)
        if not isinstance(held, Tensor) or not held.is_floating_point() or not held.dim():
            return held
        if path not in self.found.constants:
            sized = {axis: size for axis, size in enumerate(held.shape) if size > 1}
            self.found.constants[path] = {axis: self.ties.fresh(size) for axis, size in sized.items()}
            if parent in self.tied:
                for units in self.found.constants[path].values():
                    self.ties.freeze(units, f"it shares its weight with {self.tied[parent]!r}")
        return self.mode.put(self._noise(held.shape), self.found.constants[path], data=False)

    def _output(self, node: fx.Node) -> Any:
        for one in node.all_input_nodes:
            for value in tree_flatten(self.values.get(one))[0]:
                for units in self.mode.axes(value).values() if isinstance(value, Tensor) else ():
                    self.ties.freeze(units, OUTPUTS)
        return None

    def _stay(self, node: fx.Node, value: Any, why: str) -> None:
        for one in (*map(self.values.get, node.all_input_nodes), value):
            if isinstance(one, Tensor):
                for units in self.mode.axes(one).values():
                    self.ties.freeze(units, why)

    # Layers.

    def _layer(self, node: fx.Node, layers: list[Layer]) -> Any:
        """The result of a layer with numbers for each channel; None for any other."""
        path, x = str(node.target), self.values[node.args[0]]  # type: ignore[index]  # a node
        part = self.parts.get(path)
        if any(layer.kind in MAKERS and layer.module for layer in layers):
            return self._made(node, layers, x)
        if isinstance(part, MAKER_TYPES) and not layers:  # taken out, or of constants alone
            return MISSING if self.mode.is_data(x) else None
        if isinstance(part, (_BatchNorm, _InstanceNorm, nn.GroupNorm)):
            return self._norm(path, part, layers, x) if layers else MISSING
        if isinstance(part, nn.PReLU) and part.num_parameters > 1:
            return self._alone(path, layers, x, 1)
        if isinstance(part, nn.Embedding):
            self.found.parameters[path] = units = self.ties.fresh(part.embedding_dim)
            value = self.mode.put(self._noise((*x.shape, part.embedding_dim)), {x.dim(): units})
            self._note(layers, [], value, units)
            return value
        return None

    def _made(self, node: fx.Node, layers: list[Layer], x: Tensor) -> Tensor:
        state = self.mode.spread(x)
        for layer in layers:
            place = self.places[id(layer)]
            why = self.tied.get(layer.module, "")
            if layer.kind in MAKERS and layer.module:
                state = make(place, state, self.ties)
                if why:
                    self.ties.freeze(np.concatenate([place.made, place.taken]), f"it shares its weight with {why!r}")
            else:
                part = self.parts.get(layer.module)
                state = between(place, state, self.ties, isinstance(part, _BatchNorm))
                if isinstance(part, _BatchNorm) and 1 in state.axes:
                    self.found.parameters[layer.module] = state.axes[1]
        return self.mode.put(self._noise(state.shape), state.axes)

    def _norm(self, path: str, norm: Any, layers: list[Layer], x: Tensor) -> Tensor:
        units = self.mode.axes(x).get(1)
        if units is not None and isinstance(norm, nn.GroupNorm):
            if norm.num_groups == 1:
                self.ties.freeze(units, f"{path!r} normalises over several channels")
            else:  # a group of channels goes as a whole, or the others' statistics would change
                rows = units.reshape(norm.num_groups, -1)
                self.ties.tie(np.broadcast_to(rows[:, :1], rows.shape).reshape(-1), rows.reshape(-1))
        return self._alone(path, layers, x, 1)

    def _alone(self, path: str, layers: list[Layer], x: Tensor, axis: int) -> Tensor:
        """A layer that has numbers for each channel and leaves them where they are."""
        axes = self.mode.axes(x)
        for place, units in axes.items():
            if place != axis:
                self.ties.freeze(units, f"{path!r} works along another axis")
        if axis in axes:
            self.found.parameters[path] = axes[axis]
        value = self.mode.put(self._noise(x.shape), axes)
        self._note(layers, [self.mode.spread(x)], value, axes.get(axis))
        return value

    def _note(self, layers: list[Layer], reads: list[Spread], value: Tensor, weighed: Units | None) -> None:
        """Where channels are in the operations that one layer is recorded as."""
        spread = self.mode.spread(value)
        for layer in layers:
            place = self.places[id(layer)]
            place.reads = fitted(reads[0] if reads else spread, layer.input) if reads else {}
            place.writes = fitted(spread, layer.output)
            if layer.weights and weighed is not None:
                place.weighed = (weighed,)

    # Everything else.

    def _plain(self, node: fx.Node, layers: list[Layer]) -> Any:
        try:
            value = self._run(node)
        except Exception:  # noqa: BLE001  # sizes that an earlier step changes, or what torch cannot run on noise
            if not layers:
                return MISSING if self._reads_data(node) else None
            return self._unknown(node, layers)
        real = [one for one in self.mode.seen if KINDS.get(_packet(one.op), "other") != "reshape"]
        if real and not layers:
            return MISSING
        self._note_all(node, layers, value)
        if any(self.mode.axes(one) for one in self._tensors(node)) and self._may_not_follow(node):
            self.found.facts[node] = tree_map(self._fact, value)
            self.trial.check(node, self.recorded.title(node))
        return value

    def _run(self, node: fx.Node) -> Any:
        def given(one: fx.Node) -> Any:
            return self.values[one]

        with sdpa_kernel(SDPBackend.MATH), self.mode:  # as its cost is counted
            if node.op == "call_module":
                return self.parts[str(node.target)](*fx.map_arg(node.args, given))
            return run(Resized(node.target, node.args, dict(node.kwargs)), node.op, given)

    def _tensors(self, node: fx.Node) -> list[Tensor]:
        values = (tree_flatten(self.values.get(one))[0] for one in node.all_input_nodes)
        return [one for several in values for one in several if isinstance(one, Tensor)]

    def _reads_data(self, node: fx.Node) -> bool:
        return any(map(self.mode.is_data, self._tensors(node)))

    def _note_all(self, node: fx.Node, layers: list[Layer], value: Any) -> None:
        seen = self.mode.seen
        if len(seen) == len(layers):
            for layer, one in zip(layers, seen, strict=True):
                self.places[id(layer)].watched(one)
            return
        given = [self.mode.spread(one) for one in self._tensors(node)]
        results = [self.mode.spread(one) for one in tree_flatten(value)[0] if isinstance(one, Tensor)]
        if given and results:
            for layer in layers:
                self.places[id(layer)].watched(by_shape(layer, given, results))

    def _may_not_follow(self, node: fx.Node) -> bool:
        """Whether a cut may leave an operation unable to run, or make it compute something else."""
        numbers = any(not isinstance(self.values.get(one), Tensor) for one in node.all_input_nodes)
        return (self.mode.moves and not self.mode.computes) or self.mode.in_groups or numbers


MAKER_TYPES = (nn.Linear, nn.modules.conv._ConvNd)


def _packet(op: str) -> Any:
    return getattr(torch.ops.aten, op, None)
