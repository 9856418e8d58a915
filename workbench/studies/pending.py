"""Finished variants that wait in a folder of this machine until the database or the place of the files is back."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from workbench.files.disk import keep_on_disk, workspace
from workbench.studies.artefacts import move
from workbench.studies.records import Record, read_row


class Pending:
    """One JSON file a variant, beside its files. Killed at any moment, what was added is still there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "pending"
        self._place = folder

    def entries(self) -> list[Path]:
        """The variants that wait, those that came first in front."""
        known = []
        for file in self.folder.glob("*.json"):
            with suppress(OSError):  # written by another process in the meantime
                known.append((file.stat().st_mtime_ns, file))
        return [file for _, file in sorted(known)]

    def records(self) -> list[Record]:
        """What waits and can be read."""
        return [record for entry in self.entries() if (record := _read(entry)) is not None]

    def add(self, record: Record, files: Mapping[str, Path], used: Path) -> None:
        """Keep a variant; its files stay usable in the folder `used`, whoever deletes them there."""
        self.folder.mkdir(exist_ok=True)
        for name, file in files.items():
            source = file if file.exists() else used / name  # the connection broke after it was moved
            part = self.folder / f"{name}.part"
            shutil.copyfile(source, part)
            keep_on_disk(part)
            part.replace(self.folder / name)
            if source is file:
                move(file, used / name)
        part = self.folder / f"{record.id}.part"
        part.write_text(json.dumps(record.row), encoding="utf-8")
        keep_on_disk(part)
        part.replace(self.folder / f"{record.id}.json")

    def flush(self, commit: Callable[[Record, Mapping[str, Path]], Record]) -> bool:
        """Hand everything that waits to `commit`, and forget what it took; whether anything was.

        Raises: what `commit` raises.
        """
        taken = False
        for entry in self.entries():
            record = _read(entry)
            if record is None:
                continue
            with suppress(FileNotFoundError), workspace(self._place) as place:  # another process was first
                files = {name: place / name for name in (record.onnx, record.state)}
                for name, file in files.items():
                    _link(self.folder / name, file)
                commit(record, files)
                entry.unlink(missing_ok=True)
                self._forget(record)
                taken = True
        return taken

    def _forget(self, record: Record) -> None:
        needed = {name for other in self.records() for name in (other.onnx, other.state)}
        for name in {record.onnx, record.state} - needed:
            (self.folder / name).unlink(missing_ok=True)
        with suppress(OSError):  # more wait
            self.folder.rmdir()


def _read(entry: Path) -> Record | None:
    try:
        found = read_row(json.loads(entry.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return found if isinstance(found, Record) else None


def _link(source: Path, target: Path) -> None:
    """The same file under another name; a copy where a disk knows no such thing."""
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(source, target)
