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
    """Units that stand for channels: which are one and the same, and which cannot go, with the reason."""

    def __init__(self) -> None:
        self._parent: list[int] = []
        self.frozen: dict[int, str] = {}  # root -> why it cannot go

    def fresh(self, count: int) -> Units:
        """So many units that are tied to nothing."""
        start = len(self._parent)
        self._parent.extend(range(start, start + count))
        return np.arange(start, start + count)

    def tie(self, first: Units, second: Units) -> None:
        """Make the units of two arrays, of one shape, the same pair by pair."""
        apart = first != second
        pairs = np.unique(np.stack([first[apart], second[apart]]), axis=1)
        for a, b in pairs.T.tolist():
            x, y = sorted((self._find(a), self._find(b)))
            self._parent[y] = x
            if x != y and y in self.frozen:
                self.frozen.setdefault(x, self.frozen.pop(y))

    def freeze(self, units: Any, why: str) -> None:
        """These units cannot go; the first reason stays."""
        for unit in np.unique(np.asarray(units, dtype=np.int64)).tolist():
            self.frozen.setdefault(self._find(unit), why)

    def roots(self, units: Units) -> Units:
        """One of each set of tied units in the place of all."""
        distinct, places = np.unique(units, return_inverse=True)
        found = np.array([self._find(unit) for unit in distinct.tolist()], dtype=np.int64)
        return found[places].reshape(units.shape) if len(distinct) else units

    def all_roots(self) -> Units:
        """The root of every unit."""
        parent = np.array(self._parent or [0], dtype=np.int64)
        while (parent[parent] != parent).any():
            parent = parent[parent]
        return parent

    def _find(self, unit: int) -> int:
        parent = self._parent
        while parent[unit] != unit:
            parent[unit] = parent[parent[unit]]
            unit = parent[unit]
        return unit
