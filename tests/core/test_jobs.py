"""Jobs: progress, cancel, errors, and waiting for a turn."""

import threading
import time
from collections.abc import Callable

import pytest

from workbench.errors import BadValue, Cancelled
from workbench.jobs import Gate, Job, Reporter
from workbench.progress import follow


def test_a_job_gives_its_result_and_its_progress() -> None:
    seen: list[tuple[float, str]] = []
    started = threading.Event()

    def work(report: Reporter) -> int:
        started.wait(5)
        report(0.5, "half")
        return 42

    job = Job(work)
    job.on_change(lambda j: seen.append((j.progress.fraction, j.progress.stage)))
    started.set()
    assert job.result(5) == 42
    assert job.state == "done"
    assert (0.5, "half") in seen and seen[-1] == (1.0, "done")


def test_whoever_follows_a_job_hears_of_its_end_before_the_result_is_there() -> None:
    heard: list[str] = []

    def slow(fraction: float, stage: str) -> None:
        time.sleep(0.1)
        heard.append(stage)

    assert follow(Job(lambda report: time.sleep(0.5)), slow) is None
    assert heard[-1] == "done"


def test_cancel_stops_at_the_next_report() -> None:
    entered, go = threading.Event(), threading.Event()

    def work(report: Reporter) -> None:
        entered.set()
        go.wait(5)
        report(0.5, "never seen")

    job = Job(work)
    entered.wait(5)
    job.cancel()
    go.set()
    with pytest.raises(Cancelled):
        job.result(5)
    assert job.state == "cancelled"


def test_an_error_is_raised_again_where_the_result_is_asked_for() -> None:
    def work(report: Reporter) -> None:
        raise BadValue("no")

    job = Job(work)
    with pytest.raises(BadValue, match="no"):
        job.result(5)
    assert job.state == "failed"


def test_jobs_at_one_gate_run_one_at_a_time_and_can_be_cancelled_while_waiting() -> None:
    gate, go, running = Gate(), threading.Event(), []

    def work(report: Reporter) -> None:
        running.append(1)
        go.wait(5)

    first, second = Job(work, gate=gate), Job(work, gate=gate)
    second.cancel()
    with pytest.raises(Cancelled):
        second.result(5)
    go.set()
    first.result(5)
    assert len(running) == 1


def test_jobs_at_one_gate_run_in_the_order_of_submission_also_past_a_cancelled_one() -> None:
    gate, go, order = Gate(), threading.Event(), []

    def work(number: int) -> Callable[[Reporter], None]:
        def run(_: Reporter) -> None:
            go.wait(5)
            order.append(number)

        return run

    jobs = [Job(work(number), gate=gate) for number in range(12)]
    jobs[5].cancel()
    with pytest.raises(Cancelled):
        jobs[5].result(5)
    go.set()
    for job in jobs[:5] + jobs[6:]:
        job.result(5)
    assert order == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11]


def test_a_part_reports_its_share() -> None:
    seen: list[float] = []
    part = Reporter(lambda fraction, _: seen.append(fraction)).part(0.5, 1.0)
    part(0.5, "x")
    assert seen == [0.75]


def test_notes_of_every_part_reach_the_whole() -> None:
    whole = Reporter()
    whole.part(0.0, 0.5).part(0.2, 0.4).note("few images")
    assert whole.notes == ["few images"]


def test_a_job_cannot_wait_for_itself() -> None:
    box: list[Job[None]] = []
    ready = threading.Event()

    def work(report: Reporter) -> None:
        ready.wait(5)
        box[0].result()

    box.append(Job(work))
    ready.set()
    with pytest.raises(BadValue, match="own result"):
        box[0].result(5)
