"""A time budget for figures: as many inputs as fit, the same for every variant, drawn at random, and said so."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import workbench as wb
from workbench.data import Data
from workbench.errors import BadValue
from workbench.jobs import Reporter
from workbench.measure import affordable as module
from workbench.measure.affordable import LEAST, affordable, drawn

SIZE = 600


def data(count: int = SIZE) -> Data:
    """Inputs that say their own number."""
    x = torch.arange(count * 8.0).reshape(count, 8) / 8
    y = torch.arange(count) % 3
    return wb.data({"calibration": (x[:50], y[:50]), "validation": (x[: count // 3], y[: count // 3]), "test": (x, y)})


def model() -> wb.Model:
    torch.manual_seed(0)
    return wb.load(nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3)), example=torch.zeros(1, 8))


def numbers(split: object) -> list[int]:
    return [int(one) for one in split.inputs[:, 0]]  # type: ignore[attr-defined]


def test_the_draw_is_random_without_repeats_and_always_the_same() -> None:
    first, second = numbers(drawn(data(), 120)["test"]), numbers(drawn(data(), 120)["test"])
    assert first == second and len(set(first)) == 120
    assert first != sorted(first) and max(first) > SIZE / 2  # of all of them, not the first ones
    more = numbers(drawn(data(), 300)["test"])
    assert more[:120] == first  # more time adds inputs and takes none away


def test_the_validation_split_shrinks_alike_and_the_others_stay() -> None:
    found = drawn(data(), 60)
    assert (len(found["test"]), len(found["validation"]), len(found["calibration"])) == (60, 20, 50)
    assert any("60 of 600 test inputs" in note for note in found.notes)
    assert drawn(data(), SIZE) is not None and not drawn(data(), SIZE).notes


@pytest.mark.parametrize(("pace", "minutes", "wanted"), [(100.0, 2.0, 9000), (1.0, 4.0, 180), (0.01, 1.0, LEAST)])
def test_as_many_as_the_pace_allows(
    monkeypatch: pytest.MonkeyPatch, pace: float, minutes: float, wanted: int
) -> None:
    """Of an hour of inputs a quarter are the validation split's: three quarters of the time are the test's."""

    def timed(*_: object) -> object:
        return ((16 * batch, 16 * batch / pace) for batch in range(1, 1000))

    monkeypatch.setattr(module, "_timed", timed)
    assert affordable(Path("unused"), data(30_000), minutes, Reporter()) == wanted


def test_a_study_judges_every_variant_on_the_same_draw_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.making.affordable", lambda *_: 90)
    study = wb.Study(model(), data(), tmp_path / "study", minutes=0.5)
    variant = study.run(wb.SVD(0.5), progress=False)
    for one in (study.baseline, variant):
        assert one.estimates["accuracy"].n == 90
        assert any("90 of 600 test inputs" in note for note in one.notes)

    monkeypatch.setattr("workbench.making.affordable", lambda *_: pytest.fail("the original is known"))
    again = wb.Study(model(), data(), tmp_path / "study", minutes=0.5)
    assert len(again.data["test"]) == 90
    assert again.find(wb.SVD(0.5)) is not None
    assert again.run(wb.SVD(0.25), progress=False).estimates["accuracy_change"].n == 90
    whole = wb.Study(model(), data(), tmp_path / "study")
    assert whole.find(wb.SVD(0.5)) is None and len(whole.data["test"]) == SIZE  # other figures, another variant


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), "2", True])
def test_times_that_make_no_sense(minutes: object) -> None:
    with pytest.raises(BadValue, match="minutes"):
        wb.Study(model(), data(), minutes=minutes, keep=False)  # type: ignore[arg-type]  # the mistake under test
