"""Variants measured by ssh on a real server of the test's own, and everything that can be in the way."""

from __future__ import annotations

import io
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from daemon import HOST, Daemon, free_port, key, serving
from tiny import tiny_data, tiny_model

import workbench as wb
from workbench.errors import BadValue, MeasurementFailed
from workbench.jobs import Reporter
from workbench.measure import worker
from workbench.remote import probing, script
from workbench.remote.probe import COLUMNS, Rounds, kept
from workbench.remote.probing import Ask, Heard, probe
from workbench.remote.ssh import Host

QUICK = {"seconds": 0.2, "images": 20, "python": sys.executable, "progress": False}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with serving(tmp_path_factory.mktemp("ssh")) as found:
        yield found


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> wb.Study:
    study = wb.Study(tiny_model(), tiny_data(), path=tmp_path_factory.mktemp("study") / "s")
    study.run(wb.Tucker(rank=0.5), progress=False)
    return study


def test_variants_on_another_machine(study: wb.Study, daemon: Daemon) -> None:
    variant = study.variants[-1]
    before = {path.name for path in Path(tempfile.gettempdir()).glob("workbench-probe-*")}
    found = study.probe(HOST, [variant], config=str(daemon.config), **QUICK)
    frame = found.frame().set_index("variant")
    assert list(frame.reset_index().columns[:1]) == ["variant"] and set(COLUMNS) == {"variant", *frame.columns}
    assert list(frame.index) == [study.baseline.id, variant.id]
    row = frame.loc[variant.id]
    assert row["latency_ms_low"] <= row["latency_ms"] <= row["latency_ms_high"]
    assert row["speedup_low"] < row["speedup"] < row["speedup_high"]
    assert frame.loc[study.baseline.id, "speedup"] == 1
    assert row["disagreement"] == 0 and found.answers[variant.id].n == 20  # the same runtime on the same machine
    labels = np.asarray(study.data["test"].labels[:20])
    with_torch = study.baseline.module(study.data["test"].first(20).read(range(20))[0]).argmax(1).numpy()
    assert frame.loc[study.baseline.id, "accuracy"] == (with_torch == labels).mean()
    assert found.here["versions"]["numpy"] == np.__version__ and not found.note
    assert wb.Study(study.model, study.data, path=study.path).probes == [found]  # it is there again tomorrow
    assert {path.name for path in Path(tempfile.gettempdir()).glob("workbench-probe-*")} <= before


def failing(study: wb.Study, config: str, **others: Any) -> str:
    with pytest.raises(MeasurementFailed) as caught:
        study.probe(HOST, [study.baseline], config=config, **QUICK | others)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_key_that_is_not_taken(study: wb.Study, daemon: Daemon, tmp_path: Path) -> None:
    key(tmp_path / "other")
    said = failing(study, daemon.configured("stranger", IdentityFile=str(tmp_path / "other")))
    assert said.startswith("probed did not let you in: it takes none of your keys.") and "ssh-copy-id probed" in said


def test_a_host_whose_key_is_new_or_another(study: wb.Study, daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "none").write_text("")
    said = failing(study, daemon.configured("new", UserKnownHostsFile=str(tmp_path / "none")))
    assert "is not known to ssh yet. Connect once by hand (ssh probed)" in said
    (tmp_path / "other").write_text(f"[127.0.0.1]:{daemon.port} {key(tmp_path / 'key')}")
    said = failing(study, daemon.configured("changed", UserKnownHostsFile=str(tmp_path / "other")))
    assert "has another host key than when it was last seen" in said


def test_nobody_there(study: wb.Study, daemon: Daemon) -> None:
    assert "refuses the connection" in failing(study, daemon.configured("closed", Port=str(free_port())))
    assert "its name leads to no address" in failing(study, daemon.configured("lost", HostName="no.such.invalid"))
    with socket.socket() as mute:  # it listens and never says a word
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        config = daemon.configured("mute", Port=str(mute.getsockname()[1]))
        host = Host(HOST, config=config, connect_s=1)
        with pytest.raises(MeasurementFailed, match="did not answer in time"):
            probe([study.baseline], host, Ask(0.1), Reporter())


def test_no_python_or_one_that_lacks_something(study: wb.Study, daemon: Daemon, tmp_path: Path) -> None:
    said = failing(study, str(daemon.config), python="/no/such/python3")
    assert said.startswith("probed has no /no/such/python3. Install Python 3 there")
    bare = tmp_path / "bare python"  # a space is no end of the name
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    bare.chmod(0o755)
    said = failing(study, str(daemon.config), python=str(bare))
    assert "without numpy and onnxruntime" in said and "-m pip install numpy onnxruntime" in said


@pytest.mark.parametrize(
    "name",
    [
        "-oProxyCommand=touch x",
        "host;touch x",
        "$(touch x)",
        "a b",
        "host\n",
        "",
        "u@-h",
        "h`x`",
        "host:22",
        "a@b@c",
        "h'",
    ],
)
def test_what_is_no_host(study: wb.Study, name: str) -> None:
    with pytest.raises(BadValue, match="is no host"):
        study.probe(name, [study.baseline], progress=False)


def test_a_python_that_is_a_command_line_is_one_word(study: wb.Study, daemon: Daemon, tmp_path: Path) -> None:
    said = failing(study, str(daemon.config), python=f"python3; touch {tmp_path / 'x'} #")
    assert "Install Python 3 there" in said and not (tmp_path / "x").exists()
    for name in ("", "-c", "a\nb"):
        with pytest.raises(BadValue, match="python is"):
            Host(HOST, python=name)


def test_nothing_that_the_study_calls_things_reaches_the_shell(study: wb.Study, daemon: Daemon, tmp_path: Path) -> None:
    study.rename(study.variants[-1], f"$(touch {tmp_path / 'x'}); '")
    sent = " ".join(Host(HOST, config=str(daemon.config)).command())
    assert "touch" not in sent
    study.rename(study.variants[-1], "")


def test_a_connection_that_is_cut_midway(study: wb.Study, daemon: Daemon) -> None:
    """The server's side is killed at a round of times: what came before is kept, and said to be no more."""
    seen = {"rounds": 0}

    class Watching(Reporter):
        def __call__(self, fraction: float, stage: str) -> None:
            seen["rounds"] += stage.startswith("measuring") and fraction > 0.2
            if seen["rounds"] == 15:
                for child in daemon.children():
                    os.kill(child, signal.SIGKILL)

    host = Host(HOST, sys.executable, str(daemon.config))
    found = probe([study.baseline], host, Ask(60, images=10), Watching())
    assert "The connection to probed was lost" in found.note and "is kept" in found.note
    assert found.frame()["latency_ms"].iloc[0] > 0 and seen["rounds"] >= 15


def test_a_cancelled_one_leaves_no_process_there(study: wb.Study, daemon: Daemon) -> None:
    class Stopping(Reporter):
        def __call__(self, fraction: float, stage: str) -> None:
            if stage.startswith("measuring") and fraction > 0.2:
                self.cancelled.set()
            self.check()

    with pytest.raises(wb.errors.Cancelled):
        probe([study.baseline], Host(HOST, sys.executable, str(daemon.config)), Ask(60, images=10), Stopping())
    until = time.monotonic() + 30
    while time.monotonic() < until and list(Path(tempfile.gettempdir()).glob("workbench-probe-*")):
        time.sleep(0.2)
    assert not list(Path(tempfile.gettempdir()).glob("workbench-probe-*"))


def test_a_full_disk_is_said(study: wb.Study) -> None:
    packed = io.BytesIO()
    np.savez(packed, np.zeros((1, 2, 12, 12), np.float32))
    sizes = [study.baseline.onnx.stat().st_size, packed.getbuffer().nbytes]
    asked = json.dumps({"sizes": sizes, "seconds": 0.1, "threads": 1, "sessions": 1}).encode() + b"\n"
    done = subprocess.run(
        [sys.executable, script.__file__],
        input=asked + study.baseline.onnx.read_bytes() + packed.getvalue(),
        capture_output=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)),
    )
    message = json.loads(done.stdout.splitlines()[-1])
    assert probing._stopped(Host(HOST), message).startswith("The disk of probed is full")


def test_damaged_records_are_left_out(study: wb.Study, tmp_path: Path) -> None:
    (tmp_path / "probes").mkdir()
    (tmp_path / "probes" / "a.json").write_text("{")
    with pytest.warns(UserWarning, match="cannot be read"):
        assert kept(tmp_path) == []


def test_times_that_cannot_be_are_refused() -> None:
    heard = Heard(times={0: [[1.0], [-1.0]]}, pulses={0: [[1.0], [1.0]]}, load_ms={0: [1.0]})
    with pytest.raises(MeasurementFailed, match="not above zero"):
        probing._rounds(heard, 1)


def test_rounds_are_judged_as_those_of_this_desk() -> None:
    """A ratio of two, exact in every round: the interval holds two, and only the placement of memory widens it."""
    times = [[[2.0, 1.0]] * 12] * 3
    found = Rounds.of(times, [[[1.0, 1.0]] * 12] * 3, [[1.0, 1.0]] * 3).timings(1).speedup(1)
    assert found.value == pytest.approx(2) and found.low == pytest.approx(2 * np.exp(-0.0196), rel=1e-3)
    short = Rounds.of([*times[:2], [[9.0, 9.0]]], [[[1.0, 1.0]] * 12] * 2 + [[[1.0, 1.0]]], [[1.0, 1.0]] * 3)
    assert len(short.times) == 2  # the session that was cut off


def test_it_is_timed_as_here() -> None:
    names = ("BLOCK_S", "MIN_RUNS", "MAX_RUNS", "MIN_ROUNDS", "WARM_UP_S")
    assert [getattr(script, name) for name in names] == [getattr(worker, name) for name in names]
    ticks = iter(range(0, 10**9, 10**6))
    clock = SimpleNamespace(perf_counter_ns=lambda: next(ticks) ** 2)
    for module, block in ((script, script.block), (worker, worker._block)):
        ticks = iter(range(10))
        before, module.time = module.time, clock
        try:
            assert block(lambda: None, 5) == 5 / 1e6  # runs of 1, 5, 9, 13, 17 ns: the lower quartile
        finally:
            module.time = before
