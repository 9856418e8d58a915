"""Every door to data gives the very pixels and labels that were written, and reads them when they are needed."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as arrow
import pytest
import torch
from PIL import Image
from pyarrow import ipc, parquet
from torch.utils.data import Dataset

import workbench as wb
from workbench.data import Preprocess, collect, pictures
from workbench.errors import BadFile, BadValue, UnknownName

N, SIDE = 30, (6, 8)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


def pixels(index: int, size: tuple[int, int] = SIDE) -> np.ndarray[Any, Any]:
    return np.random.default_rng(index).integers(0, 256, (*size, 3), dtype=np.uint8)


def written(folder: Path, count: int = N, size: tuple[int, int] = SIDE) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{index:03}.png" for index in range(count)]
    for index, path in enumerate(paths):
        Image.fromarray(pixels(index, size)).save(path)
    return paths


def expected(indices: list[int]) -> torch.Tensor:
    return torch.stack([torch.from_numpy(pixels(index)).permute(2, 0, 1) for index in indices]).float() / 255


def whole(split: wb.data.Split) -> torch.Tensor:  # type: ignore[name-defined]
    return torch.cat([part for part, _ in split.batches(7)])


def cells(indices: range, form: str) -> arrow.Table:
    def blob(index: int) -> Any:
        stream = io.BytesIO()
        Image.fromarray(pixels(index)).save(stream, "PNG")
        return {"bytes": stream.getvalue(), "path": f"{index}.png"} if form == "struct" else stream.getvalue()

    return arrow.table({"image": [blob(index) for index in indices], "label": [index % 3 for index in indices]})


@pytest.mark.parametrize("form", ["struct", "bytes"])
@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_tables_of_pictures(tmp_path: Path, form: str, kind: str) -> None:
    """As Hugging Face writes them: several files a split, several groups of rows a file, names beside the labels."""
    about = {"info": {"features": {"label": {"names": ["a", "b", "c"]}}}}
    for name, rows in {"train-00000-of-00002": (0, 10), "train-00001-of-00002": (10, 20), "test-0": (20, N)}.items():
        table = cells(range(*rows), form).replace_schema_metadata({"huggingface": json.dumps(about)})
        if kind == "parquet":
            parquet.write_table(table, tmp_path / f"{name}.parquet", row_group_size=3)
        else:
            with ipc.new_file(str(tmp_path / f"{name}.arrow"), table.schema) as file:
                file.write_table(table, max_chunksize=4)
    data = wb.data(tmp_path)
    assert data.classes == ("a", "b", "c")
    assert torch.equal(whole(data["test"]), expected(list(range(20, N))))
    assert data["test"].labels.tolist() == [index % 3 for index in range(20, N)]
    both = torch.cat([whole(data["train"]), whole(data["validation"])])
    assert torch.equal(both, expected(list(range(20))))


def test_csv_of_paths(tmp_path: Path) -> None:
    written(tmp_path / "pictures")
    rows = [
        [f"pictures/{index:03}.png", "cat" if index % 2 else "dog", "val" if index < 5 else "test"]
        for index in range(N)
    ]
    with (tmp_path / "set.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["path", "label", "split"], *rows])
    data = wb.data(tmp_path / "set.csv")
    assert data.classes == ("cat", "dog") and set(data.splits) == {"validation", "test"}
    assert torch.equal(whole(data["test"]), expected(list(range(5, N))))
    assert data["test"].labels.tolist() == [1 - index % 2 for index in range(5, N)]
    (tmp_path / "plain.csv").write_text("".join(f"{path},{number % 3}\n" for number, (path, *_) in enumerate(rows)))
    with pytest.warns(UserWarning, match="every 5th picture of each class"):
        plain = wb.data(tmp_path / "plain.csv")
    assert sorted(plain["test"].labels.tolist()) == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "empty"), ("path,label\nno.png,1\n", "row 1.*'no.png'"), ("a,b\n", "none of them is the path"),
     ("path,label\n000.png\n", "has 1 cells")],
)  # fmt: skip
def test_a_csv_that_is_wrong_is_refused(tmp_path: Path, text: str, says: str) -> None:
    written(tmp_path, 1)
    (tmp_path / "set.csv").write_text(text)
    with pytest.raises(BadFile, match=says):
        wb.data(tmp_path / "set.csv")


def test_on_a_published_page_a_csv_leads_nowhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = written(tmp_path / "elsewhere", 1)
    (tmp_path / "here").mkdir()
    for said in (str(path), "../elsewhere/000.png"):
        (tmp_path / "here" / "set.csv").write_text(f"path\n{said}\n")
        assert len(wb.data(tmp_path / "here" / "set.csv")["test"]) == 1
        monkeypatch.setenv("WORKBENCH_LIMIT_MEMORY_MB", "4000")
        with pytest.raises(BadFile, match="no picture"):
            wb.data(tmp_path / "here" / "set.csv")
        monkeypatch.delenv("WORKBENCH_LIMIT_MEMORY_MB")


def test_masks_follow_their_pictures(tmp_path: Path) -> None:
    """A mask that is the picture's brightness in three classes, before and after both are scaled and cut."""
    for split, count in {"train": 10, "test": 4}.items():
        (tmp_path / split / "masks").mkdir(parents=True)
        for path in written(tmp_path / split / "images", count, (12, 16)):
            grey = Image.fromarray(np.repeat(np.arange(16, dtype=np.uint8)[None] * 16, 12, 0)).convert("RGB")
            grey.save(path)
            mask = Image.fromarray(np.asarray(grey)[..., 0] // 86, "P")
            mask.putpalette([0] * 768)
            mask.save(tmp_path / split / "masks" / path.name)
    data = wb.data(tmp_path)
    (inputs, masks) = next(data["test"].batches(4))
    assert masks.dtype == torch.int64 and torch.equal(masks, (inputs[:, 0] * 255).round().long() // 86)
    (inputs, masks) = next(wb.data(tmp_path, size=(6, 6))["test"].batches(4))
    assert masks.shape == (4, 6, 6) and inputs.shape == (4, 3, 6, 6)
    off = (masks - (inputs[:, 0] * 255).round().long() // 86).abs()
    assert off.max() <= 1 and (off > 0).float().mean() < 0.2  # but for the edges, where the pictures are blurred
    (tmp_path / "test" / "masks" / "002.png").unlink()
    with pytest.raises(BadFile, match=r"002.png.*no mask"):
        wb.data(tmp_path)


def coco(folder: Path, images: list[dict[str, Any]], objects: list[dict[str, Any]], name: str = "set.json") -> Path:
    categories = [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}]
    (folder / name).write_text(json.dumps({"images": images, "annotations": objects, "categories": categories}))
    return folder / name


def test_objects_follow_their_pictures(tmp_path: Path) -> None:
    written(tmp_path / "images", 2, (10, 20))
    images = [{"id": 5, "file_name": "001.png"}, {"id": 9, "file_name": "000.png"}]
    objects = [
        {"image_id": 9, "category_id": 7, "bbox": [2, 1, 4, 6]},
        {"image_id": 9, "category_id": 3, "bbox": [12, 2, 2, 2]},
        {"image_id": 9, "category_id": 3, "bbox": [0, 0, 20, 10], "iscrowd": 1},
    ]
    path = coco(tmp_path, images, objects)
    split = wb.data({"test": path})["test"]
    first, second = split.labels
    assert first["boxes"].shape == (0, 4) and second["labels"].tolist() == [1, 0]
    assert second["boxes"].tolist() == [[2, 1, 6, 7], [12, 2, 14, 4]]
    (_, labels) = next(split.batches(2, [1, 0]))
    assert [len(one["labels"]) for one in labels] == [2, 0]
    small = wb.data({"test": path}, size=(5, 5))["test"].labels[1]  # half of each, 2.5 cut off at the left (of 10: 2)
    assert small["labels"].tolist() == [1, 0] and small["boxes"].tolist() == [[0, 0.5, 1, 3.5], [4, 1, 5, 2]]
    with pytest.raises(BadFile, match="'../secret.png'"):
        wb.data({"test": coco(tmp_path, [{"id": 1, "file_name": "../secret.png"}], [])})
    with pytest.raises(BadFile, match="no sound COCO file: KeyError"):
        wb.data({"test": coco(tmp_path, images, [{"image_id": 1, "category_id": 7, "bbox": [0, 0, 1, 1]}])})


class Items(Dataset[Any]):
    """A data set of files that counts what is read."""

    def __init__(self) -> None:
        self.read: list[int] = []

    def __len__(self) -> int:
        return 300

    def __getitem__(self, index: int) -> Any:
        self.read.append(index)
        return Image.fromarray(pixels(index)), index % 3


class Rows:
    """What a data set of Hugging Face's can be asked."""

    features: ClassVar = {"image": None, "label": type("ClassLabel", (), {"names": ["x", "y", "z"]})}
    column_names = ("image", "label")

    def __init__(self) -> None:
        self.read: list[int] = []

    def __len__(self) -> int:
        return 300

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return [index % 3 for index in range(300)]
        if not 0 <= key < 300:
            raise IndexError(key)
        self.read.append(key)
        return {"image": Image.fromarray(pixels(key)), "label": key % 3}


@pytest.mark.parametrize("kind", [Items, Rows])
def test_a_large_data_set_is_read_when_it_is_asked_for(kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect, "LIMIT", 1000)
    items = kind()
    if kind is Items:
        items.targets = [index % 3 for index in range(300)]
    data = wb.data(items)
    assert set(items.read) == {0} and data["test"].labels.tolist() == [index % 3 for index in range(300)]
    (inputs, labels) = next(data["test"].batches(3, [40, 2, 299]))
    assert torch.equal(inputs, expected([40, 2, 299])) and labels.tolist() == [1, 2, 2]
    assert set(items.read) == {0, 40, 2, 299}
    assert data.classes == (() if kind is Items else ("x", "y", "z"))
    monkeypatch.undo()
    held = wb.data(kind())
    assert held["test"].source.held and held.hash == data.hash


def test_pictures_without_labels(tmp_path: Path) -> None:
    written(tmp_path / "images")
    data = wb.data(tmp_path)
    assert torch.equal(whole(data["test"]), expected(list(range(N)))) and not data["test"].labelled


def test_unreadable_pictures_are_named_or_skipped(tmp_path: Path) -> None:
    for path in written(tmp_path, 12):
        (tmp_path / "ab"[int(path.stem) % 2]).mkdir(exist_ok=True)
        path.rename(tmp_path / "ab"[int(path.stem) % 2] / path.name)
    cut = (tmp_path / "a" / "002.png").read_bytes()
    (tmp_path / "a" / "002.png").write_bytes(cut[: len(cut) // 2])
    (tmp_path / "b" / "005.png").write_text("no picture")
    (tmp_path / "b" / "007.png").write_text("")
    with pytest.raises(BadFile, match=r"005.png.*others?: .*007.png"):
        wb.data(tmp_path)
    with pytest.warns(UserWarning, match=r"3 of the 12 pictures.*002.png.*005.png.*007.png"):
        data = wb.data(tmp_path, unreadable="skip")
    assert sum(len(data[name]) for name in ("train", "test")) == 9
    for split in data.splits.values():
        assert len(whole(split)) == len(split)


def test_the_hash_follows_the_content_of_files(tmp_path: Path) -> None:
    first, second, other = tmp_path / "one", tmp_path / "two", tmp_path / "other"
    for folder in (first, second, other):
        written(folder, 6)
    Image.fromarray(pixels(99)).save(other / "003.png")
    data = [wb.data(folder) for folder in (first, second, other)]
    assert data[0].hash == data[1].hash != data[2].hash
    assert data[0].hash != wb.data(first, mean=0.5).hash != wb.data(first, size=4).hash
    Image.fromarray(pixels(99)).save(second / "003.png")
    assert wb.data(second).hash == data[2].hash


def test_what_was_decoded_is_not_decoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_CACHE", f"{tmp_path}-kept")
    written(tmp_path, 9)
    decoded: list[int] = []
    decode = pictures.Pictures.decode
    monkeypatch.setattr(pictures.Pictures, "decode", lambda self, place: decoded.append(place) or decode(self, place))
    first, again = (whole(wb.data(tmp_path)["test"]) for _ in range(2))
    assert torch.equal(first, again) and torch.equal(first, expected(list(range(9)))) and len(decoded) == 9
    Image.fromarray(pixels(50)).save(tmp_path / "004.png")  # another content: nothing old is given
    assert torch.equal(whole(wb.data(tmp_path)["test"])[4], expected([50])[0])
    monkeypatch.setenv("WORKBENCH_CACHE_GB", "0")
    decoded.clear()
    whole(wb.data(tmp_path, size=3)["test"])
    whole(wb.data(tmp_path, size=3)["test"])
    assert len(decoded) == 18


def test_preprocessing_is_what_it_says() -> None:
    images = torch.randint(0, 256, (5, 3, 20, 30), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    how = {"order": "BGR", "layout": "NHWC", "range": 255, "mean": (1, 2, 3), "std": (2, 4, 8)}
    data = wb.data(images, preprocess=how)
    bgr = (images.float().flip(1) - torch.tensor([1.0, 2, 3]).view(3, 1, 1)) / torch.tensor([2.0, 4, 8]).view(3, 1, 1)
    torch.testing.assert_close(next(data["test"].batches())[0], bgr.permute(0, 2, 3, 1))
    assert str(data.preprocess) == "pixels from 0 to 255; less 1/2/3, over 2/4/8; BGR, NHWC."
    assert wb.data(images, mean=0.5, std=0.2, size=10).preprocess == Preprocess((0.5,), (0.2,), (10, 10))


def test_a_crop_keeps_the_centre() -> None:
    """A picture whose outer tenth is white: scaled to twice its cut, nothing of that is left."""
    images = torch.zeros(1, 3, 40, 40, dtype=torch.uint8)
    images[..., :4, :], images[..., -4:, :], images[..., :4], images[..., -4:] = 255, 255, 255, 255
    found = {
        crop: next(wb.data(images, preprocess={"size": 20, "crop": crop})["test"].batches())[0] for crop in (1.0, 0.5)
    }
    assert found[1.0].shape == found[0.5].shape == (1, 3, 20, 20)
    assert found[1.0][0, 0, 0].min() == 1 and found[0.5].max() == 0


def test_like_a_network_of_timm_or_torchvision() -> None:
    net = torch.nn.Identity()
    net.pretrained_cfg = {
        "mean": (0.5,) * 3,
        "std": (0.25,) * 3,
        "input_size": (3, 12, 12),
        "crop_pct": 0.875,
        "interpolation": "bicubic",
    }
    data = wb.data(torch.zeros(2, 3, 30, 30, dtype=torch.uint8), like=net)
    assert data.preprocess == Preprocess((0.5,) * 3, (0.25,) * 3, (12, 12), 0.875, "bicubic")
    with pytest.raises(BadValue, match="Nothing says how"):
        wb.data(torch.zeros(2, 3, 8, 8), like=torch.nn.Identity())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"preprocess": {"order": "GBR"}}, "order='GBR'"), ({"preprocess": {"crop": 2}}, "crop=2"),
        ({"preprocess": {"colour": 1}}, "no 'colour'"), ({"preprocess": 3}, "preprocess=3"),
        ({"preprocess": {}, "mean": 0.5}, "Give one of"), ({"unreadable": "maybe"}, "unreadable='maybe'"),
        ({"shuffle": True}, "shuffle"),
    ],
)  # fmt: skip
def test_options_that_make_no_sense(options: dict[str, Any], says: str) -> None:
    with pytest.raises((BadValue, UnknownName), match=says):
        wb.data(torch.zeros(2, 3, 8, 8), **options)
