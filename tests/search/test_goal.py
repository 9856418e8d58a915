"""What is asked of a search, as users type it; and the line from harm to what is lost."""

from __future__ import annotations

import numpy as np
import pytest

import workbench as wb
from workbench.errors import BadValue, UnknownName, WorkbenchError
from workbench.search.forecast import Forecast, Result
from workbench.search.goal import goal_of, minutes_of
from workbench.search.harm import Harm
from workbench.tasks import METRICS
from workbench.tasks.classification import ACCURACY


@pytest.mark.parametrize(
    ("text", "loss"),
    [
        ("accuracy >= baseline - 0.01", 0.01),
        ("accuracy >= baseline - 1 %", 0.01),
        ("Accuracy >= Baseline − 2 points", 0.02),
        ("accuracy >= baseline", 0.0),
        ("accuracy >= baseline + 0.005", -0.005),
        ("speedup >= 3 and accuracy >= baseline - 0.5 %", 0.005),
    ],
)
def test_limits_relative_to_the_original(text: str, loss: float) -> None:
    assert goal_of("latency", text, ACCURACY).loss == pytest.approx(loss)


def test_the_tightest_of_several_counts() -> None:
    found = goal_of("latency_ms", ["accuracy >= baseline - 0.02", "accuracy >= baseline - 0.01"], ACCURACY)
    assert found.loss == 0.01


def test_less_is_better_for_some_metrics() -> None:
    metric = next(one for one in METRICS.values() if not one.more_is_better)
    assert goal_of("macs", f"{metric.name} <= baseline + 0.2", metric).loss == pytest.approx(0.2)


def test_limits_become_numbers() -> None:
    model = wb.load("fashion-mobilenet")
    before = wb.Recipe().plan(model)
    found = goal_of(
        "latency_ms", ["speedup >= 2", "params <= 0.3", "macs <= 2 M", "peak activations <= 64 kB"], ACCURACY
    )
    assert found.prices(before) == {
        "latency_ms": pytest.approx(before.latency_ms / 2),
        "params": pytest.approx(0.3 * before.params),
        "macs": 2e6,
        "peak_bytes": 64e3,
    }
    assert not found.met_by(before, before)
    assert goal_of("macs", "params <= 1.0", ACCURACY).met_by(before, before)


@pytest.mark.parametrize(
    ("minimise", "where", "names"),
    [
        ("beauty", "", "beauty"),
        ("latency_ms", "beauty <= 3", "beauty"),
        ("latency_ms", "speedup <= 3", "speedup <= 3"),
        ("latency_ms", "params >= 3", "params >= 3"),
        ("latency_ms", "params <= 0", "params <= 0"),
        ("latency_ms", "accuracy => baseline", "accuracy"),
        ("latency_ms", "accuracy >= baseline * 2", "baseline"),
        ("latency_ms", "miou >= baseline - 0.1", "miou"),
        ("latency_ms", "accuracy", "accuracy"),
    ],
)
def test_what_cannot_be_read_is_named(minimise: str, where: str, names: str) -> None:
    with pytest.raises((BadValue, UnknownName), match=names.replace("*", r"\*")) as told:
        goal_of(minimise, where, ACCURACY)
    assert isinstance(told.value, WorkbenchError)


@pytest.mark.parametrize(
    ("text", "minutes"), [("10 min", 10), ("90 s", 1.5), ("1.5 h", 90), ("2 hours", 120), (7, 7), ("45 minutes", 45)]
)
def test_budgets(text: str | float, minutes: float) -> None:
    assert minutes_of(text) == pytest.approx(minutes)


@pytest.mark.parametrize("text", ["", "soon", "-3 min", "0 min", "10 parsecs", "1.2.3 h", "nan"])
def test_budgets_that_are_none(text: str) -> None:
    with pytest.raises(BadValue, match="budget="):
        minutes_of(text)


def test_the_line_finds_the_slopes_of_all_kinds() -> None:
    rng = np.random.default_rng(0)
    parts = rng.uniform(0, 0.1, (60, 3))
    results = [Result((a, b, c), 0.3 * a + 0.05 * b + 0.1 * c) for a, b, c in parts]
    found = Forecast.of(Harm((), {}), results, 0.01)
    for a, b, c in rng.uniform(0, 0.1, (5, 3)):
        assert found.loss((a, b, c)) == pytest.approx(0.3 * a + 0.05 * b + 0.1 * c, abs=0.002)


def test_one_result_moves_all_slopes() -> None:
    """Also that of a kind which it has none of."""
    found = Forecast.of(Harm((), {}), [Result((0.02, 0.02, 0.0), 0.02)], 0.01)
    assert found.loss((0.02, 0.02, 0.0)) == pytest.approx(0.02, rel=0.3)
    assert found.loss((0.04, 0.0, 0.0)) > 0.015
    assert found.loss((0.0, 0.04, 0.0)) > 0.015
    assert found.loss((0.0, 0.0, 0.04)) > 0.015


def test_without_results_harm_is_the_forecast() -> None:
    assert Forecast.of(Harm((), {}), [], 0.01).loss((0.1, 0.2, 0.3)) == pytest.approx(0.6)
