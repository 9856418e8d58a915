"""Notebooks are executed as tests; of the labs the solutions are, whose students' versions have holes."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

collect_ignore = [str(path) for path in (Path(__file__).parent / "labs").glob("*.ipynb")]

#: A notebook is a whole lesson: of two that measure at once, one waits for the other.
SECONDS = 900
#: Each begins with nothing measured, and is about what to do, not about narrow intervals.
SETTINGS = {"WORKBENCH_HOME": "", "WORKBENCH_CACHE": "", "WORKBENCH_LATENCY_SECONDS": "0.1"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """More time than a test has."""
    for item in items:
        if item.path.suffix == ".ipynb":
            item.add_marker(pytest.mark.timeout(SECONDS))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    """The settings, for the kernels of these notebooks alone."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SETTINGS.items():
            patch.setenv(name, value)
        return (yield)
