"""A visitor's connection to the own kernel, which whole messages at a bounded pace pass and nothing else.

The server answers all visitors on one thread. So a frame is looked at before anything takes it for a message, each
visitor's frames take turns with those of the others, and what is not read, on either side, is not piled up here.
"""

from __future__ import annotations

import asyncio
import re
import struct
import time
from collections import defaultdict
from typing import Any, ClassVar
from urllib.parse import urlsplit

import tornado.web
from tornado.httputil import HTTPServerRequest
from tornado.iostream import StreamBufferFullError
from tornado.websocket import WebSocketClosedError, WebSocketProtocol
from voila.tornado.kernel_websocket_handler import VoilaKernelWebsocketHandler

from workbench_widgets.upstream import abort, before_each_frame

PROTOCOL = "v1.kernel.websocket.jupyter.org"
CHANNELS = frozenset({b"shell", b"control", b"stdin"})
#: Parts of a message: channel, header, parent, metadata, content, and buffers; the page sends one.
LEAST_PARTS, MOST_PARTS = 5, 64
#: Bytes of a header, which is the one part that is read here.
HEADER_BYTES = 4096
#: Sockets of one visitor. A page has one; the rest is for those whose end was lost on its way here.
SOCKETS = 4
#: Frames, and new sockets, of a visitor: how many at once, and how many a second for good.
FRAMES, OPENINGS = (400, 200.0), (20, 1.0)
#: Bytes that may wait for a visitor who reads slowly; a download's pieces are asked for one by one.
UNREAD_BYTES = 16 * 1024**2
NAME = re.compile(r"[\w-]{1,64}")


class Pace:
    """At most `burst` at once and `rate` a second for good, counted for one visitor."""

    def __init__(self, burst: int, rate: float) -> None:
        self.burst, self.rate = burst, rate
        self.left, self.seen = float(burst), time.monotonic()

    def take(self) -> float:
        """Seconds to wait for one more, which is counted already."""
        now = time.monotonic()
        self.left = min(self.burst, self.left + (now - self.seen) * self.rate) - 1
        self.seen = now
        return max(0.0, -self.left / self.rate)

    def refuse(self) -> bool:
        """Whether one more would be too many; only what is not refused counts."""
        if self.take() == 0:
            return False
        self.left += 1
        return True


class Visitor:
    """What the server keeps of a visitor: the sockets, from the oldest on, and the paces."""

    def __init__(self) -> None:
        self.sockets: list[Socket] = []
        self.frames, self.openings = Pace(*FRAMES), Pace(*OPENINGS)


class Brief(tornado.web.RequestHandler):
    """A refusal in a few words. Jupyter's error pages take the thread that answers all for tens of milliseconds."""

    def write_error(self, status_code: int, **_: Any) -> None:
        """Answer with the reason alone."""
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"{status_code} {self._reason}\n")


class Socket(Brief, VoilaKernelWebsocketHandler):  # type: ignore[misc]  # Voilà has no types
    """A socket of a visitor's page."""

    #: By the kernel, which is the visitor's alone. `forget` lets go of one.
    visitors: ClassVar[defaultdict[str, Visitor]] = defaultdict(Visitor)

    async def get(self, kernel_id: str) -> None:
        """Open the socket; of too many the oldest is closed, since the newest is the page's."""
        if from_elsewhere(self.request):
            raise tornado.web.HTTPError(403)
        if kernel_id not in self.kernel_manager:
            raise tornado.web.HTTPError(404)
        if PROTOCOL not in self.request.headers.get("Sec-WebSocket-Protocol", "") or not NAME.fullmatch(
            self.get_argument("session_id", "")
        ):
            raise tornado.web.HTTPError(400)
        self.visitor = self.visitors[kernel_id]
        if self.visitor.openings.refuse():
            raise tornado.web.HTTPError(429)
        self.visitor.sockets.append(self)
        for extra in self.visitor.sockets[:-SOCKETS]:
            extra.end()
        try:
            await super().get(kernel_id)  # type: ignore[misc]  # mypy sees tornado's own, which Jupyter overrides
        finally:
            if self.ws_connection is None:  # it was not opened
                self.leave()

    def get_websocket_protocol(self) -> WebSocketProtocol | None:
        """The protocol, each of whose frames waits for its turn: also those that reach no handler."""
        protocol = super().get_websocket_protocol()
        if protocol is not None:
            # a wait of 0 is one, too: a full buffer would be read without a pause
            before_each_frame(protocol, lambda: asyncio.sleep(self.visitor.frames.take()))
        return protocol  # type: ignore[no-any-return]

    async def open(self, kernel_id: str) -> None:
        """Connect to the kernel."""
        self.ws_connection.stream.max_write_buffer_size = UNREAD_BYTES
        await super().open(kernel_id)

    async def on_message(self, frame: str | bytes) -> None:
        """Pass a whole message on, and wait until the kernel has taken it; end the socket for anything else."""
        channel = channel_of(frame)
        if channel is None or self.connection is None:
            self.end()
            return
        self.connection.handle_incoming_message(frame)
        stream = self.connection.channels.get(channel) if self.connection else None
        while stream is not None and not stream.closed() and stream.sending():
            await asyncio.sleep(0.05)

    def write_message(self, message: bytes | dict[str, Any], binary: bool = False) -> Any:
        """Send to the page; one that does not read loses its socket."""
        try:
            sent = super().write_message(message, binary)
        except (StreamBufferFullError, WebSocketClosedError):
            self.end()
            return None
        if sent is not None:  # nobody waits for it, and each page that left would be an error in the log
            sent.add_done_callback(lambda done: done.cancelled() or done.exception())
        return sent

    def on_close(self) -> None:
        """Let go of the kernel."""
        self.leave()
        if self.connection is not None:
            super().on_close()

    def end(self) -> None:
        """Close at once: a page that misbehaves is not asked to agree."""
        self.leave()
        if self.ws_connection is not None:
            abort(self.ws_connection)

    def leave(self) -> None:
        """Give the place among the visitor's sockets back."""
        if self in self.visitor.sockets:
            self.visitor.sockets.remove(self)

    @classmethod
    def forget(cls, kernel_id: str) -> None:
        """Let go of a visitor whose kernel has ended."""
        cls.visitors.pop(kernel_id, None)


def channel_of(frame: str | bytes) -> str | None:
    """The channel of a whole message in Jupyter's protocol for sockets, version 1; None for any other frame."""
    if not isinstance(frame, bytes) or len(frame) < 8:
        return None
    count = int.from_bytes(frame[:8], "little")  # of the offsets: one more than the parts
    start = 8 * (count + 1)
    if not LEAST_PARTS < count <= MOST_PARTS + 1 or len(frame) < start:
        return None
    places = struct.unpack_from(f"<{count}Q", frame, 8)
    whole = places[0] == start and places[-1] == len(frame) and list(places) == sorted(places)
    if not whole or places[2] - places[1] > HEADER_BYTES:
        return None
    channel = frame[places[0] : places[1]]
    return channel.decode() if channel in CHANNELS else None


def from_elsewhere(request: HTTPServerRequest) -> bool:
    """Whether a browser sends this for a page of another site. What is no browser says nothing, and may."""
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
        return True
    said = request.headers.get("Origin") or request.headers.get("Referer")
    return said is not None and urlsplit(said).netloc.lower() != request.host.lower()
