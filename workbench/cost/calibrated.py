"""A latency model that was fitted to the machine it runs on: seconds a multiply-accumulate, a byte, an operator.

Its coefficients come from `workbench.measure.calibrate()`, which times small graphs of every kind of
operator; they are kept in the user's cache folder, one file a machine.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from workbench.cost.network import Layer, Network

THIS_MACHINE = "this-machine"


@dataclass(frozen=True)
class Calibration:
    """Coefficients of one machine. `seconds[regime]` holds one number for each of `FEATURES`."""

    machine: str  # the fingerprint, see `workbench.measure.machine`
    created: str  # ISO 8601, UTC
    seconds_by_regime: Mapping[str, tuple[float, ...]]
    run_seconds: float  # of one call of the runtime, whatever the network

    def seconds(self, layer: Layer, network: Network) -> tuple[float, float, float, float]:
        """Seconds of one operation: for arithmetic, for memory, for its start, and in total."""
        raise NotImplementedError


def folder() -> Path:
    """Where calibrations are kept: `$XDG_CACHE_HOME/nn-workbench`, or the same under `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nn-workbench"


def stored() -> Calibration | None:
    """The calibration of this machine; None before `workbench.measure.calibrate()`."""
    return None
