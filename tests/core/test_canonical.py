"""The canonical form: equal to the original, made of plain layers, stored as data, trained, exported; the user's
module as it was.
"""

from __future__ import annotations

import copy
import json
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import BuiltinFunctionType
from typing import Any

import odd
import onnxruntime
import pytest
import torch
from torch import nn

import workbench as wb
from workbench.cost.trace import trace
from workbench.errors import BadValue
from workbench.models.architectures import ARCHITECTURES
from workbench.models.canonical import canonical
from workbench.models.exported import exported
from workbench.models.graph import Graph, from_data, to_data
from workbench.models.layers import LAYER_TYPES, WEIGHED, is_plain
from workbench.models.structure import restore, save_variant
from workbench.modules.calling import call, flatten, tensors_map
from workbench.modules.snapshot import snapshot
from workbench.onnx_file import write_onnx

NETWORKS = odd.networks()


@pytest.fixture(scope="module")
def models() -> dict[str, Any]:
    return {name: wb.load(net.module, example=net.example) for name, net in NETWORKS.items()}


def batch_of(example: Any, count: int) -> Any:
    def several(one: torch.Tensor) -> torch.Tensor:
        generator = torch.Generator().manual_seed(count)
        shape = (count, *one.shape[1:])
        return torch.randn(shape, generator=generator) if one.is_floating_point() else one.expand(shape).clone()

    return tensors_map(several, example)


def apart(found: Any, wanted: Any) -> float:
    pairs = zip(flatten(found), flatten(wanted), strict=True)
    return max(float((a - b).abs().max() / b.abs().max().clamp_min(1e-9)) for a, b in pairs)


@pytest.mark.parametrize("name", NETWORKS)
def test_it_gives_the_originals_outputs_at_any_batch_size(name: str, models: dict[str, Any]) -> None:
    net, example = NETWORKS[name]
    original = snapshot(net)
    for count in (1, 4):
        inputs = batch_of(example, count)
        with torch.no_grad():
            wanted = call(original, tensors_map(torch.clone, inputs))
            assert apart(call(models[name].module, inputs), wanted) <= 1e-6


@pytest.mark.parametrize("name", NETWORKS)
def test_every_product_with_a_weight_is_a_plain_layer(name: str, models: dict[str, Any]) -> None:
    model = models[name]
    assert all(is_plain(model.module.get_submodule(str(n.target))) for n in model.module.graph.nodes
               if n.op == "call_module")  # fmt: skip
    fixed = {"blur pool": 1}  # filters that nobody learnt
    loose = [one for one in model.network.layers if one.kind in {"conv", "linear"} and not one.module]
    assert len(loose) == fixed.get(name, 0)


@pytest.mark.parametrize("name", NETWORKS)
def test_it_is_stored_as_data(name: str, models: dict[str, Any], tmp_path: Path) -> None:
    model = models[name]
    save_variant(model.module, model, tmp_path / "m.safetensors")
    again = wb.load(tmp_path / "m.safetensors")
    inputs = batch_of(model.example, 2)
    assert apart(call(again.module, inputs), call(model.module, inputs)) == 0
    assert again.network.totals == model.network.totals  # shared weights are shared again
    assert json.loads(json.dumps(to_data(again.module))) == json.loads(json.dumps(to_data(model.module)))


@pytest.mark.parametrize("name", NETWORKS)
def test_the_cost_is_the_originals(name: str, models: dict[str, Any]) -> None:
    """Traced as the user wrote it, and in canonical form: the same products, and parameters where none is folded."""
    net, example = NETWORKS[name]
    own = trace(net, example).totals
    folded = {"weight norm", "weight norm, old", "LoRA", "spectral norm", "torch's pruning"}
    if name not in folded:
        assert models[name].network.totals.params == own.params
    assert models[name].network.totals.macs == own.macs


def states(module: nn.Module) -> Any:
    tensors = {k: (v.device, v.dtype, v.clone()) for k, v in module.state_dict(keep_vars=True).items()}
    return tensors, [m.training for m in module.modules()], [len(m._forward_hooks) for m in module.modules()]


def test_the_users_module_stays_as_it_was() -> None:
    net = nn.Sequential(shared := nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), shared, odd.Tail(3))
    net.train()
    net[1].eval()
    calls: list[int] = []
    net[0].register_forward_hook(lambda *_: calls.append(1))
    before, x = states(net), torch.randn(odd.IMAGE)
    copied = x.clone()
    model = wb.load(net, example=x)
    wb.cost(net, example=x)
    wb.compress(model, wb.Tucker(0.5))
    after = states(net)
    assert before[1:] == after[1:] and torch.equal(x, copied)
    pairs = zip(before[0].values(), after[0].values(), strict=True)
    assert all(torch.equal(a[2], b[2]) and a[:2] == b[:2] for a, b in pairs)
    assert not model.module.training


def test_what_happens_to_the_users_module_later_does_not_reach_the_model() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), odd.Tail(4)).eval()
    model = wb.load(net, example=odd.IMAGE)
    digest = model.hash
    net[0].weight.data.zero_()
    assert float(model.module.get_parameter("0.weight").abs().sum()) > 0 and model.hash == digest


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_bundled_networks_keep_their_names(name: str) -> None:
    own = trace(ARCHITECTURES[name](), torch.zeros(1, 1, 28, 28))
    assert [(x.name, x.module, x.macs) for x in wb.load(name).network.layers] == [
        (x.name, x.module, x.macs) for x in own.layers
    ]


def test_both_ways_lead_to_the_same_layers() -> None:
    net = odd.networks()["residual"]
    long = exported(snapshot(net.module), net.example)
    short = canonical(net.module, net.example)
    weighed = [{n for n, m in graph.named_modules() if isinstance(m, WEIGHED)} for graph in (long, short)]
    assert weighed[0] == weighed[1]
    assert trace(long, net.example).totals == trace(short, net.example).totals


@pytest.mark.parametrize("name", ["same padding", "weight norm", "transformer layer", "residual", "dropout", "LoRA"])
def test_it_trains(name: str, models: dict[str, Any]) -> None:
    module = copy.deepcopy(models[name].module).train()
    outputs = flatten(call(module, batch_of(models[name].example, 4)))
    sum(one.square().mean() for one in outputs).backward()  # type: ignore[union-attr]
    assert all(p.grad is not None for p in module.parameters())
    assert {type(m).__name__: m.training for m in module.modules() if isinstance(m, nn.Dropout | nn.BatchNorm2d)} in (
        {}, {"Dropout": True}, {"BatchNorm2d": True},
    )  # fmt: skip


@pytest.mark.parametrize("name", ["same padding", "weight standardisation", "circular padding", "attention", "split"])
def test_its_file_takes_any_batch(name: str, models: dict[str, Any], tmp_path: Path) -> None:
    model = models[name]
    session = onnxruntime.InferenceSession(str(write_onnx(model.module, model.example, tmp_path / "a.onnx")))
    for count in (1, 5):
        x = batch_of(model.example, count)
        found = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
        assert apart(torch.from_numpy(found), model.module(x)) < 1e-4


def test_a_layer_called_twice_is_one_layer_and_a_shared_weight_one_parameter(models: dict[str, Any]) -> None:
    assert len(models["layer used twice"].network.by_module["c"]) == 2
    tied = models["tied weights, own biases"].module
    assert tied.get_parameter("a.weight") is tied.get_parameter("b.weight")
    assert tied.get_parameter("a.bias") is not tied.get_parameter("b.bias")


def test_a_branch_on_values_is_named_with_its_line() -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.mean() > 0:  # the line
                x = x * 2
            return self.conv(x).mean((2, 3))

    with pytest.raises(BadValue, match=r"decides on the values .*line \d+ of test_canonical.py: if x.mean\(\) > 0"):
        wb.load(Branches(), example=odd.IMAGE)


def test_a_network_that_draws_is_refused() -> None:
    noisy = odd.Lambda(lambda s, x: s.fc(x + torch.randn(x.shape)), fc=nn.Linear(8, 4))
    with pytest.raises(BadValue, match="random"):
        wb.load(noisy, example=(1, 8))


@pytest.mark.parametrize("name", sorted(LAYER_TYPES))
def test_every_known_layer_comes_back_from_its_description(name: str) -> None:
    kind = LAYER_TYPES[name]
    tries: list[tuple[Any, ...]] = [
        (), (2,), (4, 8), (4, 8, 3), (1, 0.5), (2, 4), (0.1, 20), (1, (2, 2)), ((1, 0),), ((4, 4),), (None, 2),
        (9, (3, 3), (1, 1), (1, 1), (1, 1)),
    ]  # fmt: skip
    for arguments in tries:
        try:
            layer = kind(*arguments)
            break
        except TypeError:
            continue
    root = nn.Module()
    root.add_module("one", layer)
    graph = torch.fx.Graph()
    graph.output(graph.create_node("call_module", "one", (graph.placeholder("x"),)))
    data = json.loads(json.dumps(to_data(Graph(root, graph))))
    assert repr(from_data(data).get_submodule("one")) == repr(layer)


def test_restored_networks_are_canonical(tmp_path: Path, models: dict[str, Any]) -> None:
    small = wb.compress(models["residual"], wb.Tucker(0.5) | wb.PruneChannels(0.3))
    save_variant(small.module, small, tmp_path / "v.safetensors")
    again = restore(tmp_path / "v.safetensors")
    assert isinstance(again, Graph) and again["1"].get_submodule("conv1") is not None
    assert wb.SVD(0.5).plan(wb.load(tmp_path / "v.safetensors")).applies.any()


def test_networks_that_are_loaded_on_several_threads_leave_torch_as_it_was() -> None:
    """Tracing replaces functions of Python's math for all threads; what overlaps would put them back in wrong order."""

    def load(number: int) -> float:
        module = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
        torch.nn.init.constant_(module[0].bias, number)
        made = wb.load(module, example=(1, 4))
        return float((made.module(x := torch.ones(1, 4)) - module(x)).abs().max())

    with ThreadPoolExecutor(8) as pool:
        assert max(pool.map(load, range(64))) == 0
    assert all(isinstance(getattr(math, name), BuiltinFunctionType) for name in ("ceil", "floor", "trunc", "sqrt"))


class Biased(nn.Module):
    """Attention's bias by relative position: a table that is read by places, or by a mask."""

    def __init__(self, places: torch.Tensor) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(5, 3))
        self.register_buffer("places", places)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.table[self.places].t()


@pytest.mark.parametrize("places", [torch.tensor([4, 0, 0, 2]), torch.tensor([True, False, True, True, False])])
def test_a_table_that_is_read_at_places_that_are_known_is_followed(places: torch.Tensor) -> None:
    module, x = Biased(places), torch.randn(2, 3)
    if places.dtype == torch.bool:
        with pytest.raises(BadValue, match="size depends on the values"):
            wb.load(module, example=x[:1])
    else:
        assert torch.equal(wb.load(module, example=x[:1]).module(x), module(x))
