"""A process that has everything imported, and forks a kernel for each visitor: ready at once, and sharing memory.

A kernel of its own takes seconds to import torch and half a gigabyte to hold it. Here that is done once. Nothing has
been computed before the fork, so no pool of threads exists that a child would miss. Linux alone: elsewhere kernels
are started one by one.

    python -m workbench_widgets.nursery SOCKET               serves until its server ends
    python nursery.py SOCKET CONNECTION_FILE                 what Jupyter starts in a kernel's place, see `stand_in`
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from pathlib import Path

#: What a visitor's kernel needs until it shows its first chart and runs its first recipe.
IMPORTS = ("ipykernel.kernelapp", "workbench_widgets.screen", "workbench.diagnosis", "onnxruntime")


#: ZeroMQ looks again after 0.1 to 0.2 s for an address that was not there. A forked kernel is ready sooner, and what
#: it said before its server listens would be lost.
SUBSCRIBED_SECONDS = 0.3


class Nursery:
    """Listens at `path`; one connection is one kernel. It ends when either side does."""

    def __init__(self, path: str) -> None:
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        self.chooser = selectors.DefaultSelector()
        self.chooser.register(self.listener, selectors.EVENT_READ)
        self.children: dict[int, socket.socket] = {}
        self.wake, waker = os.pipe()
        os.set_blocking(waker, False)
        signal.set_wakeup_fd(waker)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's to answer
        self.chooser.register(self.wake, selectors.EVENT_READ)

    def serve(self) -> None:
        """Fork on request until the process that started this one is gone."""
        parent = os.getppid()
        while os.getppid() == parent:
            for key, _ in self.chooser.select(timeout=1.0):
                if key.fileobj is self.listener:
                    self.fork(self.listener.accept()[0])
                elif key.fileobj == self.wake:
                    os.read(self.wake, 512)
                    self.reap()
                else:
                    self.let_go(key.fileobj)  # type: ignore[arg-type]  # only sockets are left
        for child in self.children:
            os.kill(child, signal.SIGKILL)

    def fork(self, connection: socket.socket) -> None:
        """Read what is wanted, and fork a kernel of it."""
        with connection.makefile("r", encoding="utf-8") as stream:
            wanted = json.loads(stream.readline())
        child = os.fork()
        if child == 0:
            become(wanted, [self.listener, connection, *self.children.values()])
        self.children[child] = connection
        self.chooser.register(connection, selectors.EVENT_READ)
        connection.sendall(f"{child}\n".encode())

    def reap(self) -> None:
        """Tell the stand-ins of kernels that have ended, by closing their connections."""
        with contextlib.suppress(ChildProcessError):
            while (child := os.waitpid(-1, os.WNOHANG)[0]) > 0:
                self.chooser.unregister(connection := self.children.pop(child))
                connection.close()

    def let_go(self, connection: socket.socket) -> None:
        """A stand-in was killed: its kernel ends too. `reap` closes the connection."""
        with contextlib.suppress(OSError):
            if connection.recv(1):
                return
        for child, mine in self.children.items():
            if mine is connection:
                os.kill(child, signal.SIGKILL)


def become(wanted: dict[str, object], inherited: list[socket.socket]) -> None:
    """In the child: turn into the kernel that was asked for. Never returns."""
    code = 1
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for one in inherited:
            one.close()
        os.environ.clear()
        os.environ.update(wanted["env"])  # type: ignore[call-overload]  # `stand_in` wrote it
        os.chdir(str(wanted["folder"]))
        # The kernel was told of its parent at import, which was another one then.
        sys.argv = ["ipykernel_launcher", "-f", str(wanted["file"]), f"--IPKernelApp.parent_handle={os.getppid()}"]
        run_kernel()
        code = 0
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        os._exit(code)


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
    with socket.socket(socket.AF_UNIX) as connection:
        wanted = {"env": dict(os.environ), "folder": str(Path.cwd()), "file": connection_file}
        try:
            connection.connect(path)
            connection.sendall(json.dumps(wanted).encode() + b"\n")
            child = int(connection.makefile().readline())
        except (OSError, ValueError):
            os.execv(sys.executable, [sys.executable, "-m", "ipykernel_launcher", "-f", connection_file])
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda received, _: os.kill(child, received))
        while connection.recv(1):
            pass


def main(path: str) -> None:
    """Serve; who comes before everything is imported waits in line."""
    nursery = Nursery(path)
    for name in IMPORTS:
        importlib.import_module(name)
    gc.freeze()  # what is collected no more is not written to, and stays shared
    Path(f"{path}.ready").touch()
    nursery.serve()


if __name__ == "__main__":
    main(sys.argv[1]) if len(sys.argv) == 2 else stand_in(*sys.argv[1:])
