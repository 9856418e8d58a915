"""Files for download from the page: those of an export, and the names of what is made when it is asked for."""

from __future__ import annotations

import importlib.util

from workbench.errors import BadValue, shown
from workbench.manifest import Manifest
from workbench_widgets.store import State

PIECE = 2**20  # bytes of one message
CSV, PARQUET, REPORT, CARD = "variants.csv", "variants.parquet", "report.html", "README.md"


def files(manifest: Manifest) -> dict[str, int]:
    """The files of an export, its manifest among them, with their sizes in bytes."""
    names = (*manifest.files, "manifest.json")
    return {name: (manifest.path / name).stat().st_size for name in names}


def piece(state: State, file: str, offset: int, length: int) -> bytes:
    """A part of an exported file of the chosen variant. Raises `BadValue` for any other file."""
    manifest = dict(state.exported).get(state.selected)
    if manifest is None or file not in files(manifest):
        raise BadValue(f"{file!r} is not among the exported files of this variant. Export it first.")
    check_part(offset, length)
    with (manifest.path / file).open("rb") as stream:
        stream.seek(offset)
        return stream.read(min(length, PIECE))


def tables() -> list[str]:
    """What can be taken away here: the table, for which Parquet needs pyarrow, the report, and the model card."""
    return [CSV, *([PARQUET] if importlib.util.find_spec("pyarrow") else []), REPORT, CARD]


def check_part(offset: object, length: object) -> None:
    """Raise `BadValue` where a part of a file is asked for by no whole numbers."""
    if type(offset) is not int or type(length) is not int or min(offset, length) < 0:
        raise BadValue(f"Bytes {shown(offset)} to {shown(length)} more cannot be read. Give whole numbers from 0 on.")
