"""The dashboard's server: standalone Voilà with a page of its own, and with limits for its visitors.

`workbench.dashboard` starts it. Voilà starts and keeps the kernels, asks for the token and refuses whatever would
execute code. The page is ours: Voilà's own is JupyterLab's front end, a hundred files and five megabytes.
"""

from __future__ import annotations

import gzip
import logging
import os
import re
import shutil
import subprocess
import sys
import time
from asyncio import Semaphore
from functools import cache, partial
from pathlib import Path
from typing import Any

import tornado.web
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.services.kernels.handlers import KernelHandler
from jupyter_server.utils import url_path_join
from tornado.httputil import HTTPServerRequest
from tornado.ioloop import PeriodicCallback
from traitlets import Integer, Unicode
from voila.app import Voila
from voila.tornado.handler import TornadoVoilaHandler

from workbench_widgets.sockets import Brief, Socket, from_elsewhere
from workbench_widgets.upstream import KERNEL_ID

STATIC = Path(__file__).parent / "static"
#: All that the server gives besides the page and its kernels.
ASSETS = {
    "screen.js": "text/javascript", "page.js": "text/javascript", "screen.css": "text/css", "page.css": "text/css",
}  # fmt: skip
FULL = "All {0} places are taken. Each visitor has a process of their own, and this machine has room for {0}. \
Try again in a few minutes."
_KERNEL = re.compile(r'\s*{"kernel": "([\w-]+)"')
_A_YEAR = 365 * 24 * 3600
#: Kernels that start at a time: more would only wait for each other, and everybody else for them.
STARTING = 2
#: Bytes of a request, seconds for it, and seconds that an unused connection stays. Nobody posts more than a token.
REQUESTS = {"max_body_size": 2**16, "body_timeout": 10.0, "idle_connection_timeout": 60.0}
#: Open files: each visitor's socket and kernel take some twenty.
FILES = 65536
#: Seconds between two starts of the process that kernels are forked of.
BETWEEN_FORK_SERVERS = 10.0


class Page(Brief, JupyterHandler):
    """The page's frame. It starts nothing: a visitor who comes back finds the kernel that was there."""

    @tornado.web.authenticated
    def get(self) -> None:
        """Answer with the frame."""
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        self.finish(_frame())


class Visit(Brief, TornadoVoilaHandler):  # type: ignore[misc]
    """A kernel for one visitor, with the screen in it."""

    coming, gone, kernel_id = False, False, ""

    @tornado.web.authenticated
    async def get(self, path: str | None = None) -> None:
        """Answer with lines of JSON as the kernel starts, or refuse where there is no place left.

        Only the page itself may ask: another site's page would start kernels with the visitor's cookie.
        """
        if from_elsewhere(self.request):
            raise tornado.web.HTTPError(403)
        await self.kernel_manager.make_room()
        self.coming = self.kernel_manager.places.take()
        if not self.coming:
            self.set_status(503)
            self.finish(FULL.format(self.kernel_manager.places.number))
            return
        async with self.settings["workbench_starting"]:
            if not self.gone:
                await self.kernel_manager.drop_dead()
                await super().get(None)  # type: ignore[misc]  # mypy sees tornado's own

    def write(self, chunk: str | bytes | dict[str, Any]) -> None:
        """Send a piece of the answer; the first names the kernel."""
        found = _KERNEL.match(chunk) if isinstance(chunk, str) and not self.kernel_id else None
        self.kernel_id = found[1] if found else self.kernel_id
        super().write(chunk)

    def on_connection_close(self) -> None:
        """Who asked does not wait any more."""
        self.gone = True
        super().on_connection_close()

    def on_finish(self) -> None:
        """Keep the place for the kernel, or give it back."""
        if self.coming:
            self.kernel_manager.arrived(self.kernel_id)
        super().on_finish()


class Nothing(Brief):
    """Whatever else is asked for."""

    def prepare(self) -> None:
        """Answer that it is not here."""
        raise tornado.web.HTTPError(404)


class Known(Brief, KernelHandler):
    """Whether a kernel lives, and its end."""


class Asset(Brief):
    """One of the page's own files, compressed once."""

    def get(self, name: str) -> None:
        """Answer with the file; the address names its version, so a browser may keep it."""
        if name not in ASSETS:
            raise tornado.web.HTTPError(404)
        self.set_header("Content-Type", f"{ASSETS[name]}; charset=utf-8")
        self.set_header("Cache-Control", f"public, max-age={_A_YEAR}, immutable")
        self.set_header("Vary", "Accept-Encoding")
        if _takes_gzip(self.request):
            self.set_header("Content-Encoding", "gzip")
            self.finish(_compressed(name))
        else:
            self.finish((STATIC / name).read_bytes())


class Server(Voila):  # type: ignore[misc]
    """Voilà with these handlers and no other."""

    fork_server = Unicode("", config=True, help="The socket of the process that kernels are forked of; '' is none.")
    starter = Integer(0, config=True, help="The process that started this one, and without which it ends; 0 is none.")
    folder = Unicode("", config=True, help="What goes with the server where its starter cannot tidy up any more.")

    _fork_server: subprocess.Popen[bytes] | None = None
    _fork_server_began = float("-inf")

    def start(self) -> None:
        """Serve; the process that kernels are forked of comes first, and ends with this one."""
        self.tend()
        _allow_files()
        for name in ("tornado.access", "tornado.general"):  # who asks for what is not there would fill the disk
            logging.getLogger(name).setLevel(logging.CRITICAL)  # what goes wrong here is logged with its reason
        super().start()
        if self.starter and os.getppid() != self.starter:
            shutil.rmtree(self.folder, ignore_errors=True)

    def listen(self) -> None:
        """Serve requests of a bounded size, and look after the processes around this one."""
        self.app.listen = partial(self.app.listen, **REQUESTS)
        PeriodicCallback(self.tend, 1000).start()
        super().listen()

    def tend(self) -> None:
        """Start the process that kernels are forked of again where it died; end where the starter did."""
        if self.starter and os.getppid() != self.starter:
            self.ioloop.stop()
        ended = self._fork_server is None or self._fork_server.poll() is not None
        if self.fork_server and ended and time.monotonic() - self._fork_server_began > BETWEEN_FORK_SERVERS:
            self._fork_server_began = time.monotonic()
            command = [sys.executable, "-m", "workbench_widgets.fork_server", self.fork_server]
            self._fork_server = subprocess.Popen(command)

    def init_settings(self) -> dict[str, Any]:
        """Voilà's settings and the turns of kernels that start."""
        ours = {"workbench_starting": Semaphore(STARTING), "default_handler_class": Nothing}
        return {**super().init_settings(), **ours}

    def init_handlers(self) -> list[Any]:
        """The page, its files, a kernel for each visitor with its socket, and the login by token."""
        base, kernel = self.server_url, f"/api/kernels/{KERNEL_ID}"
        about = {
            "notebook_path": os.path.relpath(self.notebook_path, self.root_dir),
            "template_paths": self.template_paths,
            "config": self.config,
            "voila_configuration": self.voila_configuration,
        }
        return [
            (re.escape(base), Page),
            (url_path_join(base, "/visit"), Visit, about),
            (url_path_join(base, "/screen/([a-z]+[.][a-z]+)"), Asset),
            (url_path_join(base, kernel), Known),
            (url_path_join(base, kernel, "/channels"), Socket),
            *((url_path_join(base, path), handler) for path, handler in self.identity_provider.get_handlers()),
        ]


def _allow_files() -> None:
    """Raise the soft limit of open files, which many systems set for programs of one user."""
    try:
        import resource
    except ImportError:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


@cache
def _frame() -> bytes:
    version = (STATIC / "screen.js").read_text(encoding="utf-8").split(maxsplit=3)[2].rstrip(";")
    return (STATIC / "index.html").read_text(encoding="utf-8").replace("VERSION", version).encode()


@cache
def _compressed(name: str) -> bytes:
    return gzip.compress((STATIC / name).read_bytes())


def _takes_gzip(request: HTTPServerRequest) -> bool:
    return "gzip" in request.headers.get("Accept-Encoding", "")


if __name__ == "__main__":
    Server.launch_instance()
