"""Files that a visitor sends: taken in pieces, kept apart, within a limit that is told before."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.errors import BadFile, BadValue, shown
from workbench.models.doors import FILES
from workbench.untrusted import quota
from workbench.untrusted.quota import MEGABYTE, Quota

if TYPE_CHECKING:
    from workbench.data import Data
    from workbench.models import Model

#: What may be uploaded: a model, or images with their labels. No format here can carry code.
DATA_FILES = (".npz",)
ACCEPTED = (*FILES, *DATA_FILES)
#: The largest upload where the page sets no other limit, in MB.
LIMIT_MB = 100.0
#: The longest name of a file in most file systems, with room for the folder's.
NAME_BYTES = 200
#: What no name may hold: control characters, and halves of surrogate pairs, which cannot be written.
_CONTROL = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


def limit() -> int:
    """The largest upload in bytes."""
    return int((quota.here().upload_mb or LIMIT_MB) * MEGABYTE)


def published() -> bool:
    """Whether strangers may be among the visitors: they get no path of this machine read."""
    return os.environ.get("WORKBENCH_PUBLISHED") == "1" or quota.here() != Quota()


class Uploads:
    """One visitor's uploads, each in a folder of its own that goes with the process."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="workbench-upload-")
        self._count = 0
        self._open: Path | None = None

    def take(self, file: str, size: int, offset: int, content: bytes) -> Path | None:
        """Keep the next piece of a file of `size` bytes; its path once it is whole.

        Raises: `BadFile` for a type that is not accepted, `BadValue` beyond the limit, out of turn or for what is no
        name or number, `OverQuota`.
        """
        _check(file, size, offset, content)
        path = self._begun(file, size) if offset == 0 else self._open
        if path is None or path.name != _safe(file) or path.stat().st_size != offset:
            raise BadValue(f"A piece of {file!r} is missing. Upload it again.")
        if offset + len(content) > min(size, limit()):
            raise BadValue(too_large(file, offset + len(content)))
        with path.open("ab") as stream:
            stream.write(content)
        if offset + len(content) < size:
            return None
        self._open = None
        return path

    def _begun(self, file: str, size: int) -> Path:
        suffix = Path(file).suffix.lower()
        if suffix not in ACCEPTED:
            raise BadFile(f"{file!r} cannot be uploaded: {refusal(suffix)}")
        if size > limit():
            raise BadValue(too_large(file, size))
        quota.here().check_room(size)
        self._count += 1
        folder = Path(self._folder.name) / str(self._count)
        folder.mkdir()
        self._open = folder / _safe(file)
        self._open.touch()
        return self._open


def read(path: Path) -> Model | Data:
    """A stranger's file: images and labels, an ONNX file, or a model of a network that is known by name.

    Raises: `BadFile`, `BadValue`.

    Imports no more than that takes: a process of its own does it first on a page for strangers.
    """
    if path.suffix.lower() in DATA_FILES:
        from workbench.data import data

        return data(path)
    if path.suffix.lower() == ".onnx":
        from workbench.models import load

        model = load(path)
    else:
        from workbench.models.structure import load_variant

        model = load_variant(path, by_name=True)
    _ = model.network
    return model


def refusal(suffix: str) -> str:
    """Why a type of file is not taken, and what to do."""
    kinds = " or ".join(ACCEPTED)
    if suffix in {".pt", ".pth", ".pkl", ".ckpt", ".bin"}:
        return f"such files may hold code that runs when they are read. Send {kinds}, or load it in Python."
    return f"files here are {kinds}. Load other formats in Python and pass the study: wb.app(study)."


def too_large(file: str, size: int) -> str:
    """The sentence for a file beyond the limit."""
    sizes = f"{file} has {size / MEGABYTE:,.0f} MB; uploads end at {limit() / MEGABYTE:,.0f} MB."
    return sizes + (
        " Run the workbench on your own machine for it." if published() else " Open it by its path instead."
    )


def _check(file: object, size: object, offset: object, content: object) -> None:
    """Raise `BadValue` where the page's message does not say what it must: NaN, for one, passes every comparison."""
    if not isinstance(file, str) or _CONTROL.search(file) or not 0 < len(file.encode()) <= NAME_BYTES:
        raise BadValue(f"A file cannot be named {shown(file)} here. Give it a name of up to {NAME_BYTES} letters.")
    for name, value in (("size", size), ("offset", offset)):
        if type(value) is not int or value < 0:
            raise BadValue(f"The {name} of {file} is {shown(value)}; it must be a whole number of bytes.")
    if not isinstance(content, bytes):
        raise BadValue(f"A piece of {file!r} carries no bytes. Upload it again.")


def _safe(file: str) -> str:
    """The name without any folder."""
    return Path(file.replace("\\", "/")).name
