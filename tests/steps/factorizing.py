"""What the tests of all factorizations share: one-layer networks, and the checks that every family must pass."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from hypothesis import strategies as st
from torch import nn

from workbench.cost.trace import trace
from workbench.cost.weights import Weights
from workbench.factorization.step import Factorize
from workbench.step import Context, Row


@st.composite
def convolutions(draw: st.DrawFn, *, sizes: tuple[int, ...] = (1, 2, 3), grouped: bool = True) -> nn.Conv2d:
    """A convolution of any stride, padding, dilation, groups and bias, with random weights."""
    groups = draw(st.sampled_from([1, 1, 2, 3])) if grouped else 1
    torch.manual_seed(draw(st.integers(0, 99)))
    return nn.Conv2d(
        groups * draw(st.integers(1, 4)),
        groups * draw(st.integers(1, 4)),
        (draw(st.sampled_from(sizes)), draw(st.sampled_from(sizes))),
        stride=(draw(st.integers(1, 2)), draw(st.integers(1, 2))),
        padding=(draw(st.integers(0, 2)), draw(st.integers(0, 2))),
        dilation=(draw(st.integers(1, 2)), draw(st.integers(1, 2))),
        groups=groups,
        bias=draw(st.booleans()),
    )


def inputs_for(layer: nn.Module, n: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    if isinstance(layer, nn.Conv2d):
        return torch.randn(n, layer.in_channels, 11, 12, generator=generator)
    if isinstance(layer, nn.Conv1d):
        return torch.randn(n, layer.in_channels, 17, generator=generator)
    assert isinstance(layer, nn.Linear)
    return torch.randn(n, layer.in_features, generator=generator)


def applied(step: Factorize, net: nn.Module, x: torch.Tensor, *, aware: bool = False) -> tuple[nn.Module, list[Row]]:
    """The rewritten network, after checking that its traced cost is what the sketch said."""
    context = Context(example=x[:1], calibration=x if aware else None)
    sketch = step.plan_on(trace(net, x[:1]), Weights(net))
    new = step.apply(net.eval(), context)
    assert trace(new, x[:1]).totals == sketch.network.totals
    return new, list(sketch.rows)


@torch.no_grad()
def relative_output_error(net: nn.Module, new: nn.Module, x: torch.Tensor) -> float:
    exact = net(x)
    return float((new(x) - exact).norm() / exact.norm().clamp_min(1e-12))


def exact_at_full_rank(step: Factorize, layer: nn.Module, *, aware: bool) -> None:
    """At full rank, growth allowed, the outputs are the original's; a layer left alone says why."""
    net = nn.Sequential(layer).eval()
    x = inputs_for(layer, 40 if aware else 3)
    new, (row,) = applied(replace(step, allow_growth=True), net, x, aware=aware)
    assert relative_output_error(net, new, x) < 1e-4
    assert row.applies or row.action.startswith("left alone: ")


def small_net() -> nn.Module:
    """A stem, a strided and a grouped convolution with norms, a depthwise one, a 1 x 1 and a head."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1, bias=False),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.Conv2d(12, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1, groups=2, bias=False),
        nn.BatchNorm2d(16),
        nn.Conv2d(16, 16, 3, padding=1, groups=16),
        nn.Conv2d(16, 24, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(24, 10),
    ).eval()


def images(n: int = 64) -> torch.Tensor:
    return torch.randn(n, 3, 12, 12, generator=torch.Generator().manual_seed(1))


def actions(rows: list[Row]) -> dict[str, str]:
    return {row.layer: row.action for row in rows}


def settings_of(step: Factorize) -> dict[str, Any]:
    return {spec.name: getattr(step, spec.name) for spec in step.settings()}
