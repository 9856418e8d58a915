"""Devices against hand computations; the latency model against times that are made from known coefficients."""

from __future__ import annotations

import math
import tomllib
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import workbench as wb
from workbench.cost import calibrated
from workbench.cost.calibrated import Calibration
from workbench.cost.features import Work, is_blocked, work
from workbench.cost.layer import Layer
from workbench.cost.network import Network
from workbench.cost.report import of_network
from workbench.cost.roofline import bundled, device
from workbench.errors import BadValue
from workbench.measure.calibration import COLUMNS, TYPICAL, TYPICAL_COMMON, fit, settled
from workbench.measure.probe_plan import plan

FOLDER = Path(calibrated.__file__).parent / "devices"


def conv(c_in: int, c_out: int, kernel: int, side: int, groups: int = 1) -> Layer:
    shapes = (c_in, side, side), (c_out, side, side)
    return Layer("c", "conv", *shapes, "c", (kernel, kernel), (1, 1), (kernel // 2,) * 2, (1, 1), groups,
                 reads=(0,), writes=1)  # fmt: skip


def no_home(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    monkeypatch.setattr(calibrated, "_found", {})


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda p: p.stem)
def test_every_number_of_a_device_has_its_source(path: Path) -> None:
    tomllib.loads(path.read_text())
    explained = False
    for line in path.read_text().splitlines():
        # A comment before a table, or beside its name, is for all of the table.
        explained = "#" in line if line.startswith(("#", "[")) and not explained else explained and bool(line.strip())
        if "=" in line and not line.startswith(("title", "#", "32 = 1.0")):  # that is what relative means
            assert "#" in line or explained, line


def test_the_atmega_by_hand() -> None:
    cost = wb.cost(nn.Linear(40, 10), torch.zeros(1, 40))
    found = cost.on("atmega328p")
    seconds = max(400 / 64e3, 4 * (40 + 10 + 410) / 8e6) + 1e-6
    assert found.latency_ms == pytest.approx(1e3 * seconds)
    assert found.energy_uj == pytest.approx(0.046 * seconds * 1e6)
    assert (found.ram_bytes, found.flash_bytes) == (4 * 50, 4 * 410)
    assert found.fits
    large = wb.cost(nn.Linear(1000, 10), torch.zeros(1, 1000)).on("atmega328p")
    assert not large.fits_ram and not large.fits_flash
    assert "needs 3.95 KB of RAM, has 2 KB" in large.why


def test_a_float_network_does_not_run_on_the_edge_tpu_and_an_integer_one_does() -> None:
    network = wb.cost(nn.Conv2d(8, 8, 3), torch.zeros(1, 8, 9, 9)).network
    floats, integers = (of_network(n).on("edge-tpu") for n in (network, network.with_bits(8)))
    assert math.isnan(floats.latency_ms) and not floats.fits and "quantize" in floats.why
    assert integers.fits and integers.latency_ms > 0


def test_layers_bound_by_memory_are_named() -> None:
    net = nn.Sequential(nn.Conv2d(64, 64, 3, padding=1), nn.Flatten(), nn.Linear(64 * 64, 512))
    found = wb.cost(net, torch.zeros(1, 64, 8, 8)).on("raspberry-pi-4")
    assert found.memory_bound == ("2",)  # a vector times a matrix: every weight is used once
    rows = found.layers()
    assert rows.ms.sum() == pytest.approx(found.latency_ms)
    assert rows.set_index("layer").bound.to_dict() == {"0": "arithmetic", "2": "memory"}


def test_one_row_a_device() -> None:
    frame = wb.cost(nn.Conv2d(8, 8, 3), torch.zeros(1, 8, 9, 9)).devices()
    assert list(frame.device) == bundled()
    assert {"cortex-m7", "atmega328p", "edge-tpu", "phone-core", "raspberry-pi-4", "server-core"} <= set(frame.device)
    chart = wb.charts.devices(frame).to_dict()
    assert len(chart["layer"]) == 2
    with pytest.raises(wb.WorkbenchError, match="latency_ms"):
        wb.charts.devices(frame.drop(columns="latency_ms"))


def test_this_machine_before_it_is_calibrated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    no_home(monkeypatch, tmp_path)
    with pytest.raises(BadValue, match="calibrate"):
        device("this-machine")
    assert "this-machine" not in bundled()


def known(factor: float) -> Calibration:
    """A machine whose every coefficient is `factor` times the typical one."""
    seconds = {regime: {k: v * factor for k, v in row.items()} for regime, row in TYPICAL.items()}
    common = {k: v * factor for k, v in TYPICAL_COMMON.items()}
    return Calibration("m", "", 2e6, 1e-5 * factor, seconds, common, 0.0)


def predicted(calibration: Calibration, network: Network) -> float:
    return sum(map(sum, calibration.times(network)))


@pytest.fixture(scope="module")
def networks() -> list[Network]:
    return [probe.network for probe in plan()]


def test_the_fit_finds_the_coefficients_behind_the_times(networks: list[Network]) -> None:
    truth = known(1.7)
    truth.seconds["dense"]["macs"] *= 2  # type: ignore[index]
    noise = np.exp(0.03 * np.random.default_rng(0).standard_normal(len(networks)))
    times = np.array([predicted(truth, network) for network in networks]) * noise
    found = fit(networks, times, 2e6)
    assert found.error < 0.05
    unseen = [Network((conv(48, 96, 3, 20),)), Network((conv(96, 96, 3, 20, 96),)), Network((conv(64, 160, 1, 10),))]
    for network in unseen:
        assert predicted(found, network) == pytest.approx(predicted(truth, network), rel=0.1)
    assert all(found.seconds[regime][amount] >= 0 for regime, amount in COLUMNS)


def test_disturbed_rounds_do_not_count() -> None:
    random = np.random.default_rng(1)
    slowed = np.log(np.array([1.0, 1.5, 1.02, 1.5, 1.5, 1.0, 1.01, 1.6, 1.5]))
    times = 2.0 * np.exp(np.where(slowed > 0.1, slowed, 0.0) + 0.01 * random.standard_normal(9))
    assert settled(times, slowed) == pytest.approx(2.0, rel=0.03)
    busy = slowed > 0.1  # nothing else was seen: graphs follow the pulse in part
    assert 2.0 <= settled(times[busy], slowed[busy]) < 2.0 * 1.2


def test_taps_beyond_the_edge_are_not_computed() -> None:
    whole, edge = (work(Network((conv(16, 16, 3, side),)), 2e6)[0][-1] for side in (8, 1))
    assert edge.macs == pytest.approx(16 * 16)  # one place, where only the middle tap lies inside
    assert whole.macs == pytest.approx(16 * 16 * 22 * 22)  # 8 places with 3 taps in a row, two of them with 2


def test_a_calibration_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    no_home(monkeypatch, tmp_path)
    calibrated.store(known(1.0))
    monkeypatch.setattr(calibrated, "_found", {})  # as in another process
    kept = calibrated.stored()
    assert kept is not None and asdict(kept) == asdict(known(1.0))
    network = Network((conv(16, 16, 3, 8),))
    assert device("this-machine").latency_ms(network) == pytest.approx(1e3 * predicted(known(1.0), network))
    (tmp_path / "nn-workbench" / "this-machine.json").write_text("{")
    monkeypatch.setattr(calibrated, "_found", {})
    assert calibrated.stored() is None


def test_channels_decide_the_kernel() -> None:
    assert is_blocked(conv(16, 30, 3, 8))
    assert is_blocked(conv(3, 30, 3, 8))
    assert not is_blocked(conv(30, 16, 3, 8))
    assert not is_blocked(conv(30, 30, 3, 8, groups=30))
    assert is_blocked(conv(32, 32, 3, 8, groups=2)) and not is_blocked(conv(32, 32, 3, 8, groups=4))


def test_padding_and_changes_of_order_are_counted() -> None:
    odd = conv(16, 18, 1, 4)
    after = conv(18, 16, 1, 4).but(reads=(1,), writes=2)
    first, second = work(Network((odd, after)), 2e6)
    assert [one.regime for one in first] == ["reorder", "pointwise"]
    assert first[1].macs == 4 * 4 * 32 * 16  # 18 channels lie in two blocks of 16
    assert [one.regime for one in second] == ["reorder", "unfolded"]  # 18 is no multiple of four
    assert isinstance(second[1], Work) and second[1].macs == after.macs
