"""A real Chromium, and the two servers that the screen is for. Servers listen on 127.0.0.1 and end with the module."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from lab import serving_lab

from workbench.dashboard import free_port, serving

ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
    "--disable-component-update", "--no-first-run",
)  # fmt: skip


@dataclass
class Seen:
    """What must not happen on a page: uncaught errors, and requests to anything but its own server."""

    errors: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
def server(chromium: str) -> Iterator[tuple[str, int]]:
    """The address of the standalone dashboard, as `workbench dashboard` serves it, and its server's process."""
    with serving(free_port(18866), preheat=False) as (address, process):
        yield address, process.pid


@pytest.fixture
def dashboard(server: tuple[str, int]) -> str:
    return server[0]


@pytest.fixture(scope="module")
def lab(chromium: str, root: Path) -> Iterator[str]:
    """The address of the dashboard's notebook in a JupyterLab of its own, which writes nowhere else."""
    if shutil.which("jupyter", path=str(Path(sys.executable).parent)) is None:
        pytest.skip("JupyterLab is not installed")
    with serving_lab(free_port(18966), (root / "notebooks" / "dashboard.ipynb").read_text(encoding="utf-8")) as address:
        yield address
