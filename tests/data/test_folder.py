"""Folders of pictures: classes, splits, sizes, kinds of pictures, and what is refused."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import workbench as wb
from workbench.errors import BadFile, BadValue

COLOURS = {"cat": (250, 10, 10), "dog": (10, 250, 10), "eel": (10, 10, 250)}


def paint(path: Path, colour: Sequence[int], size: tuple[int, int] = (8, 6)) -> Path:
    """A picture of one colour; `size` is (height, width)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), colour, dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Ten pictures of each of three classes, class by class."""
    for name, colour in COLOURS.items():
        for index in range(10):
            paint(tmp_path / "pets" / name / f"{index}.png", colour)
    return tmp_path / "pets"


def test_a_folder_of_classes(pets: Path) -> None:
    with pytest.warns(UserWarning, match="every 5th picture of each class is the test split") as said:
        data = wb.data(str(pets) + "/", mean=(0.5, 0.5, 0.5), std=0.25)
    assert said[0].filename == __file__ and data.notes[0] == str(said[0].message)
    assert data.name == "pets" and data.classes == ("cat", "dog", "eel")
    assert {name: len(split) for name, split in data.splits.items()} == {
        "train": 20, "validation": 4, "calibration": 20, "test": 6,
    }  # fmt: skip
    for split in data.splits.values():
        assert split.inputs.shape[1:] == (3, 8, 6)
        for image, label in zip(split.inputs, split.labels, strict=True):
            expected = (np.array(COLOURS[data.classes[label]]) / 255 - 0.5) / 0.25
            np.testing.assert_allclose(image[:, 3, 3], expected, atol=1e-5)


def test_folders_of_splits_and_of_classes(tmp_path: Path) -> None:
    for split, names in (("train", ("cat", "dog")), ("val", ("dog",)), ("test", ("cat", "eel"))):
        for name in names:
            for index in range(3):
                paint(tmp_path / split / name / "nested" / f"{index}.jpg", COLOURS[name])
    (tmp_path / ".cache").mkdir()
    (tmp_path / "test" / "cat" / "notes.txt").write_text("no picture")
    data = wb.data(tmp_path)
    assert data.classes == ("cat", "dog", "eel") and not data.notes
    assert set(data.splits) == {"train", "validation", "test", "calibration"}
    assert data["test"].labels.tolist() == [0, 0, 0, 2, 2, 2] and data["validation"].labels.tolist() == [1, 1, 1]
    assert wb.data(tmp_path, classes=["eel", "dog", "cat"])["test"].labels.tolist() == [2, 2, 2, 0, 0, 0]
    with pytest.raises(BadValue, match="label 'eel'.*classes="):
        wb.data(tmp_path, classes=["dog", "cat"])


def test_pictures_alone_have_no_labels(tmp_path: Path) -> None:
    for index in range(5):
        paint(tmp_path / f"{index}.png", (index, index, index))
    data = wb.data(tmp_path)
    assert set(data.splits) == {"test"} and not data["test"].labelled and len(data["test"]) == 5


def test_every_kind_of_picture(tmp_path: Path) -> None:
    grey = np.full((8, 6), 255, dtype=np.uint8)
    folder = tmp_path / "test" / "a"
    paint(folder / "0.png", (255, 255, 255))
    Image.fromarray(grey).save(folder / "1.png")
    Image.fromarray(grey).convert("1").save(folder / "2.png")
    Image.fromarray(grey).convert("P").save(folder / "3.gif")
    Image.fromarray(np.dstack([grey] * 3 + [grey // 2])).save(folder / "4.png")
    Image.fromarray(grey).convert("CMYK").save(folder / "5.jpg")
    Image.fromarray(np.full((8, 6), 65535, dtype=np.uint16)).save(folder / "6.png")
    inputs = wb.data(tmp_path)["test"].inputs
    assert inputs.shape == (7, 3, 8, 6)
    torch.testing.assert_close(inputs, torch.ones_like(inputs), atol=0.02, rtol=0)


def test_grey_pictures_have_one_channel(tmp_path: Path) -> None:
    (tmp_path / "test" / "a").mkdir(parents=True)
    Image.fromarray(np.full((8, 6), 51, dtype=np.uint8)).save(tmp_path / "test" / "a" / "0.png")
    inputs = wb.data(tmp_path)["test"].inputs
    assert inputs.shape == (1, 1, 8, 6) and inputs.unique().tolist() == pytest.approx([0.2])


def test_a_camera_held_upright(tmp_path: Path) -> None:
    (tmp_path / "test" / "a").mkdir(parents=True)
    lying = np.zeros((6, 8, 3), dtype=np.uint8)
    lying[:, :4] = 255  # the left half; turned by 90 degrees clockwise it is the upper half
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(lying).save(tmp_path / "test" / "a" / "0.png", exif=exif)
    inputs = wb.data(tmp_path)["test"].inputs
    assert inputs.shape == (1, 3, 8, 6)
    assert float(inputs[:, :, :4].min()) == 1 and float(inputs[:, :, 4:].max()) == 0


def test_pictures_of_several_sizes(pets: Path) -> None:
    paint(pets / "dog" / "large.png", COLOURS["dog"], (40, 20))
    with pytest.raises(BadValue, match=r"0.png is 8 x 6 and large.png 40 x 20.*size=\(height, width\)"):
        wb.data(pets)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        data = wb.data(pets, size=(5, 5))
    inputs = torch.cat([data[name].inputs for name in ("train", "validation", "test")])
    assert inputs.shape == (31, 3, 5, 5)
    assert len(inputs.flatten(2).mean(2).mul(255).round().unique(dim=0)) == 3  # a colour stays what it is


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "holds no pictures"),
        ({"cat/notes.txt": b"no picture"}, "holds no pictures"),
        ({"train/cat/0.png": None}, "needs at least test/"),
        ({"test/cat/0.png": b"\x89PNG\r\n\x1a\n cut off"}, "0.png is not a readable picture"),
        ({"test/cat/0.png": None, "test/1.png": None}, "1.png. Move it into a class"),
        ({"cat/0.png": None, "dog/0.png": None}, "fewer than 5 pictures"),
    ],
)
def test_folders_that_do_not_fit(tmp_path: Path, files: dict[str, bytes | None], says: str) -> None:
    for name, content in files.items():
        path = paint(tmp_path / name, (1, 2, 3)) if content is None else tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is not None:
            path.write_bytes(content)
    with pytest.raises(BadFile, match=says):
        wb.data(tmp_path)


def test_a_picture_damaged_behind_its_head(tmp_path: Path) -> None:
    path = tmp_path / "test" / "cat" / "0.png"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:3000])
    data = wb.data(tmp_path)
    with pytest.raises(BadFile, match="0.png is not a readable picture"):
        _ = data["test"].inputs


def test_without_pillow_the_sentence_says_how_to_get_it(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(BadFile, match=r"nn-workbench\[images\]"):
        wb.data(pets)


def test_a_study_on_a_folder(pets: Path) -> None:
    """A network that looks at the strongest colour knows the three classes."""
    module = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 3, 1, bias=False), nn.Flatten())
    with torch.no_grad():
        module[1].weight.copy_(torch.eye(3)[:, :, None, None])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        data = wb.data(pets)
    study = wb.Study(wb.load(module.eval(), example=torch.rand(1, 3, 8, 6)), data)
    assert study.baseline["accuracy"].value == 1 and study.baseline["accuracy"].n == 6
