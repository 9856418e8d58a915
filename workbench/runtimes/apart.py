"""Load and run ONNX files in a process of its own: a file that makes ONNX Runtime end the process ends that one.

`prove` is asked before a file is loaded in the user's process. The process apart is started once, answers one
request a line, and leaves when nobody has asked for a minute: see `workbench.runtimes.trial`.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import itertools
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
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
_running: list[subprocess.Popen[bytes]] = []
_numbers = itertools.count()


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


def ending(content: bytes, level: str, inputs: Mapping[str, Any]) -> str:
    """How ONNX Runtime ends its process over a file's content on inputs, such as "SIGSEGV"; "" where it lives.

    `inputs` are in the file's order.
    """
    import numpy as np

    with _lock, tempfile.TemporaryDirectory() as folder:
        path, given = Path(folder) / "model.onnx", Path(folder) / "inputs.npz"
        path.write_bytes(content)
        with given.open("wb") as stream:
            np.savez(stream, *inputs.values())  # in order: a name may be one of savez's own
        return _ask({"path": str(path), "level": level, "inputs": str(given)})


def _read(path: str) -> bytes:
    with contextlib.suppress(OSError):
        return Path(path).read_bytes()
    return path.encode()  # what is missing is said by whoever loads it


def _ask(request: dict[str, str]) -> str:
    """How the process ended over a request; "" where it lives, or cannot be started here."""
    for _ in range(2):
        process = _process()
        if process is None:
            return ""
        try:
            answer = _answered(process, request)
        except BaseException:  # interrupted: what it answers later must not be taken for an answer to the next one
            _stop()
            raise
        if answer is None:  # it still works on the file
            _stop()
        if answer != "":
            return ""
        code = process.wait()
        if code:
            return signal.Signals(-code).name if code < 0 else f"exit status {code}"
        # Nobody had asked for long, so that it left just when this was asked: ask the next one.
    return "without a word"  # twice: whoever waits for this process's children has taken the status


def _answered(process: subprocess.Popen[bytes], request: dict[str, str]) -> str | None:
    """The answer to a request; "" where the process ends over it; None where it takes too long."""
    assert process.stdin is not None
    number = next(_numbers)
    with contextlib.suppress(OSError):  # it ends just now
        process.stdin.write(json.dumps(request | {"number": number}).encode() + b"\n")
    return _line(process, f"alive {number}")


def _process() -> subprocess.Popen[bytes] | None:
    """The process apart, which is ready for a request; None where none can be had."""
    if _running and _running[0].poll() is None:
        return _running[0]
    _stop()
    # -P: as in a notebook, a file of the user's beside it must not stand in for a module.
    command = [sys.executable, "-P", "-W", "ignore", "-m", _TRIAL]
    environment = {**os.environ, EXPENDABLE: "1", "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    pipe, quiet = subprocess.PIPE, subprocess.DEVNULL
    try:  # nothing is kept in a buffer, where `readable` would not see it
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=quiet, bufsize=0, env=environment)
    except OSError:
        return None
    _running.append(process)
    return process if _line(process, "ready") else None


def _line(process: subprocess.Popen[bytes], wanted: str) -> str | None:
    """The line that is waited for; "" where the process ends before; None where it takes too long."""
    assert process.stdout is not None
    until = time.monotonic() + _PATIENCE_S
    while readable(process.stdout, until - time.monotonic()):
        line = process.stdout.readline().decode(errors="replace")
        if not line or line.strip() == wanted:
            return line
    return None


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
    if sys.platform == "win32":  # no selecting of pipes: wait for as long as it takes
        return True
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        return bool(selector.select(max(seconds, 0.0)))
