"""Jobs: progress, cancel, errors, and waiting for a turn."""

import threading
import time
from collections.abc import Callable

import pytest

import workbench as wb
from workbench.building.build import shares
from workbench.errors import BadValue, Cancelled
from workbench.jobs import Gate, Job, Pace, Reporter
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


def told(stages: list[tuple[float, float]]) -> list[tuple[float, float | None]]:
    """(what is left, what a pace says of it), half a second after another, of stages (seconds, share of progress)."""
    pace, total, found = Pace(), sum(seconds for seconds, _ in stages), []
    for n in range(1, round(2 * total)):
        time_left, fraction = n / 2, 0.0
        for seconds, share in stages:
            fraction += share * min(1.0, time_left / seconds)
            time_left = max(0.0, time_left - seconds)
        found.append((total - n / 2, pace.left(n / 2, fraction)))
    return found


def test_even_work_tells_how_long_it_takes_once_it_has_gone_on_for_a_moment() -> None:
    says = told([(60.0, 1.0)])
    assert all(said is None for left, said in says if left > 56)
    assert all(said == pytest.approx(left) for left, said in says if left <= 56)


@pytest.mark.parametrize(
    "stages",
    [
        [(0.5, 0.55), (300.0, 0.45)],  # two quick ones, then training
        [(12.0, 0.1), (1.0, 0.3), (18.0, 0.6)],
        [(3.0, 0.5), (100.0, 0.1), (5.0, 0.4)],
    ],
)
def test_quick_stages_promise_nothing_for_slow_ones(stages: list[tuple[float, float]]) -> None:
    says = [(left, said) for left, said in told(stages) if said is not None]
    assert all(said >= left / 2 for left, said in says)


@pytest.mark.parametrize(
    ("each", "count", "words"),
    [(0.0144, 50_000, "about 12 min for 50,000 inputs"), (0.5, 40_000, "about 5.6 h for 40,000 inputs"),
     (0.01, 900, "")],
)  # fmt: skip
def test_long_work_says_early_how_long(monkeypatch: pytest.MonkeyPatch, each: float, count: int, words: str) -> None:
    """By a clock of its own, in batches of 100: after the first second, and from then on; short work says nothing."""
    clock, said = [100.0], list[tuple[float, str]]()
    monkeypatch.setattr("workbench.jobs.time.monotonic", lambda: clock[0])
    through = Reporter(lambda fraction, stage: said.append((fraction, stage))).through("accuracy", count)
    for done in range(0, count, 100):
        clock[0] = 100.0 + done * each
        through(done)
    stages = [stage for _, stage in said]
    assert stages[0] == "accuracy" and said[1][0] == pytest.approx(100 / count)
    assert {stage for stage in stages if stage != "accuracy"} == ({f"accuracy, {words}"} if words else set())
    assert not words or stages.index(f"accuracy, {words}") <= max(1, 1.1 / each / 100 + 1)


def test_nothing_is_left_of_work_that_is_done() -> None:
    assert Pace().left(30.0, 1.0) is None


def test_progress_is_shared_out_by_what_the_steps_take() -> None:
    assert shares(wb.Recipe())[0] == 0  # nothing is rewritten
    one, ten = (shares(wb.Prune(ratio=0.5) | wb.Finetune(epochs=n))[0] for n in (1, 10))
    assert 0 < one < ten < 1
    assert ten / (1 - ten) == pytest.approx((4 + 300) / (4 + 30) * one / (1 - one))  # epochs are what they are
    for recipe in (wb.Recipe(), wb.QAT().recipe(), wb.Tucker(0.5) | wb.Quantize("int8")):
        rewritten, lowered = shares(recipe)
        assert 0 <= rewritten < lowered < 1
