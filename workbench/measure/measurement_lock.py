"""One measurement at a time on a machine: two side by side would measure each other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from filelock import FileLock, Timeout

from workbench.cost.calibrated import folder
from workbench.jobs import Reporter

_POLL_S = 0.2


@contextmanager
def turn(progress: Reporter) -> Iterator[None]:
    """Hold this user's turn to measure on this machine while the block runs, waiting for it first.

    A turn ends with the process that has it. Where the cache folder cannot be written there are no turns.
    Raises: `Cancelled` while waiting.
    """
    lock = FileLock(folder() / "measuring.lock")
    with suppress(OSError, NotImplementedError):  # a folder that cannot be written, or whose system has no locks
        folder().mkdir(parents=True, exist_ok=True)
        while not _acquired(lock):
            progress(0.0, "waiting for another measurement on this machine")
    try:
        yield
    finally:
        lock.release()


def _acquired(lock: FileLock) -> bool:
    try:
        lock.acquire(timeout=_POLL_S)
    except Timeout:
        return False
    return True
