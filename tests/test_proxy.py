"""The proxy's configuration in docs/ works: nginx in front of the dashboard, page, files, kernel and socket."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from workbench.dashboard import Site, free_port, serving

#: A server begins to listen to a kernel a moment after that kernel is ready.
PRINTING = "import time\ntime.sleep(1)\nprint(6 * 7)"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("nginx") is None, reason="nginx is not installed (Debian: apt install nginx-light)"
    ),
]


@pytest.fixture(scope="module")
def address(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of the page behind nginx. Only the ports, and TLS, differ from the file that is published."""
    folder = tmp_path_factory.mktemp("nginx")
    front, back = free_port(18080), free_port(18866)
    text = (root / "docs" / "nginx.conf").read_text()
    text = re.sub(r"^ *ssl_.*\n", "", text, flags=re.M).replace("listen 443 ssl", f"listen 127.0.0.1:{front}")
    text = text.replace("127.0.0.1:8866", f"127.0.0.1:{back}")
    kept = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = f"daemon off; pid {folder}/pid; error_log {folder}/error.log; events {{}}\n"
    (folder / "nginx.conf").write_text(f"{main}http {{ access_log off; {kept}\n{text}\n}}\n")
    site = Site(base_url="/workbench/")
    with serving(back, PRINTING, preheat=False, site=site):
        proxy = subprocess.Popen(["nginx", "-c", str(folder / "nginx.conf"), "-p", str(folder)])
        try:
            _wait(front)
            yield f"http://127.0.0.1:{front}/workbench/"
        finally:
            proxy.terminate()
            proxy.wait(timeout=10)


def _wait(port: int) -> None:
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("nginx does not listen")


def test_page_files_kernel_and_socket_pass(address: str) -> None:
    page = urllib.request.urlopen(address, timeout=30).read().decode()
    for file in re.findall(r'(?:href|src)="(screen/[^"]+)"', page):
        assert urllib.request.urlopen(address + file, timeout=30).status == 200
    text = urllib.request.urlopen(f"{address}visit", timeout=60).read().decode()
    # While a kernel starts slowly Voilà writes its heartbeat between, which the page leaves out as well.
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    kernel = lines[0]["kernel"]
    assert lines[1]["text"] == "42\n"
    assert asyncio.run(_ask(f"{address.replace('http', 'ws')}api/kernels/{kernel}/channels", address)) == "ok"


async def _ask(socket_address: str, page: str) -> str:
    """The status of a kernel's answer through the socket, as a page of that origin asks for it."""
    from tornado.httpclient import HTTPRequest
    from tornado.websocket import websocket_connect

    origin = "/".join(page.split("/")[:3])
    connection = await websocket_connect(HTTPRequest(f"{socket_address}?session_id=one", headers={"Origin": origin}))
    header = {"msg_id": "1", "msg_type": "kernel_info_request", "session": "one", "username": "", "version": "5.3"}
    parts = {"header": header, "parent_header": {}, "metadata": {}, "content": {}, "channel": "shell"}
    await connection.write_message(json.dumps(parts))
    while True:
        message = json.loads(await asyncio.wait_for(connection.read_message(), timeout=30))  # type: ignore[arg-type]
        if message["header"]["msg_type"] == "kernel_info_reply":
            return str(message["content"]["status"])


def test_another_page_s_socket_is_refused(address: str) -> None:
    lines = urllib.request.urlopen(f"{address}visit", timeout=60).read().decode().splitlines()
    kernel = json.loads(lines[0])["kernel"]
    from tornado.httpclient import HTTPClientError

    with pytest.raises(HTTPClientError, match="403"):
        asyncio.run(_ask(f"{address.replace('http', 'ws')}api/kernels/{kernel}/channels", "http://elsewhere.example/"))


def test_too_many_visits_of_one_address_are_refused(address: str) -> None:
    codes = []
    for _ in range(8):
        try:
            codes.append(urllib.request.urlopen(f"{address}visit", timeout=60).status)
        except urllib.error.HTTPError as refused:
            codes.append(refused.code)
            break
    assert codes[-1] == 429
