"""A latency model that was fitted to the machine it runs on: seconds a multiply-accumulate, a byte, an operator.

Its coefficients come from `workbench.measure.calibrate()`, which times small graphs of every kind of
operator; they are kept in the user's cache folder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import platformdirs

from workbench.cost.features import AMOUNTS, Setting, operators, settings
from workbench.cost.layer import Layer
from workbench.cost.network import Network

THIS_MACHINE = "this-machine"
#: Amounts whose seconds do not depend on the kernel: what comes from beyond the core's cache.
COMMON = ("far", "spilled", "cold")


@dataclass(frozen=True, eq=False)
class Calibration:
    """Coefficients of one machine. `seconds[regime][amount]` and `common[amount]` are seconds for one unit."""

    machine: str  # the fingerprint, see `workbench.measure.machine`
    created: str  # ISO 8601, UTC
    cache_bytes: float  # of one core: weights that fit stay there between inferences
    run_seconds: float  # one call of the runtime, whatever the network
    seconds: Mapping[str, Mapping[str, float]]
    common: Mapping[str, float]
    error: float  # median relative error on the graphs it was fitted to

    def times(self, network: Network, far: bool | None = None) -> list[tuple[float, float, float]]:
        """Seconds of each layer: for arithmetic, for memory, for starting its operators; a run's own with the first."""
        found = []
        for layer, setting in settings(network, self.cache_bytes, far):
            key = (self, setting)
            found.append(layer.memo.get(key) or layer.remembered(key, partial(self._sum, setting)))
        if found:
            found[0] = (*found[0][:2], found[0][2] + self.run_seconds)
        return found

    @cached_property
    def _seconds(self) -> Mapping[str, list[tuple[int, int, float]]]:
        """By regime: the place of each amount that takes time in `Work`, that of its cause, seconds for one unit."""
        return {
            regime: [
                (place, _CAUSES.get(amount, _MEMORY), seconds)
                for place, amount in enumerate(AMOUNTS, 1)
                if (seconds := (self.common if amount in COMMON else of_kernel).get(amount, 0.0))
            ]
            for regime, of_kernel in [*self.seconds.items(), ("", {})]
        }

    def _sum(self, setting: Setting, layer: Layer) -> tuple[float, float, float]:
        causes = [0.0, 0.0, 0.0]
        amounts: Any
        for amounts in operators(layer, setting):
            for place, cause, seconds in self._seconds.get(amounts[0]) or self._seconds[""]:
                causes[cause] += amounts[place] * seconds
        return causes[0], causes[1], causes[2]


#: Arithmetic, memory, starting: the places of an amount's cause.
_MEMORY = 1
_CAUSES = {"macs": 0, "starts": 2, "groups": 2, "cold": 2}


def folder() -> Path:
    """Where calibrations are kept: the user's cache, on Linux `$XDG_CACHE_HOME/nn-workbench` or under `~/.cache`."""
    return platformdirs.user_cache_path("nn-workbench", appauthor=False)


_found: dict[Path, Calibration] = {}  # read, or made by this process


def store(calibration: Calibration) -> None:
    """Keep a calibration for this process and, where the folder can be written, for later ones."""
    path = folder() / "this-machine.json"
    _found[path] = calibration
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps(asdict(calibration)), encoding="utf-8")
        part.replace(path)
    except OSError:  # a home that cannot be written: this process has it all the same
        return


def stored() -> Calibration | None:
    """The calibration of this machine; None before `workbench.measure.calibrate()`."""
    path = folder() / "this-machine.json"
    if path not in _found:
        try:
            _found[path] = Calibration(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):  # none yet, or of another version
            return None
    return _found[path]
