"""What a page says of an upload is checked before anything is kept; a file of strangers is read apart first."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from driving import act
from safetensors.torch import save_file
from torch import nn

from workbench.errors import BadFile, BadValue, OverQuota, WorkbenchError
from workbench.models import Model
from workbench.untrusted import check_apart
from workbench.untrusted.quota import Quota
from workbench_widgets import uploads
from workbench_widgets.gallery import Gallery
from workbench_widgets.screen import Screen
from workbench_widgets.uploads import Uploads


@pytest.mark.parametrize(
    "said",
    [
        {"size": float("nan")}, {"size": float("inf")}, {"size": 5.0}, {"size": -1}, {"size": True}, {"size": "5"},
        {"size": None}, {"offset": float("nan")}, {"offset": -5}, {"offset": [0]}, {"content": "12345"},
        {"file": "a\0.npz"}, {"file": "a\n.npz"}, {"file": "\ud800.npz"}, {"file": ""}, {"file": "x" * 300 + ".npz"},
        {"file": 5}, {"file": None}, {"file": ".."}, {"file": "a.pkl"},
    ],
)  # fmt: skip
def test_what_is_no_name_or_number_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(WorkbenchError):
        Uploads().take(**{"file": "a.npz", "size": 5, "offset": 0, "content": b"12345", **said})


def test_no_more_is_kept_than_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_LIMIT_UPLOAD_MB", "0.00001")  # ten bytes
    kept = Uploads()
    for size, content in ((5, b"123456"), (11, b"1"), (10, b"12345678901")):
        with pytest.raises(BadValue):
            kept.take("a.npz", size, 0, content)
    path = kept.take("../../é 👩‍🔬.npz", 5, 0, b"12345")
    assert path is not None and path.name == "é 👩‍🔬.npz" and path.read_bytes() == b"12345"


def test_an_upload_that_there_is_no_room_for_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("WORKBENCH_LIMIT_STORED_MB", "0.001")
    (tmp_path / "study").write_bytes(bytes(600))
    kept = Uploads()
    with pytest.raises(OverQuota, match="keeps at most"):
        kept.take("a.npz", 401, 0, b"12345")  # the rest would follow
    assert kept.take("a.npz", 400, 0, b"12345") is None


def test_a_visitor_s_process_is_held_to_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[Quota] = []
    monkeypatch.setattr(Quota, "hold_memory", lambda self: held.append(self))
    monkeypatch.setenv("WORKBENCH_LIMIT_MEMORY_MB", "12345")
    Screen()
    assert [one.memory_mb for one in held] == [12345]


@pytest.mark.parametrize("detail", [{"file": "a\0.npz"}, {"file": "\ud800.npz", "offset": 0}, {"more": 1}, {}])
@pytest.mark.parametrize("action", ["upload", "piece"])
def test_a_page_is_answered_whatever_it_says(
    monkeypatch: pytest.MonkeyPatch, detail: dict[str, Any], action: str
) -> None:
    screen = Screen()
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(screen.panels["models"], "send", lambda content, buffers=None: sent.append(content))
    act(screen, "models", action, **detail)
    assert len(sent) == 1 and sent[0]["error"]
    json.dumps(sent[0], ensure_ascii=False).encode()  # as it goes on its way


def description(**layers: Any) -> dict[str, str]:
    return {"source": "fashion-mobilenet", "structure": json.dumps(layers)}


def layer(kind: str, **arguments: Any) -> dict[str, Any]:
    return {"type": kind, "arguments": arguments}


@pytest.mark.parametrize(
    "layers",
    [
        {"": layer("Resize", size=[30_000, 30_000])},
        {"stem.0": layer("Conv2d", in_channels=1, out_channels=16, kernel_size=3, device="cpu")},
        {"stem.0": layer("Conv2d", in_channels=2**40, out_channels=2**40, kernel_size=3)},
        {"stem.0": layer("Conv2d", in_channels=1, out_channels=16, kernel_size=[3] * 100)},
        {"stem.0": layer("Linear", in_features=-1, out_features=2)},
        {"stem.0": layer("AvgPool2d", kernel_size=0)},
        {"_modules": layer("ReLU")}, {"forward": layer("ReLU")}, {"": 5}, {"stem.0": []},
    ],
)  # fmt: skip
def test_a_description_that_asks_for_too_much_or_for_nonsense(tmp_path: Path, layers: dict[str, Any]) -> None:
    save_file({"x": torch.zeros(1)}, path := tmp_path / "a.safetensors", description(**layers))
    with pytest.raises(BadFile):
        uploads.read(path)
    save_file({}, path, description(**layers))
    with pytest.raises(BadFile):
        uploads.read(path)


@pytest.mark.slow
def test_a_file_of_strangers_is_read_apart_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_PUBLISHED", "1")
    np.savez(path := tmp_path / "a.npz", test_images=np.zeros((4, 28, 28), np.uint8), test_labels=np.arange(4))
    data = Gallery().open(path, uploaded=True)
    assert not hasattr(data, "macs") and len(data["test"].labels) == 4  # type: ignore[index, arg-type]
    monkeypatch.setattr(uploads, "read", lambda path: pytest.fail("it was read in this process"))
    path.write_bytes(b"PK\3\4 and no more")
    with pytest.raises(BadFile, match="not a readable"):
        Gallery().open(path, uploaded=True)


def test_an_onnx_file_of_a_stranger_is_read_apart_first(tmp_path: Path) -> None:
    """In a process with limits of its own, as a published page does; a bomb is a sentence, and so is a cut file."""
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3)).eval()
    path = tmp_path / "net.onnx"
    torch.onnx.export(net, (torch.zeros(1, 1, 8, 8),), str(path), dynamo=False)
    check_apart("workbench_widgets.uploads:read", path)
    model = uploads.read(path)
    assert isinstance(model, Model) and model.shape == (1, 8, 8)
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(BadFile, match="copied whole|hold"):
        check_apart("workbench_widgets.uploads:read", path)
