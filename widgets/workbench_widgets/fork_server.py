"""A process that has everything imported, and forks a kernel for each visitor: ready at once, and sharing memory.

A kernel of its own takes seconds to import torch and half a gigabyte to hold it. Here that is done once. Nothing has
been computed before the fork, so no pool of threads exists that a child would miss. Linux alone: elsewhere kernels
are started one by one.

    python -m workbench_widgets.fork_server SOCKET           serves until its server ends
    python fork_server.py SOCKET CONNECTION_FILE             what Jupyter starts in a kernel's place, see `stand_in`
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

#: What a visitor's kernel needs until it shows its first chart and runs its first recipe.
IMPORTS = ("ipykernel.kernelapp", "workbench_widgets.screen", "workbench.diagnosis", "onnxruntime")
#: Seconds for what a stand-in says at once, and for the answer, which waits until everything is imported.
ASK_SECONDS, ANSWER_SECONDS = 5.0, 120.0

#: ZeroMQ looks again after 0.1 to 0.2 s for an address that was not there. A forked kernel is ready sooner, and what
#: it said before its server listens would be lost.
SUBSCRIBED_SECONDS = 0.3


class ForkServer:
    """Listens at `path`; one connection is one kernel, which holds it for as long as it lives.

    A kernel hangs on its stand-in and not on this process: whoever kills this one takes no visitor's work away.
    """

    def __init__(self, path: str) -> None:
        Path(path).unlink(missing_ok=True)  # of one that was killed
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        self.listener.settimeout(1.0)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for kernels that end
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's to answer

    def serve(self) -> None:
        """Fork on request until the process that started this one is gone."""
        parent = os.getppid()
        while os.getppid() == parent:
            with contextlib.suppress(TimeoutError):
                connection, _ = self.listener.accept()
                with connection, contextlib.suppress(OSError, ValueError):  # what asks may be gone, or no stand-in
                    self.fork(connection)

    def fork(self, connection: socket.socket) -> None:
        """Read what is wanted, and fork a kernel of it. Raises: `OSError`, `ValueError`."""
        connection.settimeout(ASK_SECONDS)
        with connection.makefile("r", encoding="utf-8") as stream:
            wanted = json.loads(stream.readline())
        child = os.fork()
        if child == 0:
            self.listener.close()
            become(wanted, connection)
        connection.sendall(f"{child}\n".encode())


def become(wanted: dict[str, Any], connection: socket.socket) -> None:
    """In the child: turn into the kernel that was asked for, which ends with its stand-in. Never returns."""
    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ.clear()
        os.environ.update(wanted["env"])
        os.chdir(wanted["folder"])
        threading.Thread(target=end_with, args=(connection,), name="stand-in", daemon=True).start()
        # The parent is 1, "one that is always there": this kernel ends with its stand-in, not with its parent.
        sys.argv = ["ipykernel_launcher", "-f", wanted["file"], "--IPKernelApp.parent_handle=1"]
        run_kernel()
        code = 0
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        os._exit(code)


def end_with(connection: socket.socket) -> None:
    """End this process when the other side of the connection does."""
    connection.settimeout(None)
    with contextlib.suppress(OSError):
        while connection.recv(1):
            pass
    os._exit(1)


def run_kernel() -> None:
    """Run a kernel as the arguments of this process say, until it is told to end."""
    import tempfile

    from ipykernel.kernelapp import IPKernelApp

    tempfile.tempdir = None  # the visitor's own, by the environment
    kernel = IPKernelApp.instance()
    kernel.initialize()  # type: ignore[no-untyped-call]  # Jupyter has few types
    time.sleep(SUBSCRIBED_SECONDS)
    kernel.start()  # type: ignore[no-untyped-call]


def stand_in(path: str, connection_file: str) -> None:
    """Ask for a kernel, pass signals on to it, and end when it does: for Jupyter this process is the kernel.

    Where nobody answers it becomes the kernel itself.
    """
    parent = os.getppid()
    with socket.socket(socket.AF_UNIX) as connection:
        wanted = {"env": dict(os.environ), "folder": str(Path.cwd()), "file": connection_file}
        try:
            connection.settimeout(ANSWER_SECONDS)
            connection.connect(path)
            connection.sendall(json.dumps(wanted).encode() + b"\n")
            child = int(connection.makefile().readline())
        except (OSError, ValueError):
            os.execv(sys.executable, [sys.executable, "-m", "ipykernel_launcher", "-f", connection_file])
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda received, _: os.kill(child, received))
        connection.settimeout(1.0)
        while os.getppid() == parent:  # the server may be killed, and its kernels must not outlive it
            with contextlib.suppress(TimeoutError):
                if not connection.recv(1):
                    return


def main(path: str) -> None:
    """Serve; who comes before everything is imported waits in line."""
    fork_server = ForkServer(path)
    for name in IMPORTS:
        importlib.import_module(name)
    gc.freeze()  # what is collected no more is not written to, and stays shared
    Path(f"{path}.ready").touch()
    fork_server.serve()


if __name__ == "__main__":
    main(sys.argv[1]) if len(sys.argv) == 2 else stand_in(*sys.argv[1:])
