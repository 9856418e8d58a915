"""Arguments of other kinds than a function takes: a sentence with the value, whatever the function."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import nn

import workbench as wb
from workbench.interface.arguments import check_kinds

WRONG = [5, None, [1, 2], math.nan, {"a": 1}, object(), "no such thing"]
MATRIX, KERNEL = torch.randn(4, 3), torch.randn(4, 3, 3, 3)
FRAME = pd.DataFrame({"name": ["a"], "id": ["a"], "accuracy": [0.5], "speedup": [1.0], "params": [3], "recipe": ["[]"]})
DATA: Any = {split: (torch.randn(8, 3), torch.arange(8) % 2) for split in ("train", "test")}
RECIPE = wb.SVD(0.5).recipe()

#: A function of one argument, and which of the wrong values are right for it.
CALLS: dict[str, tuple[Callable[[Any], Any], tuple[Any, ...]]] = {
    "load": (wb.load, ()),
    "load, weights": (lambda v: wb.load("fashion-resnet", weights=v), (None,)),
    "load, example": (lambda v: wb.load(nn.Linear(3, 2), example=v), ()),
    "cost": (lambda v: wb.cost(v, 3), ()),
    "cost, example": (lambda v: wb.cost(nn.Linear(3, 2), v), ()),
    "compress": (lambda v: wb.compress(wb.load(nn.Linear(3, 2), example=(1, 3)), v), ()),
    "data": (wb.data, ()),
    "data, split": (lambda v: wb.data(DATA)[v], ()),
    "data, get": (lambda v: wb.data(DATA).get(v), ("no such thing",)),
    "data, type": (lambda v: wb.data(DATA).like(v), ()),
    "recipe": (wb.Recipe, ()),
    "recipe, or": (lambda v: RECIPE | v, ()),
    "step, or": (lambda v: wb.SVD(0.5) | v, ()),
    "recipe, load": (wb.Recipe.load, ()),
    "recipe, save": (RECIPE.save, ("no such thing",)),
    "recipe, JSON": (wb.Recipe.from_json, ()),
    "recipe, YAML": (wb.Recipe.from_yaml, ()),
    "recipe, list": (wb.Recipe.from_list, ()),
    "recipe, plan": (RECIPE.plan, ()),
    "recipe, without": (lambda v: RECIPE.without(v, wb.load(nn.Linear(3, 2), example=(1, 3))), ()),
    "study": (lambda v: wb.Study(v, wb.data(DATA)), ()),
    "study, data": (lambda v: wb.Study(wb.load(nn.Linear(3, 2), example=(1, 3)), v), ()),
    "export": (lambda v: wb.export(v, "nowhere"), ()),
    "estimate": (lambda v: wb.Estimate(1.0, 0.0, 2.0).holds(v), (5,)),
    "runtime": (wb.runtimes.runtime, ()),
    "trade-off": (wb.charts.tradeoff, ()),
    "trade-off, x": (lambda v: wb.charts.tradeoff(FRAME, x=v), ()),
    "lineage": (wb.charts.lineage, ()),
    "parallel": (wb.charts.parallel, ()),
    "devices": (wb.charts.devices, ()),
    "classes": (wb.charts.by_class, ()),
    "costs by layer": (wb.charts.cost_by_layer, ()),
    "costs by layer, cost": (lambda v: wb.charts.cost_by_layer(FRAME, v), ()),
    "latency, file": (lambda v: wb.measure.measure_latency(v, v), ()),
    "latency, batch": (lambda v: wb.measure.measure_latency(Path("a"), Path("a"), batch=v), ()),
    "memory, threads": (lambda v: wb.measure.run_memory(Path("a"), threads=v), ()),
    "guidelines, seconds": (lambda v: wb.measure.guidelines(threads=10**6, seconds=v), ()),
    "svd": (wb.lowrank.svd, ()),
    "svd, rank": (lambda v: wb.lowrank.svd(MATRIX, v), (None,)),
    "tucker": (lambda v: wb.lowrank.tucker2(v, (1, 1)), ()),
    "tucker, rank": (lambda v: wb.lowrank.tucker2(KERNEL, v), ([1, 2],)),
    "cp": (lambda v: wb.lowrank.cp(v, 1), ()),
    "cp, starts": (lambda v: wb.lowrank.cp(KERNEL, 1, starts=v), (5,)),
    "evbmf": (wb.lowrank.evbmf, ()),
    "separable": (lambda v: wb.lowrank.separable(KERNEL, 1, moment=v), (None,)),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_kind_gets_a_sentence(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    call, right = CALLS[name]
    for value in WRONG:
        if any(value is one or value == one for one in right):
            call(value)
            continue
        with pytest.raises(wb.WorkbenchError):
            call(value)


def test_python_says_that_a_number_cannot_be_chained_with_a_recipe() -> None:
    with pytest.raises(TypeError, match="unsupported operand"):
        5 | RECIPE


@pytest.mark.parametrize(
    ("annotation", "right", "wrong"),
    [
        ("int", [1, 0], [True, 1.0, "1", None]),
        ("float", [1, 0.5], [math.nan, True, "1"]),
        ("str | None", ["a", None], [1, b"a"]),
        ("Sequence[str]", [["a"], ("a", "b"), []], ["a", ["a", 1], 3]),
        ("Sequence[int] | int", [[1], 1], [["a"], "a"]),
        ("pd.DataFrame", [FRAME], [[], {}]),
        ("SomethingElse | int", [object(), "a"], []),
    ],
)
def test_kinds_are_read_from_the_annotation(annotation: str, right: list[Any], wrong: list[Any]) -> None:
    def function(value: Any) -> Any:
        return value

    function.__annotations__["value"] = annotation
    checked = check_kinds(function)
    assert [checked(one) for one in right] == right
    for one in wrong:
        with pytest.raises(wb.WorkbenchError, match="value must be") as error:
            checked(one)
        assert repr(one)[:20] in str(error.value)


def test_a_missing_argument_is_python_s_own_error() -> None:
    with pytest.raises(TypeError, match="missing a required argument"):
        wb.lowrank.svd()
