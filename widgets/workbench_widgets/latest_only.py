"""Work that only its newest request matters for, off the thread that asks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from workbench.jobs import Worker

T = TypeVar("T")


class Latest(Generic[T]):
    """Calls `work(request)` on a thread of its own; requests that are overtaken are never worked on."""

    def __init__(self, work: Callable[[T], None]) -> None:
        self._work = work
        self._wanted: list[T] = []
        self._changed = threading.Condition()
        self._over = False
        Worker(self._run, name="latest", stop=self._stop).start()

    def ask(self, request: T) -> None:
        """Want this, and nothing that was asked for before; returns at once."""
        with self._changed:
            self._wanted = [request]
            self._changed.notify()

    def _stop(self) -> None:
        with self._changed:
            self._over = True
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._wanted or self._over)
                if self._over:
                    return
                request = self._wanted.pop()
            self._work(request)
