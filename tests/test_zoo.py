"""A torchvision that was built for another torch must not break what does not need it."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys

import pytest

import workbench as wb
from workbench.errors import UnknownName


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing torchvision raises what a mismatched build raises."""

    class Broken:
        @staticmethod
        def find_spec(name: str, *_: object) -> None:
            if name.partition(".")[0] == "torchvision":
                raise RuntimeError("operator torchvision::nms does not exist")

    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    real = importlib.util.find_spec
    installed = importlib.machinery.ModuleSpec("torchvision", None)
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: installed if name == "torchvision" else real(name, *more)
    )
    monkeypatch.setattr(sys, "meta_path", [Broken, *sys.meta_path])


@pytest.mark.usefixtures("broken")
def test_the_catalog_lists_the_bundled_networks_alone() -> None:
    assert set(wb.catalog()["source"]) == {"bundled"}


@pytest.mark.usefixtures("broken")
def test_loading_from_it_says_that_it_does_not_fit() -> None:
    with pytest.raises(UnknownName, match="does not fit the installed torch"):
        wb.load("torchvision:resnet18")
