"""What one of several processes writes into a study; without torch, which would take each of them seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from test_records import files, record

from workbench.studies.naming import Label
from workbench.studies.storage import Storage

EACH = 4


def write(number: int, folder: Path, url: str, place: Path, gate: Any) -> None:
    """Variants of this process's own, and some that all of them have."""
    gate.wait(100)
    storage = Storage(folder, url, place if url else None)
    storage.claim(model="m", data="d")
    for each in range(EACH):
        own, shared = f"own {number} {each}", f"shared {each}"
        made = folder.parent / f"made-{number}"
        storage.store(record(own, number / 10), *files(made, own, own))
        storage.store(record(shared, number / 10), *files(made, shared, f"{shared} of {number}"))
        storage.label(own, Label(own))
