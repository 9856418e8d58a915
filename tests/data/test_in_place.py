"""A network that writes into its input leaves the data as they are, and is given the same images every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import workbench as wb
from workbench.data import Data
from workbench.models import Model

SHAPE = (3, 8, 8)
STEPS = [
    wb.Tucker(0.5), wb.SVD(0.5), wb.Tucker(0.5, asymmetric=True), wb.Prune(0.5, importance="activation"),
    *(wb.PruneChannels(0.5, importance=kind) for kind in ("activation", "taylor")),
    wb.DropBlocks(1), wb.Recalibrate(), wb.Shift(), wb.GlobalPool(),
    *(wb.Finetune(1, distill=kind) for kind in ("soft", "hints", "none")),
]  # fmt: skip


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.act = nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.act(self.norm(self.conv(x)))


class Writes(nn.Module):
    """Subtracts a mean in place, as its first operation; `inplace=False` computes the same without."""

    def __init__(self, inplace: bool = True) -> None:
        super().__init__()
        self.inplace = inplace
        self.first = nn.ReLU(inplace=inplace)
        self.stem, self.norm = nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.blocks = nn.Sequential(Block(), Block())
        self.flatten, self.head = nn.Flatten(), nn.Linear(16 * 64, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.sub_(0.1) if self.inplace else x - 0.1
        x = self.blocks(torch.relu(self.norm(self.stem(self.first(x)))))
        return self.head(self.flatten(x))


def pair() -> tuple[Model, Model]:
    torch.manual_seed(0)
    writes, reads = Writes().eval(), Writes(inplace=False).eval()
    reads.load_state_dict(writes.state_dict())
    return tuple(wb.load(one, example=torch.rand(1, *SHAPE)) for one in (writes, reads))


def tensors() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(60, *SHAPE, generator=generator), torch.randint(4, (60,), generator=generator)


def data(x: torch.Tensor, y: torch.Tensor) -> Data:
    return wb.data({"train": (x, y), "test": (x, y)})


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.brief)
def test_every_step_that_reads_data_gives_what_it_gives_without_writing(step: wb.steps.Step) -> None:
    x, y = tensors()
    before, given = x.clone(), data(x, y)
    results = []
    for model in pair():
        example = model.example.clone()
        small = wb.compress(model, step, data=given)
        assert torch.equal(x, before), "the user's images were overwritten"
        assert torch.equal(given["train"].inputs, before[: len(given["train"])])
        assert torch.equal(model.example, example), "the example was overwritten"
        with torch.no_grad():
            results.append(small.module(before[:20].clone()))
    torch.testing.assert_close(results[0], results[1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("recipe", [wb.Quantize("int8"), wb.Tucker(0.5) | wb.Quantize("int8")])
def test_a_study_measures_the_same(recipe: wb.Recipe, tmp_path: Path) -> None:
    x, y = tensors()
    before, given = x.clone(), data(x, y)
    writes, reads = (wb.Study(model, given) for model in pair())
    variants = [study.run(recipe, progress=False) for study in (writes, reads)]
    assert writes.baseline["accuracy"] == reads.baseline["accuracy"]
    assert variants[0]["accuracy"].value == pytest.approx(variants[1]["accuracy"].value, abs=0.05)
    wb.export(writes.baseline, tmp_path / "out", format="safetensors")
    assert torch.equal(x, before)


def test_the_torch_runtime_leaves_its_inputs() -> None:
    from workbench.runtimes.torch import TorchSession

    images = np.random.default_rng(0).normal(size=(4, *SHAPE)).astype(np.float32)
    before = images.copy()
    first, second = (TorchSession(pair()[0].module, torch.zeros(1, *SHAPE), 1).run(images) for _ in range(2))
    assert np.array_equal(images, before) and np.array_equal(first, second)


def test_importance_by_gradient_looks_at_what_a_layer_gives_not_at_what_becomes_of_it() -> None:
    """`out += x` writes into the output of the norm that the scores are taken from."""

    class Sums(nn.Module):
        def __init__(self, inplace: bool) -> None:
            super().__init__()
            self.inplace = inplace
            self.a, self.b, self.c = (nn.Conv2d(n, 16, 3, padding=1) for n in (3, 16, 16))
            self.head = nn.Linear(16, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = torch.relu(self.a(x))
            y = self.b(x)
            y = y.add_(x) if self.inplace else y + x
            return self.head(torch.relu(self.c(y)).mean((2, 3)))

    x, y = tensors()
    widths = []
    for inplace in (True, False):
        torch.manual_seed(0)
        model = wb.load(Sums(inplace).eval(), example=torch.rand(1, *SHAPE))
        small = wb.compress(model, wb.PruneChannels(0.5, importance="taylor"), data=data(x, y))
        widths.append(
            {name: value.shape for name, value in small.module.state_dict().items()}
            | {"sum": round(float(sum(value.double().sum() for value in small.module.state_dict().values())), 3)}
        )
    assert widths[0] == widths[1]
