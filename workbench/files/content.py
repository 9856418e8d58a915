"""Files that are known by what they hold: named by their digest, or listed with it in a manifest."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path

from workbench.errors import BadFile
from workbench.untrusted import check_version

MANIFEST = "manifest.json"
#: The version of a manifest's form. It grows where what an earlier workbench reads of it would be misunderstood.
MANIFEST_VERSION = 1
_NAMED = 32  # hex digits of the digest in a file's name: 128 bits


def digest(file: Path) -> str:
    """SHA-256 of a file's content (64 hex digits), read in pieces."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def known_digest(file: Path) -> str:
    """As `digest`; a file is read again only when its size, times or place on the disk have changed."""
    about = file.stat()
    return _digest_at(file, (about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns))


@lru_cache(maxsize=1 << 18)
def _digest_at(file: Path, _about: tuple[int, ...]) -> str:
    return digest(file)


def content_name(file: Path) -> str:
    """What a file is called where names are digests: the beginning of the digest, and its suffix."""
    return digest(file)[:_NAMED] + file.suffix


def problem(file: Path) -> str:
    """Why a file that is named by its digest is not to be used; "" where its content is what the name says.

    A file is read again only when its size, times or place on the disk have changed.
    """
    try:
        name = known_digest(file)[:_NAMED] + file.suffix
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return "" if name == file.name else "was changed since it was measured"


def check_folder(folder: Path) -> None:
    """Raise `BadFile` unless a folder holds every file of its manifest, each with the content it was written with."""
    again = "Export the variant again."
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        check_version(content, MANIFEST_VERSION, f"The {MANIFEST} of {folder}")
        listed = content["files"]
        found = {name: digest(folder / name) == listed[name] for name in listed if Path(name).name == name}
    except FileNotFoundError as error:
        raise BadFile(f"{folder} is no whole export: {Path(error.filename).name} is missing. {again}") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadFile(f"The {MANIFEST} of {folder} cannot be read ({error}). {again}") from error
    for name in listed:
        if not found.get(name):
            raise BadFile(f"{name} in {folder} is not the file that was exported there. {again}")
