"""`workbench.measure.calibrate()`: fit the latency model to this machine, in about five seconds."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.cost.calibrated import COMMON, Calibration, store, stored
from workbench.cost.features import AMOUNTS, work
from workbench.cost.network import Network
from workbench.cost.roofline import Device, this_machine
from workbench.interface.arguments import check_kinds
from workbench.jobs import Reporter
from workbench.measure.latency import interleave
from workbench.measure.machine import machine
from workbench.measure.probe_plan import plan
from workbench.measure.speed_probe import TOLERANCE

Array = npt.NDArray[np.float64]

SECONDS = 4.0
_DEFAULT_CACHE = 1 << 20  # where the system does not tell
#: Seconds for one unit, from calibrations of a server core with AVX-512: what a coefficient is drawn to, gently,
#: as far as the timed graphs do not tell it.
# fmt: off
TYPICAL: dict[str, dict[str, float]] = {
    "dense": {
        "macs": 1.6e-11, "bytes": 4e-11, "unfolded": 1e-11, "weights": 2e-11, "passes": 1e-11, "starts": 2e-6,
    },
    "pointwise": {"macs": 1.6e-11, "bytes": 3e-11, "unfolded": 1e-12, "weights": 1e-11, "starts": 1e-6},
    "stem": {"macs": 2e-11, "bytes": 3e-11, "unfolded": 1e-12, "weights": 1e-10, "starts": 2e-6},
    "depthwise": {"macs": 2.5e-11, "bytes": 3e-11, "unfolded": 1e-12, "weights": 2e-11, "starts": 1e-6},
    "unfolded": {"macs": 2e-11, "bytes": 2e-10, "unfolded": 1e-10, "weights": 5e-11, "groups": 3e-7, "starts": 3e-6},
    "clip": {"bytes": 3e-11, "groups": 5e-8},
    "vector": {"macs": 1e-12, "bytes": 1e-10, "weights": 1.5e-11, "starts": 1e-6},
    "product": {"macs": 2e-11, "bytes": 3e-11, "weights": 2e-11, "starts": 2e-6},
    "move": {"bytes": 8e-11, "starts": 2e-6},
    "function": {"bytes": 1e-10, "starts": 2e-6},
    "sizes": {"starts": 6e-6},
    "reorder": {"bytes": 4e-11, "starts": 1e-6},
    "dense8": {"macs": 4e-12, "bytes": 2e-10, "unfolded": 1e-10, "weights": 2e-11, "groups": 1e-6, "starts": 3e-6},
    "pointwise8": {"macs": 3e-12, "bytes": 3e-10, "weights": 1e-11, "groups": 1e-6, "starts": 2e-6},
    "depthwise8": {"macs": 4e-11, "bytes": 3e-10, "unfolded": 3e-11, "weights": 1e-10, "starts": 3e-6},
    "vector8": {"macs": 1e-12, "bytes": 5e-10, "weights": 4e-11, "starts": 3e-6},
    "product8": {"macs": 4e-12, "bytes": 3e-10, "weights": 1e-11, "starts": 3e-6},
    "move8": {"bytes": 4e-10, "starts": 3e-6},
    "join8": {"bytes": 1e-9, "starts": 3e-6},
    "function8": {"bytes": 6e-10, "starts": 3e-6},
}
# fmt: on
TYPICAL_COMMON = {"far": 3e-11, "spilled": 3e-11, "cold": 2e-6}
TYPICAL_RUN = 1e-5
COLUMNS = [(regime, amount) for regime, row in TYPICAL.items() for amount in row]
_FOLLOWS = 0.7
_PULL = 0.03  # of a coefficient that is off by its typical value, against a relative error of one graph's time


@check_kinds
def calibrate(*, again: bool = False, progress: Reporter | None = None) -> Device:
    """The machine as a device: `wb.cost(model).on("this-machine")` and every prediction use it from then on.

    Takes five seconds the first time, up to 25 on a busy machine, on one thread in a process of its own; later
    calls, also in other sessions, return what was found. `again` measures anew.

    Raises: `MeasurementFailed` when the machine is too busy to time anything; `Cancelled`.
    """
    known = stored()
    if known is None or known.machine != machine().fingerprint or again:
        store(measured(progress or Reporter()))
    return this_machine()


def measured(progress: Reporter, seconds: float = SECONDS) -> Calibration:
    """Time the probes and fit. Raises: as `calibrate`."""
    probes = plan()
    progress(0.0, "Calibrating this machine, once")
    with tempfile.TemporaryDirectory() as where:
        paths = [probe.write(Path(where) / f"{index}.onnx") for index, probe in enumerate(probes)]
        stage = Reporter(lambda share, _: progress(share, "Calibrating this machine, once"))
        stage.cancelled = progress.cancelled
        timings = interleave(paths, seconds=seconds, sessions=1, progress=stage)
    pairs = zip(timings.times, timings.slowed, strict=True)
    times = np.array([settled(one, slowed) for one, slowed in pairs]) / 1e3
    return fit([probe.network for probe in probes], times, cache_bytes())


def settled(times: Array, slowed: Array) -> float:
    """A graph's time from its rounds: the median of the undisturbed, in a busy minute of the twelve least disturbed.

    Both arrays are (sessions, rounds). `slowed` is the logarithm by which the pulse was slower than it can be; graphs
    slow by about `_FOLLOWS` of it.
    """
    times, slowed = times.ravel(), slowed.ravel()
    quiet = int((slowed <= np.log(TOLERANCE)).sum())
    chosen = np.argsort(slowed, kind="stable")[: quiet if quiet >= 3 else 12]
    return float(np.exp(np.median(np.log(times[chosen]) - _FOLLOWS * slowed[chosen])))


def fit(networks: Sequence[Network], times: Array, cache: float) -> Calibration:
    """Coefficients that explain seconds (graphs,): least relative errors, none negative, drawn to `TYPICAL`."""
    rows = np.array([_row(network, cache) for network in networks])
    typical = np.array(
        [*(TYPICAL[regime][amount] for regime, amount in COLUMNS), *TYPICAL_COMMON.values(), TYPICAL_RUN]
    )
    relative = rows * typical / times[:, None]
    found, weights = np.ones(len(typical)), np.ones(len(times))
    for _ in range(8):  # reweighted: a graph that some other program disturbed does not count for much
        found = _non_negative(relative, weights, found)
        weights = 1 / np.maximum(np.abs(relative @ found - 1), 0.05) ** 0.5
        weights /= weights.mean()
    coefficients = typical * np.maximum(found, 1e-3)
    seconds: dict[str, dict[str, float]] = {regime: {} for regime in TYPICAL}
    for (regime, amount), value in zip(COLUMNS, coefficients, strict=False):
        seconds[regime][amount] = float(value)
    return Calibration(
        machine=machine().fingerprint,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        cache_bytes=cache,
        run_seconds=float(coefficients[-1]),
        seconds=seconds,
        common=dict(zip(COMMON, coefficients[len(COLUMNS) : -1].tolist(), strict=True)),
        error=float(np.median(np.abs(rows @ coefficients / times - 1))),
    )


def _row(network: Network, cache: float) -> Array:
    amounts: dict[Any, float] = {}
    for one in (one for layer in work(network, cache) for one in layer):
        for amount, value in zip(AMOUNTS, one[1:], strict=True):
            key = amount if amount in COMMON else (one.regime, amount)
            amounts[key] = amounts.get(key, 0.0) + value
    return np.array(
        [*(amounts.get(column, 0.0) for column in COLUMNS), *(amounts.get(one, 0.0) for one in COMMON), 1.0]
    )


def _non_negative(rows: Array, weights: Array, start: Array) -> Array:
    """The x >= 0 with the least |w (rows x - 1)|^2 + pull |x - 1|^2, by coordinate descent."""
    weighted = rows * weights[:, None]
    gram = weighted.T @ weighted + _PULL * np.eye(rows.shape[1])
    target = weighted.T @ weights + _PULL
    x = start.copy()
    for _ in range(300):
        before = x.copy()
        for index in range(len(x)):
            x[index] = max(0.0, x[index] + (target[index] - gram[index] @ x) / gram[index, index])
        if np.abs(x - before).max() < 1e-4:
            break
    return x


def cache_bytes() -> float:
    """The second-level cache of a core, as Linux tells it."""
    try:
        text = Path("/sys/devices/system/cpu/cpu0/cache/index2/size").read_text().strip()
    except OSError:
        return float(_DEFAULT_CACHE)
    return float(text[:-1]) * 1024 if text.endswith("K") and text[:-1].isdigit() else float(_DEFAULT_CACHE)
