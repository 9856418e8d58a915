"""Long work off the main thread: progress, cooperative cancel, result or error."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from workbench.errors import BadValue, Cancelled, OverQuota
from workbench.meter import Meter
from workbench.untrusted import quota

T = TypeVar("T")
State = Literal["waiting", "running", "done", "failed", "cancelled"]


@dataclass(frozen=True)
class Progress:
    """How far a job has come: `fraction` in [0, 1], the stage in words, seconds since its start.

    `seconds_left`: what is left, or None where the pace so far does not tell, see `Pace`.
    """

    fraction: float
    stage: str
    seconds: float
    seconds_left: float | None = None


class Pace:
    """How long the rest of some work will take: told only while the pace of late is that of the whole.

    The stages of a job do not take the times that their shares of the progress promise: three quick ones would
    promise seconds where the fourth takes minutes.
    """

    MEANINGFUL_SECONDS = 4.0
    LATELY = 1 / 3  # of the time so far
    ALIKE = 1.6  # the two paces differ by no more than this factor

    def __init__(self) -> None:
        self._seen = deque([(0.0, 0.0)])  # (seconds, fraction); the first is the latest before the last third

    def left(self, seconds: float, fraction: float) -> float | None:
        """The seconds that are left, the longer of what the two paces give."""
        self._seen.append((seconds, fraction))
        while len(self._seen) > 2 and self._seen[1][0] <= seconds * (1 - self.LATELY):
            self._seen.popleft()
        since, was = self._seen[0]
        if seconds < self.MEANINGFUL_SECONDS or not was < fraction < 1:
            return None
        rest = sorted((1 - fraction) / pace for pace in (fraction / seconds, (fraction - was) / (seconds - since)))
        return rest[1] if rest[1] <= self.ALIKE * rest[0] else None


class Reporter:
    """What working code holds: call it with (fraction, stage); it raises `Cancelled` once cancel was asked."""

    def __init__(self, publish: Callable[[float, str], None] | None = None) -> None:
        self._publish = publish
        self.notes: list[str] = []  # what the user should be told about the result
        self.cancelled = threading.Event()
        self.clock = Clock()
        self.meter = Meter()

    def __call__(self, fraction: float, stage: str) -> None:
        """Report; raises `Cancelled`."""
        self.check()
        if self._publish is not None:
            self._publish(min(max(fraction, 0.0), 1.0), stage)

    def check(self) -> None:
        """Raise `Cancelled` when the user asked for it, `OverQuota` when the time of a job on this page is over."""
        if self.cancelled.is_set():
            raise Cancelled("The job was cancelled. Variants finished before it are kept.")
        self.clock.check()

    def note(self, sentence: str) -> None:
        """Keep a sentence for whoever gets the result; a study puts it among the variant's notes."""
        self.notes.append(sentence)

    def through(self, stage: str, count: int) -> Counted:
        """A count of the inputs that one stage is through with, of so many; call it with how many are done."""
        return Counted(self, stage, count)

    def part(self, start: float, end: float) -> Reporter:
        """A reporter for a part of the work: its 0..1 is this one's start..end; cancel and notes are shared."""
        part = Reporter(lambda fraction, stage: self(start + fraction * (end - start), stage))
        part.cancelled, part.notes, part.clock, part.meter = self.cancelled, self.notes, self.clock, self.meter
        return part

    def alone(self) -> Reporter:
        """A reporter for one of several results of the same job: notes and what it takes are its own."""
        part = self.part(0.0, 1.0)
        part.notes, part.meter = [], Meter()
        return part


class Counted:
    """Progress through so many inputs. Where they take long it says how long, as soon as the first ones tell."""

    ENOUGH_SECONDS = 1.0  # of the first inputs, for their pace
    LONG_SECONDS = 20.0  # what is over sooner needs no words

    def __init__(self, report: Reporter, stage: str, count: int) -> None:
        self.report, self.stage, self.count = report, stage, count
        self._begun, self._said = time.monotonic(), ""

    def __call__(self, done: int) -> None:
        """Report that so many are done. Raises: `Cancelled`."""
        seconds = time.monotonic() - self._begun
        whole = seconds / done * self.count if done and seconds >= self.ENOUGH_SECONDS else 0.0
        if whole >= self.LONG_SECONDS:
            self._said = f", about {lasting(whole)} for {self.count:,} inputs"
        self.report(done / max(1, self.count), self.stage + self._said)


def lasting(seconds: float) -> str:
    """A time in words, as exact as an expectation is: 40 s, 12 min, 3.5 h."""
    if seconds < 55:
        return f"{max(1, round(seconds / 5) * 5 if seconds > 10 else round(seconds))} s"
    return f"{max(1, round(seconds / 60))} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class Clock:
    """The time that a job may take on a published page. It runs from `start` on: waiting in line is free."""

    def __init__(self) -> None:
        self._minutes = quota.here().job_minutes
        self._end = float("inf")

    def start(self) -> None:
        """Begin to count."""
        if self._minutes is not None:
            self._end = time.monotonic() + 60 * self._minutes

    def check(self) -> None:
        """Raise `OverQuota` when the time is over."""
        if time.monotonic() > self._end:
            raise OverQuota(
                f"This took longer than the {self._minutes:g} minutes that a job may take on this page, and was "
                "stopped. Variants finished before it are kept. Train for fewer epochs, or run the workbench on a "
                "machine of your own."
            )


class Gate:
    """Lets jobs through one at a time, in the order in which they came."""

    def __init__(self) -> None:
        self._line: deque[object] = deque()
        self._moved = threading.Condition()

    def enter(self, ticket: object) -> None:
        """Join the end of the line."""
        with self._moved:
            self._line.append(ticket)

    def wait(self, ticket: object, timeout: float) -> bool:
        """Whether it is this ticket's turn, waiting for it for up to `timeout` seconds."""
        with self._moved:
            return self._moved.wait_for(lambda: self._line[0] is ticket, timeout)

    def leave(self, ticket: object) -> None:
        """Let the next one through, or give up one's place in the line."""
        with self._moved:
            self._line.remove(ticket)
            self._moved.notify_all()


class Worker(threading.Thread):
    """A thread that is not left behind when Python exits: torch's C++ aborts the whole process where that happens.

    At exit `stop` is called, and the thread waited for. One that does not listen is interrupted at its next line of
    Python, and one that stays in a single call for seconds more is left after all: nothing keeps an exit waiting.
    """

    #: Seconds that all threads have to listen, then to be interrupted, and once more for those that caught that.
    PATIENCE = (1.5, 1.0, 1.0)

    def __init__(self, work: Callable[[], object], *, name: str, stop: Callable[[], object] = lambda: None) -> None:
        super().__init__(target=work, name=f"workbench-{name}", daemon=True)
        self.stop = stop

    def start(self) -> None:
        """Start it."""
        # What is registered last is called first: before what the work needs, such as its folder, is taken away.
        atexit.unregister(Worker._end_all)
        atexit.register(Worker._end_all)
        super().start()

    def _interrupt(self) -> None:
        """Raise `SystemExit` in the thread, which ends one without a word."""
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self.ident or 0), ctypes.py_object(SystemExit))

    @staticmethod
    def _end_all() -> None:
        for again, seconds in enumerate(Worker.PATIENCE):
            for worker in _workers() if again else ():
                worker._interrupt()
            end = time.monotonic() + seconds
            while (left := _workers()) and time.monotonic() < end:
                for worker in left:  # also those that work of before has just started
                    worker.stop()
                left[0].join(0.05)


def _workers() -> list[Worker]:
    return [one for one in threading.enumerate() if isinstance(one, Worker)]


class Job(Generic[T]):
    """One unit of long work, started at once on a thread of its own (or when its turn at `gate` has come).

    >>> job = wb.Job(lambda report: sum(range(10)), name="a sum")
    >>> job.result()
    45
    """

    def __init__(self, work: Callable[[Reporter], T], *, name: str = "job", gate: Gate | None = None) -> None:
        self.name = name
        self.state: State = "waiting"
        self.error: BaseException | None = None
        self._value: T | None = None
        self._progress = Progress(0.0, "waiting", 0.0)
        self._started = time.monotonic()
        self._listeners: list[Callable[[Job[T]], None]] = []
        self._pace = Pace()
        self._reporter = Reporter(self._report)
        self._ended = threading.Event()
        self._work, self._gate = work, gate
        if gate is not None:
            gate.enter(self)  # here, not on the thread: threads start in any order
        self._thread = Worker(self._run, name=name, stop=self.cancel)
        self._thread.start()

    @property
    def progress(self) -> Progress:
        """The latest progress; a value, safe to read from any thread."""
        return self._progress

    @property
    def done(self) -> bool:
        """True once the job has ended, in whatever way."""
        return self._ended.is_set()

    def on_change(self, listener: Callable[[Job[T]], None]) -> None:
        """Call `listener(job)` on every progress report and at the end, on the job's thread."""
        self._listeners.append(listener)
        if self.done:
            listener(self)

    def cancel(self) -> None:
        """Ask the work to stop at its next report; finished results are kept."""
        self._reporter.cancelled.set()

    def result(self, timeout: float | None = None) -> T:
        """Wait for the end and return the value.

        Raises: whatever the work raised; `Cancelled`; `TimeoutError` when it is not done in `timeout` seconds.
        """
        if threading.current_thread() is self._thread and not self.done:  # a listener of its end may read it
            raise BadValue("A job cannot wait for its own result. Call result() from another thread.")
        if not self._ended.wait(timeout):
            raise TimeoutError(f"{self.name} is not done after {timeout} s ({self._progress.stage}).")
        if self.error is not None:
            raise self.error
        return self._value  # type: ignore[return-value]  # set whenever there is no error

    def join(self) -> None:
        """Wait for the end, and until every listener has been told of it."""
        self._thread.join()

    def _report(self, fraction: float, stage: str) -> None:
        seconds = time.monotonic() - self._started
        self._progress = Progress(fraction, stage, seconds, self._pace.left(seconds, fraction))
        self._notify()

    def _notify(self) -> None:
        for listener in list(self._listeners):
            listener(self)

    def _run(self) -> None:
        try:
            with self._turn():
                self.state, self._started = "running", time.monotonic()
                self._reporter.clock.start()
                self._reporter(0.0, "starting")
                self._value = self._work(self._reporter)
            self.state = "done"
            self._progress = Progress(1.0, "done", time.monotonic() - self._started)
        except Cancelled as error:
            self.state, self.error = "cancelled", error
        except BaseException as error:  # noqa: BLE001  # kept and raised again by result()
            self.state, self.error = "failed", error
        finally:
            self._ended.set()
            self._notify()

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Be the one at the gate while working; stay cancellable while waiting for it."""
        if self._gate is None:
            yield
            return
        try:
            while not self._gate.wait(self, timeout=0.1):
                self._reporter.check()
            yield
        finally:
            self._gate.leave(self)
