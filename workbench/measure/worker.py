"""Time artefacts in this process and print what was found. Run as `python -m workbench.measure.worker`.

Reads one JSON request from stdin and writes JSON lines: {"progress": share}, then {"times": ..., "pulses": ...},
{"memory": bytes} or {"error": text}. Imports numpy and ONNX Runtime alone, so that nothing else owns threads or caches.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from workbench.errors import BadValue, WorkbenchError
from workbench.measure.speed_probe import TOLERANCE, fastest_of, pulse
from workbench.runtimes import Session, runtime
from workbench.runtimes.apart import EXPENDABLE
from workbench.runtimes.base import noise
from workbench.runtimes.onnxruntime import OnnxSession, open_session

#: A block of runs lasts about this long: long against the clock, short against drift of the machine's speed.
BLOCK_S = 0.005
MIN_RUNS, MAX_RUNS = 4, 50
MIN_ROUNDS = 9
WARM_UP_S = 0.6
#: A session goes on until every artefact had this many undisturbed blocks, or for this many times as long as asked.
QUIET_BLOCKS, PATIENCE = 12, 5.0


@dataclass(frozen=True)
class Request:
    """What to time: files, each in its runtime, `batch` inputs at a time, on `threads` threads, for about `seconds`."""

    artefacts: tuple[str, ...]
    runtimes: tuple[str, ...]
    batch: int = 1
    threads: int = 1
    seconds: float = 3.0
    limit: float = 60.0
    memory: bool = False  # instead of times: how much memory the first artefact takes
    sessions: int = 3
    seed: int = 0
    pulse: float | None = None  # milliseconds of the fastest known
    homes: tuple[str, ...] = ()  # modules that register runtimes of somebody else's
    path: tuple[str, ...] = ()  # where those are found, after all else


@dataclass
class Found:
    """Milliseconds of each artefact's block, and the slower pulse of those before and after it, [session][round]."""

    times: list[list[list[float]]]
    pulses: list[list[list[float]]]


def measure(request: Request, report: Callable[[float], None]) -> Found:
    """Time every artefact: `sessions` times loaded anew, in rounds.

    Every artefact is loaded anew because where its memory happens to lie shifts its speed by up to a few
    per cent. A round times each artefact once, in random order, with a pulse before and after.
    """
    chosen = random.Random(request.seed)
    found = Found([[] for _ in request.artefacts], [[] for _ in request.artefacts])
    share = 1 / request.sessions
    for index in range(request.sessions):
        runs = [_prepare(*one, request) for one in zip(request.artefacts, request.runtimes, strict=True)]
        # With many artefacts blocks are shorter, so that every one is timed in enough rounds.
        block = min(BLOCK_S, request.seconds * share / (MIN_ROUNDS * len(runs)))
        counts = [_warm_up(run, WARM_UP_S / (index + 1), block) for run in runs]
        for kept in (*found.times, *found.pulses):
            kept.append([])
        # The clock starts here: a runtime that compiles while it loads must not lose its rounds to that.
        started = time.perf_counter()
        rounds = 0
        while _goes_on(time.perf_counter() - started, rounds, found, request):
            order = list(range(len(runs)))
            chosen.shuffle(order)
            before = pulse()
            for which in order:
                found.times[which][-1].append(_block(runs[which], counts[which]))
                after = pulse()
                found.pulses[which][-1].append(max(before, after))
                before = after
            rounds += 1
            # On a busy machine a session goes on past its share; the progress waits for it, and never goes back.
            report((index + min(1.0, (time.perf_counter() - started) / (request.seconds * share))) * share)
    return found


def _goes_on(spent: float, rounds: int, found: Found, request: Request) -> bool:
    """Whether a session that has taken `spent` seconds needs another round."""
    wanted, limit = request.seconds / request.sessions, request.limit / request.sessions
    if rounds < MIN_ROUNDS:
        return spent < limit
    if spent < wanted:
        return True
    if spent >= min(limit, PATIENCE * wanted):
        return False
    seen = [session[-1] for session in found.pulses]
    fastest = min(request.pulse or np.inf, fastest_of(seen))
    return min(sum(one <= TOLERANCE * fastest for one in session) for session in seen) < QUIET_BLOCKS


def measure_memory(request: Request, report: Callable[[float], None]) -> int:
    """Bytes by which this process grows at most while it loads the first artefact and runs it a few times."""
    report(0.0)
    # The buffer that a caller would hold anyway, and what the first use of a runtime loads, are not the network's.
    np.ones((request.batch, 1), np.float32).sum()
    for name in request.runtimes:
        runtime(name.partition(":")[0]).available()
    _warm_import()
    gc.collect()
    _forget_peak()
    before = _resident("VmRSS")
    run = _prepare(request.artefacts[0], request.runtimes[0], request)
    for _ in range(5):
        run()
    return max(0, _resident("VmHWM") - before)


def _warm_import() -> None:
    """Load ONNX Runtime's library, which takes memory once whatever the network."""
    import onnxruntime

    onnxruntime.SessionOptions()


def _forget_peak() -> None:
    """Let the system's record of this process's peak begin anew (Linux, documented in proc(5))."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _resident(name: str) -> int:
    """A line of /proc/self/status in bytes: VmRSS now, VmHWM at its peak. Elsewhere the peak since the start."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


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


def _know(homes: tuple[str, ...], path: tuple[str, ...]) -> None:
    """Have runtimes of somebody else's registered here too. Raises: `BadValue` where that cannot be."""
    sys.path += [place for place in path if place not in sys.path]
    for module in homes:
        try:
            if module == "__main__":
                raise ImportError("a notebook or script")
            importlib.import_module(module)
        except Exception as error:
            raise BadValue(
                f"A runtime is defined in {module!r}, which the process that measures cannot import "
                f"({type(error).__name__}: {error}), so it is not timed. Put it into a file that can be imported."
            ) from error


def _prepare(path: str, name: str, request: Request) -> Callable[[], Any]:
    """A function that runs the artefact once on fixed random inputs.

    A name such as "onnxruntime:basic" holds one of ONNX Runtime's optimisation levels.
    """
    base, _, level = name.partition(":")
    session: Session
    if level:
        session = OnnxSession(open_session(path, request.threads, level=level))
    else:
        session = runtime(base).load(Path(path), request.threads)
    inputs = noise(session, request.batch, request.seed)
    return lambda: session.run(inputs)


def _warm_up(run: Callable[[], Any], longest: float, block: float = BLOCK_S) -> int:
    """Run until the last five runs are as fast as the five before (within 5 %); the runs of a block of seconds."""
    started = time.perf_counter()
    seen: list[float] = []
    while time.perf_counter() - started < longest:
        seen.append(_block(run, 1))
        if len(seen) >= 10 and statistics.median(seen[-5:]) > 0.95 * statistics.median(seen[-10:-5]):
            break
    return max(MIN_RUNS, min(MAX_RUNS, round(block / (statistics.median(seen[-5:]) / 1e3))))


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
    os.environ[EXPENDABLE] = "1"  # this is a process apart already
    request |= {name: tuple(request[name]) for name in ("artefacts", "runtimes", "homes", "path")}
    last = [0.0]

    def report(share: float) -> None:
        if time.monotonic() - last[0] > 0.1:
            last[0] = time.monotonic()
            print(json.dumps({"progress": share}), flush=True)

    try:
        cpus = pin(request["threads"])
        wanted = Request(**request)
        _know(wanted.homes, wanted.path)
        answer: dict[str, Any] = {"cpus": cpus}
        answer |= {"memory": measure_memory(wanted, report)} if wanted.memory else asdict(measure(wanted, report))
    except WorkbenchError as error:
        answer = {"error": str(error)}
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
