"""Transposed convolutions and those over three axes: every family treats them as it treats others."""

from __future__ import annotations

from math import prod
from typing import Any

import pytest
import torch
from factorizing import applied, relative_output_error
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import workbench as wb
from workbench.building.build import rewrite
from workbench.cost.layer import Layer
from workbench.cost.trace import trace
from workbench.factorization.chain import oriented
from workbench.factorization.step import Factorize
from workbench.statistics.moments import patches

KINDS: dict[str, tuple[Any, int]] = {
    "transposed, 1 axis": (nn.ConvTranspose1d, 1), "transposed": (nn.ConvTranspose2d, 2),
    "transposed, 3 axes": (nn.ConvTranspose3d, 3), "three axes": (nn.Conv3d, 3),
}  # fmt: skip
GROWING: dict[str, Any] = {"allow_growth": True}
FAMILIES: list[Factorize] = [
    wb.Tucker(1.0, **GROWING), wb.CP(1.0, **GROWING), wb.CP(1.0, form="3-way", **GROWING), wb.SVD(1.0, **GROWING),
    wb.TensorTrain(1.0, **GROWING), wb.SpatialSVD(1.0, **GROWING), wb.Separable("energy:1.0", **GROWING),
]  # fmt: skip


@st.composite
def layers(draw: st.DrawFn) -> tuple[nn.Module, tuple[int, ...]]:
    """A layer of such a kind with any settings, and a shape that it reads."""
    kind, axes = KINDS[draw(st.sampled_from(sorted(KINDS)))]
    groups, stride = draw(st.sampled_from([1, 1, 2])), [draw(st.integers(1, 3)) for _ in range(axes)]
    torch.manual_seed(draw(st.integers(0, 99)))
    more = {}
    if kind is not nn.Conv3d:
        more["output_padding"] = tuple(draw(st.integers(0, step - 1)) for step in stride)
    layer = kind(
        groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 3)),
        tuple(draw(st.integers(1, 4)) for _ in range(axes)), stride=tuple(stride), padding=draw(st.integers(0, 1)),
        dilation=draw(st.integers(1, 2)), groups=groups, bias=draw(st.booleans()), **more,
    )  # fmt: skip
    return layer, (layer.in_channels, *(8, 7, 9)[:axes])


def of(layer: nn.Module, x: torch.Tensor) -> Layer:
    (found,) = trace(nn.Sequential(layer), x[:1]).layers
    return found


@settings(max_examples=60, deadline=None)
@given(layers())
@torch.no_grad()
def test_patches_times_the_weight_are_the_outputs(drawn: tuple[nn.Module, tuple[int, ...]]) -> None:
    layer, shape = drawn
    x = torch.randn(2, *shape, generator=torch.Generator().manual_seed(1))
    wanted = layer(x) if layer.bias is None else layer(x) - layer.bias.reshape(-1, *[1] * (len(shape) - 1))
    one = of(layer, x)
    seen = patches(one, x).reshape(-1, one.groups, one.c_in // one.groups * prod(one.kernel))
    weight = oriented(one, layer.weight).reshape(one.groups, one.c_out // one.groups, -1)
    found = torch.einsum("pgd,god->pgo", seen, weight).reshape(2, -1, one.c_out).movedim(2, 1)
    assert torch.allclose(found.reshape(wanted.shape), wanted, atol=1e-5)


@pytest.mark.parametrize("step", FAMILIES, ids=lambda step: f"{step.brief}, {getattr(step, 'form', '')}")
@settings(max_examples=25, deadline=None)
@given(drawn=layers(), aware=st.booleans())
def test_full_rank_is_exact(step: Factorize, drawn: tuple[nn.Module, tuple[int, ...]], aware: bool) -> None:
    layer, shape = drawn
    x = torch.randn(3, *shape, generator=torch.Generator().manual_seed(2))
    net = nn.Sequential(layer).eval()
    new, _ = applied(step, net, x, aware=aware)
    assert relative_output_error(net, new, x) < 1e-4


@pytest.mark.parametrize("kind", [nn.ConvTranspose2d, nn.Conv3d])
@pytest.mark.parametrize("step", [wb.Tucker((4, 4)), wb.SVD(4), wb.SpatialSVD(6), wb.Separable(2), wb.Grouped(2)])
def test_a_fit_to_the_data_beats_that_to_the_weights(kind: Any, step: Factorize) -> None:
    """Inputs that live in a few directions: what does not meet them may be lost."""
    torch.manual_seed(0)
    axes = 2 if kind is nn.ConvTranspose2d else 3
    net = nn.Sequential(kind(16, 16, 3, stride=2, padding=1)).eval()
    mix = torch.randn(16, 3)
    x = torch.einsum("ck,nk...->nc...", mix, torch.randn(24, 3, *[6] * axes)) + 0.1 * torch.randn(24, 16, *[6] * axes)
    if not step.plan(wb.load(net, example=x[:1])).changes:
        assert axes == 3 and isinstance(step, wb.SpatialSVD)
        return
    aware, plain = (applied(step, net, x, aware=on)[0] for on in (True, False))
    assert relative_output_error(net, aware, x) < 0.9 * relative_output_error(net, plain, x)


def test_a_decoder_is_smaller_by_what_the_plan_says_and_its_file_gives_the_same() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 32, 3, stride=2, padding=1), nn.ReLU(), nn.ConvTranspose2d(32, 24, 4, stride=2, padding=1),
        nn.BatchNorm2d(24), nn.ReLU(), nn.ConvTranspose2d(24, 2, 3, padding=1, output_padding=0),
    ).eval()  # fmt: skip
    model = wb.load(net, example=(1, 3, 12, 12))
    recipe = wb.Recipe((wb.Tucker(8),))
    plan = recipe.plan(model)
    assert {row.layer for row in plan.rows if row.applies} >= {"2"}
    # (12 / 2)^2 places: 32 to 8 channels, 8 to 8 with 16 taps, and then 8 to 24 at 12^2 places
    row = next(row for row in plan.rows if row.layer == "2")
    assert row.macs_after == 36 * 32 * 8 + 36 * 8 * 8 * 16 + 144 * 8 * 24
    found = rewrite(model, recipe, None)
    assert trace(found, model.example).totals.macs == plan.macs
