"""A visitor's limits hold: of memory, of a job's time, of stored bytes."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from workbench import dashboard
from workbench.cli import app
from workbench.dashboard import Site, _environment, parse_quota
from workbench.errors import BadValue, OverQuota, UnknownName
from workbench.jobs import Job, Reporter
from workbench.studies.storage import Record, Storage
from workbench.untrusted import quota
from workbench.untrusted.quota import Quota

numbers = st.none() | st.integers(1, 10**6)


@given(numbers, numbers, numbers, numbers)
def test_limits_reach_another_process(memory: int, minutes: int, stored: int, upload: int) -> None:
    given = Quota(memory, minutes, stored, upload)
    assert Quota.read(given.environment()) == given


def test_a_limit_of_nothing_and_one_that_is_no_number_are_refused() -> None:
    with pytest.raises(BadValue, match="stored_mb is 0"):
        Quota(stored_mb=0)
    with pytest.raises(BadValue, match="not a number"):
        Quota.read({"WORKBENCH_LIMIT_MEMORY_MB": "much"})


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit; the container's must do")
def test_memory_beyond_the_limit_is_refused_and_the_process_lives() -> None:
    code = (
        "from workbench.untrusted import quota\n"
        "import numpy\n"
        "quota.here().hold_memory()\n"
        "small = numpy.ones(10**7)\n"  # 80 MB
        "try: numpy.ones(10**8)\n"  # 800 MB
        "except MemoryError: print('refused')\n"
    )
    environment = {**os.environ, **Quota(memory_mb=500).environment()}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "refused\n", done.stderr


def test_a_job_that_takes_too_long_ends_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_LIMIT_JOB_MINUTES", str(0.2 / 60))

    def work(report: Reporter) -> None:
        for _ in range(1000):
            report.part(0, 1)(0.5, "working")
            time.sleep(0.01)

    with pytest.raises(OverQuota, match="minutes that a job may take on this page"):
        Job(work).result(timeout=5)


def test_a_job_of_one_s_own_machine_has_no_limit() -> None:
    assert Job(lambda report: report(0.5, "working")).result(timeout=5) is None


def test_no_more_is_stored_than_a_visitor_may(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    storage = Storage(tmp_path / "study")
    room = quota.stored_bytes(tmp_path) + 10**6
    monkeypatch.setenv("WORKBENCH_LIMIT_STORED_MB", str(room / 10**6))

    def store(number: int, size: int) -> None:
        onnx, state = tmp_path / f"{number}.onnx", tmp_path / f"{number}.safetensors"
        onnx.write_bytes(bytes([number]) * size)
        state.write_bytes(bytes([number]))
        storage.store(Record(str(number), "", "[]", {}, ()), onnx, state)

    store(0, 400_000)
    store(1, 500_000)
    with pytest.raises(OverQuota, match="keeps at most"):
        store(2, 300_000)


def test_limits_as_they_are_typed() -> None:
    assert parse_quota([], public=False) == (Quota(), 20)
    assert parse_quota([], public=True) == (Quota(4000, 20, 1000, 100), 20)  # what --help says
    given = ["memory_mb=500", "job_minutes=1.5", "stored_mb=2", "upload_mb=3", "visitors=4"]
    for public in (False, True):
        assert parse_quota(given, public) == (Quota(500, 1.5, 2, 3), 4)
    assert parse_quota(["memory_mb=none", "stored_mb=7"], public=True) == (Quota(None, 20, 7, 100), 20)
    assert parse_quota(["stored_mb=7", "stored_mb=8"], public=False) == (Quota(stored_mb=8), 20)  # the last one counts
    for wrong, says in (("memory_mb", "memory_mb=20"), ("visitors=many", "no number"), ("visitors=2.5", "no number")):
        with pytest.raises(BadValue, match=says):
            parse_quota([wrong], public=False)
    with pytest.raises(BadValue, match="visitors=none"):
        parse_quota(["visitors=none"], public=True)
    with pytest.raises(UnknownName, match="no limit named 'memory'"):
        parse_quota(["memory=3"], public=False)


def test_the_server_s_kernels_have_the_limits_of_its_site(tmp_path: Path) -> None:
    """And strangers none of the paths of this machine."""
    limits = Quota(memory_mb=500, upload_mb=3)
    environment = _environment(Site(token="secret", quota=limits), tmp_path / "visitors", tmp_path)
    assert Quota.read(environment) == limits
    assert environment["WORKBENCH_PUBLISHED"] == "" and environment["WORKBENCH_VISITORS"] == str(tmp_path / "visitors")
    for site in (Site(token=""), Site(token="secret", host="0.0.0.0"), Site(token="secret", base_url="/at/")):
        assert _environment(site, tmp_path, tmp_path)["WORKBENCH_PUBLISHED"] == "1"


def test_the_command_line_gives_what_was_typed_to_the_site(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Site] = []

    @contextlib.contextmanager
    def served(port: int, *, site: Site) -> Iterator[tuple[str, SimpleNamespace]]:
        seen.append(site)
        yield "http://127.0.0.1", SimpleNamespace(wait=lambda: None, returncode=0)

    monkeypatch.setattr(dashboard, "serving", served)
    typed = ["dashboard", "--public", "--limit", "job_minutes=3", "--limit", "visitors=2"]
    assert CliRunner().invoke(app, typed).exit_code == 0
    assert seen == [Site(token="", visitors=2, quota=Quota(4000, 3, 1000, 100))]
