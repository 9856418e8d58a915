"""A JupyterLab of its own, for benchmarks and browser tests: one notebook, nothing of the user's settings."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

from playwright.sync_api import Page

#: The notebook is the one in front and its kernel answers: before that the command does nothing.
READY = """() => {
  const panel = window.jupyterapp?.shell.currentWidget;
  return panel?.context?.isReady && panel.sessionContext?.session?.kernel?.status === "idle"; }"""
#: Not returned: the command's promise would be waited for.
RUN = "() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }"
QUIET = {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True}
START_SECONDS = 90


@contextlib.contextmanager
def serving_lab(port: int, notebook: str) -> Iterator[str]:
    """The address of a notebook, given as its JSON, alone on its page, while the block runs."""
    with tempfile.TemporaryDirectory(prefix="workbench-lab-") as name:
        folder = Path(name)
        settings = folder / "settings" / "@jupyterlab" / "apputils-extension"
        settings.mkdir(parents=True)
        (settings / "notification.jupyterlab-settings").write_text(json.dumps(QUIET))
        (folder / "served").mkdir()
        (folder / "served" / "page.ipynb").write_text(notebook)
        own = {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_RUNTIME_DIR": "runtime", "IPYTHONDIR": "ipython"}
        environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", **{k: str(folder / v) for k, v in own.items()}}
        server = subprocess.Popen(_command(port, folder), cwd=folder, env=environment)
        try:
            _wait(server, port)
            yield f"http://127.0.0.1:{port}/doc/tree/page.ipynb"
        finally:
            server.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(timeout=15)
            server.kill()


def run_cells(page: Page) -> None:
    """Run the notebook that is in front."""
    page.wait_for_function(READY)
    page.evaluate(RUN)


def _command(port: int, folder: Path) -> list[str]:
    return [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--log-level=ERROR",
        "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0",
        "--IdentityProvider.token=", f"--ServerApp.root_dir={folder / 'served'}",
        "--LabApp.expose_app_in_browser=True", f"--LabApp.user_settings_dir={folder / 'settings'}",
        f"--LabApp.workspaces_dir={folder / 'workspaces'}",
    ]  # fmt: skip


def _wait(server: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise RuntimeError(f"JupyterLab ended with exit code {server.returncode}.")
        with contextlib.suppress(OSError), urlopen(f"http://127.0.0.1:{port}/api", timeout=2):
            return
        time.sleep(0.2)
    raise RuntimeError(f"JupyterLab did not answer within {START_SECONDS} s.")
