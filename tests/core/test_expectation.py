"""What a job will take: ranges from what was measured here, and nothing where nothing was."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

import numpy as np
import pytest
from tiny import tiny_data, tiny_model

import workbench as wb
from workbench.building import build
from workbench.expectation import expected
from workbench.keeping import TAKEN, finished
from workbench.meter import BYTES, Meter, resident
from workbench.studies.naming import Names
from workbench.studies.records import Record


def test_a_kind_that_ran_is_expected_around_what_it_took() -> None:
    """Once: from half to twice as much. Four times: half as far from the least and the most."""
    (once,) = [expected([("SVD", 12.0)], [{"SVD": 0.5, BYTES: 3e8}])]
    assert once is not None
    assert once.seconds == (12 * 0.5 / 2, 12 * 0.5 * 2)
    assert once.memory == (3e8 / 2, 3e8 * 2)
    often = expected([("SVD", 12.0), ("SVD", 6.0)], [{"SVD": rate} for rate in (0.5, 1.0, 0.75, 0.9)])
    assert often is not None
    assert often.seconds == pytest.approx((18 * 0.5 / 1.5, 18 * 1.0 * 1.5))
    assert often.memory is None
    assert often.unseen == ()


def test_a_kind_that_never_ran_widens_the_range_and_is_named() -> None:
    """Its effort alone tells of it, at the usual pace: here one second a unit."""
    found = expected([("judging", 9.0), ("Finetune", 90.0)], [{"judging": 1.0, "timing": 1.0, BYTES: 1e8}])
    assert found is not None
    assert found.seconds == pytest.approx((9 / 2 + 90 / 5, 9 * 2 + 90 * 5))
    assert found.unseen == ("Finetune",)
    assert str(found).endswith("Finetune ran not yet.")
    assert found.memory == pytest.approx((1e8 / 3, 3e8))


def test_nothing_is_promised_where_nothing_was_measured() -> None:
    assert expected([("SVD", 12.0)], []) is None
    assert expected([("SVD", 12.0)], [{}, {BYTES: 1e9}]) is None


def test_a_meter_counts_what_was_finished() -> None:
    meter = Meter()
    for _ in range(2):
        with meter.part("a", 2.0):
            time.sleep(0.05)
    with pytest.raises(RuntimeError), meter.part("b", 1.0):
        raise RuntimeError
    assert meter.taken.keys() - {BYTES} == {"a"}
    assert meter.taken["a"] >= 0.1 / 4


@pytest.mark.skipif(not resident(), reason="this system does not say what a process takes")
def test_a_meter_sees_memory_that_is_given_back() -> None:
    meter = Meter()
    with meter.memory(), meter.part("a", 1.0):
        held = np.ones(200 << 20, np.uint8)
        time.sleep(0.4)
        del held
    assert meter.taken[BYTES] >= 150e6


def test_a_study_learns_from_its_jobs_and_remembers_it(tmp_path: Path) -> None:
    study = wb.Study(tiny_model(), tiny_data(), path=tmp_path)
    recipe = wb.SVD(0.5) | wb.Quantize("int8")
    assert study.expect(recipe) is None
    study.run(wb.Recipe(), progress=False)
    before = study.expect(recipe)
    assert before is not None
    assert before.unseen == ("SVD", "Recalibrate", "Quantize")
    study.run(recipe, progress=False)
    again = wb.Study(tiny_model(), tiny_data(), path=tmp_path)
    found = again.expect(wb.SVD(0.25) | wb.Quantize("int8"))
    assert found is not None
    assert found.unseen == ()
    assert 0 < found.seconds[0] < found.seconds[1]
    other = dataclasses.replace(study.baseline, machine="Another (0123456789ab)")
    again._variants = {other.id: other}
    assert again.expect(recipe) is None  # it tells nothing of this machine


def test_the_parts_are_those_that_a_job_has() -> None:
    """As it reports them while it runs: a batch norm is re-estimated after a rewrite that changes something."""
    model, recipe = tiny_model(), wb.SVD(0.5) | wb.Quantize("fp16")
    kinds = [kind for kind, _ in build.parts(recipe, recipe.plan(model), recalibrate=True)]
    assert kinds == ["SVD", "Recalibrate", "Quantize", build.WRITES, build.JUDGES, build.TIMES]
    study = wb.Study(model, tiny_data())
    assert study.run(recipe, progress=False).taken.keys() - {BYTES} == set(kinds)


@pytest.mark.parametrize("text", ["no JSON", "[1]", json.dumps({"SVD": "x", "judging": -1.0}), 7])
def test_what_a_row_says_of_it_is_taken_where_it_can_be_read(text: object) -> None:
    record = Record("a", "", "[]", {}, (), metadata={TAKEN: text})
    assert finished(record, Names()).taken == {}
