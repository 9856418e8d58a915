"""Rewrites that need training, and blocks that go: plan and truth agree, and each is what it says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from nets import EXAMPLE, Plain, data_for, images, make
from torch import nn
from torch.nn import functional

import workbench as wb
from workbench.building.build import rewrite
from workbench.cost.features import work
from workbench.cost.trace import trace
from workbench.errors import BadValue, StepFailed
from workbench.models import Model
from workbench.models.canonical import canonical
from workbench.models.structure import restore, save_variant
from workbench.onnx_file import write_onnx
from workbench.step import Context, Step
from workbench.steps.resolution import Resize, resized
from workbench.steps.shift import ShiftChannels, dealt


class Block(nn.Module):
    def __init__(self, width: int, strength: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.conv.weight.data.mul_(strength)
        self.conv.bias.data.mul_(strength)  # type: ignore[union-attr]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.relu(self.conv(x))


class Functional(nn.Module):
    """A flattened map without a layer that flattens it, as in torchvision's VGG."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 12, 3, stride=2, padding=1)
        self.head = nn.Sequential(nn.Linear(192, 20), nn.ReLU(), nn.Linear(20, 5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(torch.relu(self.conv(x)).flatten(1))
        return logits


def blocks() -> nn.Module:
    """Three blocks, of which the middle one does next to nothing."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2, padding=1), Block(16, 3), Block(16, 0.001), Block(16, 3),
        nn.Conv2d(16, 12, 3, padding=1), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(48, 20), nn.ReLU(), nn.Linear(20, 5),
    ).eval()  # fmt: skip


def model() -> Model:
    return wb.load(blocks(), example=EXAMPLE)


POOLED = wb.GlobalPool()
STEPS = (wb.DropBlocks(1), POOLED, wb.Shift(), POOLED | wb.Resolution(6), POOLED | wb.Shift())


@pytest.mark.parametrize("recipe", STEPS, ids=lambda r: r.recipe().name if isinstance(r, Step) else r.name)
def test_plan_export_and_store(recipe: Step | wb.Recipe, tmp_path: Path) -> None:
    m = model()
    recipe = recipe.recipe() if isinstance(recipe, Step) else recipe
    module = rewrite(m, recipe, data_for(m.module))
    found, planned = trace(module, EXAMPLE).totals, recipe.plan(m)
    assert (planned.macs, planned.params) == (found.macs, found.params) != (m.network.totals.macs, 0)
    write_onnx(module, EXAMPLE, tmp_path / "a.onnx")  # compares the outputs with the module's
    save_variant(module, m, tmp_path / "a.safetensors")
    assert torch.equal(restore(tmp_path / "a.safetensors")(images(3)), module(images(3)))
    assert torch.equal(m.module(images(3)), blocks()(images(3)))


def test_the_block_that_does_nothing_goes() -> None:
    m = model()
    dropped = wb.DropBlocks(1).apply(m.module, Context(EXAMPLE, calibration=images(100)))
    left = {name.partition(".")[0] for name, _ in dropped.named_parameters()}
    assert left == {name.partition(".")[0] for name, _ in m.module.named_parameters()} - {"2"}
    x = images(20, 3)
    assert torch.allclose(dropped(x), m.module(x), atol=0.01)
    assert list(wb.DropBlocks(1).plan(m).layer) == ["1", "2", "3"]


def test_blocks_that_cannot_go() -> None:
    with pytest.raises(BadValue, match="3 of the chosen blocks can go: 1, 2, 3"):
        wb.DropBlocks(4).plan(model())
    with pytest.raises(StepFailed, match="calibration images"):
        wb.DropBlocks(1).apply(model().module, Context(EXAMPLE))
    plain = wb.load(make(Plain), example=EXAMPLE)
    assert "no part of the network adds to its own input" in wb.DropBlocks().plan(plain).action[0]
    assert "does not end in fully connected layers" in wb.GlobalPool().plan(wb.load("fashion-resnet")).action[0]


def test_a_linear_head_is_found_again() -> None:
    """Where the old head is linear in the channels' averages, the new one is that head."""
    torch.manual_seed(0)
    spread = nn.Linear(48, 5)
    spread.weight.data = spread.weight.data.reshape(5, 12, 4).mean(2, keepdim=True).expand(5, 12, 4).reshape(5, 48)
    net = nn.Sequential(nn.Conv2d(3, 12, 3, stride=4, padding=1), nn.Flatten(), spread).eval()
    pooled = wb.GlobalPool().apply(canonical(net, EXAMPLE), Context(EXAMPLE, calibration=torch.randn(600, 3, 8, 8)))
    x = images(50, 4)
    with torch.no_grad():
        assert (pooled(x) - net(x)).abs().max() < 0.02 * net(x).abs().max()
    assert [type(layer) for layer in pooled.get_submodule("2")] == [nn.AdaptiveAvgPool2d, nn.Flatten, nn.Linear]


def test_a_head_that_is_flattened_by_a_function() -> None:
    """A head on `x.flatten(1)`, with an activation called as a function, is replaced as a whole."""
    m = wb.load(Functional().eval(), example=EXAMPLE)
    pooled = rewrite(m, wb.GlobalPool().recipe(), data_for(m.module))
    names = {name for name, _ in pooled.named_parameters()}
    assert "head.0.2.weight" in names and not any(name.startswith("head.2") for name in names)
    planned, found = wb.GlobalPool().plan(m), trace(pooled, EXAMPLE).totals
    assert (planned.macs, planned.params, planned.memory_access_bytes) == (
        found.macs, found.params, found.memory_access_bytes,
    )  # fmt: skip


@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(3, 1, 1), (3, 2, 1), (5, 1, 1), (3, 1, 2)])
def test_shift_and_pointwise_are_a_convolution_with_one_tap_a_channel(kernel: int, stride: int, dilation: int) -> None:
    torch.manual_seed(0)
    channels, pad = 30, dilation * (kernel // 2)
    shift = ShiftChannels(channels, (kernel,) * 2, (stride,) * 2, (pad,) * 2, (dilation,) * 2)
    weight = torch.randn(7, channels, kernel, kernel)
    mask = torch.zeros(channels, kernel * kernel)
    for offset, (start, end) in enumerate(dealt(channels, kernel * kernel)):
        mask[start:end, offset] = 1
    x = torch.randn(2, channels, 9, 11)
    masked = weight * mask.view(1, channels, kernel, kernel)
    dense = functional.conv2d(x, masked, stride=stride, padding=pad, dilation=dilation)
    assert torch.allclose(functional.conv2d(shift(x), masked.sum((2, 3), keepdim=True)), dense, atol=1e-4)
    assert sorted(end - start for start, end in dealt(channels, kernel**2))[-1] <= channels // kernel**2 + 1


def test_shift_is_fitted_to_the_outputs() -> None:
    net = nn.Sequential(nn.Conv2d(3, 18, 1), nn.ReLU(), nn.Conv2d(18, 6, 3, padding=1)).eval()
    x, fresh = images(300), images(60, 5)
    with torch.no_grad():
        errors = [
            float((wb.Shift().apply(net, scene)(fresh) - net(fresh)).square().mean())
            for scene in (Context(EXAMPLE), Context(EXAMPLE, calibration=x))
        ]
    assert errors[1] < 0.7 * errors[0]
    plan = wb.Shift().plan(wb.load(net, example=EXAMPLE)).set_index("layer")
    assert plan.macs_after["2"] * 9 == plan.macs["2"] and "single tap" in plan.action["0"]


def test_resolution_is_a_resize_in_front() -> None:
    m = wb.load("fashion-resnet")
    small = wb.Resolution(20).apply(m.module, Context(m.example))
    x = torch.randn(3, 1, 28, 28)
    with torch.no_grad():
        assert torch.allclose(small(x), m.module(Resize((20, 20))(x)), atol=1e-5)
    assert wb.Resolution(20).plan(m).macs == trace(m.module, torch.zeros(1, 1, 20, 20)).totals.macs
    left = wb.Resolution(28).plan(m)
    assert not left.applies.any() and "28 already" in left.action[0]


def test_a_head_of_one_size_rules_a_smaller_image_out() -> None:
    plan = wb.Resolution(20).plan(wb.load("fashion-vgg"))
    assert not plan.applies.any() and "GlobalPool() before" in plan.action[0]


@pytest.mark.parametrize(("name", "size"), [("resnet18", 97), ("mobilenet_v3_small", 64)])
def test_resolution_of_torchvision_networks(torchvision: object, name: str, size: int) -> None:
    net = getattr(torchvision.models, name)(weights=None).eval()  # type: ignore[attr-defined]
    m = wb.load(net, example=torch.zeros(1, 3, 160, 160))
    assert wb.Resolution(size).plan(m).macs == trace(net, torch.zeros(1, 3, size, size)).totals.macs
    even = resized(m.network, m.network.layers[0], (128, 128))  # the same from shapes alone
    assert even.totals.macs == trace(net, torch.zeros(1, 3, 128, 128)).totals.macs


class Patches(nn.Module):
    """One position of its own for each patch: images of another size do not fit."""

    def __init__(self, positions: int) -> None:
        super().__init__()
        self.patch, self.head = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 3)
        self.mix = nn.Linear(8, 8)
        self.position = nn.Parameter(torch.randn(1, positions, 8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2) + self.position
        return self.head(torch.tanh(self.mix(x)).mean(1))  # type: ignore[no-any-return]


@pytest.mark.parametrize("before", [wb.Recipe(), wb.SVD(0.5, layers="mix").recipe()], ids=["alone", "after SVD"])
def test_images_of_another_size_that_do_not_fit_are_no_error(before: wb.Recipe) -> None:
    model = wb.load(Patches(16), example=(1, 3, 16, 16))
    recipe = before | wb.Resolution(8)
    plan = recipe.plan(model)
    (row,) = plan[plan.step == wb.Resolution(8).brief].itertuples()
    assert not row.applies
    assert "left alone" in row.action
    assert recipe.plan(model).macs == wb.cost(wb.compress(model, recipe)).macs


class Positions(nn.Module):
    """As `Patches`, on maps."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 3)
        self.position = nn.Parameter(torch.randn(1, 8, 16, 16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head((self.a(x) * self.position).mean((2, 3)))  # type: ignore[no-any-return]


def whole_map() -> nn.Module:
    """A convolution as large as its map takes the place of a pooling."""
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 16, groups=8), nn.Flatten(), nn.Linear(8, 3))


@pytest.mark.parametrize("net", [Positions, whole_map])
@pytest.mark.parametrize("before", [wb.Recipe(), wb.Prune(0.5).recipe()], ids=["alone", "after Prune"])
def test_maps_that_fit_one_size_alone(net: Callable[[], nn.Module], before: wb.Recipe) -> None:
    model = wb.load(net(), example=(1, 3, 16, 16))
    recipe = before | wb.Resolution(8)
    assert recipe.plan(model).macs == wb.cost(wb.compress(model, recipe)).macs == wb.cost(model).macs


def test_a_plan_knows_the_work_of_a_pooled_head() -> None:
    """Latency goes by it, link by link."""
    m = model()
    planned = wb.GlobalPool().plan(m).network
    found = trace(rewrite(m, wb.GlobalPool().recipe(), data_for(m.module)), EXAMPLE)
    assert work(planned, 1e9)[-3:] == work(found, 1e9)[-3:]


def test_resolution_speaks_of_what_computes() -> None:
    """A line for each layer with weights and arithmetic: neither for its norms nor for sums."""
    m = wb.load("fashion-resnet")
    computing = [name for name, one in m.module.named_modules() if isinstance(one, (nn.Conv2d, nn.Linear))]
    assert list(wb.Resolution(20).plan(m).layer) == computing


@pytest.mark.parametrize(("pad", "taps", "stride"), [(1, 3, 1), (0, 3, 1), (2, 5, 1), (1, 3, 2)])
def test_a_shift_moves_the_bytes_that_its_plan_tells(pad: int, taps: int, stride: int) -> None:
    """The plan has it as one operation, and the network that is made as padding, slices and a concatenation."""
    conv = nn.Conv2d(32, 48, taps, padding=pad, stride=stride)
    net = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), conv, nn.ReLU(), nn.Conv2d(48, 8, 1)).eval()
    model = wb.load(net, example=(1, 3, 12, 12))
    made = trace(wb.compress(model, wb.Shift()).module, model.example).totals
    assert wb.Shift().plan(model).memory_access_bytes == made.memory_access_bytes
