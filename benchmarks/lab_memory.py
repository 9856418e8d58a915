"""What one student's kernel takes: peak memory and processor time of each lab's solution, from first cell to last.

    python benchmarks/lab_memory.py [NAME ...] [--out FOLDER]

Memory is that of the kernel and the processes that it starts to measure in, pages that they share counted once (Linux:
proportional set size), looked at four times a second. `--out` keeps the executed notebooks.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from workbench.teach.course import Lab, labs

#: Seconds between two looks.
EVERY = 0.25
MEGABYTE = 10**6
#: Runs a notebook in a kernel of its own and writes it with its outputs.
RUN = (
    "import sys, nbformat, nbclient;"
    "book = nbformat.read(sys.argv[1], 4);"
    "nbclient.NotebookClient(book, timeout=1800, kernel_name='python3').execute();"
    "nbformat.write(book, sys.argv[1])"
)


@dataclass(frozen=True)
class Taken:
    """What a lab took: bytes at the most, and seconds of processor and of clock."""

    peak: int
    processor: float
    clock: float


def run(lab: Lab, folder: Path) -> Taken:
    """Execute a lab's solution in `folder`, where the notebook stays."""
    path = folder / f"{lab.name}.ipynb"
    path.write_text(json.dumps(lab.notebook), encoding="utf-8")
    environment = {**os.environ, "WORKBENCH_HOME": ""}  # nothing is known from an earlier run
    started, peak, seconds = time.perf_counter(), 0, {}
    process = subprocess.Popen([sys.executable, "-c", RUN, path.name], cwd=folder, env=environment)
    while process.poll() is None:
        tree = [one for one in psutil.Process(process.pid).children(recursive=True) if _runs(one)]
        seconds |= {one.pid: _processor(one) for one in tree}
        peak = max(peak, sum(map(_memory, tree)))
        time.sleep(EVERY)
    if process.returncode:
        raise SystemExit(f"{lab.name} ended with exit code {process.returncode}.")
    return Taken(peak, sum(seconds.values()), time.perf_counter() - started)


def _runs(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


def _memory(process: psutil.Process) -> int:
    """Its proportional set size, where the system tells it, else its resident one."""
    with contextlib.suppress(psutil.Error):
        told = process.memory_full_info()
        return int(getattr(told, "pss", told.rss))
    return 0


def _processor(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.Error):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", help="labs such as 02_low_rank; else all")
    parser.add_argument("--out", type=Path, help="a folder for the executed notebooks")
    asked = parser.parse_args()
    found = [lab for lab in labs() if not asked.names or lab.name in asked.names]
    print(f"{'lab':20} {'peak memory':>12} {'processor':>10} {'clock':>8}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = asked.out or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        for lab in found:
            taken = run(lab, folder)
            memory = f"{taken.peak / MEGABYTE:9,.0f} MB"
            print(f"{lab.name:20} {memory} {taken.processor:8.0f} s {taken.clock:6.0f} s", flush=True)


if __name__ == "__main__":
    main()
