"""Files that a visitor sends: taken in pieces, kept apart, within a limit that is told before."""

from __future__ import annotations

import os
import tempfile
import zipfile
from pathlib import Path

from workbench import quota
from workbench.errors import BadFile, BadValue
from workbench.models.load import FILES
from workbench.quota import MEGABYTE, Quota

#: What may be uploaded: a model, or images with their labels. No format here can carry code.
DATA_FILES = (".npz",)
ACCEPTED = (*FILES, *DATA_FILES)
#: The largest upload where the page sets no other limit, in MB.
LIMIT_MB = 100.0
#: Arrays may unfold to this many times the limit.
_UNFOLDED = 20


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

        Raises: `BadFile` for a type that is not accepted, `BadValue` beyond the limit or out of turn, `OverQuota`.
        """
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


def check_unfolded(path: Path) -> None:
    """Raise `BadFile` for arrays that unfold to far more than was sent."""
    try:
        with zipfile.ZipFile(path) as file:
            size = sum(one.file_size for one in file.infolist())
    except zipfile.BadZipFile as error:
        raise BadFile(f"{path.name} is not a readable .npz: {error}. Write it with numpy.savez_compressed.") from error
    if size > _UNFOLDED * limit():
        raise BadFile(f"{path.name} unfolds to {size / MEGABYTE:,.0f} MB of arrays. Send fewer images.")


def _safe(file: str) -> str:
    """The name without any folder."""
    return Path(file.replace("\\", "/")).name
