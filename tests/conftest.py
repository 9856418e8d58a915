"""What many tests share. Heavy things are made once a session."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from workbench.data import Data
    from workbench.models import Model

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # idle pools of two runtimes would spin against each other
# What a measurement says is looked at here, seldom how exact it is; tests that need more time ask for it.
os.environ.setdefault("WORKBENCH_LATENCY_SECONDS", "0.5")
# Studies without a path are kept nowhere: a test must not find what another measured, nor litter a home.
os.environ.setdefault("WORKBENCH_HOME", "")
os.environ.setdefault("WORKBENCH_CACHE", "")  # nor what another one made
# The same tree gives the same result; new examples are drawn with `pytest --hypothesis-profile=explore`.
settings.register_profile("repeatable", derandomize=True)
settings.register_profile("explore", max_examples=2000, deadline=None)
settings.load_profile("repeatable")
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return Path(__file__).parent.parent


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of an installed Chromium; tests that ask for it are skipped where there is none."""
    found = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if found is None:
        pytest.skip("no Chromium is installed: install one (Debian: apt install chromium) to run the browser tests")
    return found


@pytest.fixture(scope="session")
def mobilenet() -> Model:
    """The smallest bundled network. Read only: every test shares it."""
    import workbench as wb

    return wb.load("fashion-mobilenet")


@pytest.fixture(scope="session")
def fashion() -> Data:
    """The bundled data set."""
    import workbench as wb

    return wb.data("fashion-mnist")


@pytest.fixture(scope="session")
def torchvision() -> ModuleType:
    """Give torchvision beside a CPU build of torch: its binary wheel expects two operators to be declared."""
    from with_torchvision import torchvision as found

    try:
        return found()
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"torchvision cannot be imported here: {error}")
