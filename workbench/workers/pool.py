"""An executor at work: what it is asked is waited for, and what takes its place where its workers die."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from workbench.errors import BadValue
from workbench.jobs import Reporter

T = TypeVar("T")
_POLL_S = 0.2
#: Seconds for which a cluster may be without any worker before it counts as gone.
PATIENCE_S = 30.0
_LOOK_S = 2.0
_END_S = 2.0  # for processes that are idle to end by themselves


class WorkerDied(Exception):
    """A worker ended while it was at this; `surely` where what it was given ended it, again and again."""

    surely = False


class Gone(Exception):
    """The executor takes no more work."""


@dataclass(frozen=True)
class Workers:
    """Who builds and judges variants, and who times them.

    Args:
        executor: any `concurrent.futures.Executor`: a pool of threads or processes, or that of a Dask cluster,
            `client.get_executor()`.
        timing: an executor whose workers are marked for timing; None times in the process that searches. On a Dask
            cluster whose workers were started with `--resources "timing=1"`, of each machine one, it is
            `client.get_executor(resources={"timing": 1})`. A latency is always taken in turns with the original's on
            the same machine, one at a time.
        count: how many variants are under way at once; None has as many as the executor has workers.

    >>> from concurrent.futures import ThreadPoolExecutor
    >>> with ThreadPoolExecutor(2) as pool:
    ...     workers = wb.Workers(pool, count=2)  # then study.search(executor=workers)
    >>> workers.count
    2
    """

    executor: Executor
    timing: Executor | None = None
    count: int | None = None

    def __post_init__(self) -> None:
        for name, one in (("executor", self.executor), ("timing", self.timing)):
            if not isinstance(one, Executor) and not (name == "timing" and one is None):
                raise BadValue(
                    f"{name} is a {type(one).__name__}, no concurrent.futures.Executor. Give one, such as "
                    "ProcessPoolExecutor(4), or client.get_executor() of a Dask client."
                )
        if self.count is not None and not (isinstance(self.count, int) and 1 <= self.count <= 10_000):
            raise BadValue(
                f"count is {self.count!r}. Give how many variants are under way at once, such as 4, or None."
            )


class Pool:
    """An executor whose workers may die.

    A broken pool of processes is followed by another with as many; any other executor that breaks is not used again.
    What was learned on the way is in `notes`.
    """

    def __init__(self, executor: Executor, count: int | None = None) -> None:
        self.notes: list[str] = []
        self._count, self._lock = count, threading.Lock()
        self._executor: Executor | None = executor
        self._own: list[ProcessPoolExecutor] = []  # what was started here, and is ended here
        self._members = _Members(executor)
        if _forks(executor):
            self._executor = self._started(executor, _size(executor))
            self.notes.append(
                "The pool's processes would be forks of this one, in which torch may stand still, so as many were "
                "started afresh. ProcessPoolExecutor(n, mp_context=multiprocessing.get_context('spawn')) does that."
            )

    @property
    def count(self) -> int:
        """How many work at once; 1 where there is nobody left but this process."""
        if self._executor is None:
            return 1
        return self._count or self._members.count or _size(self._executor)

    @property
    def executor(self) -> Executor:
        """What is asked now. Raises: `Gone`."""
        if self._executor is None:
            raise Gone
        return self._executor

    @property
    def threads(self) -> int | None:
        """Of torch, for each of several processes that share this machine; None where they keep what they have."""
        import torch

        shared = isinstance(self._executor, ProcessPoolExecutor)
        return max(1, torch.get_num_threads() // self.count) if shared else None

    def close(self) -> None:
        """End the processes that were started here, and say which workers of the executor went away."""
        lost = self._members.lost()
        if lost:
            told = f"{len(lost)} workers" if len(lost) > 1 else "A worker"
            self.notes.append(f"{told} of the cluster went away ({', '.join(lost)}); what they were at was done again.")
        for one in self._own:
            _end(one)

    def ask(self, function: Callable[..., T], *args: Any, report: Reporter) -> T:
        """What a function gives on a worker. Raises: what it raises; `WorkerDied`; `Gone`; `Cancelled`."""
        executor = self._executor
        if executor is None:
            raise Gone
        try:
            future = executor.submit(function, *args)
        except RuntimeError as error:  # broken in the meantime, shut down, or its client is closed
            self._lose(executor, error)
            return self.ask(function, *args, report=report)
        try:
            return self._waited(future, report)
        except BrokenExecutor as error:
            self._lose(executor, error)
            raise WorkerDied from error
        except CancelledError as error:
            self.notes.append(
                f"The {type(executor).__name__} gave up what it was asked; that was done in this process."
            )
            raise Gone from error

    def alone(self, function: Callable[..., T], *args: Any, report: Reporter) -> T:
        """The same in a process of its own, which nothing else dies with."""
        single = self._started(self._executor, 1)
        try:
            return self._waited(single.submit(function, *args), report)
        except BrokenExecutor as error:
            raise WorkerDied from error
        finally:
            _end(single)
            self._own.remove(single)

    def _waited(self, future: Future[T], report: Reporter) -> T:
        try:
            while not wait([future], timeout=_POLL_S).done:
                report.check()
                if self._members.gone():
                    error = RuntimeError(f"it has had no worker for {PATIENCE_S:.0f} seconds")
                    self._lose(self._executor, error)
                    raise Gone from error
            return future.result()
        except BaseException as error:
            future.cancel()
            if type(error).__name__ == "KilledWorker":  # Dask's own: it has tried it on several workers
                died = WorkerDied()
                died.surely = True
                raise died from error
            raise

    def _lose(self, executor: Executor | None, why: Exception) -> None:
        with self._lock:
            if self._executor is not executor or executor is None:
                return  # another thread has seen it first
            if isinstance(executor, ProcessPoolExecutor) and isinstance(why, BrokenExecutor):
                self.notes.append(
                    "A worker process ended before its work was done; the pool was started anew, and what was under "
                    "way was done again."
                )
                self._executor = self._started(executor, _size(executor))
                return
            self.notes.append(
                f"The {type(executor).__name__} takes no more work ({str(why).strip().rstrip('.')}); the rest was done "
                "in this process."
            )
            self._executor = None

    def _started(self, like: Executor | None, count: int) -> ProcessPoolExecutor:
        """Processes that start from nothing; those of a pool as that one starts its own."""
        before: tuple[Any, Any] = (None, ())
        if isinstance(like, ProcessPoolExecutor):
            before = getattr(like, "_initializer", None), getattr(like, "_initargs", ())
        context = multiprocessing.get_context("spawn")
        made = ProcessPoolExecutor(count, mp_context=context, initializer=before[0], initargs=before[1])
        self._own.append(made)
        return made


@contextmanager
def processes(count: int) -> Iterator[ProcessPoolExecutor | None]:
    """So many processes, started from nothing, that end with the block; None where there are to be none."""
    if not count:
        yield None
        return
    pool = ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"))
    try:
        yield pool
    finally:
        _end(pool)


class _Members:
    """The workers of a Dask cluster by their addresses; nothing is known of those of other executors."""

    def __init__(self, executor: Executor) -> None:
        self._client = (
            getattr(executor, "_client", None) if type(executor).__module__.startswith("distributed") else None
        )
        self._only = set((getattr(executor, "_kwargs", None) or {}).get("workers") or ())
        self._seen: set[str] = set()
        self._looked, self._last = 0.0, time.monotonic()  # when there was one
        self._threads: dict[str, int] = {}
        self._look()

    @property
    def count(self) -> int:
        """How many tasks they work on at once; 0 where that is not known."""
        self._look()
        return sum(self._threads.values())

    def gone(self) -> bool:
        """Whether there was none for long."""
        self._look()
        return self._client is not None and time.monotonic() - self._last > PATIENCE_S

    def lost(self) -> list[str]:
        """Those that were there once, and are not any more."""
        self._looked = 0.0
        self._look()
        return sorted(self._seen - self._threads.keys())

    def _look(self) -> None:
        if self._client is None or time.monotonic() - self._looked < _LOOK_S:
            return
        self._looked = time.monotonic()
        self._threads = {}
        with suppress(Exception):  # whatever a client raises whose cluster is gone
            known = self._client.nthreads()
            self._threads = {name: n for name, n in known.items() if not self._only or name in self._only}
        self._seen |= self._threads.keys()
        if self._threads:
            self._last = time.monotonic()


def _size(executor: Executor) -> int:
    """How many workers an executor has, where it tells."""
    found = getattr(executor, "_max_workers", 1)
    return found if isinstance(found, int) and found > 0 else 1


def _forks(executor: Executor) -> bool:
    context = getattr(executor, "_mp_context", None)
    return isinstance(executor, ProcessPoolExecutor) and context is not None and context.get_start_method() == "fork"


def _end(executor: ProcessPoolExecutor) -> None:
    """End a pool that was started here, with what its processes are at."""
    processes = list((getattr(executor, "_processes", None) or {}).values())
    executor.shutdown(wait=False, cancel_futures=True)
    end = time.monotonic() + _END_S
    for one in processes:
        one.join(max(0.0, end - time.monotonic()))
        one.terminate()
    executor.shutdown(wait=True)
