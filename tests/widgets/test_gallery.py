"""Uploads, paths and other collections: what is taken, what is refused, and what the page says of it."""

from __future__ import annotations

import base64
import io
import json
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from driving import act, shown, until, view
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny import pixels

import workbench as wb
from workbench.data import Data
from workbench.errors import BadFile, BadValue
from workbench.models import Model
from workbench.models.structure import load_variant, save_variant
from workbench_widgets import uploads
from workbench_widgets.gallery import Gallery
from workbench_widgets.models import models
from workbench_widgets.noise import NOISE
from workbench_widgets.screen import Screen
from workbench_widgets.store import Card, State


@pytest.fixture(scope="module")
def exported(mobilenet: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A variant's weights and structure, as `wb.export` writes them."""
    path = tmp_path_factory.mktemp("exported") / "small.safetensors"
    save_variant(wb.compress(mobilenet, wb.SVD(rank=0.5)).module, mobilenet, path)
    return path


@pytest.fixture
def screen(mobilenet: Model, fashion: Data) -> Iterator[Screen]:
    made = Screen(wb.Study(mobilenet, fashion))
    shown(made)
    yield made
    for job in made.store.state.jobs:
        job.cancel()


def send(
    screen: Screen, name: str, content: bytes, piece: int = 1 << 17, size: int | None = None
) -> list[dict[str, Any]]:
    """Upload as the page does; the answers."""
    answers: list[dict[str, Any]] = []
    screen.panels["models"].send = lambda message, buffers=(): answers.append(message)  # type: ignore[method-assign]
    for offset in range(0, max(1, len(content)), piece):
        message = {"action": "upload", "file": name, "size": len(content) if size is None else size, "offset": offset}
        screen.panels["models"]._receive(None, message, [memoryview(content[offset : offset + piece])])
        if "error" in answers[-1]:
            break
    return answers


def test_an_uploaded_model_becomes_a_card_and_is_chosen(screen: Screen, exported: Path, mobilenet: Model) -> None:
    answers = send(screen, "small.safetensors", exported.read_bytes())
    assert [one.get("done") for one in answers] == [False] * (len(answers) - 1) + [True]
    name = "fashion-mobilenet (small.safetensors)"
    until(lambda: screen.store.state.study and screen.store.state.model == name, lambda: view(screen, "status"))
    loaded = screen.store.state.study.model  # type: ignore[union-attr]
    assert loaded.hash == load_variant(exported).hash
    assert loaded.network.totals.macs < mobilenet.network.totals.macs
    assert [card["name"] for card in view(screen, "models")["cards"]] == ["fashion-mobilenet", name]


@pytest.mark.parametrize("name", ["net.pt", "net.pkl", "net.exe", "../../net.ckpt"])
def test_a_file_that_may_hold_code_is_refused_before_anything_is_kept(screen: Screen, name: str) -> None:
    (answer,) = send(screen, name, b"x")
    assert "cannot be uploaded" in answer["error"]
    assert ".safetensors" in answer["error"]


def test_the_limit_is_told_before_and_kept(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Up to 100 MB" in view(screen, "models")["others"]["hint"]
    (answer,) = send(screen, "large.npz", b"x", size=10**9)
    assert "1,000 MB" in answer["error"]
    assert "100 MB" in answer["error"]
    monkeypatch.setenv("WORKBENCH_LIMIT_UPLOAD_MB", "0.001")
    assert "1,000" not in models(screen.store.state)["others"]["hint"]
    assert "by its path" not in send(screen, "large.npz", b"x", size=2000)[0]["error"]  # of no use on a published page


def test_a_size_that_was_a_lie_does_not_pass_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_LIMIT_UPLOAD_MB", "0.001")
    taken = uploads.Uploads()
    assert taken.take("a.npz", 900, 0, b"x" * 500) is None
    with pytest.raises(BadValue, match="end at 0 MB"):
        taken.take("a.npz", 900, 500, b"x" * 501)
    with pytest.raises(BadValue, match="missing"):
        taken.take("a.npz", 900, 100, b"x")


def test_a_path_is_opened_here_and_never_on_a_published_page(
    screen: Screen, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    act(screen, "models", "open", path=str(exported))
    until(lambda: len(view(screen, "models")["cards"]) == 2, lambda: view(screen, "status"))
    act(screen, "models", "open", path=str(exported.with_name("nothing")))
    until(lambda: "There is no file" in view(screen, "status")["text"], lambda: view(screen, "status"))
    monkeypatch.setenv("WORKBENCH_PUBLISHED", "1")
    act(screen, "models", "open", path=str(exported))
    assert "cannot be opened on a published page" in view(screen, "status")["text"]
    assert models(screen.store.state)["others"]["paths"] is False


def test_what_went_wrong_is_not_covered_by_a_model_that_arrives_late(
    screen: Screen, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loading, go_on = threading.Event(), threading.Event()
    study = Gallery.study

    def slow(self: Gallery, name: str) -> wb.Study:
        loading.set()
        assert go_on.wait(60)
        return study(self, name)

    monkeypatch.setattr(Gallery, "study", slow)
    act(screen, "models", "open", path=str(exported))
    assert loading.wait(60)
    act(screen, "models", "open", path=str(exported.with_name("nothing")))
    until(lambda: "There is no file" in view(screen, "status")["text"], lambda: view(screen, "status"))
    go_on.set()
    until(lambda: screen.store.state.study and screen.store.state.jobs, "the model is there and measured")
    assert "There is no file" in view(screen, "status")["text"]


def described(exported: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The tensors of an exported file, and what it says of its network."""
    with safe_open(exported, "pt") as file:
        return load_file(exported), json.loads(file.metadata()["structure"])


def test_an_uploaded_file_reads_no_other_file_of_this_machine(exported: Path, tmp_path: Path) -> None:
    crafted = tmp_path / "crafted.safetensors"
    tensors, structure = described(exported)
    save_file(tensors, crafted, {"source": str(exported), "structure": json.dumps(structure)})
    with pytest.raises(BadFile, match="no network that is known by name"):
        Gallery().open(crafted, uploaded=True)


def test_a_description_of_huge_layers_is_refused_before_they_are_made(exported: Path, tmp_path: Path) -> None:
    crafted = tmp_path / "huge.safetensors"
    tensors, structure = described(exported)
    structure["layers"]["stem.0"]["arguments"] |= {"out_channels": 10**6, "kernel_size": [10**4, 10**4]}
    save_file(tensors, crafted, {"source": "fashion-mobilenet", "structure": json.dumps(structure)})
    with pytest.raises(BadFile, match=r"(?s)do not fit the architecture.*stem\.0\.weight"):
        Gallery().open(crafted, uploaded=True)


def test_uploaded_data_are_measured_on_and_the_bundled_ones_come_back(screen: Screen) -> None:
    content = io.BytesIO()
    images = np.kron(pixels(40), np.ones((1, 3, 3), np.uint8))[:, :28, :28]
    arrays = {"train_images": images, "train_labels": np.arange(40) % 3, "test_images": images[:20]}
    np.savez_compressed(content, **arrays, test_labels=np.arange(20) % 3, classes=np.array(["oak", "ash", "elm"]))
    send(screen, "trees.npz", content.getvalue())
    shown = until(lambda: "trees" in str(view(screen, "models")["data"]) and view(screen, "models")["data"], "the data")
    assert "20 test images of 1\u00a0×\u00a028\u00a0×\u00a028, 3 classes" in shown["sentence"]
    assert sorted(one["name"] for one in shown["samples"]) == ["ash", "elm", "oak"]
    assert shown["back"] == "Use fashion-mnist again"
    act(screen, "models", "home_data")
    until(
        lambda: screen.store.state.study and screen.store.state.study.data.name == "fashion-mnist", "the bundled data"
    )


def test_samples_are_pictures_of_their_classes(screen: Screen, fashion: Data) -> None:
    shown = view(screen, "models")
    assert [one["name"] for one in shown["data"]["samples"]] == list(fashion.classes)
    content = base64.b64decode(shown["data"]["samples"][0]["picture"].partition(",")[2])
    start = content.index(b"IDAT") + 4
    lines = np.frombuffer(zlib.decompress(content[start:]), np.uint8).reshape(28, 29)[:, 1:].astype(float)
    split = fashion["validation"]
    pixels_ = split.inputs[int((split.labels == 0).nonzero()[0])][0].numpy()
    assert np.corrcoef(lines.ravel(), pixels_.ravel())[0, 1] > 0.999


def test_what_was_loaded_is_said_in_plain_words(screen: Screen, mobilenet: Model) -> None:
    convolutions = sum(isinstance(one, torch.nn.Conv2d) for one in mobilenet.module.modules())
    about = view(screen, "models")["about"]
    assert f"{convolutions} convolutions and 1 linear layer" in about
    assert "1\u00a0×\u00a028\u00a0×\u00a028" in about


def test_a_network_without_data_of_its_shape_gets_noise_and_says_so(mobilenet: Model) -> None:
    gallery = Gallery()
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(4 * 36, 5))
    card = gallery.add(wb.load(net, example=torch.zeros(1, 3, 8, 8)))
    study = gallery.study(card.name)
    assert study.data.name == NOISE
    assert study.metric_name == "agreement"
    shown = models(State(cards=(card,), model=card.name, study=study))
    assert "noise" in shown["data"]["sentence"]
    assert shown["data"]["samples"] == []


def test_collections_that_are_not_installed_say_how(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = {"timm": object()}
    monkeypatch.setattr("workbench_widgets.models.importlib.util.find_spec", installed.get)
    state = State(cards=(Card("a", None, 1, 1),), menu=True)
    zoos = {one["name"]: one for one in models(state)["others"]["zoos"]}
    assert zoos["timm"]["installed"]
    assert not zoos["torchvision"]["installed"]
    assert "pip install" in zoos["torchvision"]["command"]


def test_data_of_another_shape_are_refused_for_this_model_and_wait_for_one_that_takes_them(
    screen: Screen, tmp_path: Path
) -> None:
    np.savez_compressed(
        tmp_path / "colour.npz",
        train_images=np.zeros((20, 8, 8, 3), np.uint8), train_labels=np.arange(20) % 5,
        test_images=np.ones((10, 8, 8, 3), np.uint8), test_labels=np.arange(10) % 5,
    )  # fmt: skip
    before = screen.store.state
    send(screen, "colour.npz", (tmp_path / "colour.npz").read_bytes())
    said = until(lambda: view(screen, "status")["kind"] == "error" and view(screen, "status")["text"], "a sentence")
    assert "3\u00a0×\u00a08\u00a0×\u00a08" in said and "1\u00a0×\u00a028\u00a0×\u00a028" in said
    assert screen.store.state.study is before.study  # nothing was taken away
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(4 * 36, 5))
    screen.session.opening._added(screen.session.opening._gallery.add(wb.load(net, example=torch.zeros(1, 3, 8, 8))))
    study = until(lambda: screen.store.state.study, lambda: view(screen, "status"))
    assert study.data.name == "colour"
    act(screen, "models", "choose", name="fashion-mobilenet")
    until(lambda: screen.store.state.study is before.study, lambda: view(screen, "status"))


def test_a_model_that_cannot_be_shown_leaves_the_visitor_where_they_were(screen: Screen) -> None:
    before = screen.store.state
    act(screen, "models", "choose", name="no-such-model")
    until(lambda: view(screen, "status")["kind"] == "error", lambda: view(screen, "status"))
    now = screen.store.state
    assert (now.model, now.study, now.selected) == (before.model, before.study, before.selected)
    assert not view(screen, "models")["busy"]
    assert "no-such-model" in view(screen, "status")["text"]
