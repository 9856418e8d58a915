"""What a variant's id, and the folder of a study without a path, follow from: everything that a figure depends on."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from tiny import tiny_data, tiny_model

import workbench as wb
from workbench import study as studies


def variety() -> dict[str, wb.Study]:
    """Studies that differ in one thing each."""
    return {
        "first": wb.Study(tiny_model(), tiny_data()),
        "model": wb.Study(tiny_model(seed=1), tiny_data()),
        "data": wb.Study(tiny_model(), tiny_data(60)),
        "recalibrate": wb.Study(tiny_model(), tiny_data(), recalibrate=False),
        "metric": wb.Study(tiny_model(), tiny_data(), metric="top5"),
        "other metric": wb.Study(tiny_model(), tiny_data(), metric="miou"),
    }


def test_an_id_tells_model_data_settings_and_recipe_apart() -> None:
    recipes = [wb.Recipe(), wb.SVD(0.5).recipe(), wb.SVD(0.4).recipe(), wb.SVD(0.5) | wb.Prune(0.5),
               wb.Prune(0.5) | wb.SVD(0.5), wb.SVD(0.5, layers="conv2").recipe()]  # fmt: skip
    ids = {(name, n): study.id_of(one) for name, study in variety().items() for n, one in enumerate(recipes)}
    assert len(set(ids.values())) == len(ids)
    again = wb.Study(tiny_model(), tiny_data())  # the same things, made anew
    assert [again.id_of(one) for one in recipes] == [ids["first", n] for n in range(len(recipes))]


def test_a_machine_finds_its_own_measurements(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    paths = []
    for name in ("one", "one", "another"):
        monkeypatch.setattr(studies, "machine", lambda name=name: SimpleNamespace(fingerprint=name))
        paths.append(wb.Study(tiny_model(), tiny_data()).path)
    assert paths[0] == paths[1] != paths[2]
    assert {one.parent for one in paths} == {tmp_path / "studies"}
