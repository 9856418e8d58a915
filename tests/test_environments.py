"""What Binder and Docker would make of this checkout, made here: their files' steps, run in order.

Binder installs as repo2docker does: where there is a folder `binder`, its files alone count; `runtime.txt` names the
Python, and `pip install -r binder/requirements.txt` runs in the root of a clone.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shlex
import shutil
import socket
import subprocess
import sysconfig
import time
import tomllib
import urllib.request
import venv
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import Version

ROOT = Path(__file__).parent.parent
#: What a session on mybinder.org may take.
BINDER_BYTES = 2 << 30
#: Variables of this run that would change what a fresh process does.
OWN = ("PYTHONPATH", "WORKBENCH_HOME", "WORKBENCH_CACHE", "VIRTUAL_ENV")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The files that are tracked, or would be."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        names = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True, text=True).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not in a checkout of git")
    for name in filter(lambda one: (ROOT / one).is_file(), names):
        (tmp_path / "clone" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tmp_path / "clone" / name)
    return tmp_path / "clone"


def run(command: list[str], where: Path, **more: object) -> str:
    """What a command prints; it must end well."""
    environment = {name: value for name, value in os.environ.items() if name not in OWN}
    done = subprocess.run(
        command, cwd=where, env=environment | {"WORKBENCH_LATENCY_SECONDS": "0.1"}, text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **more,  # type: ignore[call-overload]
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    return str(done.stdout)


def bounded() -> None:
    """At most so much memory of its own (RLIMIT_DATA), for this process and each that it starts."""
    resource.setrlimit(resource.RLIMIT_DATA, (BINDER_BYTES, BINDER_BYTES))


def test_binder_runs_the_quick_start(clone: Path, tmp_path: Path) -> None:
    binder = clone / "binder"
    assert {one.name for one in binder.iterdir()} == {"requirements.txt", "runtime.txt"}  # all that is acted on here
    wanted = (binder / "runtime.txt").read_text().strip().removeprefix("python-")
    project = tomllib.loads((clone / "pyproject.toml").read_text())["project"]
    assert Version(f"{wanted}.0") in SpecifierSet(project["requires-python"])
    venv.create(tmp_path / "env", with_pip=True)
    python = str(tmp_path / "env" / "bin" / "python")
    run([python, "-m", "pip", "install", "--quiet", "-r", "binder/requirements.txt"], clone)
    assert run([python, "-c", "import jupyterlab, workbench; print(workbench.__file__)"], tmp_path).startswith(
        str(clone)
    )
    notebook = [python, "-m", "jupyter", "execute", "00_quickstart.ipynb"]
    run(notebook, clone / "notebooks", preexec_fn=bounded)
    assert (clone / "notebooks" / "out" / "quickstart" / "model.onnx").exists()


class Image:
    """A folder and an environment that stand for an image, in which a Dockerfile's steps are carried out.

    What it would install is found in this environment, but for the workbench itself.
    """

    def __init__(self, clone: Path, folder: Path) -> None:
        self.clone, self.work, self.command = clone, folder / "image", list[str]()
        self.work.mkdir()
        venv.create(folder / "env", with_pip=True)
        self.python = str(folder / "env" / "bin" / "python")
        (self.site,) = (folder / "env" / "lib").glob("python*/site-packages")
        run([self.python, "-m", "pip", "uninstall", "--quiet", "--yes", "setuptools"], self.work)  # venv's, of 2022
        (self.site / "shared.pth").write_text(sysconfig.get_path("purelib"))
        for step, words in re.findall(r"^([A-Z]+) (.*)$", (clone / "Dockerfile").read_text(), re.MULTILINE):
            getattr(self, step.lower(), lambda _: None)(words)

    def copy(self, words: str) -> None:
        """COPY: files into a folder, or a folder under a name."""
        *sources, target = words.split()
        for name in sources:
            if (self.clone / name).is_dir():
                shutil.copytree(self.clone / name, self.work / target)
            else:
                shutil.copy2(self.clone / name, self.work / target)

    def run(self, words: str) -> None:
        """RUN: what pip installs."""
        if words.startswith("pip "):
            own = ["--no-build-isolation", "--no-deps", "--force-reinstall"]
            run([self.python, "-m", *shlex.split(words), *own], self.work)

    def cmd(self, words: str) -> None:
        """CMD: what the container does, at a port of ours and on this machine alone."""
        self.command = [self.python, "-m", *json.loads(words)]
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = str(probe.getsockname()[1])
        for name, value in (("--host", "127.0.0.1"), ("--port", self.port)):
            self.command[self.command.index(name) + 1] = value


def test_the_container_serves_the_dashboard(clone: Path, tmp_path: Path) -> None:
    image = Image(clone, tmp_path)
    environment = {name: value for name, value in os.environ.items() if name not in OWN}
    server = subprocess.Popen(image.command, cwd=tmp_path, env=environment | {"WORKBENCH_TOKEN": "a-long-word"})
    try:
        page = _page(f"http://127.0.0.1:{image.port}/?token=a-long-word", server)
    finally:
        server.terminate()
        server.wait(30)
    assert "workbench" in page.lower()
    place = run([image.python, "-c", "import workbench; print(workbench.__file__)"], tmp_path)
    assert place.startswith(str(image.site))


def _page(address: str, server: subprocess.Popen[bytes]) -> str:
    """The page, once it is served."""
    until = time.monotonic() + 120
    while time.monotonic() < until and server.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=60) as answer:
                return str(answer.read().decode())
        except OSError:
            time.sleep(0.5)
    raise AssertionError(f"no page at {address}; the server's exit status is {server.poll()}")
