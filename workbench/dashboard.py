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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from workbench.errors import BadValue, WorkbenchError, unknown
from workbench.untrusted.quota import Quota

HOST = "127.0.0.1"
#: Addresses that stand for every one of this machine.
EVERYWHERE = frozenset({"0.0.0.0", "::", ""})
SOURCE = "import workbench as wb\n\nwb.app()"
#: The largest message that a page may send: uploads travel in pieces of half a megabyte.
MAX_MESSAGE_BYTES = 1024**2
#: Bytes a second that a kernel may say to its page: downloads travel through its channel, in pieces that it asks for.
SAID_BYTES = 256 * 1024**2
START_SECONDS = 60.0
#: Seconds that the address is held back until kernels can be forked at once; without that they start more slowly.
IMPORT_SECONDS = 20.0
#: Seconds without use after which a visitor's kernel ends: once the tab is closed, and while it stays open.
CLOSED_SECONDS, OPEN_SECONDS = 600, 3600
#: What a visitor may use where nobody is asked for a token, unless other limits are given.
PUBLIC = Quota(memory_mb=4000, job_minutes=20, stored_mb=1000, upload_mb=100)


@dataclass(frozen=True)
class Site:
    """Where the page is and who may open it: `token` "" asks for none, `base_url` is what a proxy puts before it."""

    host: str = HOST
    token: str = ""
    base_url: str = "/"
    visitors: int = 20
    quota: Quota = field(default_factory=Quota)

    @property
    def private(self) -> bool:
        """Whether nobody but the user of this machine opens the page."""
        return bool(self.token) and self.host == HOST and self.base_url == "/"

    def __post_init__(self) -> None:
        if not (self.base_url.startswith("/") and self.base_url.endswith("/")):
            raise BadValue(f"The base address is {self.base_url!r}; it begins and ends with a slash, as /workbench/.")
        if self.visitors < 1:
            raise BadValue(f"The number of visitors at a time is {self.visitors}; it is at least 1.")


def parse_quota(given: Sequence[str], public: bool) -> tuple[Quota, int]:
    """Limits as typed (`memory_mb=4000`), over the defaults of a public page, and the number of visitors.

    `none` takes a limit away. Raises: `UnknownName`, `BadValue`.
    """
    known = {one.name: getattr(PUBLIC, one.name) if public else None for one in fields(Quota)}
    known["visitors"] = Site.visitors
    for text in given:
        name, _, value = text.partition("=")
        if name not in known:
            raise unknown("limit", name, known)
        try:
            known[name] = None if value == "none" else int(value) if name == "visitors" else float(value)
        except ValueError:
            raise BadValue(f"The limit {text!r} has no number. Write it as {name}=20, or {name}=none.") from None
    visitors = known.pop("visitors")
    if visitors is None:
        raise BadValue("visitors=none: each visitor takes memory, so there must be a number. Write visitors=20.")
    return Quota(**known), visitors


def notebook(source: str = SOURCE, kernel: str = "python3") -> dict[str, Any]:
    """A notebook of one cell (nbformat 4)."""
    cell: dict[str, Any] = {"cell_type": "code", "id": "workbench", "metadata": {}, "source": source}
    cell |= {"outputs": [], "execution_count": None}
    spec = {"name": kernel, "display_name": "Python 3", "language": "python"}
    metadata = {"kernelspec": spec, "language_info": {"name": "python"}, "title": "workbench"}
    return {"cells": [cell], "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def new_token() -> str:
    """A word that nobody guesses (256 bits); who knows it may open the page."""
    return secrets.token_urlsafe(32)


def configuration(port: int, preheat: bool = True, site: Site = Site()) -> dict[str, Any]:
    """What the server is told.

    `preheat` keeps one kernel with the page already run, which cuts the wait for it. Page and sockets open only
    with the site's token. A kernel that dies is not started again: its study would be gone, and the page says so.
    """
    return {
        "Voila": {
            "ip": site.host,
            "token": site.token,
            "base_url": site.base_url,
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
        "Server": {},
        "VoilaConfiguration": {
            "preheat_kernel": preheat,
            "template": "workbench",
            "multi_kernel_manager_class": "workbench_widgets.kernels.Kernels",
            "allow_template_override": "NO",
            "allow_theme_override": "NO",
        },
        "ZMQChannelsWebsocketConnection": {"iopub_data_rate_limit": SAID_BYTES},  # the default is for notebooks
        "VoilaKernelManager": {"default_pool_size": 1},
        "MappingKernelManager": {
            "cull_idle_timeout": CLOSED_SECONDS,
            "cull_interval": 60,
            "buffer_offline_messages": False,  # a page that comes back asks for what it shows by then
        },
        "Kernels": {"cull_open_timeout": OPEN_SECONDS, "max_visitors": site.visitors},
        "KernelRestarter": {"restart_limit": 0},
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
    port: int,
    source: str = SOURCE,
    preheat: bool = True,
    site: Site = Site(),
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run the server while the block runs; gives the page's address, with its token, and the server's process.

    A request to end this process ends the server too, and what visitors stored goes with it.
    Raises: `WorkbenchError` when it does not come up.
    """
    with (
        _ended_by_request(),
        tempfile.TemporaryDirectory(prefix="workbench-page-", ignore_cleanup_errors=True) as folder,
    ):
        home, page, visitors = (Path(folder) / name for name in ("server", "page", "visitors"))
        for one in (home, page, visitors):
            one.mkdir()
        told, kernel = configuration(port, preheat, site), "python3"
        if os.name == "posix":  # elsewhere a process does not learn that the one that started it is gone
            told["Server"] |= {"starter": os.getpid(), "folder": folder}
        if sys.platform == "linux":
            told["Server"]["fork_server"], kernel = str(home / "fork-server"), "workbench"
            _write_kernel(home)
        (home / "voila.json").write_text(json.dumps(told), encoding="utf-8")
        (page / "workbench.ipynb").write_text(json.dumps(notebook(source, kernel)), encoding="utf-8")
        command = [sys.executable, "-m", "workbench_widgets.server", str(page / "workbench.ipynb")]
        server = subprocess.Popen(command, cwd=home, env=_environment(site, visitors, home))
        try:
            _wait(server, port)
            _wait_for_imports(home / "fork-server.ready")
            shown = socket.gethostname() if site.host in EVERYWHERE else site.host
            query = f"?token={site.token}" if site.token else ""
            yield f"http://{shown}:{port}{site.base_url}{query}", server
        finally:
            server.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(timeout=10)
            server.kill()


def _write_kernel(home: Path) -> None:
    """Describe to Jupyter the kernel that is forked of a process which has everything imported."""
    folder = home / "kernels" / "workbench"
    folder.mkdir(parents=True)
    stand_in = Path(_screen_folders()[0]) / "fork_server.py"
    command = [sys.executable, "-S", str(stand_in), str(home / "fork-server"), "{connection_file}"]
    spec = {"argv": command, "display_name": "Workbench", "language": "python"}
    (folder / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")


def _environment(site: Site, visitors: Path, home: Path) -> dict[str, str]:
    """The server's, which its kernels inherit."""
    return {
        **os.environ,
        **site.quota.environment(),
        "WORKBENCH_PUBLISHED": "" if site.private else "1",  # no path of this machine is read for strangers
        "WORKBENCH_VISITORS": str(visitors),  # the folder of the folders that visitors store in
        "OMP_WAIT_POLICY": "PASSIVE",  # idle threads of torch and of ONNX Runtime would spin against each other
        "JUPYTER_PATH": _jupyter_path(home),
    }


def _jupyter_path(home: Path) -> str:
    """Where Voilà looks for kernels and templates; ours gives the page what its cell made, as lines of JSON."""
    ours = [str(Path(folder) / "static") for folder in _screen_folders()]
    return os.pathsep.join([str(home), *ours, *filter(None, [os.environ.get("JUPYTER_PATH")])])


def _screen_folders() -> list[str]:
    screen = importlib.util.find_spec("workbench_widgets")  # not imported: the command itself needs none of it
    return list(screen.submodule_search_locations or ()) if screen else []


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


def _wait_for_imports(ready: Path) -> None:
    deadline = time.monotonic() + IMPORT_SECONDS
    while sys.platform == "linux" and not ready.exists() and time.monotonic() < deadline:
        time.sleep(0.1)


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
