"""What `Quantize` plans is what the file holds: layer by layer, whatever their names and what they share."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto
from torch import nn
from torch.nn.utils import parametrizations

from workbench.artefact.onnx_graph import WEIGHTED, stem
from workbench.building.build import lower
from workbench.data import data as load_data
from workbench.errors import UnknownName
from workbench.jobs import Reporter
from workbench.measure import int8_layouts
from workbench.models import load
from workbench.steps.quantize import Quantize


@pytest.fixture(autouse=True)
def _every_layer_in_integers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8_layouts, "fastest", lambda paths, **_: 0)
    monkeypatch.setattr(int8_layouts, "_KNOWN", {})


class Odd(nn.Module):
    """Names with brackets, a tied weight, a layer that runs twice, and one whose weight is computed."""

    def __init__(self) -> None:
        super().__init__()
        self.add_module("stem[0]", nn.Conv2d(3, 8, 3, padding=1))
        self.body = nn.ModuleDict({"a": nn.Conv2d(8, 8, 3, padding=1), "b": nn.Conv2d(8, 8, 3, padding=1)})
        self.body["b"].weight = self.body["a"].weight
        self.scaled = parametrizations.weight_norm(nn.Conv2d(8, 8, 1))
        self.head = nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.get_submodule("stem[0]")(x).relu()
        x = self.scaled(self.body["b"](self.body["a"](self.body["a"](x).relu()).relu()).relu()).relu()
        return self.head(x.mean((2, 3)))


LAYERS = ["stem[0]", "body.a", "body.b", "scaled", "head.1"]


@pytest.mark.parametrize("precision", ["int8", "int4", "fp16"])
@pytest.mark.parametrize("exclude", ["", "stem[0]", "body.b", "body.*", "scaled", ("head.1", "body.a")])
def test_the_plan_is_what_the_file_holds(precision: str, exclude: str | tuple[str, ...], tmp_path: Path) -> None:
    torch.manual_seed(0)
    x = torch.randn(60, 3, 8, 8)
    model = load(Odd().eval(), example=x[:1])
    data = load_data({"train": (x, torch.arange(60) % 4), "test": (x, torch.arange(60) % 4)})
    step = Quantize(precision, exclude=exclude)
    plan = step.plan(model)
    planned = {row.layer: bool(row.applies) for row in plan.itertuples() if row.kind in {"conv", "linear"}}
    target = lower(model.module, model, step.recipe(), data, tmp_path / "out.onnx", Reporter())
    assert planned.keys() == set(LAYERS)
    assert planned == _in_few_bits(target)


def _in_few_bits(path: Path) -> dict[str, bool]:
    """Whether the weight of each layer is stored in fewer than 32 bits, in all of its runs."""
    graph = onnx.load(str(path)).graph
    kinds = {one.name: one.data_type for one in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    found: dict[str, bool] = {}
    for node in graph.node:
        if node.op_type in WEIGHTED:
            name = node.input[1]
            while name not in kinds:
                name = makers[name].input[0]
            few = kinds[name] != TensorProto.FLOAT
            assert found.setdefault(stem(node.name), few) == few
    return found


@pytest.mark.parametrize("exclude", ["stem[1]", "head.0", "body.c", ("body.a", "nothing.*")])
def test_what_the_file_does_not_have_is_refused_in_the_plan(exclude: str | tuple[str, ...]) -> None:
    model = load(Odd().eval(), example=torch.randn(1, 3, 8, 8))
    known = r"There is no layer named .* Known: body\.a, body\.b, head\.1, scaled, stem\[0\]"
    with pytest.raises(UnknownName, match=known):
        Quantize("int8", exclude=exclude).plan(model)


def test_products_with_parameters_that_are_no_layers_are_planned_too() -> None:
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w, self.v = nn.Parameter(torch.randn(8, 6)), nn.Parameter(torch.randn(6, 4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x @ self.w).relu() @ self.v

    plan = Quantize("int4").plan(load(Bare().eval(), example=torch.randn(1, 8)))
    assert list(plan["applies"]) == [True, True]


@pytest.mark.parametrize(("precision", "counts"), [("int8", 2), ("fp16", 0), ("int4", 0)])
def test_only_integer_stems_may_stay_in_float(precision: str, counts: int) -> None:
    """Where 'auto' measures whether one or two layers are faster in float, and nowhere else."""
    plan = Quantize(precision).plan(load("fashion-resnet"))
    assert sum("measured faster" in one.action for one in plan.rows) == counts
