from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parents[1] / "core"), str(Path(__file__).parent)]
SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture(scope="module", autouse=True)
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Workers inherit these; what travels goes to a folder of the tests' own."""
    folder = tmp_path_factory.mktemp("settings")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("WORKBENCH_LATENCY_SECONDS", "0.05")
        patch.setenv("WORKBENCH_CACHE", str(folder / "cache"))
        patch.setenv("DEADLY_SPARES", str(os.getpid()))
        patch.setenv("DEADLY_DEATHS", str(folder / "deaths"))
        yield folder


@pytest.fixture(scope="module")
def pool(settings: Path) -> Iterator[ProcessPoolExecutor]:
    """Two processes for all tests that leave them whole."""
    with ProcessPoolExecutor(2, mp_context=SPAWN) as found:
        yield found
