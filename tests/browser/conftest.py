"""A real Chromium, and the two servers that the screen is for. Servers listen on 127.0.0.1 and end with the session."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from workbench.dashboard import free_port, serving

ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
    "--disable-component-update", "--no-first-run",
)  # fmt: skip
START_SECONDS = 90


@dataclass
class Seen:
    """What must not happen on a page: uncaught errors, and requests to anything but its own server."""

    errors: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    playwright.expect.set_options(timeout=30_000)  # two shared cores, a network being measured beside
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=chromium, headless=True, args=list(ARGUMENTS))
        yield opened
        opened.close()


@pytest.fixture
def seen() -> Iterator[Seen]:
    """What the pages of this test saw; it must have been nothing, and is told of a failed test as well."""
    found = Seen()
    yield found
    assert found == Seen()


@pytest.fixture
def visitor(browser: Any, seen: Seen) -> Iterator[Callable[..., Any]]:
    """Opens a page of a new visitor: `visitor(width=390, color_scheme="dark")`."""
    contexts = []

    def arrive(width: int = 1440, **how: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, accept_downloads=True, **how)
        contexts.append(context)
        opened = context.new_page()
        opened.set_default_timeout(120_000)
        opened.on("pageerror", lambda error: seen.errors.append(str(error)))
        own = ("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:", "about:")
        opened.on("request", lambda r: None if r.url.startswith(own) else seen.outside.append(r.url))
        return opened

    yield arrive
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def server(chromium: str) -> Iterator[tuple[str, int]]:
    """The address of the standalone dashboard, as `workbench dashboard` serves it, and its server's process."""
    with serving(free_port(18866), preheat=False) as (address, process):
        yield address, process.pid


@pytest.fixture
def dashboard(server: tuple[str, int]) -> str:
    return server[0]


@pytest.fixture(scope="session")
def lab(chromium: str, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the dashboard's notebook in a JupyterLab of its own, which writes nowhere else."""
    if shutil.which("jupyter", path=str(Path(sys.executable).parent)) is None:
        pytest.skip("JupyterLab is not installed")
    folder = tmp_path_factory.mktemp("lab")
    settings = folder / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    quiet = {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True}
    (settings / "notification.jupyterlab-settings").write_text(json.dumps(quiet))
    (folder / "served").mkdir()
    shutil.copy2(root / "notebooks" / "dashboard.ipynb", folder / "served")
    port = free_port(18966)
    server = subprocess.Popen(_lab_command(port, folder), cwd=folder, env=_lab_environment(folder))
    try:
        _wait(server, port)
        yield f"http://127.0.0.1:{port}/doc/tree/dashboard.ipynb"
    finally:
        server.terminate()
        try:
            server.wait(timeout=15)
        except subprocess.TimeoutExpired:
            server.kill()


def _lab_command(port: int, folder: Path) -> list[str]:
    return [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--log-level=ERROR",
        "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0",
        "--IdentityProvider.token=", f"--ServerApp.root_dir={folder / 'served'}",
        "--LabApp.expose_app_in_browser=True", f"--LabApp.user_settings_dir={folder / 'settings'}",
        f"--LabApp.workspaces_dir={folder / 'workspaces'}",
    ]  # fmt: skip


def _lab_environment(folder: Path) -> dict[str, str]:
    own = {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_RUNTIME_DIR": "runtime", "IPYTHONDIR": "ipython"}
    return {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", **{name: str(folder / path) for name, path in own.items()}}


def _wait(server: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert server.poll() is None, f"JupyterLab ended with exit code {server.returncode}"
        try:
            with urlopen(f"http://127.0.0.1:{port}/api", timeout=2):
                return
        except (TimeoutError, URLError, ConnectionError):
            time.sleep(0.2)
    raise AssertionError(f"JupyterLab did not answer within {START_SECONDS} s")
