"""Serve the screen as a page of its own: standalone Voilà on this machine, with nothing else in the served folder."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workbench.errors import WorkbenchError

HOST = "127.0.0.1"
#: Addresses that stand for every one of this machine.
EVERYWHERE = frozenset({"0.0.0.0", "::", ""})
SOURCE = "import workbench as wb\n\nwb.app()"
#: The largest upload that the page accepts, with room for the base64 of it; tornado's own limit is 10 MB.
MAX_MESSAGE_BYTES = 256 * 1024**2
#: The page's frame, in workbench_widgets/static: Voilà's own fetches icon fonts from outside.
TEMPLATE = "workbench"
START_SECONDS = 60.0


def notebook(source: str = SOURCE) -> dict[str, Any]:
    """A notebook of one cell (nbformat 4)."""
    cell: dict[str, Any] = {"cell_type": "code", "id": "workbench", "metadata": {}, "source": source}
    cell |= {"outputs": [], "execution_count": None}
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}, "title": "workbench"}
    return {"cells": [cell], "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def new_token() -> str:
    """A word that nobody guesses (256 bits); who knows it may open the page."""
    return secrets.token_urlsafe(32)


def configuration(port: int, preheat: bool = True, *, host: str = HOST, token: str = "") -> dict[str, Any]:
    """What Voilà is told. A kernel whose tab was closed is ended after ten idle minutes: Voilà leaks it otherwise.

    `preheat` keeps one kernel with the page already run, which cuts the wait for it. Page, files and sockets
    open only with the `token`; "" asks for none.
    """
    return {
        "Voila": {
            "ip": host,
            "token": token,
            "port": port,
            "port_retries": 0,
            "open_browser": False,
            "log_level": "ERROR",
            "tornado_settings": {
                "websocket_max_message_size": MAX_MESSAGE_BYTES,
                # No pings: with a timeout as long as the interval, which tornado asks for, the server's check
                # closes a healthy connection at every ping; and on this machine no router forgets a connection.
                "ws_ping_interval": 0,
            },
        },
        "VoilaConfiguration": {"preheat_kernel": preheat, "template": "workbench"},
        # Downloads travel through the kernel's channel: 1 MB a second, the default, is for notebooks that print.
        "ZMQChannelsWebsocketConnection": {"iopub_data_rate_limit": MAX_MESSAGE_BYTES},
        "VoilaKernelManager": {"default_pool_size": 1},
        "MappingKernelManager": {"cull_idle_timeout": 600, "cull_interval": 60},
        # Where there are sockets in files, other users of the machine cannot reach the kernel's.
        "KernelManager": {"transport": "ipc" if os.name == "posix" else "tcp"},
    }


def free_port(first: int, tries: int = 50, host: str = HOST) -> int:
    """The first port from `first` on that nothing listens on. Raises `WorkbenchError`."""
    for port in range(first, first + tries):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError, OverflowError):
                probe.bind((host, port))
                return port
    raise WorkbenchError(f"No port from {first} to {first + tries - 1} is free. Name another with --port.")


@contextlib.contextmanager
def serving(
    port: int, source: str = SOURCE, preheat: bool = True, *, host: str = HOST, token: str = ""
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run the server while the block runs; gives the page's address, with its token, and the server's process.

    A request to end this process ends the server too. Raises: `WorkbenchError` when it does not come up.
    """
    with _ended_by_request(), tempfile.TemporaryDirectory(prefix="workbench-page-") as folder:
        home, page = Path(folder) / "server", Path(folder) / "page"
        home.mkdir()
        page.mkdir()
        (home / "voila.json").write_text(
            json.dumps(configuration(port, preheat, host=host, token=token)), encoding="utf-8"
        )
        (page / "workbench.ipynb").write_text(json.dumps(notebook(source)), encoding="utf-8")
        command = [sys.executable, "-m", "voila", str(page / "workbench.ipynb")]
        # Idle threads of torch and of ONNX Runtime would spin against each other.
        environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "JUPYTER_PATH": _jupyter_path()}
        server = subprocess.Popen(command, cwd=home, env=environment)
        try:
            _wait(server, port)
            shown = socket.gethostname() if host in EVERYWHERE else host
            yield f"http://{shown}:{port}/" + (f"?token={token}" if token else ""), server
        finally:
            server.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(timeout=10)
            server.kill()


def _jupyter_path() -> str:
    """Where Voilà looks for templates: ours fetches nothing from outside, as its own would."""
    screen = importlib.util.find_spec("workbench_widgets")  # not imported: the server itself needs none of it
    folders = screen.submodule_search_locations if screen else None
    ours = [str(Path(folder) / "static") for folder in folders or ()]
    return os.pathsep.join([*ours, *filter(None, [os.environ.get("JUPYTER_PATH")])])


@contextlib.contextmanager
def _ended_by_request() -> Iterator[None]:
    """SIGTERM becomes `SystemExit` in the block, so that what must be tidied up is."""
    if threading.current_thread() is not threading.main_thread():  # only there can a handler be set
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _wait(server: subprocess.Popen[bytes], port: int) -> None:
    """Until the server listens. Raises `WorkbenchError` when it ends or takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise WorkbenchError(f"The dashboard's server ended at once, with exit code {server.returncode}.")
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
            return
        time.sleep(0.1)
    raise WorkbenchError(f"The dashboard's server did not answer within {START_SECONDS:.0f} s.")
