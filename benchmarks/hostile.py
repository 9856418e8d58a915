"""A published page under hostile visitors for some minutes: how soon the others are answered.

    python benchmarks/hostile.py [--minutes 5]

Hostile visitors, in a process of their own, send frames that are no messages, floods of frames that are, sockets
without end, bursts of visits, requests of another site, large bodies and unfinished ones; once a minute the process
that kernels are forked of is killed. Two visitors who were there before ask for the page, for their kernel, and for an
answer of it, every half second; a new visitor comes every 20 s. Linux alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import statistics
import struct
import time
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import psutil
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from workbench.dashboard import PUBLIC, Site, free_port, serving

PROTOCOL = "v1.kernel.websocket.jupyter.org"
WINDOW_SECONDS = 10.0
PATIENCE = 60.0


# --- what visitors do


def message(kind: str, content: dict[str, Any], session: str = "s", padding: bytes = b"") -> bytes:
    """A message of Jupyter's protocol for sockets."""
    about = {"msg_id": uuid.uuid4().hex, "msg_type": kind, "session": session, "username": "", "version": "5.3"}
    texts = [json.dumps(one).encode() for one in (about, {}, {}, content)]
    parts = [b"shell", *texts, *([padding] if padding else [])]
    places = [8 * (len(parts) + 2)]
    for part in parts:
        places.append(places[-1] + len(part))
    return struct.pack(f"<{len(places) + 1}Q", len(places), *places) + b"".join(parts)


async def visit(address: str, patience: float = PATIENCE) -> str:
    """The kernel of a new visitor. Raises: `HTTPError` of tornado where there is no place."""
    answer = await AsyncHTTPClient().fetch(f"{address}visit", request_timeout=patience, connect_timeout=patience)
    lines = answer.body.decode().splitlines()
    return str(json.loads(next(one for one in lines if one.startswith("{")))["kernel"])  # heartbeats may come first


async def connect(address: str, kernel: str) -> WebSocketClientConnection:
    """A socket to a kernel."""
    place = f"{address.replace('http', 'ws', 1)}api/kernels/{kernel}/channels?session_id={uuid.uuid4().hex}"
    asked = HTTPRequest(place, headers={"Origin": address.rstrip("/")}, connect_timeout=PATIENCE)
    return await websocket_connect(asked, subprotocols=[PROTOCOL])


@dataclass
class Answers:
    """Seconds of each kind of answer, with the moment that it was asked for; and what failed."""

    times: defaultdict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    failed: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    async def time(self, what: str, ask: Callable[[], Awaitable[object]]) -> None:
        """Ask, and keep how long the answer took."""
        began = time.monotonic()
        try:
            await asyncio.wait_for(ask(), PATIENCE)
        except Exception as error:  # noqa: BLE001  # whatever it is, there was no answer
            self.failed[what].append(f"{type(error).__name__}: {str(error)[:80]}")
        self.times[what].append((began, time.monotonic() - began))


async def arrive(address: str) -> tuple[str, WebSocketClientConnection]:
    """A visitor's kernel and socket."""
    kernel = await visit(address)
    return kernel, await connect(address, kernel)


async def good(address: str, answers: Answers, until: float, kernel: str, socket: WebSocketClientConnection) -> None:
    """A visitor who works with the page."""

    async def answer() -> None:
        await socket.write_message(message("kernel_info_request", {}), binary=True)
        while True:
            said = await socket.read_message()
            if said is None:
                raise ConnectionError("the socket was closed")
            if b"kernel_info_reply" in said[:2000]:  # type: ignore[operator]  # bytes, in this protocol
                return

    client = AsyncHTTPClient()
    while time.monotonic() < until:
        await answers.time("the page", lambda: client.fetch(address))
        await answers.time("whether the kernel lives", lambda: client.fetch(f"{address}api/kernels/{kernel}"))
        await answers.time("an answer of the kernel", answer)
        await asyncio.sleep(0.5)


async def comers(address: str, answers: Answers, until: float) -> None:
    """A new visitor from time to time, who leaves soon."""
    while time.monotonic() < until:
        await answers.time("a new visitor's kernel", lambda: visit(address))
        await asyncio.sleep(20)


# --- what hostile visitors do


def frame(opcode: int, content: bytes = b"", final: bool = True) -> bytes:
    """A frame of a WebSocket, as a browser masks it."""
    size = len(content)
    head = bytes([opcode | (0x80 if final else 0)])
    head += (
        bytes([0x80 | size])
        if size < 126
        else b"\xfe" + struct.pack("!H", size)
        if size < 2**16
        else b"\xff" + struct.pack("!Q", size)
    )
    return head + b"\0\0\0\0" + content


async def raw(address: str, kernel: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A socket to a kernel, of which the other side sees any bytes that are written."""
    place = urlsplit(address)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    writer.write((
        f"GET {place.path}api/kernels/{kernel}/channels?session_id={uuid.uuid4().hex} HTTP/1.1\r\n"
        f"Host: {place.netloc}\r\n"
        f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {'x' * 22}==\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Protocol: {PROTOCOL}\r\n\r\n"
    ).encode())  # fmt: skip
    await reader.readuntil(b"\r\n\r\n")
    return reader, writer


async def pour(address: str, kernel: str, frames: bytes, seconds: float) -> None:
    """Write the same frames for as long as the server takes them; read nothing."""
    _, writer = await raw(address, kernel)
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end and not writer.is_closing():
            writer.write(frames)
            await writer.drain()
    finally:
        writer.close()


async def frames(address: str, kernel: str, draw: random.Random) -> None:
    """Frames that are no messages, or far too many."""
    counts = struct.pack("<Q", draw.choice([0, 1, 2**63, 2**64 - 1, 10**6]))
    bad = [
        frame(2, b"\xff" * 8), frame(2, counts), frame(2, counts + os.urandom(200)), frame(1, b"{" * 2000),
        frame(1, b"[]"),
        frame(2), frame(3, b"x"), frame(2, os.urandom(60000)), b"\x82\xff" + struct.pack("!Q", 2**62) + b"\0\0\0\0",
        frame(2, message("x" * 5000, {})), frame(2, message("execute_request", {"code": "while 1: pass"})),
    ]  # fmt: skip
    floods = [
        frame(9, b"ping") * 5000, frame(10) * 5000, frame(2, b"x", final=False) + frame(0, b"", final=False) * 9000,
        frame(2, message("kernel_info_request", {})) * 200,
        frame(2, message("comm_info_request", {}, padding=bytes(500_000))),
        frame(2, message("comm_msg", {"comm_id": "x", "data": {}})) * 500,
    ]  # fmt: skip
    for one in bad:
        await pour(address, kernel, one, 0.05)
    await pour(address, kernel, draw.choice(floods), 5)


async def sockets(address: str, kernel: str, draw: random.Random) -> None:
    """As many sockets as there are, and connections that ask for nothing."""
    held = await asyncio.gather(*(raw(address, kernel) for _ in range(40)), return_exceptions=True)
    place = urlsplit(address)
    idle = [await asyncio.open_connection(place.hostname, place.port) for _ in range(200)]
    for _, writer in idle:
        writer.write(
            b"GET / HTTP/1.1\r\nHost:"
            if draw.random() < 0.5
            else b"POST /login HTTP/1.1\r\nContent-Length: 9999\r\n\r\n"
        )
    await asyncio.sleep(5)
    for pair in (*held, *idle):
        if isinstance(pair, tuple):
            pair[1].close()


async def bursts(address: str, kernel: str, draw: random.Random) -> None:
    """Visits at one moment, those of other sites among them, and what is not there."""
    client = AsyncHTTPClient()
    elsewhere = {"Origin": "http://elsewhere.example", "Sec-Fetch-Site": "cross-site"}
    asked = [client.fetch(f"{address}visit", request_timeout=20, raise_error=False) for _ in range(8)]
    asked += [client.fetch(f"{address}visit", headers=elsewhere, raise_error=False) for _ in range(8)]
    asked += [client.fetch(f"{address}{uuid.uuid4().hex}", raise_error=False) for _ in range(50)]
    asked += [client.fetch(f"{address}login", method="POST", body=bytes(10**6), raise_error=False) for _ in range(4)]
    await asyncio.gather(*asked, return_exceptions=True)


async def attack(address: str, seconds: float, seed: int) -> None:
    """Everything, again and again, from visitors who have a kernel of their own."""
    draw, until = random.Random(seed), time.monotonic() + seconds
    AsyncHTTPClient.configure(None, max_clients=100)

    async def again(what: Callable[[str, str, random.Random], Awaitable[None]]) -> None:
        kernel = ""
        while time.monotonic() < until:
            try:
                kernel = kernel or await visit(address)
                await asyncio.wait_for(what(address, kernel, draw), 30)
            except Exception:  # noqa: BLE001  # to be refused is what it asks for
                kernel = kernel if draw.random() < 0.8 else ""
                await asyncio.sleep(0.2)

    await asyncio.gather(again(frames), again(frames), again(sockets), again(bursts))


def attackers(address: str, seconds: float) -> None:
    """In a process of its own: attack."""
    asyncio.run(attack(address, seconds, 0))


async def killer(server: int, until: float) -> int:
    """Kill the process that kernels are forked of once a minute; how often that was."""
    killed = 0
    while time.monotonic() < until:
        await asyncio.sleep(30)
        for one in psutil.Process(server).children():
            if "workbench_widgets.fork_server" in str(one.as_dict(["cmdline"])["cmdline"]):
                one.kill()
                killed += 1
        await asyncio.sleep(30)
    return killed


def memory_mb(process: int) -> float:
    """Resident memory of a process, in MB."""
    return float(psutil.Process(process).memory_info().rss) / 1e6


# --- what came of it


def table(answers: Answers, began: float) -> str:
    """A row a kind of answer; the worst window is the ten seconds whose median is the largest."""
    rows = ["| asked for | answers | failed | median, ms | worst 10 s: median, ms | slowest, ms |", "| --- " * 6 + "|"]
    for what, found in answers.times.items():
        windows = defaultdict(list)
        for moment, seconds in found:
            windows[int((moment - began) // WINDOW_SECONDS)].append(seconds * 1000)
        all_ms = [seconds * 1000 for _, seconds in found]
        worst = max(statistics.median(one) for one in windows.values())
        shown = (
            len(found),
            len(answers.failed[what]),
            *(f"{ms:,.0f}" for ms in (statistics.median(all_ms), worst, max(all_ms))),
        )
        rows.append(f"| {what} | {' | '.join(map(str, shown))} |")
    return "\n".join(rows)


async def measure(address: str, server: int, seconds: float) -> None:
    """Let good and hostile visitors come, and print what the good ones saw."""
    here = [await arrive(address) for _ in range(2)]
    for name, attacked, length in (("before", False, min(20.0, seconds)), ("under attack", True, seconds)):
        answers, began = Answers(), time.monotonic()
        hostile = multiprocessing.get_context("spawn").Process(target=attackers, args=(address, length))
        until = began + length
        tasks = [comers(address, answers, until), *(good(address, answers, until, *one) for one in here)]
        if attacked:
            hostile.start()
            tasks.append(killer(server, until))  # type: ignore[arg-type]  # it counts
        *_, killed = await asyncio.gather(*tasks)
        print(f"\n{name}, {length:.0f} s; server {memory_mb(server):,.0f} MB; fork servers killed: {killed or 0}\n")
        print(table(answers, began), flush=True)
        for what, said in answers.failed.items():
            print(f"failed: {what}: {sorted(set(said))[:3]}")
        if attacked:
            hostile.join(30)
            hostile.kill()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--minutes", type=float, default=5)
    told = arguments.parse_args()
    site = Site(visitors=12, quota=PUBLIC)
    with serving(free_port(8990), site=site) as (address, server):
        asyncio.run(measure(address, server.pid, 60 * told.minutes))


if __name__ == "__main__":
    main()
