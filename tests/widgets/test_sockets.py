"""What one visitor sends, however much and whatever it is, holds up nobody else."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.dashboard import Site, free_port, serving

pytest.importorskip("voila")
from tornado.httputil import HTTPHeaders

from workbench_widgets import sockets
from workbench_widgets.kernels import Kernels, Places
from workbench_widgets.sockets import Pace, channel_of, from_elsewhere

SOURCE = "print('here')"


def message(channel: bytes = b"shell", kind: str = "kernel_info_request", *buffers: bytes) -> bytes:
    head = {"msg_id": uuid.uuid4().hex, "msg_type": kind, "session": "s", "username": "", "version": "5.3", "date": ""}
    parts = [channel, json.dumps(head).encode(), b"{}", b"{}", b"{}", *buffers]
    places = [8 * (len(parts) + 2)]
    for part in parts:
        places.append(places[-1] + len(part))
    return struct.pack(f"<{len(places) + 1}Q", len(places), *places) + b"".join(parts)


# --- frames


def test_a_whole_message_has_a_channel() -> None:
    assert channel_of(message()) == "shell"
    assert channel_of(message(b"control", "x", b"", bytes(500_000))) == "control"


@pytest.mark.parametrize(
    "frame",
    [
        "", "{}", b"", b"\xff" * 8, bytes(8), struct.pack("<Q", 2**63), message(b"iopub"), message(b"nothing"),
        message()[:-1], message() + b"x", message(b"shell", "x" * 5000), message(b"shell", "x", *[b""] * 100),
    ],
)  # fmt: skip
def test_what_is_no_whole_message_has_none(frame: str | bytes) -> None:
    assert channel_of(frame) is None


@given(st.binary(max_size=200), st.integers(0, 80))
def test_damage_is_never_more_than_a_refusal(noise: bytes, place: int) -> None:
    whole = message()
    assert channel_of(whole[:place] + noise + whole[place:]) in {None, "shell"}


def test_a_pace_lets_a_burst_through_and_then_so_many_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(sockets, "time", SimpleNamespace(monotonic=lambda: now))
    pace = Pace(3, 2.0)
    assert [pace.take() for _ in range(5)] == [0, 0, 0, 0.5, 1.0]
    now += 1.0  # two more are due, which the last two have taken
    assert [pace.refuse() for _ in range(2)] == [True, True]
    now += 60.0
    assert [pace.refuse() for _ in range(4)] == [False, False, False, True]


@pytest.mark.parametrize(
    ("said", "elsewhere"),
    [
        ({}, False),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://here:8866"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Referer": "http://here:8866/page"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, True),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://here:8866"}, True),
        ({"Origin": "http://here:8867"}, True),
        ({"Origin": "null"}, True),
        ({"Referer": "http://elsewhere/here:8866"}, True),
    ],
)
def test_what_a_page_of_another_site_sends_is_known(said: dict[str, str], elsewhere: bool) -> None:
    headers = HTTPHeaders({"Host": "here:8866", **said})
    request = SimpleNamespace(headers=headers, host=headers["Host"])
    assert from_elsewhere(request) is elsewhere  # type: ignore[arg-type]  # all that it looks at


# --- places


@given(st.lists(st.sampled_from(["take", "arrive", "fail", "end"]), max_size=60), st.integers(1, 4))
def test_there_are_never_more_visitors_than_places(steps: list[str], number: int) -> None:
    places, coming, here = Places(number), 0, set[str]()
    for count, step in enumerate(steps):
        if step == "take":
            taken = places.take()
            assert taken is (coming + len(here) < number)
            coming += taken
        elif step in {"arrive", "fail"} and coming:
            coming -= 1
            kernel = str(count) if step == "arrive" else ""
            places.settle(kernel)
            here |= {kernel} - {""}
        elif here:
            places.kernels.discard(one := here.pop())
            assert one not in places.kernels
        assert places.full is (coming + len(here) == number)


def test_a_place_that_nobody_came_to_is_given_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = Kernels(max_visitors=2)
    ended: list[str] = []

    async def shutdown_kernel(kernel_id: str, now: bool = False) -> None:
        ended.append(kernel_id)
        kernels.remove_kernel(kernel_id)

    monkeypatch.setattr(kernels, "shutdown_kernel", shutdown_kernel)
    for name in ("one", "two"):
        kernels._kernels[name], kernels._kernel_connections[name] = SimpleNamespace(), 0
        kernels.places.take()
        kernels.arrived(name)
    kernels.notify_connect("two")
    asyncio.run(kernels.make_room())
    assert not ended  # its page may be on its way
    kernels._unmet["one"] -= 1000
    asyncio.run(kernels.make_room())
    assert ended == ["one"]
    assert kernels.places.take()
    assert not kernels.places.take()
    kernels._kernels.clear()


# --- a server


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    with serving(free_port(8970), SOURCE, preheat=False, site=Site(visitors=2)) as found:
        yield found


def get(address: str, **headers: str) -> str:
    request = urllib.request.Request(address, headers={name.replace("_", "-"): one for name, one in headers.items()})
    text: str = urllib.request.urlopen(request, timeout=100).read().decode()
    return text


def visit(address: str) -> str | None:
    """The kernel of a visitor, or None where there is no place."""
    try:
        lines = get(f"{address}visit").splitlines()
        return str(json.loads(next(one for one in lines if one.startswith("{")))["kernel"])  # heartbeats may come first
    except urllib.error.HTTPError as error:
        return None if error.code == 503 else pytest.fail(str(error))


def joined(address: str, kernel: str, name: str) -> socket.socket:
    """A socket to a kernel, as it is after the handshake."""
    place = urlsplit(address)
    made = socket.create_connection((place.hostname, place.port), timeout=60)  # type: ignore[arg-type]
    made.sendall((
        f"GET /api/kernels/{kernel}/channels?session_id={name} HTTP/1.1\r\n"
            f"Host: {place.netloc}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        f"Sec-WebSocket-Protocol: {sockets.PROTOCOL}\r\n\r\n"
    ).encode())  # fmt: skip
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += made.recv(1)
    if b" 101 " not in answer.partition(b"\r\n")[0]:
        raise ConnectionError(answer.decode())
    return made


def frame(opcode: int, content: bytes, final: bool = True) -> bytes:
    assert len(content) < 2**16
    return bytes([opcode | 128 * final, 0xFE]) + struct.pack("!H", len(content)) + bytes(4) + content


def frames_of_control(opcode: int, final: bool = True) -> bytes:
    return bytes([opcode | 128 * final, 0x80]) + bytes(4)


@pytest.fixture(scope="module")
def kernel(running: tuple[str, Any]) -> str:
    """The kernel of a visitor, of eight who come at one moment for two places; the other place is free again."""
    address, _ = running
    with ThreadPoolExecutor(8) as pool:
        kernels = [one for one in pool.map(visit, [address] * 8) if one]
    assert len(set(kernels)) == len(kernels) == 2
    return kernels[0]


FLOODS = {
    "pings": frames_of_control(9) * 9000,
    "pongs": frames_of_control(10) * 9000,
    "parts without an end": frame(2, b"", final=False) + frames_of_control(0, final=False) * 9000,
    "messages": frame(2, message()) * 300,
    "no message": frame(2, b"\xff" * 8),
    "text": frame(1, b"{}"),
}


@pytest.mark.slow
@pytest.mark.parametrize("flood", FLOODS)
def test_the_page_is_answered_while_a_visitor_floods(running: tuple[str, Any], kernel: str, flood: str) -> None:
    address, _ = running
    made = joined(address, kernel, f"flood{list(FLOODS).index(flood)}")
    stop = threading.Event()

    def pour() -> None:
        while not stop.is_set():
            try:
                made.sendall(FLOODS[flood])
            except OSError:  # the server has closed it, or takes no more for now
                return

    made.settimeout(5)
    pouring = threading.Thread(target=pour)
    pouring.start()
    try:
        for _ in range(20):
            assert "<main" in get(address)
    finally:
        stop.set()
        with contextlib.suppress(OSError):  # the server may have closed it
            made.shutdown(socket.SHUT_RDWR)
        pouring.join()
        made.close()
    assert kernel in get(f"{address}api/kernels/{kernel}")


@pytest.mark.slow
def test_a_visitor_has_so_many_sockets_and_the_newest_works(running: tuple[str, Any], kernel: str) -> None:
    address, server = running
    made: list[socket.socket] = []

    def more_and_more() -> None:
        for count in range(60):
            made.append(joined(address, kernel, f"many{count}"))

    with pytest.raises(ConnectionError, match=" 429 "):
        more_and_more()
    until(lambda: 1 <= json.loads(get(f"{address}api/kernels/{kernel}"))["connections"] <= sockets.SOCKETS)
    if sys.platform != "win32":
        assert psutil.Process(server.pid).num_fds() < 200
    made[-1].settimeout(60)
    made[-1].sendall(frame(2, message()))
    answer = b""
    while b"kernel_info_reply" not in answer:
        answer += made[-1].recv(2**16)
    for one in made:
        one.close()


@pytest.mark.slow
def test_another_site_starts_no_kernel_and_gets_no_socket(running: tuple[str, Any], kernel: str) -> None:
    address, _ = running
    for path in ("visit", f"api/kernels/{kernel}/channels?session_id=x"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            get(address + path, Sec_Fetch_Site="cross-site")
        assert refused.value.code == 403


def children(process: int) -> dict[int, str]:
    """The processes that a process has started, with their commands; without those that end in the meantime."""
    found = {}
    for one in psutil.Process(process).children():
        with contextlib.suppress(psutil.NoSuchProcess):
            found[one.pid] = str(one.as_dict(["cmdline"])["cmdline"])
    return found


def until(found: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end
        time.sleep(0.1)


def fork_servers(server: int) -> list[int]:
    return [one for one, command in children(server).items() if "workbench_widgets.fork_server" in command]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux alone")
def test_who_is_there_keeps_the_kernel_when_the_one_it_was_forked_of_is_killed(
    running: tuple[str, subprocess.Popen[bytes]], kernel: str
) -> None:
    address, server = running
    (before,) = fork_servers(server.pid)
    os.kill(before, signal.SIGKILL)
    until(lambda: fork_servers(server.pid) not in ([], [before]))
    time.sleep(3)  # a kernel that looks for its parent does so every second
    assert kernel in get(f"{address}api/kernels/{kernel}")
    made = joined(address, kernel, "afterwards")
    made.sendall(frame(2, message()))
    while b"kernel_info_reply" not in made.recv(2**16):
        pass
    made.close()


STARTER = """
import sys, time
from workbench.dashboard import Site, serving
with serving(int(sys.argv[1]), "print(1)", preheat=False, site=Site()) as (address, server):
    print(server.pid, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder whose name leaves room for that of a socket."""
    with tempfile.TemporaryDirectory(prefix="wb", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.mark.slow
def test_nothing_outlives_a_killed_starter(short: Path) -> None:
    port = free_port(8940)
    command = [sys.executable, "-c", STARTER, str(port)]
    environment = {**os.environ, "TMPDIR": str(short)}
    starter = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert starter.stdout is not None
    server = int(starter.stdout.readline())
    assert visit(f"http://127.0.0.1:{port}/")
    family = [server, *children(server)]
    assert len(family) == 3  # and the one that kernels are forked of, and a stand-in
    starter.kill()
    starter.wait()
    until(lambda: not any(map(psutil.pid_exists, family)))
    until(lambda: not list(short.glob("workbench-page-*")))  # what visitors stored went with it
