"""Who counts as a visitor, and for how long: kernels that are kept warm do not, those that died no longer."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("voila")
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager

from workbench_widgets.kernels import UNMET_SECONDS, Kernels, Places


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Kernels:
    """Room for two visitors; kernels are names alone, and start and end at once."""
    monkeypatch.setenv("WORKBENCH_VISITORS", str(tmp_path))
    found = Kernels(max_visitors=2)

    async def start(self: Kernels, *, kernel_id: str, **_: Any) -> str:
        self._kernels[kernel_id] = object()
        return kernel_id

    async def shutdown(kernel_id: str, now: bool = False) -> None:
        found.remove_kernel(kernel_id)

    monkeypatch.setattr(AsyncMappingKernelManager, "start_kernel", start)
    monkeypatch.setattr(AsyncMappingKernelManager, "notify_connect", lambda *_: None)
    found.shutdown_kernel = shutdown  # type: ignore[assignment]
    return found


def start(kernels: Kernels, *names: str) -> None:
    for name in names:
        asyncio.run(kernels.start_kernel(kernel_id=name))


def visit(kernels: Kernels, name: str) -> None:
    assert kernels.places.take()
    kernels.arrived(name)


def test_a_place_is_taken_by_who_comes_and_by_who_is_there() -> None:
    places = Places(2)
    assert [places.take(), places.take(), places.take()] == [True, True, False]
    places.settle("one")
    assert places.full
    places.settle("")  # nobody came after all
    assert not places.full and places.take() and not places.take()


def test_kernels_that_wait_for_a_visitor_take_no_place(kernels: Kernels) -> None:
    start(kernels, "warm", "warmer", "hot")
    assert not kernels.places.full
    visit(kernels, "warm")
    assert not kernels.places.full
    visit(kernels, "hot")
    assert kernels.places.full
    kernels.remove_kernel("hot")
    assert not kernels.places.full
    kernels.remove_kernel("warmer")  # which had no visitor, and so frees no place
    visit(kernels, "")
    assert kernels.places.take() and not kernels.places.take()


def test_a_kernel_that_died_before_its_visitor_came_takes_no_place(kernels: Kernels) -> None:
    visit(kernels, "dead")
    assert not kernels.places.kernels and not kernels.places.coming
    asyncio.run(kernels.make_room())  # nor is it to be ended


def test_room_is_made_of_who_did_not_come_and_has_waited_longest(
    kernels: Kernels, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    start(kernels, "first", "second", "third")
    visit(kernels, "first")
    now[0] += 5
    visit(kernels, "second")
    now[0] += UNMET_SECONDS - 1
    asyncio.run(kernels.make_room())  # the first has waited long enough, and only just
    assert set(kernels._kernels) == {"second", "third"}
    visit(kernels, "third")
    kernels.notify_connect("second")
    now[0] += UNMET_SECONDS + 1
    asyncio.run(kernels.make_room())  # the second has come, the third has not
    assert set(kernels._kernels) == {"second"}
    asyncio.run(kernels.make_room())
    assert set(kernels._kernels) == {"second"}


def test_nobody_is_ended_while_there_is_room(kernels: Kernels, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    start(kernels, "first")
    visit(kernels, "first")
    now[0] += 10 * UNMET_SECONDS
    asyncio.run(kernels.make_room())
    assert set(kernels._kernels) == {"first"}


def test_a_visitor_s_folder_goes_where_the_kernel_does_not_start(
    kernels: Kernels, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[str] = []

    async def fails(self: Kernels, *, env: dict[str, str], **_: Any) -> str:
        seen.append(env["TMPDIR"])
        raise OSError("no memory")

    monkeypatch.setattr(AsyncMappingKernelManager, "start_kernel", fails)
    with pytest.raises(OSError, match="no memory"):
        start(kernels, "one")
    assert Path(seen[0]).parent == tmp_path and not any(tmp_path.iterdir())
