"""Inputs as they come: arrays, lists, data sets, loaders; pixels are scaled and normalised once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset

import workbench as wb
from workbench.errors import BadFile, BadValue, UnknownName

X = torch.randn(8, 3, 6, 5, generator=torch.Generator().manual_seed(0))
Y = torch.arange(8) % 4


class Items(Dataset):
    def __init__(self, item: Callable[[int], Any], count: int = 8) -> None:
        self.item, self.count = item, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        return self.item(index)


class Stream(IterableDataset):
    def __iter__(self) -> Iterator[tuple[torch.Tensor, int]]:
        yield from ((X[i], int(Y[i])) for i in range(8))


@pytest.mark.parametrize(
    "source",
    [
        (X, Y),
        [X, Y],
        (X.numpy(), Y.numpy()),
        (X.tolist(), Y.tolist()),
        (X.numpy().astype(">f8"), Y),
        (X.double(), Y),
        (X.flip(2).flip(2).to(memory_format=torch.channels_last), Y),
        (X.requires_grad_(), Y),
        (X.detach().to_sparse(), Y),
        (torch.nn.Parameter(X.detach()), Y),
        {"pixel_values": X, "labels": Y},
        Items(lambda i: (X[i], Y[i])),
        Items(lambda i: (X[i].detach().numpy(), int(Y[i]))),
        Items(lambda i: {"image": X[i], "label": int(Y[i])}),
        [(X[i], int(Y[i])) for i in range(8)],
        Stream(),
        DataLoader(Items(lambda i: {"image": X[i].detach(), "label": int(Y[i])}), batch_size=3),
        DataLoader(Stream(), batch_size=3, collate_fn=lambda b: (torch.stack([x for x, _ in b]), [y for _, y in b])),
    ],
    ids=(
        "pair,list,numpy,lists,big-endian,double,channels-last,requires-grad,sparse,parameter,columns,dataset,"
        "numpy-items,dicts,items,stream,loader-of-dicts,own-collate"
    ).split(","),
)
def test_the_same_data_in_every_form(source: object) -> None:
    for given in (source, {"test": source}):
        data = wb.data(given) if not isinstance(given, dict) or "test" in given else wb.data({"test": given})
        split = data["test"]
        torch.testing.assert_close(split.inputs, X.detach(), rtol=0, atol=1e-6)
        assert split.labels.tolist() == Y.tolist()
        assert split.inputs.dtype == torch.float32 and split.inputs.is_contiguous() and not split.inputs.requires_grad


def test_pixels_are_normalised_once_whatever_they_come_as() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 6, 5, 3), dtype=np.uint8)
    mean, std = (0.5, 0.4, 0.3), (0.25, 0.2, 0.1)
    expected = ((pixels.astype(np.float64) / 255 - mean) / std).transpose(0, 3, 1, 2)
    first = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
    forms: list[Any] = [
        pixels, torch.from_numpy(first), first, torch.from_numpy(first).float() / 255,
        Items(lambda i: (Image.fromarray(pixels[i]), 0)), Items(lambda i: (pixels[i], 0)),
        DataLoader(Items(lambda i: (torch.from_numpy(first[i]), 0)), batch_size=3),
    ]  # fmt: skip
    for given in forms:
        data = wb.data({"train": given, "test": given}, mean=mean, std=torch.tensor(std))
        np.testing.assert_allclose(data["test"].inputs, expected, atol=1e-5)
        np.testing.assert_allclose(data["calibration"].inputs, expected, atol=1e-5)
        assert data.mean == mean and data.std == pytest.approx(std)
    np.testing.assert_allclose(wb.data(pixels)["test"].inputs, pixels.transpose(0, 3, 1, 2) / 255, atol=1e-6)


def test_grey_pixels_get_a_channel() -> None:
    grey = np.full((4, 6, 5), 255, dtype=np.uint8)
    for given in (grey, torch.from_numpy(grey), Items(lambda i: (grey[i], i), 4)):
        assert wb.data(given, mean=0.5, std=0.25)["test"].inputs.shape == (4, 1, 6, 5)
        assert wb.data(given, mean=0.5, std=0.25)["test"].inputs.unique().tolist() == [2.0]


def test_images_of_several_sizes_are_brought_to_one() -> None:
    """An image of one colour keeps it; a ramp keeps its middle, which is what the cut leaves."""
    ramp = torch.linspace(0, 1, 32).expand(3, 16, 32)
    images = [torch.full((3, 20, 10), 0.3), torch.full((3, 8, 8), 0.7), ramp]
    data = wb.data({"test": Items(lambda i: (images[i], i), 3)}, size=(8, 8))
    inputs = data["test"].inputs
    assert inputs.shape == (3, 3, 8, 8)
    torch.testing.assert_close(inputs[0], torch.full((3, 8, 8), 0.3))
    torch.testing.assert_close(inputs[1], images[1])
    assert abs(float(inputs[2].mean()) - 0.5) < 1e-3 and 0.2 < float(inputs[2].min()) < float(inputs[2].max()) < 0.8
    assert wb.data({"test": X}, size=4)["test"].inputs.shape == (8, 3, 4, 4)


def test_classes_in_order_are_mixed_before_a_part_becomes_validation() -> None:
    labels = torch.arange(100) // 10  # as torchvision's ImageFolder gives them
    inputs = torch.arange(100.0)[:, None]
    data = wb.data({"train": (inputs, labels), "test": (inputs, labels)})
    assert len(data["validation"]) == 20 and len(data["train"]) == 80
    assert len(data["validation"].labels.unique()) > 5  # the last fifth alone would hold two classes
    seen = torch.cat([data["train"].inputs, data["validation"].inputs]).flatten()
    assert sorted(seen.tolist()) == inputs.flatten().tolist()
    for split in ("train", "validation"):
        assert torch.equal(data[split].labels, data[split].inputs[:, 0].long() // 10)
    again = wb.data({"train": (inputs, labels), "test": (inputs, labels)})
    assert torch.equal(again["train"].inputs, data["train"].inputs)
    shuffled = labels[torch.randperm(100, generator=torch.Generator().manual_seed(0))]
    assert torch.equal(wb.data({"train": (inputs, shuffled), "test": X})["validation"].inputs, inputs[80:])


NOTHING = np.zeros((0, 3, 6, 5))


@pytest.mark.parametrize(
    ("source", "options", "says"),
    [
        ({"test": Items(lambda i: (torch.zeros(3, 8 + i % 2, 8), i))}, {}, r"\(3, 8, 8\) at index 0.*index 1.*size="),
        ({"test": DataLoader(Items(lambda i: (torch.zeros(3, 8 + i % 2, 8), i)), 4)}, {}, "RuntimeError.*size="),
        ({"test": Items(lambda i: 1 / (3 - i))}, {}, r"Input 0 of split 'test' has shape \(\)"),
        ({"test": Items(lambda i: (X[i], 1 / (3 - i)))}, {}, "item 3: ZeroDivisionError"),
        ({"test": Items(lambda i: {"a": X[i], "b": i})}, {}, "keys.*'a', 'b'"),
        ({"test": Items(lambda i: {"image": X[i], "label": i, "y": i})}, {}, "'label', 'y'"),
        ({"test": Items(lambda i: (X[i], i, "path"))}, {}, "3 values"),
        ({"test": Items(lambda i: ((X[i], X[i]) if i else (X[i],), i))}, {}, r"Input 1.*\[0, 1\].*the same ones"),
        ({"test": ((X, X[:2]), [0] * len(X))}, {}, "Input 0|shape|number"),
        ({"test": Items(lambda i: (X[i], i) if i < 3 else X[i])}, {}, "Input 3.*no label"),
        ({"test": Items(lambda i: X[i], 0)}, {}, "'test' is empty"),
        ({"test": NOTHING}, {}, "'test' is empty"),
        ({"test": X, "train": NOTHING}, {}, "'train' is empty"),
        ({"test": torch.zeros(4, 0, 3)}, {}, "empty"),
        ({"test": torch.tensor([1.0, float("nan")])[:, None]}, {}, "NaN.*index 1"),
        ({"test": np.array([[1e300]])}, {}, "infinite"),
        ({"test": torch.zeros(4)}, {}, r"shape \(4,\)"),
        ({"test": "pictures/"}, {}, "'pictures/', a str"),
        ({"test": None}, {}, "None"),
        ({"test": np.array(["a", "b"])}, {}, "array of numbers"),
        ({"test": torch.zeros(3, 2, dtype=torch.complex64)}, {}, "complex64"),
        ({"test": torch.zeros(3, 2, device="meta")}, {}, "cannot be read"),
        ({"train": X}, {}, "needs at least 'test'"),
        ({"test": X, "val": X, "validation": X}, {}, "twice"),
        ({"test": X, "holdout": X}, {}, "'holdout'.*Known: calibration"),
        ({}, {}, "needs at least 'test'"),
        (DataLoader([1]), {}, "shape"),
        (3, {}, "cannot read 3, a int"),
        (None, {}, "None"),
        (X, {"mean": (0.5,), "std": (0.2,)}, r"go from -\d.* to \d.* floats from 0 to 1"),
        (torch.zeros(2, 3, 4, 4), {"mean": (0.5, 0.5)}, r"mean=\(0.5, 0.5\) has 2 numbers.*3 channels"),
        (X, {"std": 0}, "std=0: give positive"),
        (X, {"mean": "imagenet"}, "mean='imagenet'"),
        (X, {"size": 0}, "size=0"),
        (X, {"size": (4, 4, 4)}, "size="),
        (torch.zeros(4, 7), {"size": 4}, r"shape \(7,\)"),
        (X, {"classes": "cat"}, "classes='cat'"),
        (X, {"classes": ("a", "b", "a")}, "'a' twice"),
        ("fashion-mnist", {"size": 32}, "bundled"),
        ("nothing.parquet", {}, "named 'nothing.parquet'"),
        ("no\0thing", {}, "no"),
    ],
)
def test_what_cannot_be_data_is_refused_in_a_sentence(source: object, options: dict[str, Any], says: str) -> None:
    with pytest.raises((BadValue, UnknownName, BadFile), match=says):
        wb.data(source, **options)


def test_val_is_validation() -> None:
    data = wb.data({"val": X, "test": X})
    assert set(data.splits) == {"validation", "test"}
