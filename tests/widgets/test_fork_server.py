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
#: A fork_server of a kernel that imports little and writes down what it is given.
SERVE = """
import sys
from workbench_widgets import fork_server
def run_kernel():
    import os, subprocess, time
    told = [os.getpid(), os.environ.get("WHO"), os.getcwd(), os.getsid(0), os.environ.get("STRAY"),
            subprocess.run([sys.executable, "-S", "-c", "raise SystemExit(3)"]).returncode]
    with open(sys.argv[2] + ".new", "w") as file:
        file.write(" ".join(map(str, told)))
    os.rename(sys.argv[2] + ".new", sys.argv[2])
    try:
        time.sleep(0.3 if os.environ["WHO"] == "short" else 60)
    except KeyboardInterrupt:
        open(sys.argv[2] + ".interrupted", "w").close()
fork_server.run_kernel = run_kernel
fork_server.IMPORTS = ("json",)
fork_server.main(sys.argv[1])
"""


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "socket"
    process = subprocess.Popen([sys.executable, "-c", SERVE, str(path)], env={**os.environ, "STRAY": "the server's"})
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
    """A stand-in, and what its kernel wrote: process, name, folder, and more."""
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
    assert [told[1:3] for _, told in found] == [[who, str(tmp_path / who)] for who in ("one", "two")]
    assert found[0][1][0] != found[1][1][0]
    found[0][0].kill()  # as Jupyter ends a kernel that does not answer
    until(lambda: not alive(found[0][1][0]))
    assert alive(found[1][1][0])
    assert found[1][0].poll() is None
    os.kill(int(found[1][1][0]), signal.SIGKILL)
    assert found[1][0].wait(timeout=10) == 0


def test_a_kernel_has_nothing_of_the_process_that_it_is_forked_of(path: Path, tmp_path: Path) -> None:
    """None of its variables, nor of its habits: a session of its own, children that can be waited for, Ctrl-C."""
    process, (pid, _, _, session, stray, code) = start(path, tmp_path / "own", "own")
    assert stray == "None"
    assert session == pid
    assert code == "3"
    process.send_signal(signal.SIGINT)  # as Jupyter interrupts a kernel
    until(lambda: (tmp_path / "own" / "connection.interrupted").exists())
    assert process.wait(timeout=10) == 0


def test_temporary_files_go_where_the_visitor_s_environment_says(tmp_path: Path) -> None:
    """Also where the process that kernels are forked of has asked for its own folder before."""
    code = """
import os, sys, tempfile, types
from workbench_widgets import fork_server
before = tempfile.gettempdir()
class Kernel:
    instance = classmethod(lambda cls: cls())
    def initialize(self):
        print(tempfile.gettempdir() == os.environ["TMPDIR"] != before, "initialize")
    def start(self):
        print("start")
sys.modules["ipykernel.kernelapp"] = types.SimpleNamespace(IPKernelApp=Kernel)
os.environ["TMPDIR"] = sys.argv[1]
fork_server.run_kernel()
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "initialize", "start"]


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
