"""A study shipped as data: figures come back as they were, and never for another model."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import tiny_data, tiny_model

import workbench as wb
from workbench import published as module
from workbench.estimate import Estimate
from workbench.published import publish, published
from workbench.study import Study
from workbench.variant import Variant


@pytest.fixture
def study() -> Study:
    made = Study(tiny_model(), tiny_data())
    for recipe in (wb.Recipe(), wb.SVD(rank=0.5) | wb.Quantize("int8")):
        estimates = {"accuracy": Estimate(0.9371234567, 0.93, 0.94, 100), "macs": Estimate(5, 5, 5)}
        id_ = made.id_of(recipe)
        made._variants[id_] = Variant(
            id_, recipe, estimates, Path(), Path(), ("a note",), model=made.model, data=made.data
        )
    return made


def test_what_was_published_comes_back(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    assert published(study) is None
    (tmp_path / f"{study.model.name}.json").write_text(publish(study, "a machine", "2026-01-02"))
    found = published(study)
    assert found is not None
    assert (found.machine, found.created) == ("a machine", "2026-01-02")
    assert [one.id for one in found.variants] == [one.id for one in study.variants]
    for one, other in zip(found.variants, study.variants, strict=True):
        assert one.recipe == other.recipe
        assert one["accuracy"].value == pytest.approx(other["accuracy"].value, rel=1e-5)
        assert (one["macs"], one.notes) == (other["macs"], other.notes)


def test_figures_of_another_network_are_not_shown(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    (tmp_path / f"{study.model.name}.json").write_text(publish(study, "a machine", "2026-01-02"))
    assert published(Study(tiny_model(seed=1), tiny_data())) is None


@pytest.mark.parametrize("file", sorted(module.FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_the_shipped_studies_are_of_the_shipped_models(file: Path) -> None:
    found = published(Study(wb.load(file.stem), wb.data("fashion-mnist")))
    assert found is not None, "benchmarks/published_study.py must be run again: the model or the data have changed"
    assert not found.variants[0].recipe.steps  # the original, which all others are compared with
    assert all(one["accuracy"].n == 10_000 for one in found.variants)
