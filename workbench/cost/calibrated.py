"""A latency model that was fitted to the machine it runs on: seconds a multiply-accumulate, a byte, an operator.

Its coefficients come from `workbench.measure.calibrate()`, which times small graphs of every kind of
operator; they are kept in the user's cache folder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache, partial
from operator import mul
from pathlib import Path
from typing import Any

import platformdirs

from workbench.cost.features import AMOUNTS, Setting, Work, each, operators, settled
from workbench.cost.layer import Layer
from workbench.cost.links import Links
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
        found: list[tuple[float, float, float]] = []
        for runs, first, setting in settled(network, self.cache_bytes, far):
            key = (self, first, setting)
            found += runs.memo.get(key) or runs.remembered(key, partial(self._times, first, setting))
        if found:
            found[0] = (*found[0][:2], found[0][2] + self.run_seconds)
        return found

    @cached_property
    def _seconds(self) -> Mapping[str, tuple[float, list[float], list[float]]]:
        """By regime: seconds for one unit of each amount in `Work`, in its order, apart by their cause."""
        found = {}
        for regime, of_kernel in [*self.seconds.items(), ("", {})]:
            each = [(self.common if amount in COMMON else of_kernel).get(amount, 0.0) for amount in AMOUNTS]
            found[regime] = each[0], each[_MEMORY.start - 1 : _MEMORY.stop - 1], each[_STARTING.start - 1 :]
        return found

    def _times(self, first: bool, setting: Setting, runs: Layer | Links) -> list[tuple[float, float, float]]:
        return [self._sum(layer, own) for layer, own in each(runs, first, setting)]

    def _sum(self, layer: Layer, setting: Setting) -> tuple[float, float, float]:
        arithmetic = memory = starting = 0.0
        amounts: Any
        for amounts in operators(layer, setting):
            own, moving, beginning = self._seconds.get(amounts.regime) or self._seconds[""]
            arithmetic += amounts.macs * own
            memory = sum(map(mul, amounts[_MEMORY], moving), memory)
            starting = sum(map(mul, amounts[_STARTING], beginning), starting)
        return arithmetic, memory, starting


#: The places in `Work` of the amounts that take time for memory, and for starting: after the arithmetic.
_STARTING = slice(Work._fields.index("groups"), None)
_MEMORY = slice(Work._fields.index("bytes"), _STARTING.start)


def folder() -> Path:
    """Where calibrations are kept: the user's cache, on Linux `$XDG_CACHE_HOME/nn-workbench` or under `~/.cache`."""
    return _folder(os.environ.get("XDG_CACHE_HOME"), os.environ.get("HOME"))


@lru_cache(maxsize=8)
def _folder(*_decided_by: str | None) -> Path:
    """Worked out once: every predicted latency asks whether this machine is calibrated."""
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
