"""Speeds that are expected of choices: as predicted, and as measurements have it once there are some."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from workbench.search.forecast import Pace


class Seen:
    """A variant of which the speed is known, as predicted and as measured."""

    def __init__(self, predicted: float, measured: float) -> None:
        self.figures = {"predicted_speedup": predicted, "speedup": measured}

    def __getitem__(self, name: str) -> Any:
        return SimpleNamespace(value=self.figures[name])


def test_without_measurements_speeds_are_expected_as_predicted() -> None:
    assert Pace.of([]).measured(3.0) == pytest.approx(3.0)


def test_many_measurements_decide_what_is_expected() -> None:
    """Twice as fast as predicted, and more so where more is predicted: measured = 1.2 predicted^1.1."""
    many = [Seen(times, 1.2 * times**1.1) for times in np.geomspace(1.5, 20, 200)]
    pace = Pace.of(cast("Any", many))
    assert pace.measured(8.0) == pytest.approx(1.2 * 8**1.1, rel=0.01)
    assert pace.predicted(pace.measured(5.0)) == pytest.approx(5.0)


def test_one_measurement_moves_all_speeds_its_way_and_no_further() -> None:
    pace = Pace.of(cast("Any", [Seen(4.0, 5.0)]))
    assert 4.6 < pace.measured(4.0) < 5.0
    assert 1.0 < pace.measured(2.0) / 2 < 5 / 4
