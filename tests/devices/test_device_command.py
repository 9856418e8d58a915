"""`workbench device`: prints the address of a study's variants, waits for devices, and shows what they answered."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
import tiny
from typer.testing import CliRunner

import workbench as wb
from workbench import cli, device_command
from workbench.devices.invitation import Invitation
from workbench.errors import BadValue
from workbench.kept import Kept


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that is kept, with one variant."""
    place = tmp_path_factory.mktemp("kept")
    wb.Study(tiny.tiny_model(), tiny.tiny_data(), path=place).run(wb.Quantize("fp16"), progress=False)
    return place


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Network and data of the study are found; tests of the report show how, by names and files."""
    monkeypatch.setattr(device_command, "loaded", lambda *about: (tiny.tiny_model(), tiny.tiny_data()))


def act(invitation: Invitation) -> None:
    """Be the device: half the time for the variant, and done."""
    address, offer = invitation.address, invitation.offer.digest
    cookie = ""

    def send(path: str, **about: Any) -> None:
        nonlocal cookie
        with urlopen(Request(address + path, json.dumps(about).encode(), {"Cookie": cookie}), timeout=60) as answer:
            cookie = answer.headers.get("Set-Cookie", cookie).partition(";")[0]

    send("claim", browser="Test/1.0", name="Pixel 8", cores=1, isolated=False)
    row = {"offer": offer, "backend": "wasm", "threads": 1}
    send("times", **row, session=0, start=0, load_ms=[1, 1], rounds=[[2.0, 1.0]] * 4)
    send("failed", offer=offer, backend="webgpu", threads=1, why="no adapter")
    send("done")


def test_it_waits_for_a_device_and_shows_what_it_answered(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    show = device_command._show
    monkeypatch.setattr(device_command, "_show", lambda invitation: (show(invitation), act(invitation)))
    found = CliRunner().invoke(cli.app, ["device", str(folder), "fp16", "--devices", "1"])
    assert found.exit_code == 0, found.output
    assert re.search(r"Open http://127\.0\.0\.1:\d+/\w{12}/ on a device", found.output)
    assert "█" in found.output and "--lan" in found.output
    assert "2.00× (1.96 to 2.04)" in found.output and "no adapter" in found.output
    kept = Kept(str(folder))
    assert [one.name for one in kept.devices] == ["Pixel 8"]
    assert kept.frame()["speedup on Pixel 8"].max() == pytest.approx(2)


def test_what_cannot_be_is_refused(folder: Path) -> None:
    found = CliRunner().invoke(cli.app, ["device", str(folder), "--key", "key.pem"])
    assert isinstance(found.exception, BadValue) and "needs its key" in str(found.exception)
