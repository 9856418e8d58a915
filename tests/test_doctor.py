"""What the doctor says: of packages, from the metadata; of this machine, from a ratio that is known to be 1."""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from typer.testing import CliRunner

from workbench.cli import app
from workbench.doctor import parts as declared
from workbench.doctor import quiet
from workbench.doctor.parts import DISTRIBUTION, FEATURES, OWN, Part, parts
from workbench.doctor.quiet import Quiet, advice, how_quiet
from workbench.estimate import Estimate

LINES = ["numpy>=1.26", 'timm; extra == "zoo"', "torchvision>=0.2; extra == 'zoo'", 'pytest; extra == "test"']


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation that has numpy and torchvision and nothing else."""
    there = {"numpy": "2.1", "torchvision": "0.28"}

    def version(name: str) -> str:
        if name not in there:
            raise PackageNotFoundError(name)
        return there[name]

    monkeypatch.setattr(declared, "requires", lambda name: LINES)
    monkeypatch.setattr(declared, "version", version)


def test_every_extra_that_users_may_want_is_told_of() -> None:
    lines = requires(DISTRIBUTION) or []
    extras = {line.partition("extra == ")[2].strip("\"' ") for line in lines if "extra == " in line}
    assert extras - OWN == set(FEATURES)
    assert {part.extra for part in parts()} == {"", *FEATURES}


def test_what_is_missing_comes_with_what_to_type(without: None) -> None:
    found = {part.extra: part for part in parts()}
    assert found[""] == Part("", "everything else", (("numpy", "2.1"),)) and not found[""].remedy
    assert found["zoo"].packages == (("timm", ""), ("torchvision", "0.28"))
    assert found["zoo"].missing == ("timm",)
    assert found["zoo"].remedy.endswith("-m pip install 'nn-workbench[zoo]'")
    assert "test" not in found
    assert not found["cluster"].missing  # the metadata of this one do not name it


def test_the_command_tells_all_of_it(without: None) -> None:
    said = CliRunner().invoke(app, ["doctor", "--no-measure"])
    assert said.exit_code == 0
    assert "missing: timm" in said.output and "pip install 'nn-workbench[zoo]'" in said.output


def test_a_broken_base_fails(without: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(declared, "requires", lambda name: ["torch>=2.6"])
    said = CliRunner().invoke(app, ["doctor", "--no-measure"])
    assert said.exit_code == 1
    assert "missing: torch" in said.output


@pytest.mark.parametrize(
    ("interval", "word", "percent"),
    [((0.99, 1.02), "Quiet", "2 %"), ((0.94, 1.01), "It will do", "6 %"), ((0.8, 1.1), "Too busy", "25 %")],
)
def test_the_verdict_follows_from_how_far_the_ratio_may_be_off(
    interval: tuple[float, float], word: str, percent: str
) -> None:
    said = Quiet(Estimate(1.0, *interval, 30), ()).verdict
    assert said.startswith(word) and percent in said


def system(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True)
        path.write_text(text)
    return folder


def test_advice_names_what_is_in_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (7.3, 0, 0))
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    laptop = system(
        tmp_path,
        devices__system__cpu__cpu0__cpufreq__scaling_governor="powersave\n",
        class__power_supply__BAT0__status="Discharging\n",
    )
    busy, governor, battery, share = advice(laptop)
    assert "7.3 on 4 CPUs" in busy and "powersave" in governor and "battery" in battery and "2 of 4" in share


def test_of_a_quiet_machine_there_is_nothing_to_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quiet, "_load", lambda: float("nan"))  # of a system that does not tell
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(os.cpu_count() or 1)), raising=False)
    desk = system(tmp_path, devices__system__cpu__cpu0__cpufreq__scaling_governor="performance\n")
    assert not advice(desk)


def test_a_network_is_as_fast_as_its_copy() -> None:
    found = how_quiet(0.3)
    assert found.ratio.low <= found.ratio.value <= found.ratio.high
    assert found.ratio.low < 1.5 and found.ratio.high > 0.67  # one and the same network, on however busy a machine
