"""Labels along the axes of tensors: which channel each position of an axis came from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from workbench.cost.layer import Shape

Units = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
#: The units of the positions along each axis that carries channels.
Axes = Mapping[int, Units]

NONE: Units = np.empty(0, dtype=np.int64)


class Spread(NamedTuple):
    """A tensor without its values: its shape, with the batch, and the units along its axes."""

    shape: Shape
    axes: Axes

    def cut(self, kept: Mask) -> Shape:
        """Its shape with the units of `kept` alone."""
        return tuple(
            int(kept[self.axes[axis]].sum()) if axis in self.axes else size for axis, size in enumerate(self.shape)
        )

    def without_batch(self) -> Spread:
        """As layers of a network have their shapes: an axis of 1 in front is the batch, and is left out."""
        if len(self.shape) < 2 or self.shape[0] != 1:
            return self
        return Spread(self.shape[1:], {axis - 1: units for axis, units in self.axes.items()})

    def narrowed(self, value: torch.Tensor, kept: Mask) -> torch.Tensor:
        """A tensor of this shape with the units of `kept` alone."""
        for axis, units in self.axes.items():
            value = value.index_select(axis, torch.from_numpy(kept[units].nonzero()[0]))
        return value


class Ties:
    """Units that stand for channels: which are one and the same, and which cannot go, with the reason.

    Sets of units that are the same are trees, whose root is the least of them; many are joined at once.
    """

    def __init__(self) -> None:
        self._parents: Units = np.empty(64, dtype=np.int64)
        self._count = 0
        self.frozen: dict[int, str] = {}  # root -> why it cannot go

    def fresh(self, count: int) -> Units:
        """So many units that are tied to nothing."""
        start, self._count = self._count, self._count + count
        if self._count > len(self._parents):
            self._parents = np.concatenate([self._parents[:start], np.empty(2 * self._count, dtype=np.int64)])
        units = np.arange(start, self._count)
        self._parents[start : self._count] = units
        return units

    def tie(self, first: Units, second: Units) -> None:
        """Make the units of two arrays, of one shape, the same pair by pair."""
        one, other = self.roots(first).reshape(-1), self.roots(second).reshape(-1)
        if (one == other).all():
            return
        while (one != other).any():  # each round joins every root to the least that it meets
            np.minimum.at(self._parents, np.maximum(one, other), np.minimum(one, other))
            one, other = self.roots(one), self.roots(other)
        self._parents[first.reshape(-1)] = self._parents[second.reshape(-1)] = one
        for unit in [unit for unit in self.frozen if self._parents[unit] != unit]:
            self.freeze(unit, self.frozen.pop(unit))

    def freeze(self, units: Any, why: str) -> None:
        """These units cannot go; the first reason stays."""
        for unit in np.unique(self.roots(np.asarray(units, dtype=np.int64))).tolist():
            self.frozen.setdefault(unit, why)

    def roots(self, units: Units) -> Units:
        """One of each set of tied units in the place of all."""
        found = self._parents[units]
        while (found != (above := self._parents[found])).any():
            found = above
        return found

    def all_roots(self) -> Units:
        """The root of every unit."""
        return self.roots(np.arange(max(1, self._count))) if self._count else np.zeros(1, dtype=np.int64)
