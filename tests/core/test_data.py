"""The bundled data, other sources, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import SHAPE, pixels
from torch.utils.data import DataLoader, TensorDataset

import workbench as wb
from workbench.errors import BadFile, BadValue, UnknownName


def test_the_bundled_splits() -> None:
    data = wb.data("fashion-mnist")
    assert {n: len(data[n]) for n in data.splits} == {
        "train": 8000, "calibration": 1000, "validation": 2000, "test": 10000,
    }  # fmt: skip
    for name in data.splits:
        counts = torch.bincount(data[name].labels)
        assert len(data.classes) == len(counts) == 10
        assert counts.min() == counts.max(), f"{name} is not balanced"
    train = data["train"].inputs
    assert train.shape[1:] == (1, 28, 28) and train.dtype == torch.float32
    assert abs(float(train.mean())) < 0.02 and abs(float(train.std()) - 1) < 0.02


def test_validation_and_test_share_no_image_with_train() -> None:
    data = wb.data("fashion-mnist")
    seen = {x.numpy().tobytes() for x in data["train"].inputs}
    assert not any(x.numpy().tobytes() in seen for x in data["validation"].inputs)
    calibration = data["calibration"].inputs
    assert torch.equal(calibration, data["train"].inputs[: len(calibration)])


def test_an_npz_of_pixels(tmp_path: Path) -> None:
    images = pixels(20)
    np.savez(
        tmp_path / "d.npz", train_images=images, train_labels=np.arange(20) % 2, test_images=images,
        test_labels=np.arange(20) % 2, mean=0.5, std=0.25, classes=np.array(["cat", "dog"]),
    )  # fmt: skip
    data = wb.data(tmp_path / "d.npz")
    assert data.classes == ("cat", "dog")
    expected = (images[3].astype(np.float32) / 255 - 0.5) / 0.25
    np.testing.assert_allclose(data["test"].inputs[3, 0].numpy(), expected, rtol=1e-5)
    assert {n: len(s) for n, s in data.splits.items()} == {"train": 16, "validation": 4, "calibration": 16, "test": 20}


def test_datasets_and_loaders_by_split() -> None:
    inputs, labels = torch.randn(10, *SHAPE), torch.arange(10) % 4
    data = wb.data({"test": TensorDataset(inputs, labels), "calibration": DataLoader(TensorDataset(inputs, labels), 3)})
    assert torch.equal(data["test"].inputs, inputs)
    assert torch.equal(data["calibration"].labels, labels)


def test_a_pickle_is_not_opened(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path(tmp_path / "exploded").write_text, ("x",))

    np.savez(tmp_path / "evil.npz", test_images=np.array([Bomb()], dtype=object), test_labels=np.zeros(1))
    with pytest.raises(BadFile, match=r"evil\.npz"):
        wb.data(tmp_path / "evil.npz")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"images": pixels(3)}, "test_images"),
        ({"test_images": pixels(3).astype(np.int32), "test_labels": np.zeros(3)}, "int32"),
        ({"test_images": pixels(3).reshape(3, -1), "test_labels": np.zeros(3)}, r"\(3, 144\)"),
        ({"test_images": pixels(3), "test_labels": np.zeros(3), "std": 0.0}, "positive"),
    ],
)
def test_an_npz_that_does_not_fit_is_refused(tmp_path: Path, arrays: dict[str, np.ndarray], says: str) -> None:
    np.savez(tmp_path / "d.npz", **arrays)
    with pytest.raises(BadFile, match=says):
        wb.data(tmp_path / "d.npz")


def test_other_bad_sources(tmp_path: Path) -> None:
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 this is no archive")
    for path, says in ((tmp_path / "broken.npz", "not a readable"), (tmp_path / "none.npz", "no file")):
        with pytest.raises(BadFile, match=says):
            wb.data(path)
    with pytest.raises(UnknownName, match="fashion-mnist"):
        wb.data("fashion-mnits")
    with pytest.raises(BadValue, match="'test'"):
        wb.data({"train": (torch.zeros(2, 1), torch.zeros(2))})
    with pytest.raises(UnknownName, match="'tset'"):
        wb.data({"tset": (torch.zeros(2, 1), torch.zeros(2))})
    with pytest.raises(UnknownName, match="split"):
        wb.data("fashion-mnist")["tset"]


def test_nan_inputs_and_missing_labels_are_refused() -> None:
    for inputs, labels, says in (
        (torch.full((2, *SHAPE), float("nan")), torch.zeros(2), "NaN"),
        (torch.zeros(2, *SHAPE), torch.zeros(3), "3 labels"),
    ):
        with pytest.raises(BadValue, match=says):
            _ = wb.data({"test": (inputs, labels)})["test"].inputs
