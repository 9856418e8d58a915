"""What variants are called and what users say of them; and where a study is kept that was given no folder."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import kills
import numpy as np
import pytest
from tiny import tiny_data, tiny_model

import workbench as wb
from workbench.errors import BadFile, BadValue, UnknownName
from workbench.keeping import home, shown
from workbench.recipe import Recipe
from workbench.studies.naming import distinct


@pytest.fixture(scope="module", autouse=True)
def untimed() -> Iterator[None]:
    with kills.untimed():
        yield


@pytest.fixture
def study(tmp_path: Path) -> wb.Study:
    study = wb.Study(tiny_model(), tiny_data(), path=tmp_path / "study")
    for step in (wb.SVD(0.5), wb.SVD(0.5, layers="conv2"), wb.SVD(0.5, layers=("head", "conv1"))):
        study.run(step, progress=False)
    return study


def reopened(study: wb.Study) -> wb.Study:
    return wb.Study(tiny_model(), tiny_data(), path=study.path)


def test_names_say_what_differs(study: wb.Study) -> None:
    names = ["original", "SVD 0.5", "SVD 0.5 (layers conv2)", "SVD 0.5 (layers head+conv1)"]
    assert [one.name for one in study.variants] == names == study.frame().name.tolist()
    assert [one.name for one in reopened(study).variants] == names
    study.delete(study.variants[1])
    study.delete(study.variants[1])
    assert [one.name for one in study.variants] == ["original", "SVD 0.5"]  # nothing is left to tell it from


def test_no_two_names_are_equal() -> None:
    steps = [wb.Prune(0.5), wb.Prune(0.5, scope="layer"), wb.Prune(0.5, scope="layer", layers="a*")]
    recipes = [Recipe((one,)) for one in steps] + [one | wb.Finetune(2, balance=True) for one in steps]
    recipes += [wb.Prune(0.5) | wb.Finetune(2), Recipe((wb.Prune(0.5),)), Recipe((wb.Prune(0.5),))]
    names = distinct(recipes)
    assert len(set(names)) == len(recipes)
    assert names[1:3] == ["Prune 0.5 (scope layer)", "Prune 0.5 (scope layer, layers a*)"]
    assert names[-2:] == ["Prune 0.5 #2", "Prune 0.5 #3"]


def test_what_a_user_says_is_kept(study: wb.Study) -> None:
    chosen = study.variants[2]
    study.rename(chosen, " the small one ")
    study.tag(chosen.id, "best", "ship")
    study.tag(chosen, "best")
    study.annotate(chosen, "Two lines\nof reasons")
    for one in (chosen, study[chosen.id], reopened(study)[chosen.id]):
        assert (one.name, one.tags, one.annotation) == ("the small one", ("best", "ship"), "Two lines\nof reasons")
    row = reopened(study).frame().set_index("id").loc[chosen.id]
    assert (row["name"], row["tags"], row["annotation"]) == ("the small one", "best, ship", "Two lines\nof reasons")
    study.untag(chosen, "best")
    study.rename(chosen, "")
    assert (chosen.name, chosen.tags) == ("SVD 0.5 (layers conv2)", ("ship",))


def test_names_that_cannot_be(study: wb.Study) -> None:
    with pytest.raises(BadValue, match="already"):
        study.rename(study.variants[2], "SVD 0.5")
    for name in ("two\nlines", "x" * 300, 5):
        with pytest.raises(BadValue, match="one line"):
            study.rename(study.variants[2], name)  # type: ignore[arg-type]
    with pytest.raises(UnknownName):
        study.tag("nothing", "x")
    study.rename(study.variants[2], "Prune 0.5")
    assert study.run(wb.Prune(0.5), progress=False).name == "Prune 0.5 #2"


def test_what_is_deleted_frees_the_files_that_no_other_variant_has(study: wb.Study) -> None:
    same = study.run(wb.Prune(ratio=0.0), progress=False)  # changes nothing: it has the original's files
    assert same.artefact == study.baseline.artefact
    original, first = study.baseline, study.run(wb.Prune(ratio=0.9), progress=False)
    study.delete(same)
    study.delete(first.id)
    assert original.whole and not first.artefact.exists() and not first.weights.exists()
    assert [one.id for one in reopened(study).variants] == [one.id for one in study.variants]
    with pytest.raises(BadFile, match="is missing"):
        _ = first.onnx
    with pytest.raises(BadValue, match="original"):
        study.delete(original)
    assert study.run(wb.Prune(ratio=0.9), progress=False).whole


# --- a study without a path


@pytest.fixture
def studies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    return tmp_path / "studies"


def test_the_same_line_again_finds_what_was_measured(studies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = wb.Study(tiny_model(), tiny_data())
    assert first.path.parent == studies and first.path.name.startswith("TinyNet-tiny-")
    made = first.run(wb.Prune(0.5))
    assert f"This study is kept in {shown(first.path)}." in capsys.readouterr().err
    again = wb.Study(tiny_model(), tiny_data())
    assert again.path == first.path and again[made.id].estimates == made.estimates
    for other in (
        wb.Study(tiny_model(seed=1), tiny_data()), wb.Study(tiny_model(), tiny_data(60)),
        wb.Study(tiny_model(), tiny_data(), recalibrate=False), wb.Study(tiny_model(), tiny_data(), metric="top5"),
    ):  # fmt: skip
        assert other.path != first.path and not other.variants


def test_what_is_not_kept(studies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def own(outputs: np.ndarray, labels: np.ndarray) -> float:
        return float((outputs.argmax(1) == labels).mean())

    model, data = tiny_model(), tiny_data()
    assert studies not in wb.Study(model, data, keep=False).path.parents
    assert studies not in wb.Study(model, data, metric=own).path.parents  # which another session may write otherwise
    monkeypatch.setenv("WORKBENCH_PUBLISHED", "1")
    assert home("a study") is None
    monkeypatch.delenv("WORKBENCH_PUBLISHED")
    monkeypatch.setenv("WORKBENCH_LIMIT_STORED_MB", "10")
    assert home("a study") is None
    monkeypatch.delenv("WORKBENCH_LIMIT_STORED_MB")
    monkeypatch.setenv("WORKBENCH_HOME", "")
    assert home("a study") is None
    assert not studies.exists()


def test_a_usual_folder_that_cannot_be_used_is_said_and_the_study_works(studies: Path) -> None:
    studies.write_text("a file where the folder should be")
    with pytest.warns(UserWarning, match="not kept beyond this session"):
        study = wb.Study(tiny_model(), tiny_data())
    assert study.run(wb.Prune(0.5), progress=False).whole


def test_names_of_folders_hold_no_odd_signs(studies: Path) -> None:
    found = home("torchvision:resnet18/../x y", "content")
    assert found is not None and found.parent == studies
    assert found.name.startswith("torchvision-resnet18-..-x-y-")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert home("name", "a") != home("name", "b")
