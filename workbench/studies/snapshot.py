"""An SQLite file as it is, read into memory without a byte written beside it: for disks that are full or read-only."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

#: Files that SQLite keeps beside a database while it is written to, or when a process was killed.
BESIDE = ("-wal", "-journal")


def in_memory(path: Path) -> sqlite3.Connection:
    """A copy of the database, with what was finished but not yet moved into its file."""
    memory = sqlite3.connect(":memory:", isolation_level=None)
    with _source(path) as source, closing(source):
        source.backup(memory)
    return memory


@contextmanager
def _source(path: Path) -> Iterator[sqlite3.Connection]:
    beside = [file for end in BESIDE if (file := path.with_name(path.name + end)).exists() and file.stat().st_size]
    if not beside:
        yield sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True, isolation_level=None)
        return
    with tempfile.TemporaryDirectory() as folder:
        for file in (path, *beside):
            shutil.copyfile(file, Path(folder) / file.name)
        yield sqlite3.connect(Path(folder) / path.name, isolation_level=None)
