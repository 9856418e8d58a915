"""Has a file read by a process of its own, whose memory and time the operating system limits.

A parser that is wrong about a file then takes itself down, and not the process that a visitor's work is in.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from workbench.errors import BadFile, WorkbenchError
from workbench.untrusted.quota import Quota

_PROGRAM = "import sys; from workbench.untrusted.apart import run; run(*sys.argv[1:])"


@dataclass(frozen=True)
class Room:
    """What reading one file may take: memory of the process in MB (10**6 bytes), torch's own included; seconds."""

    memory_mb: int = 2000
    seconds: float = 60.0


def check_apart(reader: str, path: Path, room: Room = Room()) -> None:
    """Read `path` with the function `reader` ("module:name", of the path alone) in a process of its own.

    What it gives is dropped: the caller reads a file that has passed once more.
    Raises: what the reader raised, where that is one of ours; `BadFile` for everything else, also beyond `room`.
    """
    command = [sys.executable, "-P", "-c", _PROGRAM, reader, str(path), json.dumps(vars(room))]
    try:
        done = subprocess.run(command, capture_output=True, timeout=room.seconds, check=False, text=True)
    except subprocess.TimeoutExpired:
        raise BadFile(f"{path.name} takes more than {room.seconds:.0f} s to read, and was given up.") from None
    said = done.stdout.strip().rpartition("\n")[2]
    if done.returncode == 0 and said == "read":
        return
    kind, message = "", ""
    with contextlib.suppress(ValueError):
        kind, message = json.loads(said)
    ours: list[type[WorkbenchError]] = [WorkbenchError, *WorkbenchError.__subclasses__()]
    known = {one.__name__: one for one in ours}
    if kind in known:
        raise known[kind](message)
    raise BadFile(
        f"{path.name} could not be read within {room.memory_mb:,} MB: what reads it ended with code {done.returncode}."
    )


def _limit(memory_mb: int, seconds: float) -> None:
    Quota(memory_mb=memory_mb).hold_memory()
    with contextlib.suppress(ImportError):
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 2))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def run(reader: str, path: str, room: str) -> None:
    """In the process of its own: read, and print "read" or what was raised."""
    _limit(**json.loads(room))
    module, _, name = reader.partition(":")
    try:
        getattr(importlib.import_module(module), name)(Path(path))
    except MemoryError:
        sys.exit(3)
    except WorkbenchError as error:
        print(json.dumps([type(error).__name__, str(error)]))
    else:
        print("read")
