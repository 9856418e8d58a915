"""Every public name has an example that runs.

Examples know `wb`, `torch`, a small network `model`, `data` and a `study` on both, as the reference says.
"""

from __future__ import annotations

import doctest
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

import workbench as wb

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What examples may use."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(32, 2),
    )  # fmt: skip
    images = {split: (torch.rand(n, 3, 16, 16), torch.arange(n) % 2) for split, n in (("train", 40), ("test", 20))}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBENCH_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("WORKBENCH_LATENCY_SECONDS", "0.05")
        model, data = wb.load(net, example=(1, 3, 16, 16)), wb.data(images)
        yield {"wb": wb, "torch": torch, "model": model, "data": data, "study": wb.Study(model, data)}


def described(name: str) -> Any:
    """What the reference describes under a public name: a module that can be called by its function of that name."""
    found = getattr(wb, name)
    return getattr(found, name) if isinstance(found, ModuleType) and callable(found) else found


@pytest.mark.parametrize("name", wb.__all__)
def test_the_example_of_a_public_name_runs(
    name: str, known: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    wb.teach.forget()
    text = described(name).__doc__
    example = doctest.DocTestParser().get_doctest(text, dict(known), name, None, None)
    assert example.examples
    said: list[str] = []
    ended = doctest.DocTestRunner(optionflags=OPTIONS).run(example, out=said.append)
    assert not ended.failed, "".join(said)
