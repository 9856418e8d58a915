"""Load and run ONNX files in a process of its own: a file that makes ONNX Runtime end the process ends that one.

`prove` is asked before a file is loaded in the user's process. The process apart is started once, answers one
request a line, and leaves when nobody has asked for a minute: see `workbench.runtimes.trial`.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from workbench.errors import BadFile

#: What the process apart runs.
_TRIAL = "workbench.runtimes.trial"
#: A file that takes longer to load and run once is alive, and is let pass.
_PATIENCE_S = 120.0
#: Set where a death harms nobody: in this process itself, and in the one that measures.
EXPENDABLE = "WORKBENCH_EXPENDABLE"

_lock = threading.Lock()
_proven: set[tuple[str, str]] = set()
_running: list[subprocess.Popen[str]] = []


def prove(source: str | bytes, level: str) -> None:
    """Have a file (a path or its content) loaded and run once apart, unless that was done before.

    Raises: `BadFile` where ONNX Runtime ends its process over it. What it refuses in an orderly way passes here.
    """
    if os.environ.get(EXPENDABLE):
        return
    content = source if isinstance(source, bytes) else _read(source)
    key = (hashlib.sha256(content).hexdigest(), level)
    with _lock:
        if key in _proven:
            return
        with contextlib.ExitStack() as stack:
            path = source
            if isinstance(source, bytes):
                folder = stack.enter_context(tempfile.TemporaryDirectory())
                path = str(Path(folder) / "model.onnx")
                Path(path).write_bytes(source)
            died = _ask({"path": str(path), "level": level})
    if died:
        name = "The file" if isinstance(source, bytes) else f"The artefact {Path(source).name!r}"
        raise BadFile(
            f"{name} makes ONNX Runtime end its process ({died}) when it is loaded or run: a fault of ONNX Runtime's "
            "with these operators in this precision. Use another precision, or leave layers out with exclude=."
        )
    _proven.add(key)


def _read(path: str) -> bytes:
    with contextlib.suppress(OSError):
        return Path(path).read_bytes()
    return path.encode()  # what is missing is said by whoever loads it


def _ask(request: dict[str, str], *, again: bool = True) -> str:
    """How the process ended over a request; "" where it lives, or cannot be started here."""
    process = _process()
    if process is None:
        return ""
    assert process.stdin is not None
    with contextlib.suppress(OSError):  # it ends just now
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
    answer = _answer(process)
    if answer is None:
        _stop()
    if answer != "":  # it lives, or still works on the file
        return ""
    code = process.wait()
    if code == 0 and again:  # nobody had asked for long, so that it left just when this was asked: ask the next one
        return _ask(request, again=False)
    return signal.Signals(-code).name if code < 0 else f"exit status {code}" if code else ""


def _process() -> subprocess.Popen[str] | None:
    """The process apart, which is ready for a request; None where none can be had."""
    if _running and _running[0].poll() is None:
        return _running[0]
    _stop()
    # -P: as in a notebook, a file of the user's beside it must not stand in for a module.
    command = [sys.executable, "-P", "-W", "ignore", "-m", _TRIAL]
    environment = {**os.environ, EXPENDABLE: "1", "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    pipe, quiet = subprocess.PIPE, subprocess.DEVNULL
    try:
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=quiet, text=True, env=environment)
    except OSError:
        return None
    _running.append(process)
    return process if _answer(process) else None


def _answer(process: subprocess.Popen[str]) -> str | None:
    """A line; "" where the process has ended; None where it takes too long."""
    assert process.stdout is not None
    return process.stdout.readline() if readable(process.stdout, _PATIENCE_S) else None


@atexit.register
def _stop() -> None:
    for process in _running:
        process.kill()
        process.communicate()
    _running.clear()


def _forget() -> None:
    """A child that was forked must not speak to its parent's process."""
    global _lock  # the parent may have held it
    _lock = threading.Lock()
    _running.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def readable(stream: Any, seconds: float) -> bool:
    """Whether a line, or the stream's end, comes within so many seconds."""
    if sys.platform == "win32":  # no select on pipes: wait for as long as it takes
        return True
    return bool(select.select([stream], [], [], seconds)[0])
