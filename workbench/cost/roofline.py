"""Predicted latency: for each operation the larger of its arithmetic and its memory time, plus a fixed cost.

The roofline model of Williams et al. 2009, with a per-operator overhead: at batch 1 small networks
spend much of their time starting operators.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from workbench.cost.network import Layer, Network
from workbench.errors import unknown


@dataclass(frozen=True)
class Device:
    """A hardware profile. Every number's source stands in its file under `cost/devices`."""

    name: str
    macs_per_second: Mapping[str, float]  # dense (k x k), pointwise (1 x 1), depthwise; in float32
    bytes_per_second: float
    seconds_per_operator: float
    speedup_by_bits: Mapping[str, float]  # arithmetic throughput relative to float32

    def latency_ms(self, network: Network) -> float:
        """Predicted milliseconds for one input."""
        return 1e3 * sum(self._seconds(layer) for layer in network.layers)

    def _seconds(self, layer: Layer) -> float:
        if layer.fused or layer.kind == "reshape":
            return 0.0
        throughput = self.macs_per_second[_shape_class(layer)] * self.speedup_by_bits.get(str(layer.bits), 1.0)
        arithmetic = layer.macs / throughput
        return max(arithmetic, layer.memory_access_bytes / self.bytes_per_second) + self.seconds_per_operator


@cache
def device(name: str = "server-core") -> Device:
    """A bundled profile by name. Raises `UnknownName`."""
    folder = Path(__file__).parent / "devices"
    path = folder / f"{name}.toml"
    if not path.is_file():
        raise unknown("device", name, [p.stem for p in folder.glob("*.toml")])
    fields = tomllib.loads(path.read_text(encoding="utf-8"))
    return Device(**fields)


def _shape_class(layer: Layer) -> str:
    if layer.kind == "conv" and layer.groups > 1 and layer.groups == layer.c_in:
        return "depthwise"
    return "dense" if layer.kind.startswith("conv") and max(layer.kernel, default=1) > 1 else "pointwise"
