"""The server of the device's page: a tornado of its own, which gives a key's holder that page and its artefacts alone.

Everything lies under the key. The page itself opens for whoever has a free key; the artefacts, and what takes results,
only for the device that claimed it.
"""

from __future__ import annotations

import asyncio
import contextlib
import html
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import tornado.httpserver
import tornado.netutil
import tornado.web
from tornado.ioloop import IOLoop

from workbench.devices import shipped
from workbench.devices.answered import Device
from workbench.devices.keys import LETTERS, Keys
from workbench.devices.offer import PIECE, Offer
from workbench.devices.received import Received, enough
from workbench.devices.refusal import Refused
from workbench.errors import BadValue, WorkbenchError

_COOKIE = "device"
_KEY = rf"/([{LETTERS}A-Za-z0-9]+)/"
#: Of every answer. Isolation gives the page threads and a fine clock; nothing but this server is ever asked.
HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; "
    "connect-src 'self'; style-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Server": "workbench",
}
REQUESTS: dict[str, Any] = {"max_body_size": 2 * PIECE, "body_timeout": 60.0, "idle_connection_timeout": 120.0}


class Desk(Protocol):
    """What the server tells of its devices."""

    offer: Offer
    keys: Keys

    def arrived(self, key: str) -> Received:
        """The device that claimed a key."""

    def others(self, received: Received) -> set[str]:
        """What the other devices are called."""

    def learned(self, received: Received) -> Device:
        """Keep what is known of a device by now."""

    def refused(self, key: str, sentence: str) -> None:
        """Something was refused."""


class Handler(tornado.web.RequestHandler):
    """What all of them share: the headers, the key, refusals as sentences."""

    def initialize(self, desk: Desk) -> None:
        """Take the desk."""
        self.desk = desk

    def set_default_headers(self) -> None:
        """Isolate the page, also where it is refused."""
        for name, value in HEADERS.items():
            self.set_header(name, value)

    @property
    def cookie(self) -> str:
        """What the device is known by."""
        return self.get_cookie(_COOKIE, "") or ""

    def check(self, key: str) -> None:
        """Raise `Refused` unless this device has claimed the key, and its own page asks."""
        self.desk.keys.check(key, self.cookie)
        if not self.desk.keys.holds(key, self.cookie):
            raise Refused("Open the page first.", 403)
        if self.request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
            raise Refused("Only the device's own page may ask for this.", 403)

    def write_error(self, status_code: int, **about: Any) -> None:
        """Say what was refused: to a page that asks as JSON, to a visitor as a page."""
        error = about.get("exc_info", (None, None))[1]
        sentence = str(error) if isinstance(error, WorkbenchError) else self._usual(status_code)
        if isinstance(error, Refused):
            self.set_status(error.status)
            self.desk.refused(self.path_args[0] if self.path_args else "", sentence)
        if self.request.method == "GET" and self.request.path.endswith("/"):
            self.set_header("Content-Type", "text/html; charset=utf-8")
            self.finish(shipped.refusing().replace("SENTENCE", html.escape(sentence)))
        else:
            self.finish({"refused": sentence})

    def _usual(self, status: int) -> str:
        return "There is nothing here." if status == 404 else "The workbench could not take this. Load the page again."

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """What is refused is told to the desk, and is no fault of the server."""
        if not isinstance(value, (WorkbenchError, tornado.web.HTTPError)):
            super().log_exception(typ, value, tb)


class Nowhere(Handler):
    """Whatever else is asked for: most likely an address with a wrong key."""

    def prepare(self) -> None:
        """Say so."""
        key = self.request.path.strip("/").partition("/")[0]
        self.desk.keys.check(key, self.cookie)
        if self.request.path == f"/{key}":
            self.redirect(f"/{key}/")
            return
        raise Refused("There is nothing here.", 404)


class Page(Handler):
    """The page."""

    def get(self, key: str) -> None:
        """Answer with it. Opening it claims nothing: those who only preview an address do not use up its key."""
        self.desk.keys.check(key, self.cookie)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(shipped.frame())


class File(Handler):
    """A file of the page, or of what it runs networks with."""

    async def get(self, key: str, name: str) -> None:
        """Answer with it, compressed."""
        self.desk.keys.check(key, self.cookie)
        if name not in shipped.TYPES:
            raise Refused("There is nothing here.", 404)
        self.set_header("Content-Type", shipped.TYPES[name])
        self.set_header("Cache-Control", "private, max-age=3600")
        takes = "gzip" in self.request.headers.get("Accept-Encoding", "")
        if takes:
            self.set_header("Content-Encoding", "gzip")
        content = await apart(shipped.zipped if takes else shipped.plain, name)
        self.finish(content)


class Claim(Handler):
    """A device that comes."""

    async def post(self, key: str) -> None:
        """Claim the key, and answer with what there is to do, and what is known already."""
        if self.request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
            raise Refused("Only the device's own page may ask for this.", 403)
        cookie = self.desk.keys.claim(key, self.cookie)
        received = self.desk.arrived(key)
        self.set_cookie(_COOKIE, cookie, path=f"/{key}/", httponly=True, samesite="Lax")  # also where it is refused now
        received.introduce(self.request.body, self.desk.others(received))
        offer = await apart(self.desk.offer.described)
        self.finish({**offer, "known": known(received.device() if received.rows else None, received)})


class Content(Handler):
    """A network, or the numbers of an input."""

    async def get(self, key: str, what: str, index: str) -> None:
        """Answer with the bytes."""
        self.check(key)
        self.set_header("Content-Type", "application/octet-stream")
        self.set_header("Cache-Control", "private, max-age=3600")
        give = self.desk.offer.artefact if what == "network" else self.desk.offer.input
        self.finish(await apart(give, int(index)))


class Results(Handler):
    """What the device sends."""

    async def post(self, key: str, what: str) -> None:
        """Take it, and answer with the figures so far."""
        self.check(key)
        received = self.desk.arrived(key)
        if what == "outputs":
            received.outputs(self._number("network"), self._number("start"), self.request.body)
        elif what == "done":
            received.finished = True
        else:
            take: dict[str, Callable[[bytes], Any]] = {
                "name": lambda body: received.rename(body, self.desk.others(received)),
                "times": received.times,
                "sustained": received.sustain,
                "failed": received.fail,
            }
            take[what](self.request.body)
        device = await apart(self.desk.learned, received)
        self.finish(known(device, received))

    def _number(self, name: str) -> int:
        text = self.get_query_argument(name, "")
        if not text.isdecimal() or len(text) > 6:
            raise Refused(f"The {name} is {text!r:.40}; it is a whole number.")
        return int(text)


def known(device: Device | None, received: Received) -> dict[str, Any]:
    """What the page is told of its own results: figures as the desk makes them, and whether they are enough."""
    rows = device.rows if device else ()
    answers = device.answers if device else {}
    return {
        "name": received.name,
        "rows": [
            {
                "backend": row.backend,
                "threads": row.threads,
                "title": row.title,
                "sessions": len(row.rounds),
                "enough": enough(row),
                "note": row.note,
                "figures": [
                    {"ms": row.latency[one].value, "ratio": _ends(row.speedup[one])} for one in row.variants
                ] if row.speedup else [],
            }
            for row in rows
        ],
        "answers": [
            {"n": answers[one].n, "differing": answers[one].differing, "largest": answers[one].largest}
            if one in answers else None
            for one in received.offer.ids
        ],
        "answered": received.answered,
    }  # fmt: skip


def _ends(estimate: Any) -> list[float]:
    return [estimate.value, estimate.low, estimate.high]


async def apart(work: Callable[..., Any], *given: Any) -> Any:
    """Work on another thread, so that other devices do not wait for it."""
    return await IOLoop.current().run_in_executor(None, work, *given)


class Server:
    """The server, on a thread of its own until `close`.

    Raises: `BadValue` where it cannot listen, or for a certificate that cannot be used.
    """

    def __init__(self, desk: Desk, host: str, port: int, certificate: tuple[Path, Path] | None) -> None:
        self._context = _certified(certificate)
        try:
            self._sockets = tornado.netutil.bind_sockets(port, host)
        except (OSError, OverflowError) as error:
            raise BadValue(f"Nothing can listen at {host}, port {port}: {error}. Name another port.") from error
        self.port: int = self._sockets[0].getsockname()[1]
        self._desk, self._loop = desk, asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="workbench-devices", daemon=True)
        self._thread.start()
        self._ready.wait()

    def close(self) -> None:
        """End it."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = tornado.httpserver.HTTPServer(application(self._desk), ssl_options=self._context, **REQUESTS)
        self._loop.call_soon(server.add_sockets, self._sockets)
        self._loop.call_soon(self._ready.set)
        self._loop.run_forever()
        server.stop()
        with contextlib.suppress(TimeoutError):
            self._loop.run_until_complete(asyncio.wait_for(server.close_all_connections(), 5))
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()


def application(desk: Desk) -> tornado.web.Application:
    """The handlers, and no other."""
    given = {"desk": desk}
    return tornado.web.Application(
        [
            (_KEY, Page, given),
            (rf"{_KEY}claim", Claim, given),
            (rf"{_KEY}(network|input)/([0-9]{{1,3}})", Content, given),
            (rf"{_KEY}(times|outputs|name|sustained|failed|done)", Results, given),
            (rf"{_KEY}([a-z.-]+)", File, given),
        ],
        default_handler_class=Nowhere,
        default_handler_args=given,
        log_function=lambda handler: None,
    )


def _certified(certificate: tuple[Path, Path] | None) -> ssl.SSLContext | None:
    if certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(*map(str, certificate))
    except (OSError, ValueError) as error:
        raise BadValue(f"The certificate {', '.join(map(str, certificate))} cannot be used: {error}.") from error
    return context

