"""The dashboard's server: standalone Voilà with a page of its own, and with limits for its visitors.

`workbench.dashboard` starts it. Voilà starts and keeps the kernels, asks for the token and refuses whatever would
execute code. The page is ours: Voilà's own is JupyterLab's front end, a hundred files and five megabytes.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import tornado.web
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.services.kernels.handlers import KernelHandler, _kernel_id_regex
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from jupyter_server.utils import url_path_join
from tornado.httputil import HTTPServerRequest
from traitlets import Integer, Unicode
from voila.app import Voila
from voila.tornado.handler import TornadoVoilaHandler
from voila.tornado.kernel_websocket_handler import VoilaKernelWebsocketHandler

STATIC = Path(__file__).parent / "static"
#: All that the server gives besides the page and its kernels.
ASSETS = {
    "screen.js": "text/javascript", "page.js": "text/javascript", "screen.css": "text/css", "page.css": "text/css",
}  # fmt: skip
FULL = "All {0} places are taken. Each visitor has a process of their own, and this machine has room for {0}. \
Try again in a few minutes."
_A_YEAR = 365 * 24 * 3600


class Kernels(AsyncMappingKernelManager):
    """Ends what nobody uses: a kernel without a page soon, one behind an open page that stays idle later.

    A job's reports count as use, whether anybody sees them or not.
    """

    cull_open_timeout = Integer(3600, config=True, help="Seconds without use after which an open page's kernel ends.")

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)  # type: ignore[no-untyped-call]  # as is much of Jupyter
        self._stores: dict[str, str] = {}

    async def start_kernel(self, *, env: dict[str, str] | None = None, **how: Any) -> str:  # type: ignore[override]
        """Start a kernel whose temporary files have a folder of their own, which goes when it ends."""
        store = tempfile.mkdtemp(prefix="visitor-", dir=os.environ.get("WORKBENCH_VISITORS"))
        kernel_id: str = await super().start_kernel(env={**(env or os.environ), "TMPDIR": store}, **how)
        self._stores[kernel_id] = store
        return kernel_id

    def remove_kernel(self, kernel_id: str) -> Any:
        """Forget a kernel that has ended, and what its visitor stored."""
        shutil.rmtree(self._stores.pop(kernel_id, ""), ignore_errors=True)
        return super().remove_kernel(kernel_id)

    async def cull_kernel_if_idle(self, kernel_id: str) -> None:
        """End this kernel if it has been idle for too long."""
        self.cull_connected = self.idle_seconds(kernel_id) > self.cull_open_timeout
        await super().cull_kernel_if_idle(kernel_id)  # type: ignore[no-untyped-call]

    def idle_seconds(self, kernel_id: str) -> float:
        """Seconds since a kernel last said or did anything."""
        last = getattr(self._kernels[kernel_id], "last_activity", None)
        return 0.0 if last is None else (last.now(last.tzinfo) - last).total_seconds()


class Page(JupyterHandler):
    """The page's frame. It starts nothing: a visitor who comes back finds the kernel that was there."""

    @tornado.web.authenticated
    def get(self) -> None:
        """Answer with the frame."""
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        self.finish(_frame())


class Visit(TornadoVoilaHandler):  # type: ignore[misc]
    """A kernel for one visitor, with the screen in it."""

    @tornado.web.authenticated
    async def get(self, path: str | None = None) -> None:
        """Answer with lines of JSON as the kernel starts, or refuse where there is no place left."""
        places = self.settings["workbench_visitors"]
        waiting = self.kernel_manager.get_pool_size(self.notebook_path)
        if len(self.kernel_manager.list_kernel_ids()) - waiting >= places:
            self.set_status(503)
            self.finish(FULL.format(places))
            return
        await super().get(None)


class Asset(tornado.web.RequestHandler):
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

    max_visitors = Integer(20, config=True, help="Visitors at a time; each has a kernel, a process of its own.")
    nursery = Unicode("", config=True, help="The socket of the process that kernels are forked of; '' is none.")

    def start(self) -> None:
        """Serve; the process that kernels are forked of comes first, and ends with this one."""
        if self.nursery:
            subprocess.Popen([sys.executable, "-m", "workbench_widgets.nursery", self.nursery])
        super().start()

    def init_settings(self) -> dict[str, Any]:
        """Voilà's settings and the number of visitors."""
        return {**super().init_settings(), "workbench_visitors": self.max_visitors}

    def init_handlers(self) -> list[Any]:
        """The page, its files, a kernel for each visitor with its socket, and the login by token."""
        base, kernel = self.server_url, f"/api/kernels/{_kernel_id_regex}"
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
            (url_path_join(base, kernel), KernelHandler),
            (url_path_join(base, kernel, "/channels"), VoilaKernelWebsocketHandler),
            *((url_path_join(base, path), handler) for path, handler in self.identity_provider.get_handlers()),
        ]


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
