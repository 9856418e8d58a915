"""What a saved notebook shows without a kernel, and what is said of jobs that run and of those that failed."""

from __future__ import annotations

import base64
import importlib.util
import re
import struct
from collections.abc import Callable
from typing import Any

import pytest

import workbench as wb
from workbench.jobs import Job, Reporter
from workbench.published import published
from workbench.study import Study
from workbench_widgets import static_snapshot
from workbench_widgets.formatting import unfolded
from workbench_widgets.screen import Screen
from workbench_widgets.store import State
from workbench_widgets.views import run


@pytest.fixture(scope="module")
def state() -> State:
    """As the first page is: a study measured elsewhere."""
    study = Study(wb.load("fashion-vgg"), wb.data("fashion-mnist"))
    return State(study=study, published=published(study))


def test_every_variant_stands_in_the_table_with_its_figures(state: State) -> None:
    found = static_snapshot.html(state)
    assert state.published is not None
    assert found.count("<tr>") == len(state.published.variants) + 1
    for variant in state.published.variants:
        assert f"<th>{variant.name} (measured elsewhere)</th>" in found
        assert f"<td>{100 * variant['accuracy'].value:.2f} %</td>" in found


@pytest.mark.skipif(importlib.util.find_spec("vl_convert") is None, reason="vl-convert draws the picture")
def test_the_picture_is_a_drawn_chart(state: State) -> None:
    picture = re.search(r'src="data:image/png;base64,([^"]+)"', static_snapshot.html(state))
    assert picture is not None
    content = base64.b64decode(picture.group(1))
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", content[16:24])
    assert width > static_snapshot.WIDTH
    assert height > static_snapshot.HEIGHT


def test_nothing_measured_leaves_nothing() -> None:
    assert static_snapshot.html(State()) == ""


def test_the_output_of_a_cell_reads_without_widgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench_widgets.session.Session.start", lambda _: None)
    bundle = Screen()._repr_mimebundle_()
    bundle = bundle[0] if isinstance(bundle, tuple) else bundle
    assert bundle["text/plain"] == static_snapshot.PLAIN
    assert "application/vnd.jupyter.widget-view+json" in bundle


def ended(work: Callable[[Reporter], Any]) -> Job[Any]:
    job: Job[Any] = Job(work, name="Tucker 0.5")
    job._thread.join(timeout=10)
    return job


def test_a_failure_unfolds_to_the_calls_that_led_to_it_and_to_no_path() -> None:
    def work(report: Reporter) -> None:
        raise ValueError("the core is singular")

    shown = run(State(jobs=(ended(work),)))["jobs"][0]
    assert shown["details"][0] == "ValueError: the core is singular"
    assert shown["details"][1].startswith("widgets/test_static_snapshot.py, line ")
    assert shown["details"][1].endswith(", in work")
    assert not [line for line in shown["details"] if line.startswith("/")]
    assert shown["left"] is None


def test_a_job_that_ended_well_unfolds_nothing() -> None:
    shown = run(State(jobs=(ended(lambda report: report(0.5, "half")),)))["jobs"][0]
    assert shown["details"] == []
    assert unfolded(None) == []
