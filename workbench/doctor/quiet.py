"""Whether this machine is quiet enough: a network timed against its own copy, whose ratio is 1 and nothing else."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from workbench.estimate import Estimate
from workbench.jobs import Reporter
from workbench.measure.latency import interleave
from workbench.models.doors import load
from workbench.onnx_file import write_onnx

NETWORK, SECONDS = "fashion-resnet", 15.0
#: How far, as a share, a speed-up may be off on a quiet machine, and on one that will do.
QUIET, FAIR = 0.03, 0.1
#: Programs that want a processor, for each there is, above which others are in the way.
BUSY = 0.5
_SYSTEM = Path("/sys")


@dataclass(frozen=True)
class Quiet:
    """What a network took against its own copy, and where it is not quiet, what may be in the way."""

    ratio: Estimate
    advice: tuple[str, ...]

    @property
    def doubt(self) -> float:
        """How far a speed-up that is measured now may be off, as a share."""
        return max(self.ratio.high, 1 / self.ratio.low) - 1

    @property
    def verdict(self) -> str:
        """What to make of it, in a sentence."""
        off = f"speed-ups measured now are good to about ± {100 * self.doubt:.0f} %"
        if self.doubt <= QUIET:
            return f"Quiet: {off}."
        if self.doubt <= FAIR:
            return f"It will do: {off}. What differs by less is not told apart."
        return f"Too busy to measure on: {off}. Intervals will say so, and few variants will be told apart."


def how_quiet(seconds: float = SECONDS, progress: Reporter | None = None) -> Quiet:
    """Time a bundled network against its copy for so many seconds; on a busy machine it takes several times as long.

    Raises: `MeasurementFailed`, `Cancelled`.
    """
    model = load(NETWORK)
    with tempfile.TemporaryDirectory() as folder:
        one, other = Path(folder) / "one.onnx", Path(folder) / "other.onnx"
        write_onnx(model.module, model.example, one)
        shutil.copy(one, other)
        timings = interleave([one, other], seconds=seconds, progress=progress)
    found = Quiet(timings.speedup(1), ())
    return found if found.doubt <= QUIET else replace(found, advice=tuple(advice()))


def advice(system: Path = _SYSTEM) -> list[str]:
    """What can be done about noise on this machine, as far as it tells."""
    found = []
    load_now, cpus = _load(), os.cpu_count() or 1
    if load_now > BUSY * cpus:
        found.append(
            f"Other programs are running (a load of {load_now:.1f} on {cpus} CPUs): close them; `top` lists them."
        )
    governors = {one.read_text().strip() for one in system.glob("devices/system/cpu/cpu*/cpufreq/scaling_governor")}
    if governors - {"performance"}:
        found.append(
            f"The processor's speed follows its work ({', '.join(sorted(governors))}): "
            "`sudo cpupower frequency-set --governor performance` keeps it."
        )
    states = {one.read_text().strip() for one in system.glob("class/power_supply/BAT*/status")}
    if "Discharging" in states:
        found.append("It runs on its battery, which slows processors down: plug it in.")
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cpus
    if allowed < cpus:
        found.append(f"This process may use {allowed} of {cpus} CPUs: threads beyond that only disturb each other.")
    return found


def _load() -> float:
    """How many programs wanted a processor over the last minute; NaN where the system does not say."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return math.nan
