"""How fast the processor runs right now: a small matrix product, timed again and again between other things.

On a shared machine a neighbour on the same core slows this process down by a third and more, from one moment to
the next, and different networks by different amounts: what is slowed is not the network's own time, and a ratio
of two times moves by a tenth. The pulse tells such moments from the others. The fastest one lately seen here is
kept, so that a measurement that falls into a busy minute as a whole knows that, too.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from workbench.cost.calibrated import folder

_SIDE, _REPEATS = 96, 6
#: A pulse slower than the fastest by more than this is of a disturbed moment; those are slower by 40 to 60 %.
TOLERANCE = 1.12
#: Seconds for which the fastest pulse counts after one like it was last seen: a laptop may be on battery by then.
_VALID = 3600.0
_LEFT, _OUT = np.full((_SIDE, _SIDE), 0.5, np.float32), np.empty((_SIDE, _SIDE), np.float32)


def pulse() -> float:
    """Milliseconds of two small matrix products, the second fastest of a few; it takes a quarter of one."""
    times = []
    for _ in range(_REPEATS):
        started = time.perf_counter_ns()
        np.matmul(_LEFT, _LEFT, out=_OUT)
        np.matmul(_LEFT, _LEFT, out=_OUT)
        times.append(time.perf_counter_ns() - started)
    return sorted(times)[1] / 1e6


def fastest_of(pulses: npt.ArrayLike) -> float:
    """The fastest speed that holds for a while: a low quantile, since single clock readings go wrong."""
    return float(np.quantile(np.asarray(pulses), 0.02))


class Fastest(NamedTuple):
    """The fastest pulse lately seen on this machine, in ms, and when one like it was last seen (seconds, Unix)."""

    ms: float
    seen: float


def fastest_known() -> float | None:
    """Milliseconds of the fastest pulse of the last hour; None where there was none."""
    try:
        found = Fastest(**json.loads(_path().read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # none yet, or of another version
        return None
    return found.ms if 0 <= time.time() - found.seen < _VALID else None


def remember(ms: float) -> None:
    """Keep a measurement's fastest pulse, where it is no slower than what is known."""
    known = fastest_known()
    if known is not None and ms > known * TOLERANCE:
        return
    path = _path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps(Fastest(min(ms, known or ms), time.time())._asdict()), encoding="utf-8")
        part.replace(path)
    except OSError:  # a home that cannot be written: the next measurement finds out by itself
        return


def _path() -> Path:
    return folder() / "pulse.json"
