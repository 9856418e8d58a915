"""Nothing inside looks at all inputs at once: a source that refuses it is measured, compressed, trained on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import workbench as wb
from workbench.data import Data, Split
from workbench.data.source import Held, Later, Source

SHAPE = (3, 8, 8)
MOST = 100  # inputs at a time


class Few(Source):
    """Inputs that are computed when they are asked for, and never many at once; it counts what was asked for."""

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed, self.asked = count, seed, 0

    def __len__(self) -> int:
        return self.count

    @property
    def labels(self) -> torch.Tensor:
        return torch.arange(self.count) % 4

    def read(self, places: torch.Tensor) -> torch.Tensor:
        assert len(places) <= MOST, f"{len(places)} inputs at once"
        self.asked += len(places)
        return torch.stack([self.one(int(place)) for place in places])

    def one(self, place: int) -> torch.Tensor:
        random = torch.randn(SHAPE, generator=torch.Generator().manual_seed(self.seed * 10_000 + place))
        random[:, place % 4 * 2] += 2.0  # which row is bright is the class
        return random


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Conv2d(8, 16, 3, padding=1)
        self.flat, self.head = nn.Flatten(), nn.Linear(16 * 64, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.flat(torch.relu(self.b(torch.relu(self.norm(self.a(x)))))))


def data(sizes: dict[str, int]) -> Data:
    return Data("few", {name: Split(name, Few(n, seed)) for seed, (name, n) in enumerate(sizes.items())})


def model() -> wb.Model:
    torch.manual_seed(0)
    return wb.load(Net().eval(), example=torch.zeros(1, *SHAPE))


SIZES = {"train": 400, "calibration": 240, "validation": 240, "test": 300}


@pytest.fixture(scope="module")
def study() -> wb.Study:
    return wb.Study(model(), data(SIZES), keep=False)


@pytest.mark.parametrize(
    "recipe",
    [
        wb.Tucker(0.5), wb.Tucker(0.5, asymmetric=True), wb.PruneChannels(0.3, importance="taylor"),
        wb.Prune(0.5, importance="activation"), wb.Finetune(1), wb.Recalibrate(), wb.Shift(), wb.GlobalPool(),
        wb.Quantize("int8", equalize=True, bias_correction=True), wb.Quantize("int8", max_drop=0.01),
        wb.Quantize("int4"), wb.Quantize("fp16"), wb.QAT(epochs=1), wb.ShareWeights(bits=3, lr=1e-3),
    ],
    ids=lambda recipe: recipe.brief,
)  # fmt: skip
def test_every_technique_reads_batch_by_batch(study: wb.Study, recipe: wb.Step) -> None:
    assert study.run(recipe, progress=False)["accuracy"].n == SIZES["test"]


def test_every_question_reads_batch_by_batch(study: wb.Study, tmp_path: Path) -> None:
    variant, other = (study.run(one, progress=False) for one in (wb.Tucker(0.5), wb.SVD(0.5)))
    found = study.diagnose(variant, progress=False)
    assert len(found.images(3)[0]) == min(3, len(found.flips))
    study.compare(variant, other, progress=False)
    study.bisect(variant, progress=False)
    study.sensitivity(wb.SVD(0.5), progress=False)
    study.portability(variant, ["onnxruntime", "torch"], images=250, progress=False)
    for kind in ("onnx", "safetensors", "bundle"):
        wb.export(variant, tmp_path / kind, format=kind)


def held(split: Split) -> Split:
    """The same split from memory."""
    inputs = torch.cat([part for part, _ in split.batches(MOST)])
    return Split(split.name, Held(split.name, inputs, split.labels))


def test_from_memory_comes_the_same(study: wb.Study) -> None:
    other = wb.Study(model(), Data("few", {name: held(one) for name, one in study.data.splits.items()}), keep=False)
    assert other.data.hash == study.data.hash
    for recipe in (wb.Tucker(0.5), wb.Finetune(1), wb.Quantize("int8")):
        one, two = (each.run(recipe, progress=False) for each in (study, other))
        assert one["accuracy"] == two["accuracy"] and one["accuracy_change"] == two["accuracy_change"]


def test_parts_of_a_split_are_taken_before_anything_is_read() -> None:
    source = Few(50, 0)
    part = Split("test", source).take([7, 3, 40, 9]).first(3)
    assert len(part) == 3 and part.labels.tolist() == [3, 3, 0] and source.asked == 0
    (inputs, labels), (last, _) = part.batches(2)
    assert source.asked == 3 and labels.tolist() == [3, 3]
    assert torch.equal(torch.cat([inputs, last]), torch.stack([source.one(index) for index in (7, 3, 40)]))
    (backwards, known), *_ = part.batches(3, [2, 0])
    assert torch.equal(backwards, torch.stack([source.one(40), source.one(7)])) and known.tolist() == [0, 3]


def test_batches_are_copies() -> None:
    x = torch.rand(10, 3)
    split = wb.data({"test": x})["test"]
    for part, labels in split.batches(4):
        assert labels is None
        part.zero_()
    assert torch.equal(torch.cat([part for part, _ in split.batches(3)]), x)


def test_a_source_is_opened_when_it_is_read() -> None:
    opened = []
    split = Split("test", Later(lambda: opened.append(1) or Few(20, 0)))
    few = split.take([3])
    assert not opened and len(few) == 1
    assert next(few.batches())[0].shape == (1, *SHAPE) and opened == [1]


def test_an_input_that_is_not_finite_is_named_by_its_place() -> None:
    x = torch.zeros(20, 3)
    x[17, 1] = float("nan")
    with pytest.raises(wb.WorkbenchError, match="index 17"):
        wb.data({"test": x})
    part = Split("test", Held("test", x)).take([1, 17])
    with pytest.raises(wb.WorkbenchError, match="index 1"):
        next(part.batches())
