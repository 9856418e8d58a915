"""What networks do in Python: slots, constants among the inputs, NumPy, transforms of functions, whole numbers."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

import workbench as wb
from workbench.errors import BadValue
from workbench.onnx_file import write_onnx

Tensor = torch.Tensor
X = torch.randn(1, 4)


class Slotted(nn.Module):
    """A number, a tensor in double precision, and a list of one, where torch's own copies forget them."""

    __slots__ = ("factor", "offset", "tables")

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.factor, self.offset = 2.5, torch.arange(3.0, dtype=torch.float64)
        self.tables = [torch.full((3,), 0.5)]

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) * self.factor + self.offset.to(x.dtype) * self.tables[0]


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, x: Tensor, mask: Any = None, flag: bool = True, mode: str = "a") -> Tensor:
        y = self.linear(x)
        y = y if mask is None else y * mask
        return y * 2 if flag and mode == "a" else -y


def of_function(function: Callable[[nn.Linear, Tensor], Any]) -> nn.Module:
    """A linear layer with a forward around it."""

    class Around(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Any:
            return function(self.linear, x)

    return Around().eval()


def test_slots_are_part_of_a_network() -> None:
    module = Slotted().eval()
    offset = module.offset
    x = torch.randn(3, 4)
    with torch.no_grad():
        expected = module(x)
        assert torch.equal(wb.load(module, example=X).module(x), expected)
    assert wb.cost(module, example=X).macs == 4 * 3
    assert module.offset is offset and offset.dtype == torch.float64 and not offset.is_meta
    assert torch.equal(module(x), expected)


@pytest.mark.parametrize("of", [wb.load, wb.cost], ids=["load", "cost"])
@pytest.mark.parametrize(
    "example", [(X, None), (X, X[:, :3], False), (X, None, True, "b"), {"x": X, "mode": "b"}, (X, None, 3), [X, 1.5]]
)
def test_constants_among_the_inputs_are_told_apart_from_tensors(of: Any, example: Any) -> None:
    with pytest.raises(BadValue, match=r"The example holds .*only tensors can change.*wrap the network"):
        of(Scaled().eval(), example=example)


def test_constants_in_a_module_around_the_network_are_followed() -> None:
    """What the message says works."""
    inner = Scaled().eval()
    module = of_function(lambda _, x: inner(x, None, False, "b"))
    x = torch.randn(3, 4)
    with torch.no_grad():
        assert torch.allclose(wb.load(module, example=X).module(x), inner(x, None, False, "b"))


TRANSFORMS: dict[str, Callable[[nn.Linear, Tensor], Any]] = {
    "vmap": lambda linear, x: torch.vmap(linear)(x),
    "grad": lambda linear, x: torch.func.grad(lambda one: linear(one).square().sum())(x),
    "jvp": lambda linear, x: torch.func.jvp(linear, (x,), (x,))[1],
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms_of_functions_get_a_sentence(name: str) -> None:
    with pytest.raises(BadValue, match=r"transforms functions with torch\.func"):
        wb.load(of_function(TRANSFORMS[name]), example=X)


def test_a_call_with_parameters_is_followed() -> None:
    def forward(linear: nn.Linear, x: Tensor) -> Any:
        return torch.func.functional_call(linear, {name: 2 * one for name, one in linear.named_parameters()}, (x,))

    module = of_function(forward)
    x = torch.randn(3, 4)
    with torch.no_grad():
        assert torch.allclose(wb.load(module, example=X).module(x), 2 * module.linear(x), atol=1e-6)


VALUES: dict[str, Callable[[nn.Linear, Tensor], Any]] = {
    "NumPy": lambda linear, x: linear(x) * float(np.abs(x.detach().numpy()).max()),
    "item": lambda linear, x: linear(x) * x.sum().item(),
    "branch": lambda linear, x: linear(x) if x.sum() > 0 else -linear(x),
}


@pytest.mark.parametrize("name", VALUES)
def test_what_needs_values_is_told_by_its_line(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither the shape is blamed, nor does torch print the graph that it had so far."""
    module = of_function(VALUES[name])
    with pytest.raises(BadValue, match=rf"needs the values of its tensors .*line \d+ of {Path(__file__).name}"):
        wb.cost(module, example=X)
    capfd.readouterr()
    with pytest.raises(BadValue, match=rf"line \d+ of {Path(__file__).name}|needs the values of its tensors"):
        wb.load(module, example=X)
    assert capfd.readouterr() == ("", "")


class Pixels(nn.Module):
    """Takes pixels as they are stored."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4 * 36, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.conv(x.float() / 255)).flatten(1))


def test_pixels_stay_bytes_from_the_example_to_the_file(tmp_path: Path) -> None:
    module = Pixels().eval()
    images = torch.randint(0, 256, (5, 3, 8, 8), dtype=torch.uint8)
    model = wb.load(module, example=images[:1])
    assert model.dtype == torch.uint8
    assert wb.cost(model).macs == wb.cost(module, example=images[:1]).macs == 27 * 4 * 36 + 4 * 36 * 3
    small = wb.compress(model, wb.SVD(1.0, allow_growth=True))
    path = write_onnx(small.module, model.example, tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(str(path))
    assert session.get_inputs()[0].type == "tensor(uint8)"
    with torch.no_grad():
        expected = module(images)
    assert torch.allclose(model.module(images), expected, atol=1e-6)
    np.testing.assert_allclose(session.run(None, {"input": images.numpy()})[0], expected.numpy(), atol=1e-5)


def test_a_study_of_a_network_of_bytes(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (40, 3, 8, 8), dtype=torch.uint8, generator=generator)
    model = wb.load(Pixels().eval(), example=images[:1])
    labels = model.module(images).argmax(1)
    data = wb.data({split: (images.long(), labels) for split in ("train", "test")})
    study = wb.Study(model, data, path=tmp_path / "study")
    assert float(study.run(wb.Recipe(), progress=False)["accuracy"]) == 1.0


def test_attention_is_the_original_by_its_own_operations_to_the_bit() -> None:
    """Torch's fused attention, which it takes where no gradient is asked for, rounds differently: neither is nearer
    to the network in double precision.
    """
    torch.manual_seed(0)
    module = nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, norm_first=True), 6).eval()
    graph, x = wb.load(module, example=torch.randn(1, 9, 32)).module, torch.randn(3, 9, 32)
    plain = module(x).detach()  # with gradients
    with torch.no_grad():
        found, fused = graph(x), module(x)
        exact = copy.deepcopy(module).double()(x.double())
    assert torch.equal(found, plain)
    assert (found - exact).abs().max() < 3 * (fused - exact).abs().max() + 1e-7
