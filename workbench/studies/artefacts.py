"""Where a study keeps the files of its variants, each named by its content: a folder, or what fsspec reaches."""

from __future__ import annotations

import errno
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

from workbench.errors import BadValue
from workbench.files.content import problem
from workbench.files.disk import keep_on_disk
from workbench.studies.server import Away, hidden, is_url

#: The names that files get here; nothing else in the place is ever touched.
NAMED = re.compile(r"[0-9a-f]{32}\.(onnx|safetensors)")


class Artefacts:
    """Files in a folder, where they are used from as well."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.place = str(folder)

    def open(self) -> None:
        """Make the place where it is missing. Raises: `OSError`."""
        self.folder.mkdir(parents=True, exist_ok=True)

    def send(self, files: Mapping[str, Path]) -> None:
        """Bring files, by their names, to where others reach them, as far as that takes time."""

    def settle(self, files: Mapping[str, Path]) -> None:
        """See to it that files are in their place; nobody else writes or deletes meanwhile."""
        for name, file in files.items():
            if file.exists():
                move(file, self.folder / name)

    def problem(self, name: str) -> str:
        """Why a file is not to be used; "" where it is here with the content that its name tells."""
        return problem(self.folder / name)

    def has(self, name: str) -> bool:
        """Whether there is a file of this name, whatever its content."""
        return (self.folder / name).exists()

    def sizes(self) -> dict[str, int]:
        """The bytes of every file, by its name."""
        with suppress(FileNotFoundError):
            return {one.name: one.stat().st_size for one in self.folder.iterdir() if NAMED.fullmatch(one.name)}
        return {}

    def remove(self, name: str) -> None:
        """Delete a file, which may be gone already."""
        (self.folder / name).unlink(missing_ok=True)


class Remote(Artefacts):
    """Files behind an fsspec address; those that are used come into a folder here, once, checked by their content.

    Raises: `BadValue` for an address that fsspec does not know; `Away` where the place cannot be reached.
    """

    def __init__(self, address: str, folder: Path) -> None:
        super().__init__(folder)
        self.place = address
        self._files, self._root = _file_system(address)

    def open(self) -> None:
        """As `Artefacts.open`."""
        super().open()
        with self._reached():
            self._files.makedirs(self._root, exist_ok=True)

    def send(self, files: Mapping[str, Path]) -> None:
        """As `Artefacts.send`: under another name first, so that no half of a file ever looks whole."""
        with self._reached():
            for name, file in files.items():
                if not self._files.exists(self._at(name)):
                    part = self._at(f".{name}.{secrets.token_hex(4)}.part")
                    self._files.put_file(str(file), part)
                    self._files.mv(part, self._at(name))

    def settle(self, files: Mapping[str, Path]) -> None:
        """As `Artefacts.settle`: sent again where somebody deleted it since; then used from the folder here."""
        self.send({name: file if file.exists() else self.folder / name for name, file in files.items()})
        super().settle(files)

    def problem(self, name: str) -> str:
        """As `Artefacts.problem`; what is not here is fetched first."""
        if problem(self.folder / name) == "" or not self.has(name):
            return problem(self.folder / name)
        part = self.folder / f"{secrets.token_hex(4)}.part"
        try:
            with self._reached():
                self._files.get_file(self._at(name), str(part))
            part.replace(self.folder / name)
        finally:
            part.unlink(missing_ok=True)
        return problem(self.folder / name)

    def has(self, name: str) -> bool:
        """As `Artefacts.has`."""
        with self._reached():
            return bool(self._files.exists(self._at(name)))

    def sizes(self) -> dict[str, int]:
        """As `Artefacts.sizes`."""
        with self._reached():
            found = {PurePosixPath(one["name"]).name: int(one["size"] or 0) for one in self._listed()}
        return {name: size for name, size in found.items() if NAMED.fullmatch(name)}

    def remove(self, name: str) -> None:
        """As `Artefacts.remove`."""
        super().remove(name)
        with self._reached(), suppress(FileNotFoundError):
            self._files.rm_file(self._at(name))

    def _listed(self) -> list[dict[str, Any]]:
        self._files.invalidate_cache()
        found: list[dict[str, Any]] = self._files.ls(self._root, detail=True)
        return found

    def _at(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # every file system raises errors of its own
            if isinstance(error, (FileNotFoundError, Away)):
                raise
            said = hidden(" ".join(f"{type(error).__name__}: {error}".split())).rstrip(".")
            raise Away(
                f"The files of the study, in {hidden(self.place)}, cannot be reached: {said}. Variants finished before "
                "it are kept. Look whether the address is right and the place is there, and try again."
            ) from None


def artefacts_at(place: str, folder: Path) -> Artefacts:
    """The files of a study in a folder or behind an address; `folder` is for what is fetched from there."""
    return Remote(place, folder) if is_url(place) else Artefacts(Path(place))


def move(file: Path, target: Path) -> None:
    """Move a file in one step, also onto another disk."""
    try:
        file.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
        try:
            shutil.copyfile(file, part)
            keep_on_disk(part)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        file.unlink()


def _file_system(address: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs

    try:
        files, root = url_to_fs(address, use_listings_cache=False)
    except (ImportError, ValueError, TypeError) as error:
        raise BadValue(
            f"The files of a study cannot be kept in {hidden(address)}: {hidden(str(error)).rstrip('.')}. Give "
            "artefacts= a folder, or an address that fsspec knows, such as s3://bucket/folder, with the package for it."
        ) from None
    return files, str(root)
