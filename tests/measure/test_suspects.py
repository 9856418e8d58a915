"""A network that reads pictures otherwise than they are given is found out, and the right way is named."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import workbench as wb
from workbench.data import Preprocess
from workbench.measure.suspects import done, undone

N = 400


class Reads(nn.Module):
    """Which third of the brightness the red channel has, from inputs as they are made by `how`."""

    def __init__(self, how: Preprocess) -> None:
        super().__init__()
        self.read = nn.Conv2d(3, 3, 1)
        red, at = torch.zeros(3), 2 if how.order == "BGR" else 0
        mean, std = (
            (*one, *one, *one)[:3] if len(one) == 1 else one for one in (how.mean or (0.0,), how.std or (1.0,))
        )
        red[at] = std[at] / how.range  # gives back the pixel, less its part of the mean
        shift = mean[at] / how.range
        with torch.no_grad():  # class 0 below 1/3, class 2 above 2/3
            self.read.weight.copy_(torch.stack([red * 0, red * 3, red * 6])[:, :, None, None])
            self.read.bias.copy_(torch.tensor([0.0, 3 * shift - 1, 6 * shift - 3]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.read(x).mean((2, 3))


def pictures() -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures of one colour each; the label is how red they are, the other channels say nothing of it."""
    colours = torch.randint(0, 256, (N, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return colours[:, :, None, None].expand(N, 3, 4, 4).contiguous(), colours[:, 0].long() * 3 // 256


CAFFE = {"mean": (103.939, 116.779, 123.68), "range": 255, "order": "BGR"}
WAYS: list[dict[str, Any]] = [
    {"order": "BGR"}, {"range": 255}, {"mean": 0.5, "std": 0.5}, CAFFE,
    {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
]  # fmt: skip


def study_of(way: dict[str, Any], given: dict[str, Any]) -> wb.Study:
    x, y = pictures()
    model = wb.load(Reads(Preprocess.of(**way)).eval(), example=torch.zeros(1, 3, 4, 4))
    data = wb.data({"validation": (x, y), "test": (x, y)}, classes=("low", "middle", "high"), preprocess=given)
    return wb.Study(model, data, keep=False)


@pytest.mark.parametrize("way", [WAYS[0], CAFFE], ids=str)
def test_the_right_way_is_named(way: dict[str, Any]) -> None:
    study = study_of(way, {"mean": (0.0,), "std": (1.0,)} if way is CAFFE else {})
    assert study.baseline["accuracy"].value < 0.67
    (note,) = [one for one in study.baseline.notes if "near chance" in one]
    fixed = eval(note.split("preprocess=")[1].rstrip("."))
    assert study_of(way, fixed).baseline["accuracy"].value > 0.98


def test_nothing_is_said_of_a_network_that_knows() -> None:
    assert not any("near chance" in one for one in study_of({}, {}).baseline.notes)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_pixels_come_back(way: dict[str, Any]) -> None:
    x, _ = pictures()
    how = Preprocess.of(**way)
    made = wb.data(x, preprocess=how)["test"].example
    torch.testing.assert_close(undone(made, how), x[:1].float() / 255, atol=1e-5, rtol=0)
    torch.testing.assert_close(done(x[:1].float() / 255, how), made, atol=1e-3, rtol=1e-5)
