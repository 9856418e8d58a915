"""Choices on their way: one at a time, in the thread that asks, or several at once, each on a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar

from workbench.errors import WorkersFailed
from workbench.jobs import Job, Reporter
from workbench.recipe import Recipe

if TYPE_CHECKING:
    from workbench.variant import Variant


class Pick(Protocol):
    """A choice that is to be built."""

    @property
    def recipe(self) -> Recipe:
        """All of it."""


P = TypeVar("P", bound=Pick)
Make = Callable[[Recipe, Reporter], "Variant"]
_POLL_S = 0.2


class Landed(NamedTuple, Generic[P]):
    """What came of a choice: the variant, or in `why` a sentence where workers could not build it; and how long."""

    pick: P
    variant: Variant | None
    seconds: float
    why: str = ""


class Flight(Generic[P]):
    """Choices that are being built, by `make`, up to `most()` at once.

    Those left at the end of the block are cancelled; what is being stored then is finished first.
    """

    def __init__(self, make: Make, most: Callable[[], int]) -> None:
        self._make, self._most = make, most
        self._own: P | None = None  # what is built by whoever asks for it
        self._jobs: dict[P, Job[Landed[P]]] = {}
        self._landed = threading.Event()

    def __enter__(self) -> Flight[P]:
        return self

    def __exit__(self, *_: object) -> None:
        for job in self._jobs.values():
            job.cancel()
        for job in self._jobs.values():
            job.join()

    @property
    def picks(self) -> list[P]:
        """What is on its way, in the order in which it set out."""
        return [*filter(None, [self._own]), *self._jobs]

    @property
    def room(self) -> bool:
        """Whether another can set out."""
        return len(self.picks) < self._most()

    def begin(self, pick: P) -> None:
        """Set out."""
        if self._most() == 1 and not self.picks:
            self._own = pick
            return
        job = Job(lambda report: self._built(pick, report), name=pick.recipe.name)
        self._jobs[pick] = job
        job.on_change(lambda job: self._landed.set() if job.done else None)

    def next(self, report: Reporter) -> Landed[P]:
        """The one that is finished first. Raises: what building it raised; `Cancelled`."""
        if self._own is not None:
            pick, self._own = self._own, None
            return self._built(pick, report)
        while True:
            self._landed.clear()
            for pick, job in list(self._jobs.items()):
                if job.done:
                    del self._jobs[pick]
                    return job.result()
            report(0.0, f"{len(self._jobs)} choices are being built")
            self._landed.wait(_POLL_S)

    def _built(self, pick: P, report: Reporter) -> Landed[P]:
        begun = time.monotonic()
        try:
            variant, why = self._make(pick.recipe, report), ""
        except WorkersFailed as error:
            variant, why = None, str(error)
        return Landed(pick, variant, time.monotonic() - begun, why)
