"""What the dashboard's server gives and to whom: kernels to visitors while there is room, its own files, no other."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from workbench.dashboard import Site, free_port, serving
from workbench.untrusted.quota import Quota

pytest.importorskip("voila")
from workbench_widgets.kernels import Kernels
from workbench_widgets.server import ASSETS, STATIC

#: A server begins to listen to a kernel a moment after that kernel is ready.
SOURCE = """
import os, tempfile, time
time.sleep(1)
print(tempfile.gettempdir(), os.environ["WORKBENCH_LIMIT_JOB_MINUTES"])
"""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    site = Site(visitors=1, base_url="/bench/", quota=Quota(job_minutes=7))
    with serving(free_port(9030), SOURCE, preheat=False, site=site) as (address, _):
        yield address


def read(address: str, **headers: str) -> Any:
    return urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=60)


@pytest.mark.slow
def test_a_visitor_has_a_folder_of_their_own_and_the_next_one_must_wait(address: str) -> None:
    text = read(f"{address}visit").read().decode()
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]  # a heartbeat may stand between
    folder, minutes = lines[1]["text"].split()
    assert Path(folder).name.startswith("visitor-")
    assert float(minutes) == 7
    with pytest.raises(urllib.error.HTTPError) as refused:
        read(f"{address}visit")
    assert refused.value.code == 503
    assert "All 1 places are taken" in refused.value.read().decode()
    assert read(f"{address}api/kernels/{lines[0]['kernel']}").status == 200


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(ASSETS))
def test_its_own_files_come_compressed_and_are_kept(address: str, name: str) -> None:
    packed = read(f"{address}screen/{name}?v=1", **{"Accept-Encoding": "gzip"})
    assert "immutable" in packed.headers["Cache-Control"]
    assert gzip.decompress(packed.read()) == (STATIC / name).read_bytes()
    assert read(f"{address}screen/{name}").read() == (STATIC / name).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", ["screen/index.html", "screen/THIRD-PARTY.txt", "screen/..%2fpage.py", "voila/files/a"]
)
def test_no_other_file_is_served(address: str, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        read(address + path)
    assert refused.value.code == 404


@pytest.mark.parametrize(
    ("idle", "connections", "state", "ends"),
    [
        (700, 0, "idle", True),  # its tab was closed
        (500, 0, "idle", False),
        (700, 1, "idle", False),  # somebody reads
        (3700, 1, "idle", True),  # an open tab that nobody looks at
        (3700, 0, "busy", False),
    ],
)
def test_who_is_ended(idle: int, connections: int, state: str, ends: bool) -> None:
    kernels = Kernels(cull_idle_timeout=600, cull_open_timeout=3600)
    last = datetime.now(UTC) - timedelta(seconds=idle)
    spec = SimpleNamespace(metadata={})
    kernels._kernels["one"] = SimpleNamespace(
        last_activity=last, execution_state=state, kernel_name="python3", kernel_spec=spec
    )
    kernels._kernel_connections["one"] = connections
    ended: list[str] = []

    async def shutdown_kernel(kernel_id: str) -> None:
        ended.append(kernel_id)

    kernels.shutdown_kernel = shutdown_kernel
    asyncio.run(kernels.cull_kernel_if_idle("one"))
    kernels._kernels.clear()
    assert bool(ended) is ends


def test_what_a_visitor_stored_goes_with_the_kernel(tmp_path: Path) -> None:
    kernels = Kernels()
    (tmp_path / "visitor" / "study").mkdir(parents=True)
    kernels._stores["one"], kernels._kernels["one"] = os.fspath(tmp_path / "visitor"), SimpleNamespace()
    kernels.remove_kernel("one")
    assert not (tmp_path / "visitor").exists()
    assert not kernels._stores
