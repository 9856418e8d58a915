"""Paired comparison against scipy and closed forms; what is written of it; fronts that noise must not change."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from workbench.errors import BadFile, BadValue
from workbench.estimate import paired_change
from workbench.frames.pareto import front
from workbench.measure.metrics import sample
from workbench.measure.paired import Sample, _t95, draws, resample, resample_whole
from workbench.tasks import METRICS, Metric

RANDOM = np.random.default_rng(0)


def marks(n: int, lost: int, gained: int) -> tuple[Sample, Sample]:
    """Two networks on n inputs: the first alone gets `lost` right, the second alone `gained`."""
    before = np.zeros(n, bool)
    before[gained : n // 2] = True
    after = before.copy()
    after[gained : gained + lost], after[:gained] = False, True
    return Sample.of_marks(before), Sample.of_marks(after)


def test_shares_are_compared_by_their_discordant_inputs() -> None:
    one, two = marks(2000, 30, 12)
    assert one.change_to(two) == paired_change(30, 12, 2000)
    assert one.change_to(one).value == 0
    with pytest.raises(BadValue, match="2000 and 1000 inputs"):
        one.change_to(marks(1000, 1, 1)[0])


def mean(values: np.ndarray) -> Sample:
    return resample(values[:, None], lambda sums: sums[..., 0] / len(values), "mm")


@pytest.mark.parametrize("n", [15, 60, 1000])
def test_means_have_students_paired_interval(n: int) -> None:
    first = RANDOM.normal(5, 2, n)
    second = first + RANDOM.normal(0.3, 0.5, n)
    found = mean(first).change_to(mean(second))
    oracle = stats.ttest_rel(second, first).confidence_interval(0.95)
    assert found.value == pytest.approx((second - first).mean())
    assert found.unit == "mm" and found.n == n
    width = oracle.high - oracle.low
    assert (found.low, found.high) == pytest.approx((oracle.low, oracle.high), abs=0.07 * width)
    apart = math.hypot(first.std(), second.std()) / math.sqrt(n)  # of two figures on different inputs
    assert width < 0.6 * 2 * 1.96 * apart


def test_a_figure_of_all_inputs_is_compared_on_the_same_resamples() -> None:
    labels = RANDOM.integers(2, size=400)
    first = labels + RANDOM.normal(0, 0.8, 400)
    second = first + RANDOM.normal(0, 0.05, 400)

    def f1(outputs: np.ndarray, true: np.ndarray) -> float:
        said = outputs > 0.5
        return float(2 * (said & (true == 1)).sum() / (said.sum() + (true == 1).sum()))

    metric = Metric("f1", f1)
    one, two = sample(metric, first, labels), sample(metric, second, labels)
    found = one.change_to(two)
    assert found.value == pytest.approx(f1(second, labels) - f1(first, labels))
    oracle = stats.bootstrap(
        (first, second, labels), lambda a, b, c: f1(b, c) - f1(a, c), paired=True, vectorized=False, n_resamples=2000,
        method="percentile", rng=1,
    )  # fmt: skip
    expected = oracle.confidence_interval
    width = expected.high - expected.low
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.25 * width)
    assert found.high - found.low < 0.5 * (one.estimate.high - one.estimate.low)


def test_marks_and_values_are_compared_too() -> None:
    right = RANDOM.random(500) < 0.9
    partly = np.where(right, RANDOM.random(500), 0.0)
    found = Sample.of_marks(right).change_to(mean(partly))
    oracle = stats.ttest_rel(partly, right).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((oracle.low, oracle.high), abs=0.1 * (oracle.high - oracle.low))


def test_resamples_are_the_same_for_every_figure() -> None:
    times = np.concatenate(list(draws(7, 120)))
    assert times.shape == (120, 7) and (times.sum(axis=1) == 7).all()
    assert (times == np.concatenate(list(draws(7, 120)))).all()
    values = RANDOM.normal(size=7)
    whole = resample_whole(lambda i: float(values[i].mean()), 7, 200)
    np.testing.assert_allclose(whole.values[:120], (times @ values) / 7)


@pytest.mark.parametrize("freedom", [3, 5, 10, 30, 1000])
def test_quantiles_of_students_t(freedom: int) -> None:
    assert _t95(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=0.02 if freedom < 5 else 0.003)


@given(st.integers(1, 70), st.integers(0, 2**32 - 1))
def test_a_sample_survives_being_written(n: int, seed: int) -> None:
    right = np.random.default_rng(seed).random(n) < 0.7
    again = Sample.read(Sample.of_marks(right, "x").write())
    assert again.has_marks and again.unit == "x" and (again.values == right).all()
    values = mean(np.random.default_rng(seed).normal(size=n))
    again = Sample.read(values.write())
    assert (again.n, again.value, again.unit) == (n, values.value, "mm")
    np.testing.assert_allclose(again.values, values.values, rtol=1e-6)


def test_ten_thousand_answers_take_two_kilobytes() -> None:
    assert len(marks(10000, 5, 5)[0].write()) < 2000


@pytest.mark.parametrize(
    "text",
    ["", "7", "[]", '["marks", 9, 1, "", "00"]', '["marks", -1, 1, "", ""]', '["marks", 1e300, 1, "", "00"]',
     '["marks", "9", 1, "", "0000"]', '["resamples", 9, NaN, "", ""]', '["other", 9, 1, "", ""]',
     '["resamples", 9, 1, "", "00"]', '["marks", 9, 1, "", 7]', '["marks", 9.5, 1, "", "0RR"]', "[" * 100_000],
)  # fmt: skip
def test_a_damaged_sample_is_refused(text: str) -> None:
    with pytest.raises(BadFile, match="paired comparison"):
        Sample.read(text)


def rows(*entries: tuple[str, int, float, tuple[float, float, float], np.ndarray]) -> pd.DataFrame:
    """Name, number of steps, milliseconds, speed-up with its interval, what is right."""
    frame = pd.DataFrame(
        {
            "id": [e[0] for e in entries],
            "recipe": [json.dumps([{}] * e[1]) for e in entries],
            "latency_ms": [e[2] for e in entries],
            **{f"speedup{end}": [e[3][i] for e in entries] for i, end in enumerate(("", "_low", "_high"))},
            "accuracy": [e[4].mean() for e in entries],
        }
    )
    frame.attrs["samples"] = {"accuracy": {e[0]: Sample.of_marks(e[4]).write() for e in entries}}
    return frame


BASE = np.arange(2000) % 16 > 0


def test_training_that_changed_no_answer_leaves_the_front_to_what_it_started_from() -> None:
    int8 = ("int8", 1, 0.52, (2.50, 2.40, 2.60), BASE)
    qat = ("qat", 2, 0.51, (2.52, 2.43, 2.61), BASE)  # faster by noise
    assert front(rows(int8, qat), "speedup", "accuracy")["id"].tolist() == ["int8"]
    better = BASE.copy()
    better[:200] = True  # it gained 13 right answers and lost none
    assert front(rows(int8, (*qat[:4], better)), "speedup", "accuracy")["id"].tolist() == ["qat"]
    faster = (*qat[:3], (2.9, 2.8, 3.0), BASE)
    assert front(rows(int8, faster), "speedup", "accuracy")["id"].tolist() == ["qat"]


def test_milliseconds_are_ranked_by_the_ratio_in_turns() -> None:
    one = ("one", 1, 0.50, (2.0, 1.9, 2.1), BASE)  # its milliseconds are of a quieter minute
    two = ("two", 1, 0.55, (3.0, 2.9, 3.1), BASE)
    assert front(rows(one, two), "latency_ms", "accuracy")["id"].tolist() == ["two"]


def test_a_front_is_never_empty() -> None:
    """The first is told from the third, but the second from neither: whichever goes, something stays."""
    chain = [(name, 1, 1.0, (v, v * 0.96, v * 1.04), BASE) for name, v in (("a", 1.0), ("b", 1.05), ("c", 1.10))]
    found = front(rows(*chain), "speedup", "accuracy")["id"].tolist()
    assert found == ["b"]  # the simplest that cannot be told from the fastest


def test_few_resamples_give_the_interval_of_their_spread() -> None:
    values = np.random.default_rng(5).normal(size=300)
    found = resample_whole(lambda i: float(values[i].mean()), 300, 40).estimate
    oracle = stats.t.interval(0.95, 299, values.mean(), stats.sem(values))
    assert (found.value - found.low) == pytest.approx(found.high - found.value)
    assert (found.low, found.high) == pytest.approx(oracle, abs=0.35 * (oracle[1] - oracle[0]) / 2)


def test_segmentations_are_compared_image_by_image() -> None:
    true = RANDOM.integers(3, size=(40, 6, 6))
    outputs = np.eye(3)[true].transpose(0, 3, 1, 2) + RANDOM.normal(0, 0.6, (40, 3, 6, 6))
    worse = outputs + RANDOM.normal(0, 0.2, outputs.shape)
    metric = METRICS["miou"]
    one, two = sample(metric, outputs, true), sample(metric, worse, true)
    found = one.change_to(two)
    assert found.value == pytest.approx(two.value - one.value)
    assert found.high - found.low < 0.8 * (one.estimate.high - one.estimate.low)
