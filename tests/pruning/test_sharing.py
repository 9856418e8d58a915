"""`ShareWeights` and `PruneNM`: few values, the pattern, and what both leave as it was."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import EXAMPLE, Depthwise, Plain, Residual, data_for, images, make
from onnx import numpy_helper
from torch import nn

import workbench as wb
from workbench.building.build import context, rewrite
from workbench.coding import pack
from workbench.cost.trace import trace
from workbench.errors import BadValue
from workbench.jobs import Reporter
from workbench.onnx_file import write_onnx
from workbench.pruning.folding import fold, folded
from workbench.step import Context
from workbench.tasks.classification import CLASSIFICATION
from workbench.training.loop import score


@pytest.mark.parametrize("kind", [Plain, Residual, Depthwise])
def test_folding_keeps_the_outputs_and_is_planned_exactly(kind: type[nn.Module]) -> None:
    net, x = make(kind), images(5)
    network = trace(net, EXAMPLE)
    with torch.no_grad():
        wanted = net(x)
        done = fold(make(kind), network)
        assert torch.allclose(done(x), wanted, atol=1e-4)
    assert folded(network, net).totals == trace(done, EXAMPLE).totals
    assert not any(isinstance(part, nn.BatchNorm2d) for part in done.modules())


@pytest.mark.parametrize("epochs", [0, 1])
def test_what_ships_has_few_values_and_the_same_zeros(epochs: int, tmp_path: Path) -> None:
    net = make(Plain)
    m, d = wb.load(net, example=EXAMPLE), data_for(net)
    recipe = wb.Prune(0.5) | wb.ShareWeights(bits=3, epochs=epochs, lr=1e-3)
    module = rewrite(m, recipe, d)
    path = write_onnx(module, EXAMPLE, tmp_path / "a.onnx")
    large = [numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer if t.dims and len(t.dims) > 1]
    assert len(large) == 4
    for array in large:
        assert len(set(array[array != 0].ravel().tolist())) <= 8
    assert sum((a == 0).sum() for a in large) >= 0.5 * sum(a.size for a in large) - 8
    assert recipe.plan(m).params == trace(module, EXAMPLE).totals.params
    assert 6 * len(pack(path)) < 4 * recipe.plan(m).params


def test_training_moves_the_values_and_not_who_shares_them() -> None:
    net = make(Plain)
    d = data_for(net)
    m = wb.load(net, example=EXAMPLE)
    before = wb.ShareWeights(bits=2, epochs=0).apply(net, context(m, d, Reporter()))
    after = wb.ShareWeights(bits=2, epochs=2, lr=3e-3).apply(net, context(m, d, Reporter()))
    assert score(after, d["validation"], CLASSIFICATION).beats(score(before, d["validation"], CLASSIFICATION))
    for name in ("b", "c"):
        old, new = (getattr(module, name).weight.detach().flatten() for module in (before, after))
        assert not torch.equal(old, new)
        for value in old.unique():
            assert len(new[old == value].unique()) == 1
    assert not any("parametrizations" in name for name, _ in after.named_modules())


def test_layers_too_small_for_a_codebook_are_left_alone() -> None:
    plan = wb.ShareWeights(bits=8).plan(wb.load(make(Plain), example=EXAMPLE)).set_index("layer")
    assert "saves nothing" in plan.action["a"] and plan.applies["c"] and not plan.applies["d"]


@settings(deadline=None, max_examples=30)
@given(n=st.integers(1, 3), seed=st.integers(0, 99))
def test_n_of_m_and_the_largest_stay(n: int, seed: int) -> None:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(8, 5, 3), nn.Flatten(), nn.Linear(20, 4))
    new = wb.PruneNM(n, 4).apply(net, Context(torch.zeros(1, 8, 4, 4)))
    for index, inputs in ((0, 8), (2, 20)):
        old, pruned = (module[index].weight.detach().transpose(0, 1).reshape(inputs, -1) for module in (net, new))
        for group in range(0, inputs, 4):
            kept = pruned[group : group + 4] != 0
            assert bool((kept.sum(0) == n).all())
            smallest = torch.where(kept, old[group : group + 4].abs(), torch.inf).min(0).values
            largest_gone = torch.where(kept, 0, old[group : group + 4].abs()).max(0).values
            assert bool((largest_gone <= smallest).all())


def test_layers_that_do_not_divide_are_left_alone() -> None:
    plan = wb.PruneNM().plan(wb.load(make(Depthwise), example=EXAMPLE)).set_index("layer")
    assert plan.action["a"] == "left alone: its 3 inputs do not divide by 4"
    assert not plan.applies["c"] and plan.applies["b"]
    assert wb.PruneNM().brief == "PruneNM 2:4"
    with pytest.raises(BadValue, match="n must be less than m"):
        wb.PruneNM(4, 4)


@pytest.mark.parametrize("step", [wb.Prune(0.5, importance="activation"), wb.PruneNM(importance="activation")])
def test_weights_that_meet_nothing_go_first(step: wb.steps.Step) -> None:
    """Wanda: a large weight on a silent input matters less than a small one on a loud input."""
    net = nn.Sequential(nn.Linear(4, 3, bias=False))
    net[0].weight.data = torch.tensor([[9.0, 8.0, 1.0, 1.5]] * 3)
    x = torch.randn(200, 4) * torch.tensor([0.01, 0.01, 5, 5])
    pruned = step.apply(net, Context(x[:1], calibration=x))  # type: ignore[attr-defined]  # both rewrite
    assert pruned[0].weight.tolist() == [[0, 0, 1.0, 1.5]] * 3


def test_a_study_counts_the_bundle_and_exports_it_with_its_decoder(tmp_path: Path) -> None:
    net = make(Plain)
    study = wb.Study(wb.load(net, example=EXAMPLE), data_for(net))
    variant = study.run(wb.Prune(0.8) | wb.ShareWeights(bits=3, epochs=0), progress=False)
    manifest = wb.export(variant, tmp_path / "out", format="bundle")
    assert set(manifest.files) >= {"model.wbz", "decode.py", "recipe.yaml"}
    size = (tmp_path / "out" / "model.wbz").stat().st_size
    assert study.frame().huffman_bytes.iloc[-1] == variant["huffman_bytes"].value == size
    assert size < 0.3 * study.baseline["huffman_bytes"].value
    command = [sys.executable, "decode.py", "model.wbz", "model.onnx"]
    subprocess.run(command, cwd=tmp_path / "out", check=True)
    assert (tmp_path / "out" / "model.onnx").read_bytes() == variant.onnx.read_bytes()


def test_a_variant_says_that_zeros_save_no_time() -> None:
    report = Reporter()
    wb.Prune(0.5).apply(make(Plain), Context(EXAMPLE, progress=report))
    assert "latency stays" in report.notes[0]


def test_the_rate_that_is_asked_for_is_trained_with() -> None:
    """Values hardly move at a rate of next to nothing."""
    net = make(Plain)
    m, d = wb.load(net, example=EXAMPLE), data_for(net)
    start, slow, fast = (
        wb.ShareWeights(bits=3, epochs=epochs, lr=lr).apply(net, context(m, d, Reporter())).c.weight.detach()
        for epochs, lr in ((0, 1e-3), (1, 1e-6), (1, 1e-2))
    )
    assert (slow - start).abs().max() < 1e-4 < 1e-3 < (fast - start).abs().max()
