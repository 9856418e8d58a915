"""What a user has set torch to (a default device, inference mode, autocast) does not reach what the workbench does."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
import torch
from torch import nn

import workbench as wb

SETTINGS = {
    "default device": lambda: torch.device("meta"),  # a GPU's would do the same, and this one is everywhere
    "inference mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
}


def module() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(128, 3))


def images(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator("cpu").manual_seed(count)
    labels = torch.arange(count, device="cpu") % 3
    return torch.randn(count, 3, 4, 4, generator=generator, device="cpu"), labels


def outputs(net: nn.Module) -> list[object]:
    """Everything that is asked for on the caller's own thread."""
    model = wb.load(net, example=images(1)[0])
    data = wb.data({"train": images(24), "test": images(12)})
    study = wb.Study(model, data, keep=False)
    trained = study.run(wb.Tucker(0.5) | wb.Finetune(1), progress=False)
    plan = wb.PruneChannels(0.5).plan(model)
    return [
        model.hash, data.hash, data["test"].labels.tolist(), data["validation"].read([0, 1])[0].sum().item(),
        trained["accuracy"].value, plan.macs, study.frame()["params"].tolist(),
    ]  # fmt: skip


@pytest.mark.parametrize("name", SETTINGS)
def test_a_study_is_the_same_whatever_torch_is_set_to(name: str) -> None:
    net = module().eval()
    expected = outputs(net)
    with SETTINGS[name]():
        found = outputs(net)
        assert torch.get_default_device() == (torch.device("meta") if "device" in name else torch.device("cpu"))
        assert torch.is_inference_mode_enabled() == (name == "inference mode")
    assert found == expected


@contextlib.contextmanager
def doubles() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def test_another_default_type_is_refused_with_what_to_do() -> None:
    net = module().eval()
    with doubles(), pytest.raises(wb.WorkbenchError, match=r"float64.*torch\.set_default_dtype\(torch\.float32\)"):
        wb.load(net, example=images(1)[0].float())
