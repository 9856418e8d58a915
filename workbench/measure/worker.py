"""Time artefacts in this process and print what was found. Run as `python -m workbench.measure.worker`.

Reads one JSON request from stdin and writes JSON lines: {"progress": share}, then {"times": ...} or
{"error": text}. Imports numpy and ONNX Runtime alone, so that nothing else owns threads or caches.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from workbench.errors import WorkbenchError
from workbench.runtimes import runtime

#: A block of runs lasts about this long: long against the clock, short against drift of the machine's speed.
BLOCK_S = 0.005
MIN_RUNS, MAX_RUNS = 4, 50
MIN_ROUNDS = 9
WARM_UP_S = 0.6


@dataclass(frozen=True)
class Request:
    """What to time: files, each in its runtime, `batch` inputs at a time, on `threads` threads, for about `seconds`."""

    artefacts: tuple[str, ...]
    runtimes: tuple[str, ...]
    batch: int = 1
    threads: int = 1
    seconds: float = 3.0
    limit: float = 60.0
    sessions: int = 3
    seed: int = 0


def measure(request: Request, report: Callable[[float], None]) -> list[list[list[float]]]:
    """Milliseconds for each artefact, session and round.

    Every artefact is loaded `sessions` times anew, because where its memory happens to lie shifts its
    speed by up to a few per cent. A round times each artefact once, in random order.
    """
    chosen = random.Random(request.seed)
    times: list[list[list[float]]] = [[] for _ in request.artefacts]
    share = 1 / request.sessions
    for index in range(request.sessions):
        runs = [_prepare(*one, request) for one in zip(request.artefacts, request.runtimes, strict=True)]
        counts = [_warm_up(run, WARM_UP_S / (index + 1)) for run in runs]
        for found in times:
            found.append([])
        # The clock starts here: a runtime that compiles while it loads must not lose its rounds to that.
        started = time.perf_counter()
        rounds = 0
        while (spent := time.perf_counter() - started) < request.seconds * share or (
            rounds < MIN_ROUNDS and spent < request.limit * share
        ):
            order = list(range(len(runs)))
            chosen.shuffle(order)
            for which in order:
                times[which][-1].append(_block(runs[which], counts[which]))
            rounds += 1
            report(min(1.0, (index + spent / (request.seconds * share)) * share))
    return times


def pin(threads: int) -> list[int]:
    """Keep this process on the `threads` CPUs that are idlest right now; [] where the system cannot."""
    if not hasattr(os, "sched_setaffinity"):
        return []
    allowed = os.sched_getaffinity(0)
    busy = _busy(allowed, 0.1)
    chosen = sorted(allowed, key=lambda cpu: busy.get(cpu, 0.0))[:threads]
    with contextlib.suppress(OSError):
        os.sched_setaffinity(0, chosen)
        return chosen
    return []


def _busy(cpus: set[int], seconds: float) -> dict[int, float]:
    """The time that each CPU worked during the next `seconds`, in clock ticks."""
    before = _ticks()
    time.sleep(seconds)
    after = _ticks()
    return {cpu: after[cpu] - before[cpu] for cpu in cpus if cpu in after and cpu in before}


def _ticks() -> dict[int, float]:
    """Ticks spent on anything but idling (user, nice, system, interrupts, stolen), by CPU."""
    found = {}
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/stat").read_text().splitlines():
            name, *values = line.split()
            if name.startswith("cpu") and name != "cpu":
                counts = [float(value) for value in values]
                found[int(name[3:])] = sum(counts[:3]) + sum(counts[5:8])
    return found


def _prepare(path: str, name: str, request: Request) -> Callable[[], Any]:
    """A function that runs the artefact once on fixed random inputs."""
    session = runtime(name).load(Path(path), request.threads)
    noise = np.random.default_rng(request.seed)
    inputs = noise.standard_normal((request.batch, *session.shape)).astype(np.float32)
    return lambda: session.run(inputs)


def _warm_up(run: Callable[[], Any], longest: float) -> int:
    """Run until the last five runs are as fast as the five before (within 5 %); the runs of one block."""
    started = time.perf_counter()
    seen: list[float] = []
    while time.perf_counter() - started < longest:
        seen.append(_block(run, 1))
        if len(seen) >= 10 and statistics.median(seen[-5:]) > 0.95 * statistics.median(seen[-10:-5]):
            break
    return max(MIN_RUNS, min(MAX_RUNS, round(BLOCK_S / (statistics.median(seen[-5:]) / 1e3))))


def _block(run: Callable[[], Any], count: int) -> float:
    """The lower quartile of `count` runs, in milliseconds: runs that other programs interrupt do not count."""
    times = []
    for _ in range(count):
        started = time.perf_counter_ns()
        run()
        times.append((time.perf_counter_ns() - started) / 1e6)
    return sorted(times)[(count - 1) // 4]


def main() -> None:
    """Serve one request."""
    request = json.loads(sys.stdin.readline())
    request |= {name: tuple(request[name]) for name in ("artefacts", "runtimes")}
    last = [0.0]

    def report(share: float) -> None:
        if time.monotonic() - last[0] > 0.1:
            last[0] = time.monotonic()
            print(json.dumps({"progress": share}), flush=True)

    try:
        cpus = pin(request["threads"])
        answer: dict[str, Any] = {"times": measure(Request(**request), report), "cpus": cpus}
    except WorkbenchError as error:
        answer = {"error": str(error)}
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
