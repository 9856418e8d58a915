"""A Python program on another machine, over the system's OpenSSH: what it is sent, and what it says line by line."""

from __future__ import annotations

import contextlib
import queue
import re
import shlex
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from workbench.errors import BadValue, MeasurementFailed, shown
from workbench.jobs import Reporter

#: `user@host`, or `ssh://user@host:port`; nothing that a shell, or ssh's own options, would read as more than a name.
_HOST = re.compile(
    r"(ssh://)?([A-Za-z0-9_][A-Za-z0-9._-]*@)?(\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9_][A-Za-z0-9._-]*)(:\d{1,5})?"
)
#: Reads a program from its input, as many bytes as the first line says, and runs it.
_BOOT = "import sys; exec(compile(sys.stdin.buffer.read(int(sys.stdin.buffer.readline())), 'probe', 'exec'))"
_OPTIONS = (
    "BatchMode=yes", "ServerAliveInterval=5", "ServerAliveCountMax=3", "ClearAllForwardings=yes", "ForwardAgent=no",
    "ForwardX11=no", "PermitLocalCommand=no", "LogLevel=ERROR", "RequestTTY=no",
)  # fmt: skip


@dataclass(frozen=True)
class Host:
    """Another machine: `user@host` as ssh knows it, its Python, ssh's configuration file ("" for the user's own), and
    seconds to wait for a connection, and for a word.

    Raises: `BadValue` for a name that is none.
    """

    name: str
    python: str = "python3"
    config: str = ""
    connect_s: float = 15.0
    silence_s: float = 120.0

    def __post_init__(self) -> None:
        if not _HOST.fullmatch(self.name) or (":" in self.name and "[" not in self.name and "://" not in self.name):
            raise BadValue(
                f"{shown(self.name)} is no host. Give user@host as ssh takes it, a name of your ~/.ssh/config, or "
                "ssh://user@host:port."
            )
        if not self.python or not self.python.isprintable() or self.python.startswith("-"):
            raise BadValue(f"python is {shown(self.python)}. Give a command or a path on {self.name}, such as python3.")

    def command(self) -> list[str]:
        """What is started here. Raises: `BadValue` where there is no ssh."""
        ssh = shutil.which("ssh")
        if ssh is None:
            raise BadValue("There is no ssh on this machine. Install OpenSSH's client (Debian: openssh-client).")
        options = [*_OPTIONS, f"ConnectTimeout={max(1, round(self.connect_s))}"]
        config = ["-F", self.config] if self.config else []
        remote = " ".join((shlex.quote(self.python), "-u", "-c", shlex.quote(_BOOT)))
        return [ssh, *config, *(part for one in options for part in ("-o", one)), "--", self.name, remote]


class Lost(MeasurementFailed):
    """The connection ended before everything was said."""


def conversation(host: Host, program: bytes, content: Iterable[bytes | Path], report: Reporter) -> Iterator[str]:
    """What a program on the host says, line by line, while it is sent its input: bytes, and files.

    Raises: `MeasurementFailed` with what stands in the way, `Lost` where it ended midway; `Cancelled`. Whatever way
    it ends, nothing goes on there.
    """
    with tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(host.command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints)
        assert process.stdin is not None and process.stdout is not None  # both were asked for as pipes
        sender = threading.Thread(target=_send, args=(process.stdin, program, content), daemon=True)
        sender.start()
        heard = False
        try:
            for line in _lines(process.stdout, host, report):
                heard = True
                yield line
            process.wait(timeout=host.connect_s)
        except subprocess.TimeoutExpired:
            pass
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
            sender.join(timeout=1)
            with contextlib.suppress(OSError):
                process.stdin.close()
        complaints.seek(0)
        said = complaints.read().decode(errors="replace").strip()
    if process.returncode:
        raise _failure(host, process.returncode, said, heard)


def _send(stream: IO[bytes], program: bytes, content: Iterable[bytes | Path]) -> None:
    """Everything, in order. The stream stays open: its end tells the other side that nobody listens any more."""
    with contextlib.suppress(OSError, ValueError):  # the other side has ended, and says why itself
        stream.write(b"%d\n" % len(program) + program)
        for one in content:
            stream.write(one if isinstance(one, bytes) else one.read_bytes())
            stream.flush()


def _lines(stream: IO[bytes], host: Host, report: Reporter) -> Iterator[str]:
    lines: queue.Queue[bytes | None] = queue.Queue()

    def read() -> None:
        with contextlib.suppress(ValueError, OSError):
            for line in stream:
                lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    last = time.monotonic()
    while time.monotonic() - last < host.silence_s:
        report.check()
        with contextlib.suppress(queue.Empty):
            line = lines.get(timeout=0.2)
            if line is None:
                return
            last = time.monotonic()
            yield line.decode(errors="replace")
    raise Lost(f"Nothing was heard of {host.name} for {host.silence_s:g} s, and it was given up. Try again.")


#: What ssh says, and what it means: a sentence behind "{host} ".
_MEANINGS = (
    ("could not resolve", "is not known: its name leads to no address. Check how it is written."),
    ("identification has changed", "has another host key than when it was last seen, so it may be another machine. If "
     "it was set up anew, forget the old key: ssh-keygen -R followed by its name."),
    ("host key verification failed", "is not known to ssh yet. Connect once by hand (ssh {host}) and look at its key."),
    ("permission denied", "did not let you in: it takes none of your keys. Put your public key there (ssh-copy-id "
     "{host}); passwords are not asked for here."),
    ("connection refused", "refuses the connection: no ssh server listens there."),
    ("timed out", "did not answer in time. Is it switched on, and on this network?"),
    ("no route to host", "cannot be reached from this network."),
    ("network is unreachable", "cannot be reached from this network."),
    ("bad configuration", "cannot be asked, since ssh's configuration file has a fault."),
)  # fmt: skip


def _failure(host: Host, code: int, said: str, heard: bool) -> MeasurementFailed:
    low, last = said.lower(), said.splitlines()[-1][:200] if said else "it said nothing"
    if heard:
        return Lost(f"The connection to {host.name} was lost ({last}).")
    if code in {126, 127}:
        return MeasurementFailed(
            f"{host.name} has no {host.python}. Install Python 3 there, or name the one to use (python=...)."
        )
    meaning = next((text for sign, text in _MEANINGS if sign in low), "")
    if meaning:
        return MeasurementFailed(f"{host.name} {meaning.format(host=host.name)} ({last})")
    return MeasurementFailed(f"Nothing could be run on {host.name}: ssh ended with code {code} ({last}).")
