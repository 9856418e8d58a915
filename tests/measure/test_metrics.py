"""Metrics against closed forms, scipy's bootstrap, and segmentations counted by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from workbench.errors import BadValue, MeasurementFailed, UnknownName
from workbench.estimate import Estimate, wilson
from workbench.measure.divergence import apart, summarise
from workbench.measure.metrics import bootstrap, sample
from workbench.tasks import METRICS, Metric
from workbench.tasks.classification import ACCURACY, top5
from workbench.tasks.metric import as_metric as any_metric
from workbench.tasks.segmentation import counts, mean_iou


def as_metric(value: Any) -> Metric:
    return any_metric(value, METRICS)


def estimate(metric: Metric, outputs: np.ndarray, labels: np.ndarray) -> Estimate:
    return sample(metric, outputs, labels).estimate


RANDOM = np.random.default_rng(0)
LOGITS, LABELS = RANDOM.normal(size=(300, 8)), RANDOM.integers(8, size=300)


def test_shares_have_wilsons_interval() -> None:
    found = estimate(ACCURACY, LOGITS, LABELS)
    assert found == wilson(int((LOGITS.argmax(1) == LABELS).sum()), 300)
    ranks = stats.rankdata(-LOGITS, axis=1)[np.arange(300), LABELS]
    assert estimate(METRICS["top5"], LOGITS, LABELS) == wilson(int((ranks <= 5).sum()), 300)


def test_means_have_a_bootstrap_interval() -> None:
    errors = (LOGITS[:, 0] - 1) ** 2
    metric = as_metric(lambda_named("squared_error", lambda outputs, labels: (outputs[:, 0] - labels) ** 2))
    found = estimate(metric, LOGITS, np.ones(300))
    assert found.value == pytest.approx(errors.mean())
    oracle = stats.bootstrap((errors,), np.mean, method="percentile", n_resamples=4000, rng=1).confidence_interval
    width = oracle.high - oracle.low
    assert found.low == pytest.approx(oracle.low, abs=0.1 * width)
    assert found.high == pytest.approx(oracle.high, abs=0.1 * width)
    assert found.n == 300


def lambda_named(name, function):  # type: ignore[no-untyped-def]
    function.__name__ = name
    return function


def test_one_number_for_all_inputs_is_resampled() -> None:
    def correlation(outputs: np.ndarray, labels: np.ndarray) -> float:
        return float(np.corrcoef(outputs[:, 0], labels)[0, 1])

    labels = LOGITS[:, 0] + 0.5 * RANDOM.normal(size=300)
    found = estimate(as_metric(correlation), LOGITS, labels)
    oracle = stats.pearsonr(LOGITS[:, 0], labels)
    interval = oracle.confidence_interval(0.95)  # Fisher's
    assert found.value == pytest.approx(oracle.statistic)
    assert found.low == pytest.approx(interval.low, abs=0.02)
    assert found.high == pytest.approx(interval.high, abs=0.02)


def test_mean_iou_by_hand() -> None:
    # Class 0 meets in 2 of 4 pixels, class 1 in 1 of 3; class 2 never occurs; 255 is void.
    said = np.array([[[0, 0, 1], [1, 0, 0]]])
    true = np.array([[[0, 1, 1], [0, 255, 0]]])
    outputs = np.stack([said == one for one in range(3)], axis=1).astype(float)
    parts = counts(outputs, true)  # right, wrongly said, missed, of each class
    assert parts.tolist() == [[2, 1, 0, 1, 1, 0, 1, 1, 0]]
    assert float(mean_iou(parts[0])) == pytest.approx((2 / 4 + 1 / 3) / 2)
    found = estimate(METRICS["miou"], np.repeat(outputs, 9, 0), np.repeat(true, 9, 0))
    assert found.value == pytest.approx((2 / 4 + 1 / 3) / 2)
    assert found.low == pytest.approx(found.high)  # equal images: nothing varies


def test_mean_iou_is_that_of_the_confusion_matrix() -> None:
    outputs, true = RANDOM.normal(size=(20, 4, 6, 5)), RANDOM.integers(4, size=(20, 6, 5))
    matrix = np.zeros((4, 4))
    np.add.at(matrix, (true.ravel(), outputs.argmax(1).ravel()), 1)
    expected = np.mean(np.diag(matrix) / (matrix.sum(0) + matrix.sum(1) - np.diag(matrix)))
    found = estimate(METRICS["miou"], outputs, true)
    assert found.value == pytest.approx(expected)
    assert found.low < expected < found.high


@given(st.integers(2, 30), st.integers(0, 2**32 - 1))
def test_the_interval_holds_the_value(n: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=(n, 1))
    found = bootstrap(values, lambda sums: sums[..., 0] / n)
    assert found.low <= found.value <= found.high
    assert values.min() - 1e-9 <= found.low and found.high <= values.max() + 1e-9


def test_coverage_of_the_bootstrap() -> None:
    covered = 0
    for seed in range(100):
        values = np.random.default_rng(seed).exponential(size=(100, 1))
        found = bootstrap(values, lambda sums: sums[..., 0] / 100)
        covered += found.low <= 1 <= found.high
    assert covered >= 0.87 * 100  # 95 % nominally; skewed values cost a little


def test_divergence_in_closed_form() -> None:
    original = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]]))
    variant = np.log(np.array([[0.25, 0.5, 0.25], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]]))
    found = summarise(apart(original, variant))
    assert found.agreement.value == pytest.approx(2 / 3)
    assert found.kl_divergence.value == pytest.approx(stats.entropy([0.5, 0.25, 0.25], [0.25, 0.5, 0.25]) / 3)
    assert found.kl_divergence.unit == "nats"
    assert found.logit_error.value == pytest.approx(np.linalg.norm(variant - original) / np.linalg.norm(original))
    same = summarise(apart(original, original))
    assert (same.agreement.value, same.kl_divergence.value, same.logit_error.value) == (1, 0, 0)


def test_agreement_of_segmentations_is_a_share_of_pixels() -> None:
    original = RANDOM.normal(size=(6, 3, 4, 4))
    variant = original.copy()
    variant[:, :, :2] = -variant[:, :, :2]
    found = summarise(apart(original, variant)).agreement
    assert found.value == pytest.approx((original.argmax(1) == variant.argmax(1)).mean())


def test_what_cannot_be_measured() -> None:
    with pytest.raises(UnknownName, match="no metric named 'top55'.*Did you mean 'top5'"):
        as_metric("top55")
    with pytest.raises(BadValue, match="cannot be a column"):
        as_metric(lambda outputs, labels: 0)
    with pytest.raises(BadValue, match="give a name"):
        as_metric(7)  # type: ignore[arg-type]
    with pytest.raises(BadValue, match="always among the top five"):
        top5(LOGITS[:, :5], LABELS)
    with pytest.raises(BadValue, match="not a classification.*metric='miou'"):
        estimate(ACCURACY, np.zeros((2, 3, 4, 4)), np.zeros((2, 4, 4)))
    with pytest.raises(BadValue, match=r"returned shape \(3,\) for 300 inputs"):
        estimate(Metric("wrong", lambda outputs, labels: np.zeros(3)), LOGITS, LABELS)
    with pytest.raises(MeasurementFailed, match="NaN or infinite"):
        estimate(Metric("broken", lambda outputs, labels: np.full(len(outputs), math.nan)), LOGITS, LABELS)
    with pytest.raises(MeasurementFailed, match="NaN or infinity"):
        apart(LOGITS, np.full_like(LOGITS, np.inf))


def test_what_is_no_answer_is_not_counted_as_one() -> None:
    outputs, labels = np.full((4, 8), np.nan), np.arange(4)
    for metric in ("accuracy", "top5"):
        with pytest.raises(MeasurementFailed, match="4 of 4 inputs"):
            estimate(as_metric(metric), outputs, labels)
        with pytest.raises(BadValue, match="go from 5 to 8, and the network tells 8 classes apart"):
            estimate(as_metric(metric), np.random.default_rng(0).normal(size=(4, 8)), labels + 5)
    pixels = np.zeros((2, 3, 4, 4))
    pixels[1, 0, 0, 0] = np.inf
    with pytest.raises(MeasurementFailed, match="1 of 2 inputs"):
        estimate(as_metric("miou"), pixels, np.zeros((2, 4, 4), dtype=np.int64))


def test_what_a_users_function_raises_is_told() -> None:
    def own(outputs: np.ndarray, labels: np.ndarray) -> float:
        return float(outputs[len(labels), 0])

    with pytest.raises(BadValue, match=r"'own' raised IndexError: .*shape \(4, 3\)"):
        estimate(as_metric(own), np.zeros((4, 3)), np.zeros(4))
