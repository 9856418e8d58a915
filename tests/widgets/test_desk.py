"""The desk: studies of before come back, variants are put aside, compared in any number, and taken away as files."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from driving import act, shown, until, view
from tiny import CLASSES, tiny_data, tiny_model

import workbench as wb
from workbench.diagnosis.comparison import change
from workbench.errors import BadFile, BadValue
from workbench.study import Study
from workbench_widgets import desk
from workbench_widgets.screen import Screen


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="module")
def study() -> Study:
    made = Study(tiny_model(), tiny_data())
    for step in (wb.SVD(0.6), wb.SVD(0.1), wb.PruneChannels(0.5)):
        made.run(step, progress=False)
    return made


@pytest.fixture
def screen(study: Study) -> Iterator[Screen]:
    made = Screen(study)
    shown(made)
    yield made
    for job in made.store.state.jobs:
        job.cancel()


def names(screen: Screen) -> list[str]:
    return [row["name"] for row in view(screen, "table")["rows"]]


# --- any number side by side


def test_any_number_stand_side_by_side_each_compared_with_the_first(screen: Screen, study: Study) -> None:
    chosen = study.variants
    assert "Tick two" in view(screen, "beside")["empty"]
    for one in chosen:
        act(screen, "table", "beside", id=one.id, on=True)
    found = view(screen, "beside")
    assert [one["id"] for one in found["variants"]] == [one.id for one in chosen] == view(screen, "table")["beside"]
    rows = {row["label"]: row["cells"] for row in found["figures"]}
    assert [cell["text"] for cell in rows["Parameters"]] == [f"{one['params'].value / 1e3:,.1f} k" for one in chosen]
    paired = change(chosen[0], chosen[2], "accuracy")
    assert paired is not None
    said = rows["Accuracy"][2]["change"]
    assert f"{100 * paired.value:+.2f}".replace("-", "−").lstrip("+") in said
    assert [cell["change"] for cell in rows["Latency"]] == [""] * 4  # of two runs apart
    layers = {row["label"]: [cell["text"] for cell in row["cells"]] for row in found["layers"]}
    assert layers["conv2"][0] == f"{study.model.network.by_module['conv2'][0].macs / 1e6:,.2f} M"
    assert len(set(layers["conv2"])) > 1
    act(screen, "beside", "against", id=chosen[3].id)
    assert view(screen, "beside")["variants"][0]["id"] == chosen[3].id
    act(screen, "beside", "nothing_beside")
    assert view(screen, "beside")["variants"] == []


def test_their_answers_are_compared_with_those_of_the_first(screen: Screen, study: Study) -> None:
    original, _, hurt, pruned = study.variants
    for one in (original, hurt, pruned):
        act(screen, "table", "beside", id=one.id, on=True)
    assert not view(screen, "beside")["asked"]
    act(screen, "beside", "answers_beside")
    until(lambda: view(screen, "beside")["asked"], lambda: view(screen, "status"))
    found = view(screen, "beside")
    json.dumps(found, allow_nan=False)
    assert [one["name"] for one in found["images"]] == [hurt.name, pruned.name]
    table = study.compare(original, hurt, progress=False).answers.by_class().set_index("name")  # type: ignore[union-attr]
    for row in found["classes"]:
        assert row["cells"][0]["text"] == f"{100 * table.at[row['label'], 'before']:.1f} %"
        assert row["cells"][1]["text"] == f"{100 * table.at[row['label'], 'after']:.1f} %"


# --- the table


def test_columns_are_chosen_and_taken_back(screen: Screen) -> None:
    usual = [one["key"] for one in view(screen, "table")["columns"]]
    act(screen, "table", "columns", column="macs", on=False)
    act(screen, "table", "columns", column="created", on=True)
    found = view(screen, "table")
    assert [one["key"] for one in found["columns"]] == [*(one for one in usual if one != "macs"), "created"]
    assert all(len(row["cells"]) == len(found["columns"]) for row in found["rows"])
    act(screen, "table", "columns", column="no such", on=True)
    assert view(screen, "status")["kind"] == "error"
    act(screen, "table", "usual_columns")
    assert [one["key"] for one in view(screen, "table")["columns"]] == usual


def test_an_archived_variant_leaves_table_and_chart_and_comes_back(screen: Screen, study: Study) -> None:
    before, one = names(screen), study.variants[1]
    act(screen, "table", "select", id=one.id)
    act(screen, "table", "archive", on=True)
    until(lambda: one.name not in names(screen), "it is put aside")
    assert view(screen, "table")["hidden"] == 1
    assert one.id not in [row["id"] for row in view(screen, "chart")["rows"]]
    assert one in study.variants
    act(screen, "table", "archived", on=True)
    assert names(screen) == before
    act(screen, "table", "archive", on=False)
    until(lambda: view(screen, "table")["hidden"] == 0, "it is back")
    act(screen, "table", "select", id=study.baseline.id)
    act(screen, "table", "archive", on=True)
    until(lambda: "cannot be archived" in view(screen, "status")["text"], "it is refused")


def test_what_is_put_aside_is_so_in_another_session(tmp_path: Path) -> None:
    first = Study(tiny_model(), tiny_data(), tmp_path)
    one = first.run(wb.SVD(0.5), progress=False)
    first.archive(one)
    again = Study(tiny_model(), tiny_data(), tmp_path)
    assert again[one.id].archived
    assert again.frame().set_index("id").at[one.id, "archived"]
    again.archive(one.id, on=False)
    assert not Study(tiny_model(), tiny_data(), tmp_path)[one.id].archived


# --- files to take away


def taken(screen: Screen, file: str, monkeypatch: pytest.MonkeyPatch, length: int = 4096) -> bytes:
    """As the page fetches it: piece by piece until one is not full."""
    sent: list[tuple[dict[str, Any], Any]] = []
    monkeypatch.setattr(screen.panels["table"], "send", lambda content, buffers=(): sent.append((content, buffers)))
    content = b""
    while True:
        act(screen, "table", "piece", file=file, offset=len(content), length=length)
        answer, buffers = until(lambda: sent and sent.pop(), "an answer")
        assert "error" not in answer, answer
        content += buffers[0]
        if len(buffers[0]) < length:
            return content


def test_the_table_leaves_as_csv_and_parquet(screen: Screen, study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [pd.read_csv(io.BytesIO(taken(screen, "variants.csv", monkeypatch)))]
    pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    frames.append(pd.read_parquet(io.BytesIO(taken(screen, "variants.parquet", monkeypatch))))
    for found in frames:
        assert found["id"].tolist() == [one.id for one in study.variants]
        for name in ("accuracy", "speedup", "params"):
            assert np.allclose(found[name], [one[name].value for one in study.variants])
        assert np.allclose(found["speedup_low"], [one["speedup"].low for one in study.variants])


def test_the_report_and_the_card_tell_of_all_variants(
    screen: Screen, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = study.variants[2]
    study.annotate(odd, "<script>alert('no')</script> & more")
    act(screen, "table", "select", id=odd.id)
    page = taken(screen, "report.html", monkeypatch).decode()
    for one in study.variants:
        assert f'<article id="{one.id}">' in page
        assert f"{one['speedup'].low:.2f} to {one['speedup'].high:.2f}" in page or not one.recipe.steps
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(&#39;no&#39;)&lt;/script&gt; &amp; more" in page
    assert f"The chosen variant: {odd.name}" in page
    card = taken(screen, "README.md", monkeypatch).decode()
    assert card.startswith("---\nlibrary_name: onnx\n")
    assert odd.recipe.code().splitlines()[-1] in card
    study.annotate(odd, "")


def test_only_what_is_on_offer_can_be_taken(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(screen.panels["table"], "send", lambda content, buffers=(): sent.append(content))
    for part in ({"file": "../study.db"}, {"file": "variants.csv", "offset": -1}, {"file": "report.html", "offset": 9}):
        act(screen, "table", "piece", **{"offset": 0, "length": 100, **part})
        assert "error" in until(lambda: sent and sent.pop(), "an answer")


# --- studies of before


def noted(study: Study) -> Any:
    return until(lambda: desk.read(study.path), "the note beside the study")


def test_a_study_comes_back_with_what_was_on_the_screen(home: Path) -> None:
    first = Study(tiny_model(), tiny_data())
    made = first.run(wb.SVD(0.5), progress=False)
    screen = Screen(first)
    shown(screen)
    assert str(home) in view(screen, "models")["kept"]
    act(screen, "recipe", "add", name="Prune")
    act(screen, "chart", "axis", axis="x", column="macs")
    act(screen, "table", "select", id=made.id)
    wanted = screen.store.state.recipe.to_json()
    until(
        lambda: (kept := desk.read(first.path)) and kept.recipe == wanted and kept.viewed["selected"] == made.id,
        "it is noted",
    )
    again = Screen(Study(tiny_model(), tiny_data()))  # the cell runs again
    shown(again)
    assert again.store.state.study is not None
    assert again.store.state.study.path == first.path
    assert again.store.state.recipe == screen.store.state.recipe
    assert (again.store.state.selected, again.store.state.x) == (made.id, "macs")
    assert view(again, "table")["rows"]


def uploaded(tmp_path: Path) -> Path:
    """Data with everything that a study of a network of one's own needs, in a file."""
    generator = np.random.default_rng(0)
    arrays = {
        f"{split}_{what}": value
        for split, count in (("train", 60), ("test", 40))
        for what, value in (
            ("images", generator.normal(size=(count, 2, 12, 12)).astype(np.float32)),
            ("labels", generator.integers(0, CLASSES, count)),
        )
    }
    np.savez(tmp_path / "own.npz", **arrays)
    return tmp_path / "own.npz"


def test_an_earlier_study_is_opened_from_the_list(home: Path, tmp_path: Path) -> None:
    """Also one of a network that only this folder still has, on data that were uploaded."""
    screen = Screen(Study(tiny_model(), tiny_data()))
    shown(screen)
    screen.session.opening._opened(uploaded(tmp_path), uploaded=True)
    until(lambda: (now := screen.store.state.study) and now.data.name == "own" and now, "the data are shown")
    study = screen.store.state.study
    assert study is not None
    study.run(wb.SVD(0.3), progress=False)
    # The screen may have seen the original alone, which it measures by itself.
    until(lambda: len(screen.store.state.frame) == 2 or screen.store.update(frame=study.frame()), "it is measured")
    until(lambda: (note := desk.read(study.path)) and note.network and note.variants == 2, "it is noted")
    (kept,) = [one for one in desk.earlier() if one.folder == study.path]
    assert not kept.problem
    found = desk.study_of(kept)
    assert found.path == study.path
    assert [one.id for one in found.variants] == [one.id for one in study.variants]
    other = Screen(Study(tiny_model(3), tiny_data()))
    shown(other)
    act(other, "models", "look")
    listed = {one["folder"]: one for one in view(other, "models")["earlier"]}
    assert listed[study.path.name]["about"].startswith("2 variants")
    act(other, "models", "reopen", folder=study.path.name)
    until(lambda: (now := other.store.state.study) and now.path == study.path, lambda: view(other, "status"))
    until(lambda: "SVD 0.3" in names(other), "its variants are there")


def test_what_cannot_be_opened_says_why(home: Path) -> None:
    made = Study(tiny_model(), tiny_data())
    made.run(wb.SVD(0.5), progress=False)
    screen = Screen(made)
    shown(screen)
    kept = noted(made)
    assert kept.data_from == ()  # from this test alone
    act(screen, "models", "look")
    (listed,) = view(screen, "models")["earlier"]
    assert listed["shown"]
    assert "notebook" in listed["problem"]
    with pytest.raises(BadFile, match="cannot be opened"):
        desk.study_of(kept)
    act(screen, "models", "reopen", folder="no such folder")
    assert "no study" in view(screen, "status")["text"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"model": 3}', b"\xff\xfe", b'{"viewed": []}', b"[" * 100_000])
def test_a_note_that_is_none_is_passed_over(home: Path, content: bytes) -> None:
    folder = home / "studies" / "odd"
    folder.mkdir(parents=True)
    (folder / desk.NOTE).write_bytes(content)
    assert desk.earlier() == ()
    assert desk.read(folder) is None


def test_nothing_is_noted_where_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_HOME", "")
    study = Study(tiny_model(), tiny_data(), tmp_path / "own")
    desk.write(study, desk.Kept(study.path, "a", "b", 0, ""))
    assert not (study.path / desk.NOTE).exists()
    assert desk.earlier() == ()


def test_the_original_cannot_be_archived(study: Study) -> None:
    with pytest.raises(BadValue, match="cannot be archived"):
        study.archive(study.baseline)
