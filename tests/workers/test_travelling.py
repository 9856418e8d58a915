"""Data and files that travel: what comes out on the other side is what went in, to the bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import workbench as wb
from workbench.data import Data, travelling
from workbench.data.source import leaves
from workbench.errors import BadValue
from workbench.workers.shelf import Shelf

RANDOM = torch.Generator().manual_seed(0)


def numbers(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=RANDOM)


def whole(most: int, *shape: int) -> torch.Tensor:
    return torch.randint(most, shape, generator=RANDOM)


def boxes(count: int) -> list[dict[str, torch.Tensor]]:
    return [{"boxes": numbers(index % 3, 4).abs(), "labels": whole(4, index % 3)} for index in range(count)]


KINDS: dict[str, Any] = {
    "pixels": {
        "train": (whole(256, 250, 3, 8, 8).byte(), whole(4, 250)),
        "test": (whole(256, 30, 3, 8, 8).byte(), None),
    },
    "two inputs": {"test": ((numbers(130, 5), whole(9, 130, 7)), whole(3, 130))},
    "named inputs": {"test": ({"ids": whole(50, 20, 6), "mask": whole(2, 20, 6).bool()}, whole(3, 20))},
    "classes of pixels": {"test": (numbers(12, 1, 6, 6), whole(4, 12, 6, 6).byte())},
    "values": {"test": (numbers(40, 6), numbers(40, 2))},
    "objects": {"test": (numbers(9, 3, 8, 8), boxes(9))},
}


def loaded(given: dict[str, Any]) -> Data:
    """As `wb.data`; objects, which only files hold, are put beside their pictures."""
    objects = isinstance(given["test"][1], list)
    pairs = {split: one[0] if one[1] is None or objects else one for split, one in given.items()}
    data = wb.data(pairs, name="some")
    if not objects:
        return data
    return replace(data, splits={name: one.with_labels(given[name][1]) for name, one in data.splits.items()})


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    pairs = list(zip(leaves(a), leaves(b), strict=True))
    return all(x[0] == y[0] and x[1].dtype == y[1].dtype and torch.equal(x[1], y[1]) for x, y in pairs)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore")
def test_what_comes_out_is_what_went_in(kind: str, tmp_path: Path) -> None:
    before = loaded(KINDS[kind])
    after = travelling.unpack(travelling.pack(before, tmp_path), tmp_path)
    assert after.splits.keys() == before.splits.keys()
    for name, split in before.splits.items():
        places = torch.tensor([len(split) - 1, 0, 1])
        assert same(split.read(places)[0], after[name].read(places)[0])
        assert split.labelled == after[name].labelled
        if split.labelled:
            assert same(split.read(places)[1], after[name].read(places)[1])
            assert same(split.labels, after[name].labels)
    assert after.hash == before.hash


def test_what_is_read_is_ones_own(tmp_path: Path) -> None:
    """A network that writes into its inputs leaves the files as they are."""
    data = travelling.unpack(travelling.pack(loaded(KINDS["values"]), tmp_path), tmp_path)
    first = data["test"].read([0])[0]
    assert isinstance(first, torch.Tensor)
    kept = first.clone()
    first.zero_()
    assert same(data["test"].read([0])[0], kept)


def test_files_are_opened_again_where_they_are_the_same(tmp_path: Path) -> None:
    for number in range(8):
        folder = tmp_path / "pictures" / "test" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (6, 6), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    data = wb.data(tmp_path / "pictures")
    example = torch.zeros(1, 1, 6, 6)
    again = travelling.reopened(data.opened, example, data.hash)
    assert again is not None
    assert same(again["test"].inputs, data["test"].inputs)
    Image.fromarray(np.zeros((6, 6), np.uint8)).save(tmp_path / "pictures" / "test" / "a" / "0.png")
    assert travelling.reopened(data.opened, example, data.hash) is None
    assert travelling.reopened((str(tmp_path / "nowhere"), None), example, data.hash) is None
    assert travelling.reopened(None, example, data.hash) is None


def test_bundled_data_are_opened_by_their_name() -> None:
    data = wb.data("tones")
    assert data.opened == ("tones", None)
    again = travelling.reopened(data.opened, data["test"].example, data.hash)
    assert again is not None
    assert again.hash == data.hash


def test_too_much_to_send_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(travelling, "MOST", 10_000)
    with pytest.raises(BadValue, match=r"wb\.data\(path\)"):
        travelling.pack(loaded(KINDS["pixels"]), tmp_path)


def test_a_shelf_keeps_each_content_once_and_notices_changes(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "shelf")
    shelf.folder.mkdir()
    names = []
    for name in "xy":
        (tmp_path / name).write_bytes(b"the same")
        names.append(shelf.put(tmp_path / name))
    assert len(set(names)) == 1 == len(list(shelf.folder.iterdir()))
    sent = shelf.contents(names)
    other = Shelf(tmp_path / "other")
    other.folder.mkdir()
    assert other.missing(names) == names
    other.take(sent.values())
    assert not other.missing(names)
    (other.folder / names[0]).write_bytes(b"another")
    assert other.missing(names) == names
    other.take(sent.values())  # what was changed is replaced
    assert not other.missing(names)
