"""Files that travel, named by their content: each is sent to a machine once, and is there for all its processes."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from functools import cache as once
from pathlib import Path

from workbench.files import cache
from workbench.files.content import content_name, problem
from workbench.files.disk import told, workspace

KIND, SUFFIX = "travelling", ".part"


class Shelf:
    """A folder of files under the digests of their content; what was changed there counts as missing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, file: Path) -> str:
        """Take a copy of a file in, unless it is there; gives its name. Raises: `StorageFailed`."""
        with told(self.folder, "Preparing what workers need", file.stat().st_size), workspace(self.folder) as new:
            part = new / f"file{SUFFIX}"
            shutil.copyfile(file, part)
            return self._keep(part)

    def take(self, contents: Mapping[str, bytes]) -> None:
        """Take files in that were sent. Raises: `StorageFailed`."""
        for content in contents.values():
            doing = "Keeping what was sent to this worker"
            with told(self.folder, doing, len(content)), workspace(self.folder) as new:
                part = new / f"file{SUFFIX}"
                part.write_bytes(content)
                self._keep(part)

    def missing(self, names: Iterable[str]) -> list[str]:
        """Those that are not here, or are not what they were."""
        return [name for name in names if problem(self.folder / name)]

    def contents(self, names: Iterable[str]) -> dict[str, bytes]:
        """Files to send."""
        return {name: (self.folder / name).read_bytes() for name in names}

    def _keep(self, part: Path) -> str:
        name = content_name(part)
        if problem(self.folder / name):
            cache.make_room(self.folder, part.stat().st_size, SUFFIX)
            part.replace(self.folder / name)
        (self.folder / name).touch()  # what is used stays longest
        return name


@once
def shelf() -> Shelf:
    """The one of this machine, in the user's cache; of this process alone where nothing is kept there."""
    try:
        where = cache.folder(KIND)
    except OSError:
        where = None
    if where is None:
        where = Path(tempfile.mkdtemp(prefix="workbench-"))
        atexit.register(shutil.rmtree, where, ignore_errors=True)
    return Shelf(where)
