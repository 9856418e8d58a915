"""Recipes given to workers: what comes back is what is made here, and workers that die are made good."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import deadly
import pytest
from conftest import SPAWN
from tiny import tiny_data, tiny_model

import workbench as wb
from workbench.errors import BadValue, Cancelled, WorkersFailed
from workbench.jobs import Job, Reporter
from workbench.step import REGISTRY
from workbench.workers.crew import Crew
from workbench.workers.pool import Workers
from workbench.workers.shelf import Shelf

RECIPE = wb.SVD(rank=0.5) | wb.Finetune(epochs=1) | wb.Quantize("int8")
#: What is taken by the clock, or follows from it.
TIMED = {"latency_ms", "speedup", "run_memory_bytes", "predicted_speedup"}


def new_study(folder: Path, **settings: Any) -> wb.Study:
    return wb.Study(tiny_model(), tiny_data(), folder, **settings)


@contextmanager
def at_work(study: wb.Study, executor: Executor, timing: Executor | None = None) -> Iterator[Crew]:
    _ = study.baseline
    with Crew(Workers(executor, timing), study._order(), study._given, Reporter()) as crew:
        yield crew


def figures(variant: wb.Variant) -> dict[str, Any]:
    return {name: one for name, one in variant.estimates.items() if name not in TIMED}


@pytest.fixture(scope="module")
def here(settings: Path) -> wb.Study:
    """A study without workers, to compare with."""
    return new_study(settings / "here")


@pytest.fixture
def deaths(settings: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(REGISTRY, "Deadly", deadly.Deadly)
    (settings / "deaths").unlink(missing_ok=True)
    return settings / "deaths"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_workers_make_what_is_made_here(kind: str, pool: Executor, here: wb.Study, tmp_path: Path) -> None:
    study = new_study(tmp_path)
    executor = pool if kind == "processes" else ThreadPoolExecutor(2)
    with at_work(study, executor) as crew:
        assert crew.count == 2
        there = study._make(RECIPE, Reporter(), crew)
    own = here.run(RECIPE, progress=False)
    assert there.id == own.id
    assert figures(there) == figures(own)
    assert [one for one in there.notes if "speed" not in one and "Slower" not in one] == [
        one for one in own.notes if "speed" not in one and "Slower" not in one
    ]
    assert there.written == own.written
    assert [one.id for one in study.variants] == [study.baseline.id, there.id]
    assert not crew.notes


@pytest.mark.slow
def test_a_metric_of_the_users_own_goes_with_it(pool: Executor, here: wb.Study, tmp_path: Path) -> None:
    study = new_study(tmp_path, metric=deadly.right)
    recipe = wb.Prune(ratio=0.9)
    with at_work(study, pool) as crew:
        there = study._make(recipe, Reporter(), crew)
    assert there["right"].value == here.run(recipe, progress=False)["accuracy"].value


def test_a_metric_that_cannot_be_sent_is_refused_and_threads_take_it(pool: Executor, tmp_path: Path) -> None:
    def right(outputs: Any, labels: Any) -> Any:
        return deadly.right(outputs, labels)

    study = new_study(tmp_path, metric=right)
    with pytest.raises(BadValue, match="top of a module"), at_work(study, pool):
        pass
    with at_work(study, ThreadPoolExecutor(1)) as crew:
        assert study._make(wb.Prune(ratio=0.5), Reporter(), crew)["right"].n == 100


@pytest.mark.slow
def test_a_worker_that_dies_is_made_good(deaths: Path, tmp_path: Path) -> None:
    """Two processes die of it, one of them with a neighbour at work; the third one does it, and the neighbour's too."""
    study = new_study(tmp_path)
    dying, neighbour = wb.Recipe((deadly.Deadly(times=2),)), wb.Prune(ratio=0.3)
    with ProcessPoolExecutor(2, mp_context=SPAWN) as mortal, at_work(study, mortal) as crew:
        jobs = [Job(lambda report, one=one: study._make(one, report, crew)) for one in (dying, neighbour)]
        found = [job.result() for job in jobs]
        assert found[0]["accuracy"] == study.run(wb.Prune(ratio=0.5), progress=False)["accuracy"]
        assert study._make(wb.Prune(ratio=0.4), Reporter(), crew)  # the pool's successor works
    assert len(deaths.read_text()) == 2
    assert any("ended before its work was done" in note for note in crew.notes)


@pytest.mark.slow
def test_what_ends_every_worker_is_left_out(deaths: Path, tmp_path: Path) -> None:
    study = new_study(tmp_path)
    with (
        ProcessPoolExecutor(1, mp_context=SPAWN) as mortal,
        at_work(study, mortal) as crew,
        pytest.raises(WorkersFailed, match="left out: 3 workers ended"),
    ):
        study._make(wb.Recipe((deadly.Deadly(times=100),)), Reporter(), crew)
    assert len(deaths.read_text()) == 3
    assert [one.id for one in study.variants] == [study.baseline.id]


def _elsewhere(folder: str) -> None:
    os.environ["WORKBENCH_CACHE"] = folder


@pytest.mark.slow
def test_a_machine_that_has_nothing_is_sent_it_once(
    here: wb.Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []
    contents = Shelf.contents
    monkeypatch.setattr(Shelf, "contents", lambda shelf, names: _counted(contents(shelf, names), sent))
    study = new_study(tmp_path / "study")
    place = str(tmp_path / "elsewhere")
    with (
        ProcessPoolExecutor(1, mp_context=SPAWN, initializer=_elsewhere, initargs=(place,)) as far,
        at_work(study, far) as crew,
    ):
        found = [study._make(wb.Prune(ratio=ratio), Reporter(), crew) for ratio in (0.2, 0.4)]
    order = study._order()
    assert sent == [len(set(order.files)) + 1]  # and the original's artefact
    for one in found:
        assert figures(one) == figures(here.run(one.recipe, progress=False))


def _counted(files: dict[str, bytes], sent: list[int]) -> dict[str, bytes]:
    sent.append(len(files))
    return files


def _older() -> None:
    import workbench

    workbench.__version__ = "0.0.1"


def _without() -> None:
    sys.modules["workbench"] = None  # type: ignore[assignment]  # what Python takes for "not there"


@pytest.mark.parametrize(
    ("start", "said"), [(_older, "has workbench 0.0.1, and this process"), (_without, "no workbench")]
)
def test_workers_of_another_kind_are_refused(start: Any, said: str, tmp_path: Path) -> None:
    study = new_study(tmp_path)
    with (
        ProcessPoolExecutor(1, mp_context=SPAWN, initializer=start) as other,
        pytest.raises(BadValue, match=said),
        at_work(study, other),
    ):
        pass


def test_one_that_joins_later_with_another_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = new_study(tmp_path)
    with ThreadPoolExecutor(1) as executor, at_work(study, executor) as crew:
        monkeypatch.setattr(wb, "__version__", "9.9")
        with pytest.raises(BadValue, match="workbench 9.9"):
            study._make(wb.Prune(ratio=0.5), Reporter(), crew)


def test_what_takes_no_work_is_refused(tmp_path: Path) -> None:
    study = new_study(tmp_path)
    closed = ThreadPoolExecutor(1)
    closed.shutdown()
    with pytest.raises(BadValue, match="takes no work"):
        study.search("macs", executor=closed, progress=False)
    for wrong in (3, object(), ThreadPoolExecutor):
        with pytest.raises(BadValue, match="Executor"):
            study.search("macs", executor=wrong, progress=False)  # type: ignore[arg-type]
    with pytest.raises(BadValue, match="count"):
        Workers(ThreadPoolExecutor(1), count=0)


class _Leaving(ThreadPoolExecutor):
    """Gives up what it is asked, or takes no more, after so many calls."""

    def __init__(self, calls: int, *, cancels: bool) -> None:
        super().__init__(1)
        self.left, self.cancels = calls, cancels

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.left -= 1
        if self.left >= 0:
            return super().submit(fn, *args, **kwargs)
        if not self.cancels:
            raise RuntimeError("cannot schedule new futures after shutdown")
        future: Future[Any] = Future()
        future.cancel()
        future.set_running_or_notify_cancel()
        return future


@pytest.mark.parametrize("cancels", [True, False])
def test_where_workers_leave_the_rest_is_done_here(cancels: bool, here: wb.Study, tmp_path: Path) -> None:
    study = new_study(tmp_path)
    with at_work(study, _Leaving(1, cancels=cancels)) as crew:
        found = study._make(wb.Prune(ratio=0.4), Reporter(), crew)
    assert figures(found) == figures(here.run(wb.Prune(ratio=0.4), progress=False))
    assert any("this process" in note for note in crew.notes)


def test_an_error_of_the_work_is_the_same_error(tmp_path: Path) -> None:
    study = new_study(tmp_path)
    recipe = wb.SVD(rank=100)
    with pytest.raises(wb.WorkbenchError) as own:
        new_study(tmp_path / "own").run(recipe, progress=False)
    with (
        ThreadPoolExecutor(1) as executor,
        at_work(study, executor) as crew,
        pytest.raises(type(own.value)) as there,
    ):
        study._make(recipe, Reporter(), crew)
    assert str(there.value) == str(own.value)


def test_cancelled_work_stops_and_the_workers_too(tmp_path: Path) -> None:
    study = new_study(tmp_path)
    with ThreadPoolExecutor(1) as executor, at_work(study, executor) as crew:
        job = Job(lambda report: study._make(wb.Recipe((wb.Finetune(epochs=300),)), report, crew))
        threading.Event().wait(1.0)
        job.cancel()
        with pytest.raises(Cancelled):
            job.result(timeout=30)
        executor.submit(int).result(timeout=60)  # its thread is free again, long before 300 epochs
    assert [one.id for one in study.variants] == [study.baseline.id]


@pytest.mark.slow
def test_times_come_from_the_workers_that_are_marked_for_it(pool: Executor, tmp_path: Path) -> None:
    study = new_study(tmp_path)
    with ThreadPoolExecutor(1) as executor, at_work(study, executor, timing=pool) as crew:
        found = study._make(wb.Prune(ratio=0.5), Reporter(), crew)
    speedup = found["speedup"]
    assert 0.5 < speedup.value < 2 and speedup.low <= speedup.value <= speedup.high
    assert found["latency_ms"].value > 0 and found["run_memory_bytes"].value > 0
    assert found.machine == study.baseline.machine  # the same machine, as it happens
