"""What one visitor of a published page may use: memory, time of a job, stored bytes, the size of an upload.

The dashboard hands the limits to each visitor's process in its environment. Elsewhere there are none.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from workbench.errors import BadValue, OverQuota

PREFIX = "WORKBENCH_LIMIT_"
MEGABYTE = 10**6


@dataclass(frozen=True)
class Quota:
    """Quota of one visitor; None is no limit. `memory_mb` is of one process: of the visitor's, and of each it starts.

    Megabytes are 10**6 bytes.
    """

    memory_mb: int | None = None
    job_minutes: float | None = None
    stored_mb: int | None = None
    upload_mb: int | None = None

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value is not None and not value > 0:
                raise BadValue(f"The limit {name} is {value}. Give a number above 0, or leave it out for no limit.")

    def environment(self) -> dict[str, str]:
        """The variables that hand these limits to a process."""
        return {PREFIX + name.upper(): str(value) for name, value in asdict(self).items() if value is not None}

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Quota:
        """The limits that `environment()` wrote. Raises `BadValue` for what is no number."""
        given = {one.name: environment.get(PREFIX + one.name.upper(), "") for one in fields(cls)}
        try:
            return cls(**{name: float(text) for name, text in given.items() if text})  # type: ignore[arg-type]
        except ValueError as error:
            raise BadValue(f"A limit in the environment is not a number: {error}. Correct {PREFIX}*.") from None

    def hold_memory(self) -> None:
        """From here on this process and those that it starts get no more memory than `memory_mb` each.

        Where the operating system has no such limit (Windows), the container's must do.
        """
        if self.memory_mb is None:
            return
        try:
            import resource
        except ImportError:
            return
        size, hard = int(self.memory_mb * MEGABYTE), resource.getrlimit(resource.RLIMIT_DATA)[1]
        size = size if hard == resource.RLIM_INFINITY else min(size, hard)  # nobody may raise what was set before
        resource.setrlimit(resource.RLIMIT_DATA, (size, size))

    def check_room(self, more: int = 0) -> None:
        """Raise `OverQuota` where the visitor's temporary folder and `more` bytes exceed `stored_mb`."""
        if self.stored_mb is None:
            return
        stored = stored_bytes(Path(tempfile.gettempdir()))
        if stored + more > self.stored_mb * MEGABYTE:
            raise OverQuota(
                f"This page keeps at most {self.stored_mb:,.0f} MB for a visitor, and {stored / MEGABYTE:,.0f} MB are "
                "taken. Download what you need and begin anew, or run the workbench on a machine of your own."
            )


def stored_bytes(folder: Path) -> int:
    """Bytes of all files below a folder."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(place) / name).lstat().st_size
            except OSError:  # gone in the meantime
                continue
    return total


def here() -> Quota:
    """The limits of this process."""
    return Quota.read(os.environ)
