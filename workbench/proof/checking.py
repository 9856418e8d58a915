"""`workbench check`: the same check that lies beside an export, of a folder that may be a stranger's."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path

from workbench.errors import BadFile, BadValue
from workbench.manifest import read_manifest
from workbench.proof import check
from workbench.runtimes.apart import prove
from workbench.untrusted.arrays import read_npz


def checked(
    folder: Path, *, seconds: float = 2.0, speedup: float = 0.0, preprocess: str = "", run_code: bool = False
) -> check.Report:
    """What `check.py` finds in a folder, of which no code is run without `run_code`. Settings are those of `check.py`.

    Raises: `BadFile` for a folder that holds something else, `BadValue` for settings that cannot be used.
    """
    if not folder.is_dir():
        raise BadFile(f"{folder} is no folder. Give one that wb.export wrote.")
    read_manifest(folder)
    if (folder / check.CANARIES).exists():
        read_npz(folder / check.CANARIES)
    try:
        own = check.own_function(preprocess) if preprocess else None
    except check.Unusable as error:
        raise BadValue(str(error)) from error
    try:
        _prove(check.read(folder))
        return check.check(folder, check.Ask(seconds, speedup, own, run_code))
    except check.Unusable as error:
        raise BadFile(str(error)) from error


def _prove(folder: check.Folder) -> None:
    """Raise `BadFile` for a network that would end this process: another one runs it first."""
    with tempfile.TemporaryDirectory() as place, suppress(check.Unusable):
        file = check.unpacked(folder, Path(place))
        if file.suffix == ".onnx" and file.is_file():
            prove(str(file), "all")
