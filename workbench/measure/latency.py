"""Latency of artefacts: a separate process, warmed up, every artefact interleaved with the others.

Absolute times drift with the machine by tens of per cent; ratios taken within one round hold to a few.
"""

from __future__ import annotations

import json
import math
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

import workbench
from workbench.errors import BadValue, MeasurementFailed
from workbench.estimate import Z95, Estimate, exact
from workbench.interface.arguments import check_kinds
from workbench.jobs import Reporter
from workbench.measure.measurement_lock import turn
from workbench.measure.speed_probe import TOLERANCE, fastest_known, fastest_of, remember
from workbench.measure.worker import Request
from workbench.runtimes.base import home

Array = npt.NDArray[np.float64]

#: Standard deviation of the log ratio of a file to itself that is left after interleaving: where code and
#: data happen to lie in memory. It widens every interval; without it, noise would be taken for a difference.
PLACEMENT = 0.01
#: Where nothing but disturbed rounds were timed: by how much of the slowing a ratio may be wrong. One of 2.5 was
#: measured as 2.2 while the pulse was slower by half.
SHAKEN = 0.35
ENOUGH = 12  # undisturbed rounds
SECONDS, _VARIABLE = 3.0, "WORKBENCH_LATENCY_SECONDS"
_RESAMPLES = 1000
_START_S = 120.0  # the worker may take this long to import, load and compile before it is given up


class Subject(NamedTuple):
    """An artefact in a runtime other than the default one, by the runtime's name."""

    path: Path
    runtime: str


@dataclass(frozen=True)
class Timings:
    """Interleaved times in milliseconds, one array (sessions, rounds) an artefact, in the order asked for.

    `slowed` has the same shapes: by how much the processor ran slower than it can, as a logarithm; empty where
    that is not known.
    """

    times: tuple[Array, ...]
    batch: int
    threads: int
    slowed: tuple[Array, ...] = ()

    def latency(self, index: int) -> Estimate:
        """Milliseconds for one batch, on an undisturbed processor."""
        return _robust(self.times[index], self._slowed(index), 1.0, "ms")

    def speedup(self, index: int, over: int = 0) -> Estimate:
        """How many times faster than artefact `over`: the median of the ratios taken within one round."""
        if index == over:
            return Estimate(1.0, 1.0, 1.0, self.times[index].size)
        slowed = np.maximum(self._slowed(index), self._slowed(over))
        return _robust(self.times[over] / self.times[index], slowed, SHAKEN, "")

    def _slowed(self, index: int) -> Array:
        return self.slowed[index] if self.slowed else np.zeros_like(self.times[index])


@dataclass(frozen=True)
class Latency:
    """One artefact against its baseline, measured together."""

    latency_ms: Estimate
    baseline_ms: Estimate
    speedup: Estimate
    batch: int
    threads: int


@check_kinds
def measure_latency(
    artefact: Path,
    baseline: Path,
    *,
    batch: int = 1,
    threads: int = 1,
    seconds: float | None = None,
    progress: Reporter | None = None,
) -> Latency:
    """Latency of an artefact and its speed-up over `baseline`, which may be the same file (speed-up 1).

    `seconds` is 3, or what the environment variable WORKBENCH_LATENCY_SECONDS says: less for a class on slow
    laptops, at the price of wider intervals. Raises: as `interleave`.
    """
    seconds = usual_seconds() if seconds is None else seconds
    artefact, baseline = Path(artefact), Path(baseline)
    files = [baseline] if artefact == baseline else [baseline, artefact]
    timings = interleave(files, batch=batch, threads=threads, seconds=seconds, progress=progress)
    last = len(files) - 1
    return Latency(timings.latency(last), timings.latency(0), timings.speedup(last), batch, threads)


def interleave(
    artefacts: Sequence[Path | Subject],
    *,
    batch: int = 1,
    threads: int = 1,
    seconds: float = SECONDS,
    sessions: int = 3,
    progress: Reporter | None = None,
) -> Timings:
    """Time several artefacts in turn, in random order, in a process of their own.

    `seconds` is the time spent on all of them together, after warming up; on a busy machine it takes up to
    five times as long, and slow networks up to 20 times. Each file is loaded `sessions` times: where its
    memory lies is part of the noise.

    Raises: `BadValue` for a batch, threads or seconds that make no sense; `MeasurementFailed` when a
    runtime refuses an artefact or the time limit is over; `Cancelled`.
    """
    _check(artefacts, batch, threads, seconds)
    subjects = [one if isinstance(one, Subject) else Subject(one, "onnxruntime") for one in artefacts]
    request = Request(
        tuple(str(Path(one.path).resolve()) for one in subjects),
        tuple(one.runtime for one in subjects),
        batch=batch,
        threads=threads,
        seconds=seconds,
        limit=20 * max(seconds, SECONDS),
        sessions=sessions,
        pulse=fastest_known(),
        homes=tuple(sorted({home(one.runtime) for one in subjects} - {""})),
        path=tuple(sys.path),
    )
    answer = _ask(request, progress or Reporter())
    rounds = min(len(session) for artefact in answer["times"] for session in artefact)
    if rounds == 0:
        raise MeasurementFailed(
            f"Not one round was timed within {request.limit:g} s: the network is too slow for this machine at batch "
            f"{batch}. Use a smaller batch or more seconds."
        )
    times, pulses = (
        tuple(np.array([session[:rounds] for session in one]) for one in answer[what]) for what in ("times", "pulses")
    )
    fastest = fastest_of(np.stack(pulses))
    remember(fastest)
    best = min(fastest, request.pulse or fastest)
    return Timings(times, batch, threads, tuple(np.log(np.maximum(one / best, 1.0)) for one in pulses))


@check_kinds
def run_memory(artefact: Path, *, batch: int = 1, threads: int = 1, progress: Reporter | None = None) -> Estimate:
    """Bytes that loading and running an artefact takes at its peak, in a fresh process: what it grew by.

    Weights, prepacked copies of them, activations and the runtime's own buffers; not the runtime's library.
    Raises: as `interleave`.
    """
    _check([artefact], batch, threads, 1.0)
    path = str(Path(artefact).resolve())
    request = Request((path,), ("onnxruntime",), batch=batch, threads=threads, memory=True)
    return exact(_ask(request, progress or Reporter())["memory"], "bytes")


def fastest(artefacts: Sequence[Path], *, seconds: float = 1.0, progress: Reporter | None = None) -> int:
    """Which of several artefacts runs fastest at batch 1 on one thread; the first where none is clearly faster."""
    timings = interleave(artefacts, seconds=seconds, sessions=1, progress=progress)
    faster = [i for i in range(1, len(artefacts)) if timings.speedup(i).low > 1]
    return max(faster, key=lambda i: timings.speedup(i).value, default=0)


def usual_seconds() -> float:
    """Seconds that an artefact is timed for where nobody says. Raises: `BadValue` for what is no number of seconds."""
    text = os.environ.get(_VARIABLE, "")
    try:
        seconds = float(text or SECONDS)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < math.inf:
        raise BadValue(f"{_VARIABLE} is {text!r} in the environment. Give seconds above 0, or unset it.")
    return seconds


def _check(artefacts: Sequence[Path | Subject], batch: int, threads: int, seconds: float) -> None:
    if not artefacts:
        raise BadValue("There is nothing to time. Give at least one artefact.")
    most = os.cpu_count() or 1
    if not 1 <= threads <= most:
        raise BadValue(f"threads={threads}: this machine has {most} CPUs. Use 1 to {most}.")
    if batch < 1 or not seconds > 0:
        raise BadValue(f"batch={batch}, seconds={seconds}: both must be positive.")


def _ask(request: Request, progress: Reporter) -> dict[str, Any]:
    """Send a request to a worker process and wait for its answer; the worker never outlives this call."""
    environment = dict(os.environ, OMP_WAIT_POLICY="PASSIVE", OPENBLAS_NUM_THREADS="1")
    root = str(Path(workbench.__file__).parents[1])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    with turn(progress), tempfile.TemporaryFile("w+") as complaints:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "workbench.measure.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
            env=environment,
        )
        try:
            return _converse(process, request, progress)
        except _WorkerEnded as error:
            process.wait()
            complaints.seek(0)
            said = complaints.read().strip().splitlines()[-1:] or ["it said nothing"]
            raise MeasurementFailed(
                f"The measuring process ended with code {process.returncode} ({said[0]}). "
                "It may have run out of memory; try a smaller batch."
            ) from error
        finally:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()


class _WorkerEnded(Exception):
    """The worker closed its output without an answer."""


def _converse(process: subprocess.Popen[str], request: Request, progress: Reporter) -> dict[str, Any]:
    assert process.stdin is not None and process.stdout is not None  # both were asked for as pipes
    try:
        process.stdin.write(json.dumps(asdict(request)) + "\n")
        process.stdin.flush()
    except BrokenPipeError as error:
        raise _WorkerEnded from error
    progress(0.0, "latency")
    for message in _messages(process.stdout, request.limit + _START_S, progress):
        if "error" in message:
            raise MeasurementFailed(str(message["error"]))
        if "cpus" in message:
            progress(1.0, "latency")
            return message
        progress(float(message["progress"]), "latency")
    raise _WorkerEnded


def _messages(stream: IO[str], limit: float, progress: Reporter) -> Iterator[dict[str, Any]]:
    """The worker's lines as they come, checking for cancel in between."""
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        for line in stream:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, name="workbench-latency-reader", daemon=True).start()
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        progress.check()
        try:
            line = lines.get(timeout=0.2)
        except queue.Empty:
            continue
        if line is None:
            return
        yield json.loads(line)
    raise MeasurementFailed(
        f"Measuring latency took more than {limit:g} s and was stopped. Use a smaller batch or fewer seconds."
    )


def _robust(values: Array, slowed: Array, shaken: float, unit: str) -> Estimate:
    """The median of positive values (sessions, rounds) with a 95 % interval, of the undisturbed rounds.

    A two-stage bootstrap: sessions are drawn with replacement, then rounds within them, so that what
    differs from one loading of the file to the next counts as noise (Davison & Hinkley 1997, section 3.8).
    `PLACEMENT` is added in quadrature on the log scale; and where too few rounds were undisturbed, the least
    disturbed count, and the `shaken` share of what slowed them is added too.
    """
    quiet = slowed <= max(np.log(TOLERANCE), float(np.sort(slowed, axis=None)[:ENOUGH].max()))
    excess = float(np.median(slowed[quiet]))
    doubt = shaken * excess if excess > np.log(TOLERANCE) else 0.0
    sessions = [row[kept] for row, kept in zip(np.log(values), quiet, strict=True) if kept.any()]
    random = np.random.default_rng(0)
    medians = []
    for drawn in random.integers(len(sessions), size=(_RESAMPLES, len(sessions))):
        rounds = [sessions[k][random.integers(len(sessions[k]), size=len(sessions[k]))] for k in drawn]
        medians.append(np.median(np.concatenate(rounds)))
    middle = float(np.median(np.concatenate(sessions)))
    low, high = np.quantile(medians, [0.025, 0.975])
    floor = float(np.hypot(Z95 * PLACEMENT, doubt))
    below, above = np.hypot(max(0.0, middle - low), floor), np.hypot(max(0.0, high - middle), floor)
    return Estimate(
        float(np.exp(middle)), float(np.exp(middle - below)), float(np.exp(middle + above)), int(quiet.sum()), unit
    )
