"""A network on a device: how long, what bounds each layer, whether it fits, how much energy."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from workbench.cost.calibrated import stored
from workbench.cost.network import Network
from workbench.cost.roofline import Device, Time, device, this_machine, weight_bytes

if TYPE_CHECKING:
    import pandas as pd


def predictor() -> Device:
    """What latency is predicted with: this machine once it is calibrated, a server core until then."""
    return device() if stored() is None else this_machine()


@dataclass(frozen=True)
class Placement:
    """One inference at batch 1 on a device. Latency is the roofline's: a bound that good kernels come near."""

    device: Device = field(repr=False)
    latency_ms: float  # NaN where the device does not compute in a layer's precision
    memory_bound: tuple[str, ...]  # layers whose memory takes longer than their arithmetic
    memory_bound_share: float  # of the time
    start_share: float  # of the time: starting operators
    ram_bytes: int  # activations alive at once, and the weights where there is no flash
    flash_bytes: int
    energy_uj: float  # power times latency
    network: Network = field(repr=False)

    @property
    def fits_ram(self) -> bool:
        """Whether what must be in RAM is no more than there is."""
        return not self.device.ram_bytes or self.ram_bytes <= self.device.ram_bytes

    @property
    def fits_flash(self) -> bool:
        """Whether the weights are no more than the flash; the program's own size is left out."""
        return not self.device.flash_bytes or self.flash_bytes <= self.device.flash_bytes

    @property
    def fits(self) -> bool:
        """RAM and flash suffice, and the device computes in the network's precision."""
        return self.fits_ram and self.fits_flash and not math.isnan(self.latency_ms)

    @property
    def why(self) -> str:
        """Why it does not fit, in a few words; empty where it does."""
        reasons = []
        if math.isnan(self.latency_ms):
            bits = "- and ".join(self.device.speedup_by_bits)
            reasons.append(f"computes in {bits}-bit numbers only: quantize first")
        if not self.fits_ram:
            reasons.append(f"needs {_size(self.ram_bytes)} of RAM, has {_size(self.device.ram_bytes)}")
        if not self.fits_flash:
            reasons.append(f"needs {_size(self.flash_bytes)} of flash, has {_size(self.device.flash_bytes)}")
        return "; ".join(reasons)

    def layers(self) -> pd.DataFrame:
        """One row a layer that takes time: layer, kind, milliseconds, share, bound, and the three causes in ms."""
        import pandas as pd

        pairs = list(zip(self.network.layers, self.device.times(self.network), strict=True))
        rows = [
            (x.name, x.kind, 1e3 * t.total, 1e3 * t.total / self.latency_ms, t.bound, *(1e3 * part for part in t[:3]))
            for x, t in pairs
            if t.total
        ]
        return pd.DataFrame(
            rows, columns=["layer", "kind", "ms", "share", "bound", "arithmetic_ms", "memory_ms", "start_ms"]
        )

    def row(self) -> dict[str, Any]:
        """The figures as one row of `Cost.devices()`."""
        return {
            "device": self.device.name,
            "title": self.device.title,
            "latency_ms": self.latency_ms,
            "memory_bound_layers": len(self.memory_bound),
            "memory_bound_share": self.memory_bound_share,
            "start_share": self.start_share,
            "ram_bytes": self.ram_bytes,
            "flash_bytes": self.flash_bytes,
            "fits_ram": self.fits_ram,
            "fits_flash": self.fits_flash,
            "fits": self.fits,
            "why": self.why,
            "energy_uj": self.energy_uj,
        }


def place(network: Network, device: Device) -> Placement:
    """Put a network on a device."""
    times = device.times(network)
    total = sum(time.total for time in times)
    bound = [(layer.name, time.total) for layer, time in zip(network.layers, times, strict=True) if _by_memory(time)]
    weights, peak = math.ceil(weight_bytes(network)), network.totals.peak_activation_bytes
    return Placement(
        device=device,
        latency_ms=1e3 * total,
        memory_bound=tuple(name for name, _ in bound),
        memory_bound_share=sum(seconds for _, seconds in bound) / total if total else 0.0,
        start_share=sum(time.start for time in times) / total if total else 0.0,
        ram_bytes=peak + (0 if device.flash_bytes else weights),
        flash_bytes=weights if device.flash_bytes else 0,
        energy_uj=device.watts * total * 1e6,
        network=network,
    )


def _by_memory(time: Time) -> bool:
    return time.memory > time.arithmetic


def _size(count: float) -> str:
    """Bytes in the unit that data sheets use."""
    for unit in ("B", "KB", "MB"):
        if count < 1024:
            return f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:.3g} GB"
