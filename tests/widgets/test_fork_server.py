"""Kernels are forked of one process: they have its imports, their own environment, and end when they should."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux alone")]
#: A fork server of a kernel that imports little and writes down what it is given.
SERVE = """
import sys
from workbench_widgets import fork_server
def run_kernel():
    import os, time
    with open(sys.argv[2], "w") as file:
        file.write(f"{os.getpid()} {os.environ.get('WHO')} {os.getcwd()}")
    time.sleep(0.3 if os.environ["WHO"] == "short" else 60)
fork_server.run_kernel = run_kernel
fork_server.IMPORTS = ("json",)
fork_server.main(sys.argv[1])
"""


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "socket"
    process = subprocess.Popen([sys.executable, "-c", SERVE, str(path)])
    until(lambda: listens(path))
    yield path
    process.kill()
    process.wait()


def listens(path: Path) -> bool:
    return path.exists()


def until(found: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end
        time.sleep(0.02)


def start(path: Path, folder: Path, who: str) -> tuple[subprocess.Popen[bytes], list[str]]:
    """A stand-in, and what its kernel wrote: process, name, folder."""
    from workbench_widgets import fork_server

    folder.mkdir(exist_ok=True)
    file = folder / "connection"
    command = [sys.executable, "-S", fork_server.__file__, str(path), str(file)]
    process = subprocess.Popen(command, cwd=folder, env={**os.environ, "WHO": who})
    until(lambda: file.exists() and file.read_text())
    return process, file.read_text().split()


def alive(pid: str) -> bool:
    try:
        return psutil.Process(int(pid)).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_each_kernel_has_its_own_environment_and_folder(path: Path, tmp_path: Path) -> None:
    found = [start(path, tmp_path / who, who) for who in ("one", "two")]
    assert [told[1:] for _, told in found] == [[who, str(tmp_path / who)] for who in ("one", "two")]
    assert found[0][1][0] != found[1][1][0]
    found[0][0].kill()  # as Jupyter ends a kernel that does not answer
    until(lambda: not alive(found[0][1][0]))
    assert alive(found[1][1][0])
    assert found[1][0].poll() is None
    os.kill(int(found[1][1][0]), signal.SIGKILL)
    assert found[1][0].wait(timeout=10) == 0


def test_a_stand_in_ends_with_its_kernel(path: Path, tmp_path: Path) -> None:
    process, _ = start(path, tmp_path / "short", "short")
    assert process.wait(timeout=10) == 0


def test_where_nobody_answers_the_stand_in_is_a_kernel_itself(tmp_path: Path) -> None:
    from workbench_widgets import fork_server

    ports = {name: free() for name in ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")}
    file = tmp_path / "connection.json"
    about = {"transport": "tcp", "ip": "127.0.0.1", "key": "", "signature_scheme": "hmac-sha256"}
    file.write_text(json.dumps({**ports, **about}))
    process = subprocess.Popen([sys.executable, "-S", fork_server.__file__, str(tmp_path / "nobody"), str(file)])
    try:
        until(lambda: "ipykernel_launcher" in str(psutil.Process(process.pid).cmdline()))
    finally:
        process.kill()
        process.wait()


def free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
