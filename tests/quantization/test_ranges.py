from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from small_nets import graph, images, net

from workbench.jobs import Reporter
from workbench.quantization.observe import BINS, Histogram, clipped
from workbench.quantization.ranges import METHODS, activation_ranges, entropy, mse, percentile


def histogram(values: np.ndarray) -> Histogram:
    counts, edges = np.histogram(values, BINS)
    return Histogram(float(edges[0]), float(edges[-1]), counts.astype(np.int64))


def error(values: np.ndarray, low: float, high: float) -> float:
    """Mean squared error of 8-bit rounding, from the values themselves."""
    scale = (high - low) / 255
    zero = np.rint(-low / scale)
    return float(np.mean(((np.clip(np.rint(values / scale) + zero, 0, 255) - zero) * scale - values) ** 2))


@pytest.fixture(scope="module")
def heavy() -> np.ndarray:
    """A bulk around zero, and a few values far out."""
    return np.random.default_rng(0).standard_t(3, 200_000)


@pytest.mark.parametrize("method", METHODS)
def test_every_range_contains_zero_and_stays_within_what_was_seen(method: str, heavy: np.ndarray) -> None:
    for values in (heavy, np.abs(heavy), -np.abs(heavy), heavy * 0 + 3, heavy * 0):
        low, high = METHODS[method](histogram(values))
        assert min(values.min(), 0) - 0.51 <= low <= 0 <= high <= max(values.max(), 0) + 0.51


def test_percentile_leaves_one_in_ten_thousand_outside(heavy: np.ndarray) -> None:
    for values in (heavy, np.abs(heavy)):
        low, high = percentile(histogram(values))
        assert 0.3e-4 < np.mean((values < low) | (values > high)) <= 1e-4


def test_mse_rounds_better_than_the_extremes(heavy: np.ndarray) -> None:
    chosen = error(heavy, *mse(histogram(heavy)))
    assert chosen < 0.75 * error(heavy, heavy.min(), heavy.max())
    others = [error(heavy, heavy.min() * a, heavy.max() * b) for a in (1, 0.7, 0.4, 0.2) for b in (1, 0.7, 0.4, 0.2)]
    assert chosen <= 1.02 * min(others)


def test_entropy_clips_outliers_and_keeps_an_even_distribution(heavy: np.ndarray) -> None:
    assert entropy(histogram(heavy))[1] < 0.7 * heavy.max()
    even = np.random.default_rng(1).uniform(0, 4, 200_000)
    assert entropy(histogram(even))[1] > 3.9


def test_observed_extremes_are_those_of_torch(tmp_path: Path) -> None:
    module, inputs = net(), images(120)
    model = graph(module, tmp_path)
    ranges = activation_ranges(model, inputs, "minmax", Reporter())
    x, expected = torch.from_numpy(inputs), []
    with torch.no_grad():
        for layer in module:
            x = layer(x)
            if isinstance(layer, torch.nn.ReLU | torch.nn.ReLU6):
                expected.append((float(x.min()), float(x.max())))
    found = [ranges[n.output[0]] for n in model.graph.node if n.op_type in {"Relu", "Clip"}]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert ranges["input"] == pytest.approx((float(inputs.min()), float(inputs.max())))
    pairs = clipped(model)
    assert len(pairs) == 3
    assert all(ranges[before] == ranges[after] for before, after in pairs.items())


def test_histogram_methods_on_a_network_stay_inside_the_extremes(tmp_path: Path) -> None:
    model = graph(net(), tmp_path)
    widest = activation_ranges(model, images(60), "minmax", Reporter())
    for method in ("percentile", "mse", "entropy"):
        found = activation_ranges(model, images(60), method, Reporter())
        assert found.keys() == widest.keys()
        for name, (low, high) in found.items():
            assert min(0, widest[name][0]) - 1e-6 <= low <= 0 <= high <= max(0, widest[name][1]) + 1e-6
        assert any(high < 0.99 * widest[n][1] for n, (_, high) in found.items())
