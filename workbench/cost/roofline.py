"""Predicted latency: for each operation the larger of its arithmetic and its memory time, plus a fixed cost.

The roofline model of Williams et al. 2009, with a per-operator overhead: at batch 1 small networks
spend much of their time starting operators. A machine that was calibrated has a finer model instead.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache, partial
from pathlib import Path
from typing import NamedTuple

from workbench.cost.calibrated import THIS_MACHINE, Calibration, stored
from workbench.cost.layer import Layer
from workbench.cost.network import Network
from workbench.errors import BadValue, unknown

_FOLDER = Path(__file__).parent / "devices"


class Time(NamedTuple):
    """Seconds of one operation by cause."""

    arithmetic: float
    memory: float
    start: float
    total: float

    @property
    def bound(self) -> str:
        """What most of the time goes to: "arithmetic", "memory" or "start"."""
        return max(("arithmetic", "memory", "start"), key=lambda cause: getattr(self, cause))


FREE = Time(0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Device:
    """A hardware profile. Every number's source stands in its file under `cost/devices`."""

    name: str
    macs_per_second: Mapping[str, float]  # dense (k x k), pointwise (1 x 1), depthwise; in float32
    bytes_per_second: float
    seconds_per_operator: float
    speedup_by_bits: Mapping[str, float]  # arithmetic throughput relative to `macs_per_second`; none: not computed
    title: str = ""
    cache_bytes: int = 0  # a network whose weights and activations fit runs at `cache_bytes_per_second`
    cache_bytes_per_second: float = 0.0  # 0: as main memory
    ram_bytes: int = 0  # 0: no limit worth a check
    flash_bytes: int = 0  # where weights are kept; 0: in RAM
    watts: float = math.nan  # while computing
    calibration: Calibration | None = field(default=None, repr=False)

    def latency_ms(self, network: Network) -> float:
        """Predicted milliseconds for one input; NaN where the device cannot compute in a layer's precision."""
        return network.remembered(self._key, self._latency_ms)

    def _latency_ms(self, network: Network) -> float:
        if self.calibration is not None:
            return 1e3 * sum(map(sum, self.calibration.times(network)))
        return 1e3 * sum(time.total for time in self.times(network))

    @property
    def near_bytes(self) -> float:
        """Up to how many bytes of weights and activations a network runs from the cache; 0 where that is no faster."""
        if self.calibration is not None:
            return self.calibration.cache_bytes
        return self.cache_bytes if self.cache_bytes_per_second else 0.0

    def times(self, network: Network, far: bool | None = None) -> list[Time]:
        """Where the time goes, one entry a layer. `far` decides itself whether the network runs from the cache."""
        if self.calibration is not None:
            return [Time(*causes, sum(causes)) for causes in self.calibration.times(network, far)]
        bandwidth = self.bytes_per_second
        far = working_set(network) > self.cache_bytes if far is None else far
        if self.cache_bytes_per_second and not far:
            bandwidth = self.cache_bytes_per_second
        key = (self._key, bandwidth)
        return [
            one[0].memo.get(key) or one[0].remembered(key, partial(self._time, bandwidth=bandwidth))
            for one in network.flow
        ]

    @cached_property
    def _key(self) -> object:
        """What this device's times are remembered under."""
        return object()

    def _time(self, layer: Layer, bandwidth: float) -> Time:
        moved = layer.memory_access_bytes
        if moved == 0 and layer.macs == 0:
            return FREE
        relative = self.speedup_by_bits.get(str(layer.bits), math.nan if layer.macs else 1.0)
        arithmetic = layer.macs / (self.macs_per_second[shape_class(layer)] * relative)
        memory, start = moved / bandwidth, 0.0 if layer.fused else self.seconds_per_operator
        return Time(arithmetic, memory, start, max(arithmetic, memory) + start)


def working_set(network: Network) -> float:
    """Bytes of the weights and of the activations that are alive at once."""
    return weight_bytes(network) + network.totals.peak_activation_bytes


def weight_bytes(network: Network) -> float:
    """Bytes of the weights, each in its layer's precision."""
    return sum([one.layer.params * one.layer.bits / 8 for one in network.flow])


def bundled() -> list[str]:
    """The names of the bundled devices, and "this-machine" once it is calibrated."""
    names = sorted(path.stem for path in _FOLDER.glob("*.toml"))
    return names if stored() is None else [THIS_MACHINE, *names]


def device(name: str = "server-core") -> Device:
    """A bundled profile by name, or "this-machine". Raises: `UnknownName`, `BadValue` before calibration."""
    if name == THIS_MACHINE:
        return this_machine()
    path = _FOLDER / f"{name}.toml"
    if not path.is_file():
        raise unknown("device", name, [THIS_MACHINE, *(p.stem for p in _FOLDER.glob("*.toml"))])
    return _read(path)


def this_machine() -> Device:
    """The machine that this runs on, as it was calibrated. Raises: `BadValue` when it was not yet."""
    found = stored()
    if found is None:
        raise BadValue(
            "This machine is not calibrated yet. Call workbench.measure.calibrate() once; it takes about 5 seconds, "
            "and every later session uses what it found."
        )
    return _calibrated(found)


@lru_cache(maxsize=8)
def _calibrated(found: Calibration) -> Device:
    return Device(
        name=THIS_MACHINE,
        title="This machine",
        macs_per_second={kind: 1 / found.seconds[kind]["macs"] for kind in ("dense", "pointwise", "depthwise")},
        bytes_per_second=1 / found.seconds["move"]["bytes"],
        seconds_per_operator=found.seconds["dense"]["starts"],
        speedup_by_bits={"32": 1.0, "8": found.seconds["dense"]["macs"] / found.seconds["dense8"]["macs"]},
        calibration=found,
    )


@cache
def _read(path: Path) -> Device:
    return Device(name=path.stem, **tomllib.loads(path.read_text(encoding="utf-8")))


def shape_class(layer: Layer) -> str:
    """Which of a device's throughputs applies: "dense", "pointwise" or "depthwise"."""
    if layer.kind == "conv" and layer.groups > 1 and layer.groups == layer.c_in:
        return "depthwise"
    return "dense" if layer.kind.startswith("conv") and max(layer.kernel, default=1) > 1 else "pointwise"
