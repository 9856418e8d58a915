"""An ssh server of the test's own on 127.0.0.1: its own keys, its own port, for the user who runs the test."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

SERVER = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
HOST = "probed"
RUN = Path("/run/sshd")  # where a server of root's locks its helpers up


@dataclass(frozen=True)
class Daemon:
    """A running server: its process, its folder, and ssh's configuration, by which `HOST` is reached."""

    process: subprocess.Popen[bytes]
    folder: Path
    port: int

    @property
    def config(self) -> Path:
        return self.folder / "config"

    def configured(self, name: str, **others: str) -> str:
        """Another configuration: the same with other settings."""
        path = self.folder / name
        settings = {
            "HostName": "127.0.0.1", "Port": str(self.port), "User": getpass.getuser(), "IdentitiesOnly": "yes",
            "IdentityFile": str(self.folder / "key"), "UserKnownHostsFile": str(self.folder / "known"),
        } | others  # fmt: skip
        path.write_text(f"Host {HOST}\n" + "".join(f"  {name} {value}\n" for name, value in settings.items()))
        return str(path)

    def children(self) -> list[int]:
        """The processes that serve connections."""
        found = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                fields = path.read_text().rpartition(")")[2].split()
                if int(fields[1]) == self.process.pid:
                    found.append(int(path.parent.name))
        return found


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def key(path: Path) -> str:
    """A new key; its public half."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    return path.with_suffix(".pub").read_text()


@contextmanager
def serving(folder: Path) -> Iterator[Daemon]:
    """Serve while the block runs. Skips where there is no sshd."""
    if SERVER is None or shutil.which("ssh") is None:
        pytest.skip(
            "no OpenSSH server is installed: install one (Debian: apt install openssh-server) to measure by ssh"
        )
    if os.geteuid() == 0:
        RUN.mkdir(mode=0o755, exist_ok=True)  # as the system's own script does before it starts one
    port, host_key = free_port(), key(folder / "host")
    (folder / "authorized").write_text(key(folder / "key"))
    (folder / "known").write_text(f"[127.0.0.1]:{port} {host_key}")
    (folder / "server").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host'}\nAuthorizedKeysFile {folder / 'authorized'}\n"
        "StrictModes no\nUsePAM no\nPidFile none\nPasswordAuthentication no\nPermitRootLogin yes\n"
    )
    log = (folder / "log").open("wb")
    process = subprocess.Popen([SERVER, "-D", "-e", "-f", str(folder / "server")], stdout=log, stderr=log)
    try:
        wait(port, process, folder / "log")
        daemon = Daemon(process, folder, port)
        daemon.configured("config")
        yield daemon
    finally:
        process.terminate()
        process.wait()
        log.close()


def wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until somebody listens."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if process.poll() is not None:
            pytest.skip(f"sshd does not start here: {log.read_text()[-200:]}")
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    pytest.skip("sshd did not listen within half a minute")
