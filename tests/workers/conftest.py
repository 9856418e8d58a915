from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import kills
import pytest
import torch

from workbench.measure import int8_layouts
from workbench.workers import crew

sys.path[:0] = [str(Path(__file__).parents[1] / "core"), str(Path(__file__).parent)]
SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture(scope="module", autouse=True)
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Workers inherit these; what travels goes to a folder of the tests' own. Nothing is timed by this process.

    As many threads here as there: sums are rounded alike.
    """
    folder = tmp_path_factory.mktemp("settings")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch, kills.untimed():
        for module in (int8_layouts, crew):
            patch.setattr(module, "fastest", lambda paths, **_: len(paths) - 1)
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("WORKBENCH_LATENCY_SECONDS", "0.05")
        patch.setenv("WORKBENCH_CACHE", str(folder / "cache"))
        patch.setenv("DEADLY_SPARES", str(os.getpid()))
        patch.setenv("DEADLY_DEATHS", str(folder / "deaths"))
        yield folder
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def pool(settings: Path) -> Iterator[ProcessPoolExecutor]:
    """Two processes for all tests that leave them whole."""
    with ProcessPoolExecutor(2, mp_context=SPAWN) as found:
        yield found
