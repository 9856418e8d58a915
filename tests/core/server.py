"""A PostgreSQL server of the tests' own: its data in a folder of its own, on a free port of 127.0.0.1."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

USER, PASSWORD = "maker", "s3cret!word"


@dataclass
class Postgres:
    """One server, which can be ended and started again."""

    bin: Path
    data: Path
    port: int

    def url(self, database: str = "postgres", user: str = USER, password: str = "s3cret%21word") -> str:
        return f"postgresql+psycopg://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        here = f"-c listen_addresses=127.0.0.1 -c port={self.port} -c unix_socket_directories={self.data}"
        self._ctl("start", "-o", f"{here} -c fsync=off", "-l", str(self.data / "log"))

    def stop(self) -> None:
        self._ctl("stop", "-m", "immediate")

    def sql(self, command: str, database: str = "postgres") -> str:
        environment = {**os.environ, "PGPASSWORD": PASSWORD}
        address = ["-h", "127.0.0.1", "-p", str(self.port), "-U", USER, "-d", database]
        done = subprocess.run(
            [self.bin / "psql", *address, "-Atqc", command], env=environment, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def _ctl(self, *arguments: str) -> None:
        run([str(self.bin / "pg_ctl"), "-D", str(self.data), "-w", *arguments])


def run(command: list[str]) -> None:
    """As a user who is not root, whom the server would refuse."""
    whose = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*whose, *command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False, cwd="/"
    )
    assert done.returncode == 0, done.stderr


def binaries() -> Path | None:
    """The folder of the newest server that is installed."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda one: int(one.parts[4]), reverse=True)
    found = str(places[0]) if places else shutil.which("initdb")
    return Path(found).resolve().parent if found else None


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A server with one user, whose password it asks for."""
    where = binaries()
    assert where is not None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = Path(tempfile.mkdtemp(prefix="postgres-"))  # pytest's own folders are for the user who runs it alone
    password = place / "password"
    password.write_text(PASSWORD)
    if os.geteuid() == 0:
        for one in (place, password):
            shutil.chown(one, "nobody", "nogroup")
    server = Postgres(where, place / "data", port)
    try:
        run([str(where / "initdb"), "-D", str(server.data), "-U", USER, "-A", "scram-sha-256", "-N",
             f"--pwfile={password}", "-E", "UTF8", "--locale=C"])  # fmt: skip
        server.start()
        yield server
        server.stop()
    finally:
        shutil.rmtree(place, ignore_errors=True)
