"""Two workers against one: how much sooner does a search on a Dask cluster have as many variants?

    python benchmarks/scale_out.py --network fashion-resnet --evaluations 8 --rounds 2

One cluster of two processes with a thread each; a search is given one of them, then both, in turns, from copies of one
prepared study (the original measured, harm tried), until so many variants are finished. Prints seconds by the clock and
their ratio, and the processor time of the busiest worker, whose ratio is what the clock's comes to where every process
has a core to itself. Needs the extra `cluster`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import torch
from distributed import Client, LocalCluster

import workbench as wb
from workbench.errors import Cancelled


class Took(NamedTuple):
    """What a search took until it had its variants: seconds by the clock, and of the processor by worker."""

    seconds: float
    workers: list[float]
    own: float


def prepared(network: str, folder: Path, where: str) -> None:
    """A study in which a search has nothing left to prepare."""
    study = wb.Study(wb.load(network), wb.data("fashion-mnist"), folder)
    job = study.submit_search("macs", where, "20 min", watch=lambda _promises: job.cancel())
    with contextlib.suppress(Cancelled):
        job.result()


def search(folder: Path, given: argparse.Namespace, client: Any, addresses: list[str]) -> Took:
    """Search on some of the workers, from a copy of a prepared study."""
    copy = Path(shutil.copytree(folder, folder.with_name(f"{folder.name}-{time.monotonic_ns()}")))
    study = wb.Study(wb.load(given.network), wb.data("fashion-mnist"), copy)
    executor = client.get_executor(workers=addresses, allow_other_workers=False)
    processes = [psutil.Process(pid) for pid in client.run(os.getpid, workers=addresses).values()]
    marks: list[tuple[float, list[float], float]] = []
    ready = threading.Event()

    def watch(_promises: object) -> None:
        """Called once before the first variant, then after each."""
        marks.append((time.monotonic(), [busy(one) for one in processes], time.process_time()))
        if len(marks) > given.evaluations:
            ready.wait()
            job.cancel()

    job = study.submit_search("macs", given.where, "60 min", train=given.train, executor=executor, watch=watch)
    ready.set()
    with contextlib.suppress(Cancelled):
        job.result()
    client.run(_idle, workers=addresses)
    shutil.rmtree(copy)
    (begun, before, own), (ended, after, then) = marks[0], marks[min(given.evaluations, len(marks) - 1)]
    if len(marks) <= given.evaluations:
        print(f"only {len(marks) - 1} variants were found", file=sys.stderr)
    return Took(ended - begun, [b - a for a, b in zip(before, after, strict=True)], then - own)


def busy(process: psutil.Process) -> float:
    """Seconds that a process has had of the processor."""
    times = process.cpu_times()
    return float(times.user + times.system)


def _idle(dask_worker: Any) -> None:
    """Wait until what was given up has stopped."""
    end = time.monotonic() + 120
    while dask_worker.state.executing_count and time.monotonic() < end:
        time.sleep(0.2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="fashion-resnet")
    parser.add_argument("--evaluations", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--where", default="accuracy >= baseline - 0.01")
    parser.add_argument("--train", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        os.environ["WORKBENCH_CACHE"] = str(Path(place) / "cache")
        study = Path(place) / "study"
        prepared(given.network, study, given.where)
        with (
            LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster,
            Client(cluster) as client,
        ):
            addresses = sorted(client.nthreads())
            for one in addresses:  # both have loaded what they need before anything is timed
                search(study, argparse.Namespace(**{**vars(given), "evaluations": 1}), client, [one])
            report(study, given, client, addresses)


def report(study: Path, given: argparse.Namespace, client: Any, addresses: list[str]) -> None:
    """The table, line by line, and the ratios."""
    print("| workers | seconds | processor seconds by worker | of the process that searches |\n" + "| --- " * 4 + "|")
    clock, processor = [], []
    for number in range(given.rounds):
        found = {}
        for count in (1, 2) if number % 2 == 0 else (2, 1):
            took = found[count] = search(study, given, client, addresses[:count])
            told = ", ".join(f"{one:.0f}" for one in took.workers)
            print(f"| {count} | {took.seconds:.0f} | {told} | {took.own:.0f} |", flush=True)
        clock.append(found[1].seconds / found[2].seconds)
        processor.append(max(found[1].workers) / max(found[2].workers))
    print(
        f"\n{given.network}, {given.evaluations} variants, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at "
        f"the end: two workers are {statistics.median(clock):.2f} times as fast by the clock, "
        f"{statistics.median(processor):.2f} times by the processor time of the busiest."
    )


if __name__ == "__main__":
    main()
