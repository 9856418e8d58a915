"""Every operator of torch that a network calls, and what becomes of the labels of channels in it.

No operator is known by its name here: what moves numbers is run on numbers that say where they are (`movement`); what
computes is asked which positions depend on which (`dependence`). Of operators that torch itself marks as working on
each number alone nothing needs to be asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_unflatten
from torch.utils.weak import WeakIdKeyDictionary

from workbench.cost.kinds import KINDS, MULTIPLE
from workbench.cost.shapes import known
from workbench.modules.snapshot import to_meta
from workbench.pruning.axes import Axes, Spread, Ties, Units
from workbench.pruning.calls import Call, Seen
from workbench.pruning.choices import Choices
from workbench.pruning.dependence import aligned, some
from workbench.pruning.movement import moved, placed

Tensor = torch.Tensor

#: What gives the numbers that it is given.
_SAME = frozenset("clone alias detach _to_copy lift_fresh contiguous native_dropout dropout".split())
#: What computes with whole matrices: an axis of one factor alone is better left for one that all of them have.
_PRODUCTS = frozenset({"matmul", "attention"})


class Labelling(TorchDispatchMode):
    """Labels what operators return by what they were given, ties units that meet, freezes those that cannot be told."""

    def __init__(self, ties: Ties, choices: Choices, memo: dict[Any, Any]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it without types
        self.ties, self.choices, self.memo = ties, choices, memo
        self.node, self.title, self.count = "", "", 0
        self.seen: list[Seen] = []
        self.moves = self.computes = self.in_groups = False  # what was seen of it
        self._axes: Any = WeakIdKeyDictionary()
        self._data: Any = WeakIdKeyDictionary()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """As for the tracer of costs: torch would import its compiler."""
        return False

    def begin(self, node: str, title: str) -> None:
        """Another operation of the graph begins; reasons call it by its title."""
        self.node, self.title, self.count, self.seen = node, title, 0, []
        self.moves = self.computes = self.in_groups = False

    def put(self, tensor: Tensor, axes: Axes, *, data: bool = True) -> Tensor:
        """Label a tensor; `data`: it depends on the network's input."""
        self._axes[tensor] = {axis: units for axis, units in axes.items() if tensor.shape[axis] > 1}
        if data:
            self._data[tensor] = True
        return tensor

    def axes(self, tensor: Tensor) -> Axes:
        """The units along a tensor's axes."""
        found: Axes = self._axes.get(tensor, {})
        return found

    def spread(self, tensor: Tensor) -> Spread:
        """A tensor's shape and units."""
        return Spread(tuple(tensor.shape), self.axes(tensor))

    def is_data(self, tensor: Tensor) -> bool:
        """Whether a tensor depends on the network's input."""
        return tensor in self._data

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        flat, spec = tree_flatten((args, kwargs or {}))
        given = [one for one in flat if isinstance(one, Tensor)]
        before = [self.spread(one) for one in given]
        out = self._shaped(func, flat, spec)
        self.count += 1
        results = [one for one in (out if isinstance(out, (tuple, list)) else [out]) if isinstance(one, Tensor)]
        data = any(map(self.is_data, given))
        call = Call(func, flat, spec, given, results)
        found = self._labelled(call) if any(spread.axes for spread in before) else [{} for _ in results]
        for result, axes in zip(results, found, strict=True):
            self.put(result, axes, data=data)
        if data:
            self._note(func, given, before, results)
        return out

    def _shaped(self, func: Any, flat: list[Any], spec: Any) -> Any:
        """What an operator returns: numbers where it is given numbers, shapes where it is given shapes."""
        if any(isinstance(one, Tensor) and one.is_meta for one in flat):
            flat = [self._without_values(one) if isinstance(one, Tensor) else one for one in flat]
            flat = [torch.device("meta") if isinstance(one, torch.device) else one for one in flat]
        args, kwargs = tree_unflatten(flat, spec)
        out = known(func.overloadpacket, args) if any(isinstance(x, Tensor) and x.is_meta for x in flat) else None
        return func(*args, **kwargs) if out is None else out

    def _without_values(self, tensor: Tensor) -> Tensor:
        if tensor.is_meta:
            return tensor
        return self.put(to_meta(tensor), self.axes(tensor), data=self.is_data(tensor))

    def _note(self, func: Any, given: list[Tensor], before: list[Spread], results: list[Tensor]) -> None:
        packet = func.overloadpacket
        pairs = list(zip(given, before, strict=True))
        sides = [tuple(spread for one, spread in pairs if self.is_data(one) is wanted) for wanted in (True, False)]
        for result in results if packet.__name__ in MULTIPLE else results[:1]:
            if result.dim():
                self.seen.append(Seen(packet.__name__, sides[0], sides[1], self.spread(result)))

    def _labelled(self, call: Call) -> list[Axes]:
        if torch.Tag.pointwise in call.func.tags and not call.on_a_view:
            return [self._broadcast(call, result) for result in call.results]
        if call.func.overloadpacket is torch.ops.aten.glu:
            return [self._halved(call)]
        moves = KINDS.get(call.func.overloadpacket) in {"copy", "reshape"}
        found = None if call.on_a_view or not call.results else self._moved(call) if moves else None
        found = found if found is not None or call.on_a_view or not call.results else self._computed(call)
        if found is None:
            self._freeze_all(call, "mixes or reorders channels")
            return [{} for _ in call.results]
        return found

    # What works on each number alone.

    def _broadcast(self, call: Call, result: Tensor) -> Axes:
        meeting: dict[int, list[Units]] = {}
        bare: set[int] = set()
        for tensor in call.given:
            axes, shift = self.axes(tensor), result.dim() - tensor.dim()
            for axis, size in enumerate(tensor.shape):
                if axis in axes:
                    meeting.setdefault(axis + shift, []).append(axes[axis])
                elif size > 1:
                    bare.add(axis + shift)
        return self._joined(meeting, bare)

    def _joined(self, meeting: Mapping[int, list[Units]], bare: set[int]) -> Axes:
        """What meets along an axis is tied; where one has no units, none of them can go."""
        for axis, several in meeting.items():
            for other in several[1:]:
                self.ties.tie(several[0], other)
            if axis in bare:
                self.ties.freeze(several[0], f"{self._where} combines them with what is not followed")
        return {axis: several[0] for axis, several in meeting.items()}

    def _halved(self, call: Call) -> Axes:
        """One half of an axis times a gate of the other."""
        given = call.given[0]
        axis = next((one for one in call.flat[1:] if isinstance(one, int)), -1) % given.dim()
        axes = dict(self.axes(given))
        if axis in axes:
            first, second = axes[axis].reshape(2, -1)
            self.ties.tie(first, second)
            axes[axis] = first
        return axes

    # What moves numbers.

    def _moved(self, call: Call) -> list[Axes] | None:
        self.moves = True
        inputs = [one for one in call.given if one.is_floating_point()]
        spans = [self.axes(one) for one in inputs]
        if any(self.axes(one) for one in call.given if not one.is_floating_point()):
            return None
        if call.func.overloadpacket.__name__ in _SAME:
            return [spans[0], *({} for _ in call.results[1:])]
        found: list[dict[int, Units]] = [{} for _ in call.results]
        for axis in sorted({axis for span in spans for axis in span}):
            try:
                maps = moved(call, inputs, [span.get(axis) for span in spans], (axis, self.memo))
            except Exception:  # noqa: BLE001  # torch refuses numbers in its own ways
                maps = None
            if maps is None:
                return None
            for number, units in enumerate(maps):
                self._place(found[number], units, (axis, number))
        return list(found)

    def _place(self, axes: dict[int, Units], units: Units, what: tuple[int, int]) -> None:
        place = (f"{self.node}:{self.count}", what[0] * 1000 + what[1])
        settled = placed(units, self.ties, self.choices.taken.get(place, 0))
        if settled is None:
            here = units[units >= 0]
            if len(here):
                self.ties.freeze(here[:1], f"{self._where} takes one channel by its place")
            return
        axis, found, count = settled
        if count > 1:
            self.choices.open[place] = (count, found)
        if axis in axes:
            self.ties.tie(axes[axis], found)
        axes[axis] = found

    # What computes.

    def _computed(self, call: Call) -> list[Axes] | None:
        floats = [index for index, one in enumerate(call.given) if one.is_floating_point()]
        if any(self.axes(one) for one in call.given if not one.is_floating_point()):
            return None
        inputs = [call.given[index] for index in floats]
        self.computes = True
        self.in_groups = self.in_groups or KINDS.get(call.func.overloadpacket) == "conv"
        meeting: dict[int, list[Units]] = {}
        whose: dict[int, set[int]] = {}
        for number, index in enumerate(floats):
            for axis, units in self.axes(call.given[index]).items():
                place = self._ask(call, inputs, number, axis)
                if place is None:
                    self.ties.freeze(units, f"{self._where} {self._what(call)}")
                    if call.given[index].shape == call.results[0].shape:  # so that what follows knows the reason
                        meeting.setdefault(axis, []).append(units)
                        whose.setdefault(axis, set()).add(number)
                else:
                    meeting.setdefault(place, []).append(units)
                    whose.setdefault(place, set()).add(number)
        bare = self._bare(call, inputs, floats, meeting)
        self._prefer_shared(call, inputs, meeting, whose)
        first = call.results[0]
        axes = self._joined(meeting, bare)
        return [axes if one.shape == first.shape else {} for one in call.results]

    def _ask(self, call: Call, inputs: list[Tensor], number: int, axis: int) -> int | None:
        key = (call.func, call.signature, number, axis)
        if key not in self.memo:
            with torch.random.fork_rng(devices=[]):
                numbers = [some(one.shape) for one in inputs]
                self.memo[key] = aligned(call.run, numbers, number, axis)
        found: int | None = self.memo[key]
        return found

    def _bare(
        self, call: Call, inputs: list[Tensor], floats: list[int], meeting: Mapping[int, list[Units]]
    ) -> set[int]:
        """Axes of the result that depend on labelled channels, and on an input's axis that has no labels."""
        sizes = {len(several[0]) for several in meeting.values()}
        found = set()
        for number, index in enumerate(floats):
            given = call.given[index]
            for axis, size in enumerate(given.shape):
                if size > 1 and size in sizes and axis not in self.axes(given):
                    place = self._ask(call, inputs, number, axis)
                    found |= {place} & meeting.keys() if place is not None else set()
        return found

    def _prefer_shared(
        self, call: Call, inputs: list[Tensor], meeting: Mapping[int, list[Units]], whose: Mapping[int, set[int]]
    ) -> None:
        if KINDS.get(call.func.overloadpacket) not in _PRODUCTS or len(inputs) < 2:
            return
        for place, several in meeting.items():
            if len(whose[place]) == 1:
                self.choices.object_to(several[0], self.ties)

    def _what(self, call: Call) -> str:
        if KINDS.get(call.func.overloadpacket) == "norm":
            return "normalises over several channels"
        return "mixes or reorders channels"

    def _freeze_all(self, call: Call, why: str) -> None:
        for tensor in call.given:
            for units in self.axes(tensor).values():
                self.ties.freeze(units, f"{self._where} {why}")

    @property
    def _where(self) -> str:
        return repr(self.title)
