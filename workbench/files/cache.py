"""What can be made again, kept on the user's disk within a bound: where, how much of it, and what goes first."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

import platformdirs

#: Names the folder of all that is kept to save time; empty: nothing is.
FOLDER = "WORKBENCH_CACHE"
#: The bound of each kind, in GB of 2**30 bytes. Where it is not set: `LIMIT`, at most a quarter of what is free.
GIGABYTES = "WORKBENCH_CACHE_GB"
LIMIT = 10 << 30


def folder(kind: str) -> Path | None:
    """The folder of what is kept of a kind, this user's alone; None where nothing is kept.

    Raises: `OSError` where the disk refuses.
    """
    given = os.environ.get(FOLDER)
    if given == "":
        return None
    root = Path(given).absolute() if given else platformdirs.user_cache_path("nn-workbench", appauthor=False)
    if not root.is_absolute():  # a user without a home
        return None
    where = root / kind
    where.mkdir(parents=True, exist_ok=True, mode=0o700)
    return where


def bound(where: Path) -> float:
    """The most bytes in a folder."""
    given = os.environ.get(GIGABYTES, "")
    with contextlib.suppress(ValueError):
        if given:
            return float(given) * (1 << 30)
    return min(LIMIT, shutil.disk_usage(where).free / 4)


def make_room(where: Path, size: int, suffix: str, *, beside: str = "", keep: str = "") -> None:
    """Remove files of a suffix, those used longest ago first, until `size` more bytes stay within the bound.

    `beside` is the suffix of a file that belongs to each and goes before it; one of the name `keep` stays.
    """
    others = sorted((p for p in where.glob(f"*{suffix}") if p.stem != keep), key=lambda p: p.stat().st_mtime)
    used = sum(p.stat().st_size for p in others)
    for path in others:
        if used + size <= bound(where):
            return
        used -= path.stat().st_size
        if beside:
            path.with_suffix(beside).unlink(missing_ok=True)
        path.unlink(missing_ok=True)
