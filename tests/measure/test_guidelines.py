"""The guidelines' frame from times that are made up, and its chart. That arithmetic is equal: test_verdict.py."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import workbench as wb
from workbench.errors import BadValue, UnknownName
from workbench.measure import guideline_experiments
from workbench.measure.latency import Timings


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that each experiment was timed for; the n-th file takes n times as long as the first."""
    seconds: list[float] = []

    def timed(files: Sequence[Path], **how: Any) -> Timings:
        seconds.append(how["seconds"])
        noise = np.random.default_rng(0).normal(1.0, 0.001, (3, 20))
        return Timings(tuple((1 + index) * noise for index in range(len(files))), how["batch"], how["threads"])

    monkeypatch.setattr(guideline_experiments, "interleave", timed)
    monkeypatch.setattr("workbench.measure.latency._RESAMPLES", 50)  # an interval need not be exact here
    return seconds


def test_slowdowns_are_relative_to_the_first_of_each_guideline(asked: list[float]) -> None:
    frame = wb.measure.guidelines(seconds=0.5)
    assert asked == [0.5] * 4
    for name, rows in frame.groupby("guideline", sort=False):
        assert rows["macs"].nunique() == 1, name
        assert rows["slowdown"].tolist() == pytest.approx([*range(1, len(rows) + 1)])
        assert rows["holds"].tolist() == [False] + [True] * (len(rows) - 1)
        assert (rows["slowdown_low"][1:] < rows["slowdown"][1:]).all()


def test_seconds_are_those_of_every_measurement(asked: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_LATENCY_SECONDS", "0.25")
    wb.measure.guidelines()
    assert asked == [0.25] * 4
    monkeypatch.setenv("WORKBENCH_LATENCY_SECONDS", "soon")
    with pytest.raises(BadValue, match="soon"):
        wb.measure.guidelines()


def test_the_chart_draws_every_case_and_says_it_in_words(asked: list[float]) -> None:
    vega = pytest.importorskip("vl_convert", reason="drawing without a browser needs the extra `images`")
    frame = wb.measure.guidelines()
    spec = wb.charts.guidelines(frame).to_dict()
    (rows,) = spec["datasets"].values()
    assert [row["case"] for row in rows] == frame["case"].tolist()
    assert {row["state"] for row in rows if not row["holds"]} == {"Not surely slower"}
    assert all(name in spec["description"] for name in frame["guideline"])
    assert vega.vegalite_to_svg(spec).startswith("<svg")
    with pytest.raises(UnknownName, match="slowdown"):
        wb.charts.guidelines(frame.drop(columns="slowdown"))
