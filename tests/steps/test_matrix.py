"""A slice of benchmarks/matrix.py in every run: every technique on a few small networks of different kinds."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest
import torch

#: Each with what the others have not; and the fewest techniques that change it.
NETWORKS = {
    "two inputs": 15, "dict output": 24, "transposed": 18, "three dimensions": 18, "LSTM": 10, "residual": 25,
}  # fmt: skip


@pytest.fixture
def matrix(root: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(root / "benchmarks"))
    return importlib.import_module("matrix")


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_no_technique_raises_or_gives_something_wrong(name: str, matrix: ModuleType) -> None:
    torch.manual_seed(0)
    model, data = matrix.subject(dict(matrix.zoo())[f"odd:{name}"])
    cells = [matrix.cell(name, model, data, step) for step in matrix.STEPS]
    refused = [one for one in cells if one.outcome == matrix.REFUSED and "cannot be reached" in one.why]
    assert [one for one in cells if one.outcome not in {matrix.WORKS, matrix.IDLE} and one not in refused] == []
    assert all(one.why for one in cells if one.outcome == matrix.IDLE)
    assert sum(one.outcome == matrix.WORKS for one in cells) >= NETWORKS[name]


def test_what_is_wrong_is_found(matrix: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that is another one than was planned, one that is not exact at full rank, and a slip."""
    torch.manual_seed(0)
    model, data = matrix.subject(dict(matrix.zoo())["odd:dict output"])
    whole, step = matrix.rewrite, "SVD full"
    assert matrix.cell("", model, data, step).outcome == matrix.WORKS
    monkeypatch.setattr(matrix, "rewrite", lambda *args, **options: model.module)
    assert "planned" in matrix.cell("", model, data, step).why

    def off(*args: object, **options: object) -> torch.nn.Module:
        module = whole(*args, **options)
        next(module.parameters()).data.mul_(1.01)
        return module  # type: ignore[no-any-return]  # the script's own

    monkeypatch.setattr(matrix, "rewrite", off)
    assert matrix.cell("", model, data, step).outcome == matrix.WRONG
    monkeypatch.setattr(matrix, "rewrite", lambda *args, **options: {}["slip"])
    assert matrix.cell("", model, data, step).outcome == matrix.CRASH
