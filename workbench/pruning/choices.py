"""Where an axis was split, channels may go along one of its parts: which, and what to try next."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from workbench.pruning.axes import Ties, Units


@dataclass
class Choices:
    """Where an axis was split, channels go along one of its parts: which one, for each place where that was open."""

    taken: dict[tuple[str, int], int] = field(default_factory=dict)
    open: dict[tuple[str, int], tuple[int, Units]] = field(default_factory=dict)  # of how many, and the units there
    objected: set[tuple[str, int]] = field(default_factory=set)

    def next(self, ties: Ties) -> Choices | None:
        """The choices to try after these, where some led to units that cannot go; None where there are none left."""
        reasons = ties.frozen
        taken = dict(self.taken)
        for place, (count, units) in self.open.items():
            stuck = place in self.objected or any(int(unit) in reasons for unit in np.unique(ties.roots(units)))
            if stuck and taken.get(place, 0) + 1 < count:
                taken[place] = taken.get(place, 0) + 1
        return Choices(taken) if taken != self.taken else None

    def object_to(self, units: Units, ties: Ties) -> None:
        """Another choice than that behind these units would be better."""
        roots = np.unique(ties.roots(units))
        for place, (count, own) in self.open.items():
            if count > 1 and np.isin(ties.roots(own), roots).any():
                self.objected.add(place)
