"""What a job takes as it goes: the seconds of each of its parts, and how much more memory than there was before."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: Under which the memory stands beside the parts.
BYTES = "bytes"
_EVERY = 0.1  # seconds from one look at the memory to the next


class Meter:
    """Of one job. A part that fails, or is cancelled, is left out: it tells nothing of what a whole one takes."""

    def __init__(self) -> None:
        self._parts: dict[str, tuple[float, float]] = {}
        self._most = 0

    @contextmanager
    def part(self, kind: str, effort: float) -> Iterator[None]:
        """Count what happens within to a kind of work, of so much effort (as `Step.effort` counts it)."""
        begun = time.monotonic()
        yield
        seconds, efforts = self._parts.get(kind, (0.0, 0.0))
        self._parts[kind] = seconds + time.monotonic() - begun, efforts + effort

    @contextmanager
    def memory(self) -> Iterator[None]:
        """Watch how much memory the process takes meanwhile, beyond what it has now."""
        first, ended = resident(), threading.Event()

        def watch() -> None:
            while not ended.wait(_EVERY):
                self._most = max(self._most, resident() - first)

        watcher = threading.Thread(target=watch, name="memory", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()

    @property
    def taken(self) -> dict[str, float]:
        """Seconds for one unit of effort, by kind of work, and the memory under `BYTES` where it could be seen."""
        rates = {kind: seconds / effort for kind, (seconds, effort) in self._parts.items() if effort}
        return {**rates, **({BYTES: float(self._most)} if rates and resident() else {})}


def resident() -> int:
    """Bytes of memory that this process has; 0 where the system does not say it as Linux does."""
    with suppress(OSError, ValueError, IndexError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0
