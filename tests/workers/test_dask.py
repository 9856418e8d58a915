"""A whole search on a Dask cluster of several processes, one of which is killed while it searches."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny import tiny_data, tiny_model

import workbench as wb

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.slow
LIMIT = "accuracy >= baseline - 0.05"


@pytest.fixture(scope="module")
def client(settings: Path) -> Iterator[Any]:
    """Three workers with a thread each, on this machine alone; each may time one artefact at a time."""
    with (
        distributed.LocalCluster(
            n_workers=3,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=None,
            resources={"timing": 1},
            local_directory=str(settings / "dask"),
        ) as cluster,
        distributed.Client(cluster) as found,
    ):
        yield found


def kill_one_at_work(client: Any, ended: threading.Event, killed: list[str]) -> None:
    """End the process of the first worker that is seen at an evaluation."""
    while not ended.is_set() and not killed:
        for address, tasks in client.processing().items():
            if any("evaluate" in str(task) for task in tasks):
                process = client.run(os.getpid, workers=[address]).get(address)
                os.kill(process, signal.SIGKILL)
                killed.append(address)
                return
        time.sleep(0.05)


def test_a_search_goes_on_when_a_worker_is_killed(client: Any, tmp_path: Path) -> None:
    study = wb.Study(tiny_model(), tiny_data(300), tmp_path / "study")
    ended, killed = threading.Event(), list[str]()
    killer = threading.Thread(target=kill_one_at_work, args=(client, ended, killed))
    killer.start()
    found = study.search("macs", LIMIT, "40 s", executor=client.get_executor(), progress=False)
    ended.set()
    killer.join()
    assert killed
    assert any("went away" in note and killed[0] in note for note in found.notes)
    assert found.best is not None
    assert {one.id for one in found} <= {one.id for one in study.variants}
    own = wb.Study(tiny_model(), tiny_data(300), tmp_path / "own")
    for one in (found.best, found[-1]):
        same = own.run(one.recipe, progress=False)
        for name in ("accuracy", "validation_accuracy", "macs", "params", "file_bytes", "accuracy_change"):
            assert one[name] == same[name], name


def test_times_are_taken_on_workers_that_are_marked(client: Any, tmp_path: Path) -> None:
    study = wb.Study(tiny_model(), tiny_data(300), tmp_path)
    marked = client.get_executor(resources={"timing": 1})
    workers = wb.Workers(client.get_executor(), timing=marked, count=1)
    found = study.search("macs", LIMIT, "5 s", executor=workers, progress=False)
    assert found[0]["speedup"].low <= found[0]["speedup"].value <= found[0]["speedup"].high
    done = [key for keys in client.run(_stories).values() for key in keys]
    assert any("clock" in key for key in done)


def _stories(dask_worker: Any) -> list[str]:
    """The keys of what a worker has done."""
    return [str(event[0]) for event in dask_worker.state.log]
