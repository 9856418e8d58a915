"""k-means in one dimension against Lloyd's algorithm written out, and against closed cases."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from workbench.coding.kmeans import kmeans


def plain_lloyd(values: np.ndarray, count: int) -> np.ndarray:
    book = np.linspace(values.min(), values.max(), count)
    for _ in range(100):
        nearest = np.abs(values[:, None] - book[None]).argmin(1)
        moved = np.array([values[nearest == k].mean() if (nearest == k).any() else book[k] for k in range(count)])
        if np.array_equal(moved, book):
            break
        book = moved
    return book


@given(seed=st.integers(0, 100), count=st.integers(2, 9))
def test_the_centres_are_lloyds(seed: int, count: int) -> None:
    values = np.random.default_rng(seed).standard_normal(60)
    book, indexes = kmeans(torch.from_numpy(values), count)
    assert np.allclose(book.numpy(), plain_lloyd(values, count), atol=1e-9)
    nearest = np.abs(values[:, None] - book.numpy()[None]).min(1)
    assert np.allclose(np.abs(values - book.numpy()[indexes.numpy()]), nearest)


def test_few_values_are_kept_as_they_are() -> None:
    values = torch.tensor([3.0, 1.0, 3.0, 2.0])
    book, indexes = kmeans(values, 8)
    assert torch.equal(book[indexes], values)


def test_nothing_to_share() -> None:
    book, indexes = kmeans(torch.zeros(0), 4)
    assert len(book) == 1 and len(indexes) == 0
