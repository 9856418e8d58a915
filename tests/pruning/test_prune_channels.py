"""`PruneChannels`: the plan is what happens, the scores are the definitions, the fit is least squares."""

from __future__ import annotations

import copy
import itertools
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from nets import EXAMPLE, NETS, Concatenated, Depthwise, Plain, Residual, data_for, images, make
from torch import nn
from torch.nn import functional

import workbench as wb
from workbench.building.build import rewrite
from workbench.cost.trace import trace
from workbench.data.batches import as_split
from workbench.errors import BadValue, UnknownName
from workbench.jobs import Reporter
from workbench.models.canonical import canonical
from workbench.models.structure import restore, save_variant
from workbench.onnx_file import write_onnx
from workbench.pruning.channels import follow
from workbench.pruning.importance import KINDS, by_gradient, by_readers, from_weights, readers
from workbench.pruning.refit import refit
from workbench.pruning.surgery import cut
from workbench.statistics.collector import Feed
from workbench.statistics.moments import Moments, collect
from workbench.step import Context
from workbench.tasks.classification import CLASSIFICATION
from workbench.tasks.entropy import cross_entropy


def context_of(net: nn.Module) -> Context:
    data = data_for(net)
    return Context(EXAMPLE, calibration=images(200), train=data["train"], original=net, task=CLASSIFICATION)


@pytest.mark.parametrize("kind", NETS)
def test_the_plan_is_what_happens(kind: type[nn.Module]) -> None:
    step = wb.PruneChannels(rounds=1) if kind in {Plain, Depthwise} else wb.PruneChannels(ratio=0.4, rounds=2)
    net = make(kind)
    model = wb.load(net, example=EXAMPLE)
    pruned = step.apply(canonical(net, EXAMPLE), context_of(net))
    sketch = step.plan_on(model.network, model.weights)
    assert sketch.network.layers == trace(pruned, EXAMPLE).layers
    after = {row.layer: (row.macs_after, row.params_after) for row in sketch.rows}
    real = trace(pruned, EXAMPLE).by_module
    assert after == {name: (real[name][0].macs, real[name][0].params) for name in after}
    assert sum(row.macs for row in sketch.rows) == model.network.totals.macs
    assert all(part.shape == p.shape for part, p in zip(net.parameters(), make(kind).parameters(), strict=True))


def test_the_plan_follows_earlier_steps() -> None:
    """After a factorization the layers to cut exist nowhere yet: the plan knows them by their shapes."""
    net = make(Residual)
    model = wb.load(net, example=EXAMPLE)
    recipe = wb.Tucker(rank=0.5, data_aware=False) | wb.PruneChannels(ratio=0.4, round_to=1)
    module = rewrite(model, recipe, data_for(net))
    assert recipe.plan(model).macs == trace(module, EXAMPLE).totals.macs < model.network.totals.macs


@pytest.mark.parametrize(("importance", "scope"), [*itertools.product(KINDS, ["layer", "global"])])
def test_every_importance_and_scope(importance: str, scope: str) -> None:
    net = make(Concatenated)
    model = wb.load(net, example=EXAMPLE)
    step = wb.PruneChannels(ratio="macs:0.6", importance=importance, scope=scope, rounds=2)
    pruned = step.apply(canonical(net, EXAMPLE), context_of(net))
    assert trace(pruned, EXAMPLE).totals.macs <= 0.6 * model.network.totals.macs
    sketch = step.plan_on(model.network, model.weights)
    assert sketch.network.totals.macs <= 0.6 * model.network.totals.macs
    if step.exact:
        assert sketch.network.totals == trace(pruned, EXAMPLE).totals
    else:
        assert any("about" in row.action for row in sketch.rows)


def test_scores_are_their_definitions() -> None:
    net = canonical(make(Plain), EXAMPLE)
    channels = follow(trace(net, EXAMPLE), net, EXAMPLE)
    group = next(g for g in channels.groups if g.layers == ("a",))
    size = net.a.weight.detach().flatten(1).norm(dim=1)
    (scores,) = from_weights("magnitude", net, channels, [group])
    assert np.allclose(scores, (size / size.mean()).numpy())
    gamma = net.na.weight.detach().abs()
    (scores,) = from_weights("bn-scale", net, channels, [group])
    assert np.allclose(scores, (gamma / gamma.mean()).numpy())


def test_taylor_predicts_what_a_small_change_does_to_the_loss() -> None:
    """The score is the mean square of d loss / d gate at 1, the gate being the norm's scale and shift together."""
    net = canonical(make(Plain), EXAMPLE)
    channels = follow(trace(net, EXAMPLE), net, EXAMPLE)
    group = next(g for g in channels.groups if g.layers == ("a",))
    x, y = images(8), torch.arange(8) % 5
    loss = partial(cross_entropy, reduction="sum")
    (scores,) = by_gradient(net, channels, [group], as_split(x, y), loss, Reporter())
    h, expected = 1e-3, []
    for unit in range(3):
        losses = []
        for factor in (1 + h, 1 - h):
            moved = make(Plain)
            moved.na.weight.data[unit] *= factor
            moved.na.bias.data[unit] *= factor
            losses.append(functional.cross_entropy(moved(x).double(), y, reduction="none").detach())
        expected.append(float(((losses[0] - losses[1]) / (2 * h)).square().mean()))
    assert scores[:3] == pytest.approx(expected, rel=0.02, abs=1e-9)


def test_readers_score_is_the_error_after_the_best_fit() -> None:
    """Removing one input channel and regressing on the others, by numpy's least squares."""
    net = nn.Sequential(nn.Conv2d(3, 6, 1), nn.Conv2d(6, 4, 1, bias=True), nn.Flatten(), nn.Linear(4 * 64, 5)).eval()
    net = canonical(net, EXAMPLE)
    network = trace(net, EXAMPLE)
    channels = follow(network, net, EXAMPLE)
    group = next(g for g in channels.groups if g.layers == ("0",))
    random = torch.Generator().manual_seed(0)
    mixed = torch.eye(6, dtype=torch.float64) + 0.4 * torch.randn(6, 6, generator=random, dtype=torch.float64)
    seen = torch.randn(20_000, 6, generator=random, dtype=torch.float64) @ mixed + 1
    weight = net[1].weight.detach().flatten(1).double()
    moments = {"1": Moments(seen.sum(0)[None], (seen.T @ seen)[None], len(seen))}
    (scores,) = by_readers(net, channels, [group], readers(net, channels, moments, Reporter()))
    out, centred = seen @ weight.T, seen - seen.mean(0)
    out = out - out.mean(0)
    for channel in range(6):
        others = [c for c in range(6) if c != channel]
        left = out - centred[:, others] @ torch.linalg.lstsq(centred[:, others], out).solution
        assert scores[channel] == pytest.approx(float(left.square().sum() / out.square().sum()), rel=0.05)


@pytest.mark.parametrize("kind", [Plain, Residual, Depthwise])
def test_the_fit_is_nearer_to_the_old_outputs_than_cutting_alone(kind: type[nn.Module]) -> None:
    net = canonical(make(kind), EXAMPLE)
    x, fresh = images(300), images(100, seed=9)
    network = trace(net, EXAMPLE)
    channels = follow(network, net, EXAMPLE)
    mask = np.ones(channels.count, dtype=bool)
    for group in channels.groups:
        mask[group.units[: len(group.units) // 4]] = False
    fitted = copy.deepcopy(net)
    layers = {name: ops[0] for name, ops in network.by_module.items() if ops[0].kind in {"conv", "linear"}}
    layers = {name: layer for name, layer in layers.items() if layer.groups == 1}
    moments = collect(net, layers, Feed(as_split(x)), Reporter())
    refit(fitted, channels, mask, readers(net, channels, moments, Reporter()))

    def error(module: nn.Module) -> float:
        return float((cut(module, channels, mask)(fresh) - net(fresh)).square().mean())

    with torch.no_grad():
        assert error(fitted) < 0.5 * error(net)


def test_a_channel_that_others_can_replace_costs_nothing() -> None:
    """Two equal channels: one goes, its reader takes the sum of both columns, the outputs stay."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1), nn.Flatten(), nn.Linear(72, 5)).eval()
    with torch.no_grad():
        net[0].weight[3], net[0].bias[3] = net[0].weight[2], net[0].bias[2]
        wanted = net(images(20, 5))
        step = wb.PruneChannels(ratio=0.25, round_to=1, rounds=1, layers="0")
        pruned = step.apply(canonical(net, EXAMPLE), Context(EXAMPLE, calibration=images(400)))
        assert pruned[0].out_channels == 3
        assert torch.allclose(pruned(images(20, 5)), wanted, atol=0.02 * float(wanted.abs().max()))


def test_stored_exported_and_restored(tmp_path: Path) -> None:
    net = make(Depthwise)
    model = wb.load(net, example=EXAMPLE)
    pruned = wb.PruneChannels().apply(model.module, context_of(net)).eval()
    write_onnx(pruned, EXAMPLE, tmp_path / "a.onnx")  # compares the outputs
    save_variant(pruned, model, tmp_path / "a.safetensors")
    assert torch.equal(restore(tmp_path / "a.safetensors")(images(3)), pruned(images(3)))


def test_what_could_not_be_followed_is_told() -> None:
    class Running(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.d = nn.Conv2d(3, 16, 3), nn.Linear(16, 16), nn.Linear(16, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.d(torch.relu(self.b(torch.cumsum(self.a(x).mean((2, 3)), 1))))

    net = canonical(Running().eval(), EXAMPLE)
    report = Reporter()
    pruned = wb.PruneChannels(ratio=0.5, rounds=1).apply(net, replace(context_of(net), progress=report))
    assert pruned.a.out_channels == 16 and pruned.b.out_features == 8
    assert [note for note in report.notes if "could not follow the channels of a (" in note]


def test_only_the_chosen_layers() -> None:
    net = make(Residual)
    model = wb.load(net, example=EXAMPLE)
    plan = wb.PruneChannels(ratio=0.5, layers=("b", "c")).plan(model).set_index("layer")
    assert "tied to a" in plan.action["c"] and not plan.applies["a"]
    assert plan.action["b"] == "32 to 16 channels"
    assert "outputs are the network's outputs" in plan.action["d"]
    with pytest.raises(UnknownName, match="layer"):
        wb.PruneChannels(layers="nothing").plan(model)


BAD = ("0.5", "macs:", "macs:0", "macs:50", "evbmf", 50, 1.0, -0.1, float("nan"), True, None)


@pytest.mark.parametrize("ratio", BAD)
def test_ratios_that_make_no_sense(ratio: object) -> None:
    with pytest.raises(BadValue, match="ratio"):
        wb.PruneChannels(ratio=ratio)  # type: ignore[arg-type]  # the mistake under test


def test_a_ratio_that_would_empty_a_layer_is_refused() -> None:
    model = wb.load(make(Plain), example=EXAMPLE)
    with pytest.raises(BadValue, match="'a' without channels: it has 16"):
        wb.PruneChannels(ratio=0.97).plan(model)
    step = wb.PruneChannels(ratio="macs:0.001")
    assert not step.plan(model)["applies"].any()  # it shows why, and what runs is refused
    with pytest.raises(BadValue, match="of the MACs remain"):
        wb.compress(model, step)


def test_scores_of_a_step_are_those_of_its_groups() -> None:
    """What the screen shows of a layer's channels: norms of the filters, as shares of their mean."""
    net = canonical(make(Plain), EXAMPLE)
    scores = wb.PruneChannels(importance="magnitude").scores(net, Context(EXAMPLE))
    channels = follow(trace(net, EXAMPLE), net, EXAMPLE)
    (key,) = [group.key for group in channels.groups if group.layers == ("a",)]
    size = net.a.weight.detach().flatten(1).norm(dim=1)
    assert np.allclose(scores[key], (size / size.mean()).numpy())
    assert scores.keys() == {group.key for group in channels.groups}


def test_one_threshold_over_all_layers_is_planned_with_the_importance_that_is_asked_for() -> None:
    """By weights the first layer is small, by its norm's scale it is large: one of the two plans cuts it."""
    net = make(Plain)
    with torch.no_grad():
        net.na.weight.fill_(10.0)
        net.na.weight[:8] = 1e-3
        net.a.weight.copy_(torch.randn_like(net.a.weight).sign() * 0.1)
    model = wb.load(net, example=EXAMPLE)

    def width(importance: str) -> int:
        step = wb.PruneChannels(ratio=0.4, importance=importance, scope="global", round_to=1, rounds=1)
        (layer,) = [one for one in step.plan(model).network.layers if one.module == "a"]
        return layer.c_out

    assert width("bn-scale") == net.a.out_channels - 8 < width("magnitude")
