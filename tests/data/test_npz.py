"""A large `.npz` that is not packed is read row by row; what comes out is what comes of the same arrays in memory."""

from __future__ import annotations

import os
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import workbench as wb
from workbench.data import sources
from workbench.errors import BadFile

N = 60
RANDOM = np.random.default_rng(0)
IMAGES = {
    "pixels": RANDOM.integers(0, 256, (N, 9, 7, 3), dtype=np.uint8),
    "grey": RANDOM.integers(0, 256, (N, 9, 7), dtype=np.uint8),
    "halves": RANDOM.normal(size=(N, 2, 5, 5)).astype(np.float16),
    "floats": RANDOM.random((N, 3, 5, 5)),
}
LABELS = np.arange(N) % 4


@pytest.fixture(autouse=True)
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "LIMIT", 1000)


def written(path: Path, images: Any, save: Callable[..., None] = np.savez, **more: Any) -> Path:
    save(path, test_images=images, test_labels=LABELS, train_images=images[::-1].copy(), train_labels=LABELS, **more)
    return path


@pytest.mark.parametrize("kind", IMAGES)
def test_it_is_the_same_data_as_those_in_memory(tmp_path: Path, kind: str) -> None:
    form = {"mean": np.array([0.5]), "std": np.array([0.25])} if kind != "halves" else {}
    read = wb.data(written(tmp_path / "d.npz", IMAGES[kind], **form))
    held = wb.data(written(tmp_path / "packed.npz", IMAGES[kind], np.savez_compressed, **form))
    assert held["test"].source.held
    assert not read["test"].source.held
    assert read.hash == held.hash
    for split in held.splits:
        assert torch.equal(read[split].inputs, held[split].inputs)
        assert torch.equal(read[split].labels, held[split].labels)
    (some, labels) = next(read["test"].batches(3, [40, 2, 59]))
    assert torch.equal(some, held["test"].inputs[[40, 2, 59]])
    assert labels.tolist() == [0, 2, 3]


def test_only_the_rows_that_are_asked_for_are_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    np.savez(path, test_images=np.zeros((400, 100, 100, 3), np.uint8))  # 12 MB
    tracemalloc.start()
    data = wb.data(path)
    next(data["test"].batches(3))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 3 * 10**6


def test_one_image_alone_decides_nothing_about_its_channels(tmp_path: Path) -> None:
    """Three pictures of 9 x 7 are not one picture with three channels."""
    data = wb.data(written(tmp_path / "d.npz", IMAGES["grey"]))
    assert data["test"].shape == (1, 9, 7)
    assert next(data["test"].batches(3))[0].shape == (3, 1, 9, 7)


@pytest.mark.parametrize(
    "array", [np.asfortranarray(IMAGES["floats"]), IMAGES["floats"].astype(">f8")], ids=["columns first", "other bytes"]
)
def test_what_lies_otherwise_in_the_file_is_read_whole(tmp_path: Path, array: Any) -> None:
    data = wb.data(written(tmp_path / "d.npz", array))
    assert data["test"].source.held
    assert torch.equal(data["test"].inputs, torch.from_numpy(IMAGES["floats"]).float())


def test_a_file_that_is_changed_or_taken_away_is_said(tmp_path: Path) -> None:
    path = written(tmp_path / "d.npz", IMAGES["pixels"])
    data = wb.data(path)
    os.truncate(path, 5000)
    with pytest.raises(BadFile, match="changed since it was opened"):
        data["test"].read([0, 59])
    written(path, IMAGES["pixels"][:, ::-1].copy())
    with pytest.raises(BadFile, match="changed since it was opened"):
        data["test"].read([0])
    path.unlink()
    with pytest.raises(BadFile, match="cannot be read any more"):
        data["test"].read([0])


def test_labels_that_are_too_few_are_said(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", test_images=IMAGES["pixels"], test_labels=LABELS[:-1])
    with pytest.raises(BadFile, match="60 inputs and 59 labels"):
        wb.data(tmp_path / "d.npz")


def test_a_directory_that_points_elsewhere_is_no_way_out_of_the_file(tmp_path: Path) -> None:
    """The header within says where the rows begin; one that claims a long name would lead beyond the end."""
    path = tmp_path / "d.npz"
    np.savez(path, test_images=IMAGES["pixels"])
    with zipfile.ZipFile(path) as file:
        at = file.getinfo("test_images.npy").header_offset
    content = bytearray(path.read_bytes())
    content[at + 28 : at + 30] = b"\xff\xff"  # of the extra field
    path.write_bytes(content)
    with pytest.raises(BadFile):
        wb.data(path)
