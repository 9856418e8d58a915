"""Work on threads of its own. Whatever goes wrong becomes a sentence in the status strip."""

from __future__ import annotations

from collections.abc import Callable

from workbench.errors import WorkbenchError
from workbench.jobs import Worker
from workbench_widgets.store import Store, unexpected


class Background:
    """Does one visitor's work beside the thread that answers the page."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def spawn(self, work: Callable[[], object]) -> None:
        """Start `work` and return at once."""
        Worker(lambda: self.guarded(work), name="screen").start()

    def guarded(self, work: Callable[[], object]) -> None:
        """Do `work` here; it cannot raise."""
        try:
            work()
        except WorkbenchError as error:
            self._store.say(str(error), "error")
        except Exception as error:  # noqa: BLE001  # nobody else would ever show it: Voilà swallows it
            self._store.say(unexpected(error), "error")
