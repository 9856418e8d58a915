"""What a device runs networks with is shipped whole, pinned, small, and with its licences."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path

import pytest

from workbench.devices import shipped

ROOT = Path(__file__).parents[2]
HOME, SOURCE = ROOT / "workbench" / "devices", ROOT / "widgets" / "device-runtime"


@pytest.mark.parametrize("name", shipped.TYPES)
def test_every_file_that_the_page_may_ask_for_is_there(name: str) -> None:
    plain = shipped.plain(name)
    assert gzip.decompress(shipped.zipped(name)) == plain
    assert plain.startswith(b"\0asm") == name.endswith(".wasm")  # a WebAssembly module begins so


def test_the_runtime_is_the_pinned_one_and_carries_its_notices() -> None:
    wanted = json.loads((SOURCE / "package.json").read_text())["dependencies"]["onnxruntime-web"]
    locked = json.loads((SOURCE / "package-lock.json").read_text())["packages"]["node_modules/onnxruntime-web"]
    assert locked["version"] == wanted and locked["integrity"].startswith("sha512-")
    notices = (HOME / "runtime" / "THIRD-PARTY.txt").read_text(encoding="utf-8")
    assert f"onnxruntime-web {wanted} (MIT)" in notices and "Copyright (c) Microsoft Corporation" in notices
    for name in locked["dependencies"]:
        assert f"\n{name} " in notices
    for name in ("ort.wasm.min.mjs", "ort.jspi.min.mjs"):
        assert f"ONNX Runtime Web v{wanted}".encode() in shipped.plain(name)[:200]


def test_a_wheel_grows_by_at_most_five_megabytes() -> None:
    files = [path for folder in ("page", "runtime") for path in (HOME / folder).iterdir()]
    assert sum(len(zlib.compress(path.read_bytes())) for path in files) <= 4.9e6
