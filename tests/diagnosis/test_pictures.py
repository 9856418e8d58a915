"""The charts of a diagnosis: what is drawn is what the frames hold."""

from __future__ import annotations

import base64
import io
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from workbench import charts
from workbench.errors import BadValue, UnknownName

FRAME = pd.DataFrame({
    "layer": ["stem", "body", "head"],
    "operator": ["Conv", "3 Conv", "Gemm"],
    "sqnr_db": [math.inf, 12.4, 70.0],
    "own_sqnr_db": [math.inf, 15.0, math.nan],
    "cosine": [1.0, 0.9, 0.99],
    "clipped": [math.nan, 0.01, math.nan],
})  # fmt: skip


def records(drawn: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of a chart whose layers share them."""
    (rows,) = drawn["datasets"].values()
    return list(rows)


def test_a_cell_for_each_layer_and_kind_of_error() -> None:
    drawn = charts.layer_errors(FRAME).to_dict()
    rows = pd.DataFrame(records(drawn))
    assert rows.layer.tolist() == ["stem", "body", "head"] * 2
    assert rows.text.tolist() == ["∞", "12", "70", "∞", "15", ""]
    assert rows.shown[:5].tolist() == [50, 12.4, 50, 50, 15]
    assert math.isnan(rows.shown[5])  # left out of the drawing


def test_an_empty_frame_draws_nothing_and_a_wrong_one_is_refused() -> None:
    assert records(charts.layer_errors(FRAME.head(0)).to_dict()) == []
    with pytest.raises(UnknownName, match="no column named 'own_sqnr_db'"):
        charts.layer_errors(FRAME.drop(columns="own_sqnr_db"))


@pytest.mark.parametrize("channels", [1, 3])
def test_the_pictures_are_the_images(channels: int) -> None:
    pil = pytest.importorskip("PIL.Image")
    images = np.random.default_rng(0).normal(size=(3, channels, 5, 7)).astype(np.float32)
    rows = pd.DataFrame({
        "index": [4, 8, 9], "label": ["cat"] * 3, "before": ["cat"] * 3, "after": ["dog"] * 3, "change": ["lost"] * 3,
    })  # fmt: skip
    drawn = charts.flips(images, rows, columns=2).to_dict()
    values = records(drawn)
    assert [(one["row"], one["column"]) for one in values] == [(0, 0), (0, 1), (1, 0)]
    assert values[0]["words"] == "cat → dog"
    for one, image in zip(values, images, strict=True):
        picture = pil.open(io.BytesIO(base64.b64decode(one["picture"].split(",")[1])))
        pixels = np.asarray(picture, np.float64).reshape(5, 7, channels).transpose(2, 0, 1)
        low, high = image.min(), image.max()
        np.testing.assert_allclose(pixels / 255 * (high - low) + low, image, atol=(high - low) / 500)


def test_images_and_rows_must_fit() -> None:
    with pytest.raises(BadValue, match=r"Images of shape \(2, 2, 4, 4\) with 2 rows"):
        charts.flips(np.zeros((2, 2, 4, 4)), pd.DataFrame({"before": ["a", "b"], "after": ["b", "a"]}))


def test_a_large_picture_is_averaged_down() -> None:
    pil = pytest.importorskip("PIL.Image")
    image = np.zeros((1, 8, 12), np.float32)
    image[:, 4:, :6] = 4.0
    image[:, 0, 0] = 2.0  # a fourth of a square
    small = pil.open(io.BytesIO(base64.b64decode(charts.png(image, 6).split(",")[1])))
    assert small.size == (6, 4)
    expected = np.zeros((4, 6))
    expected[2:, :3] = 255
    expected[0, 0] = 255 * 0.5 / 4
    np.testing.assert_allclose(np.asarray(small), expected, atol=0.5)
    assert charts.png(image, 12) == charts.png(image)
