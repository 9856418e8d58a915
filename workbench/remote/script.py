"""Time ONNX files on this machine, and run them on inputs. Needs Python 3.8 or newer, numpy and onnxruntime.

It is sent over a connection and run there; it imports nothing of the workbench. It reads a line of JSON from stdin,
then the files that the line lists, and writes lines of JSON: what is here, or what is missing; outputs; each round of
times; at last {"done": true}. The files lie in a temporary folder that goes with the process. Files are timed as by
`workbench.measure.worker`: loaded anew in each session, warmed up, a block of runs each in turn and in random order.
"""

from __future__ import annotations

import base64
import contextlib
import importlib
import io
import json
import os
import platform
import random
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

BLOCK_S, MIN_RUNS, MAX_RUNS = 0.005, 4, 50
MIN_ROUNDS, WARM_UP_S = 9, 0.6
#: Inputs that are run at a time for their outputs.
BATCH = 50
NEEDED = ("numpy", "onnxruntime")


def say(**message: Any) -> None:
    """Answer with a line."""
    print(json.dumps(message), file=ANSWERS, flush=True)


def here() -> dict[str, Any]:
    """What this machine is, and which of the packages that are needed are missing."""
    versions, missing = {}, []
    for name in NEEDED:
        try:
            versions[name] = importlib.import_module(name).__version__
        except Exception as error:  # noqa: BLE001  # a broken installation raises anything
            missing.append([name, f"{type(error).__name__}: {error}"[:200]])
    return {
        "missing": missing,
        "versions": versions,
        "python": platform.python_version(),
        "executable": sys.executable,
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "cores": os.cpu_count() or 1,
    }


def processor() -> str:
    """The processor's name, as far as the system says it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.lower().startswith(("model name", "hardware", "model\t")):
                return line.partition(":")[2].strip()[:100]
    return platform.processor()[:100]


def received(folder: str, sizes: list[int]) -> list[str]:
    """The files that follow on stdin, in order; none of them bears a name from elsewhere."""
    paths = []
    for index, size in enumerate(sizes):
        path = Path(folder) / f"{index}.bin"
        with path.open("wb") as file:
            while size:
                part = sys.stdin.buffer.read(min(size, 1 << 20))
                if not part:
                    raise EOFError("the connection ended before all files were here")
                file.write(part)
                size -= len(part)
        paths.append(str(path))
    return paths


def opened(path: str, threads: int) -> Any:
    """ONNX Runtime on so many threads, whose idle ones do not burn the processor."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def pulse(numpy: Any, left: Any, out: Any) -> float:
    """Milliseconds of a fixed small computation, which tells disturbed moments from others."""
    times = []
    for _ in range(6):
        started = time.perf_counter_ns()
        numpy.matmul(left, left, out=out)
        numpy.matmul(left, left, out=out)
        times.append(time.perf_counter_ns() - started)
    return sorted(times)[1] / 1e6


def block(run: Callable[[], Any], count: int) -> float:
    """The lower quartile of `count` runs, in milliseconds: runs that other programs interrupt do not count."""
    times = []
    for _ in range(count):
        started = time.perf_counter_ns()
        run()
        times.append((time.perf_counter_ns() - started) / 1e6)
    return sorted(times)[(count - 1) // 4]


def warm_up(run: Callable[[], Any], longest: float, length: float) -> int:
    """Run until the last five runs are as fast as the five before; the runs of a block of `length` seconds."""
    started = time.perf_counter()
    seen: list[float] = []
    while time.perf_counter() - started < longest:
        seen.append(block(run, 1))
        if len(seen) >= 10 and statistics.median(seen[-5:]) > 0.95 * statistics.median(seen[-10:-5]):
            break
    return max(MIN_RUNS, min(MAX_RUNS, round(length / (statistics.median(seen[-5:]) / 1e3))))


def prepared(path: str, given: list[Any], threads: int) -> tuple[Callable[[], Any], float]:
    """A function that runs a file once on one input, and the milliseconds that loading it took."""
    started = time.perf_counter()
    session = opened(path, threads)
    spent = (time.perf_counter() - started) * 1e3
    feed = {one.name: given[place][:1] for place, one in enumerate(session.get_inputs())}
    return lambda: session.run(None, feed), spent


def time_all(paths: list[str], given: list[Any], asked: dict[str, Any]) -> None:
    """Say each round of times as it is taken, in milliseconds, with the slower pulse before and after each block."""
    chosen, seconds = random.Random(0), asked["seconds"] / asked["sessions"]
    for session in range(asked["sessions"]):
        made = [prepared(path, given, asked["threads"]) for path in paths]
        runs, loads = tuple(run for run, _ in made), [spent for _, spent in made]
        length = min(BLOCK_S, seconds / (MIN_ROUNDS * len(runs)))
        counts = [warm_up(run, WARM_UP_S / (session + 1), length) for run in runs]
        say(session=session, load_ms=loads)
        started, rounds = time.perf_counter(), 0
        while rounds < MIN_ROUNDS or time.perf_counter() - started < seconds:
            times, pulses = one_round(runs, counts, chosen)
            say(session=session, times=times, pulses=pulses)
            rounds += 1


def one_round(
    runs: tuple[Callable[[], Any], ...], counts: list[int], chosen: random.Random
) -> tuple[list[float], list[float]]:
    """A block of each, in random order."""
    import numpy

    left, out = numpy.full((96, 96), 0.5, numpy.float32), numpy.empty((96, 96), numpy.float32)
    times, pulses = [0.0] * len(runs), [0.0] * len(runs)
    before = pulse(numpy, left, out)
    for which in chosen.sample(range(len(runs)), len(runs)):
        times[which] = block(runs[which], counts[which])
        after = pulse(numpy, left, out)
        pulses[which], before = max(before, after), after
    return times, pulses


def answer_all(paths: list[str], given: list[Any], threads: int) -> None:
    """Say the outputs of every file: the first of floating-point numbers, or else the first."""
    import numpy

    for index, path in enumerate(paths):
        session, found = opened(path, threads), []
        for start in range(0, len(given[0]), BATCH):
            names, part = [one.name for one in session.get_inputs()], [one[start : start + BATCH] for one in given]
            outputs = session.run(None, {name: part[place] for place, name in enumerate(names)})
            found.append(next((one for one in outputs if one.dtype.kind == "f"), outputs[0]))
        held = io.BytesIO()
        numpy.save(held, numpy.concatenate(found), allow_pickle=False)
        say(answers=index, array=base64.b64encode(held.getvalue()).decode())


def leave_with_the_connection(folder: str) -> None:
    """End this process when whoever asked is gone, in the middle of a measurement too, and leave nothing behind."""
    with contextlib.suppress(OSError, ValueError):
        while sys.stdin.buffer.read(1 << 16):
            pass
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


def main() -> None:
    """Serve one request."""
    asked = json.loads(sys.stdin.buffer.readline())
    found = here()
    say(here=found)
    if found["missing"]:
        return
    import numpy

    with tempfile.TemporaryDirectory(prefix="workbench-probe-") as folder:
        try:
            *paths, inputs = received(folder, asked["sizes"])
            say(received=True)
            threading.Thread(target=leave_with_the_connection, args=(folder,), daemon=True).start()
            with numpy.load(inputs, allow_pickle=False) as held:
                given = [held[f"arr_{index}"] for index in range(len(held.files))]
            answer_all(paths, given, asked["threads"])
            time_all(paths, given, asked)
        except Exception as error:  # noqa: BLE001  # it is said on the other side
            say(error=f"{type(error).__name__}: {error}"[:500], number=getattr(error, "errno", None) or 0)
            return
    say(done=True)


if __name__ == "__main__":
    ANSWERS = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a runtime prints is no answer
    main()
    ANSWERS.flush()
    os._exit(0)  # without waiting for the thread that reads
