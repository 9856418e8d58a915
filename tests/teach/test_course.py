"""`workbench lab init`: nbgrader's metadata by its schema, both versions, slides, the leaderboard, and from a wheel."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from workbench import cli
from workbench.errors import BadFile, BadValue
from workbench.estimate import Estimate
from workbench.measure.paired import Sample
from workbench.studies.naming import Label
from workbench.studies.records import Record
from workbench.studies.storage import Storage
from workbench.teach.course import graded, labs, lay, slides
from workbench.teach.course import notebooks as finding
from workbench.teach.labs import LABS
from workbench.teach.student import BEGIN, END

#: The schema of cell metadata in nbgrader 0.9 (nbgraderformat/v3.json, BSD licence), but for its descriptions.
SCHEMA = {
    "$schema": "http://json-schema.org/draft-04/schema#",
    "type": "object",
    "properties": {
        "schema_version": {"type": "integer", "minimum": 3, "maximum": 3},
        "grade": {"type": "boolean"},
        "locked": {"type": "boolean"},
        "solution": {"type": "boolean"},
        "task": {"type": "boolean"},
        "grade_id": {"type": "string", "pattern": "^[a-zA-Z0-9_\\-]*$"},
        "points": {"type": "number", "minimum": 0},
        "checksum": {"type": "string", "minLength": 32, "maxLength": 32},
        "cell_type": {"type": "string", "enum": ["raw", "code", "markdown"]},
    },
    "required": ["schema_version", "grade", "locked", "solution"],
    "additionalProperties": False,
}
ROOT = Path(__file__).parents[2]


def source_of(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("course") / "new"
    shown = CliRunner().invoke(cli.app, ["lab", "init", str(folder)])
    assert shown.exit_code == 0, shown.output
    return folder


@pytest.fixture(scope="module", params=["source", "release"])
def notebooks(request: pytest.FixtureRequest, course: Path) -> list[dict[str, Any]]:
    return [read(path) for path in sorted((course / request.param).glob("*/*.ipynb"))]


def marks(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell["metadata"]["nbgrader"] for cell in notebook["cells"] if "nbgrader" in cell["metadata"]]


def test_metadata_keep_to_the_schema_of_nbgrader(notebooks: list[dict[str, Any]]) -> None:
    for notebook in notebooks:
        found = marks(notebook)
        for one in found:
            jsonschema.validate(one, SCHEMA)
            assert one["grade_id"] and ("points" in one) == one["grade"]  # as its validator asks, beside the schema
            assert not (one["grade"] and one["solution"])  # those are graded by hand
        names = [one["grade_id"] for one in found]
        assert len({*names}) == len(names)


def test_nbgrader_itself_takes_them_where_it_is_installed(notebooks: list[dict[str, Any]]) -> None:
    formats = pytest.importorskip("nbgrader.nbgraderformat")
    nbformat = pytest.importorskip("nbformat")
    for notebook in notebooks:
        formats.MetadataValidator().validate_nb(nbformat.from_dict(notebook))


def test_every_question_is_graded_once_with_its_points(notebooks: list[dict[str, Any]]) -> None:
    found = {one["grade_id"]: one["points"] for notebook in notebooks for one in marks(notebook) if one["grade"]}
    questions = [one for lab in LABS.values() for one in lab]
    assert found == {f"check-{one.name}": one.points for one in questions}


def test_each_graded_cell_stands_behind_its_answer_and_fails_without_one(notebooks: list[dict[str, Any]]) -> None:
    import workbench as wb

    for notebook in notebooks:
        for before, cell in zip(notebook["cells"], notebook["cells"][1:], strict=False):
            mark = cell["metadata"].get("nbgrader", {})
            if mark.get("grade"):
                assert before["metadata"]["nbgrader"]["solution"] and mark["locked"]
                name = mark["grade_id"].removeprefix("check-")
                assert f'wb.teach.check("{name}"' in source_of(before) and f'wb.teach.check("{name}"' in source_of(cell)
                given = source_of(cell).split(",")[1].partition(")")[0].strip()
                with pytest.raises(AssertionError, match="No answer yet"):
                    exec(source_of(cell), {"wb": wb, given: ...})


def test_a_right_answer_passes_its_graded_cell() -> None:
    import workbench as wb

    cell = next(
        one
        for lab in labs()
        for one in graded(lab.notebook)["cells"]
        if one["metadata"].get("nbgrader", {}).get("grade_id") == "check-svd-params"
    )
    exec(source_of(cell), {"wb": wb, "answer": 32 * (256 + 512)})
    with pytest.raises(AssertionError, match="matrix itself"):
        exec(source_of(cell), {"wb": wb, "answer": 256 * 512})


def test_solutions_lie_apart(course: Path) -> None:
    names = {lab.name for lab in labs()}
    for part in ("source", "release"):
        assert {path.stem for path in (course / part).glob("*/*.ipynb")} == names
    for path in (course / "release").rglob("*.ipynb"):
        assert BEGIN not in path.read_text() and END not in path.read_text()
    for path in (course / "source").rglob("*.ipynb"):
        text = path.read_text()
        assert BEGIN in text
        for cell in read(path)["cells"]:  # nbgrader refuses a solution outside of a cell that is marked as one
            assert (BEGIN in source_of(cell)) == bool(cell["metadata"].get("nbgrader", {}).get("solution"))


def test_slides_begin_at_headings_and_leave_grading_out(notebooks: list[dict[str, Any]]) -> None:
    for notebook in notebooks:
        kinds = [(cell, cell["metadata"]["slideshow"]["slide_type"]) for cell in notebook["cells"]]
        assert kinds[0][1] == "slide"
        assert {kind for _, kind in kinds} <= {"slide", "subslide", "fragment", "skip", "notes", "-"}
        for cell, kind in kinds:
            assert (kind == "slide") == (cell["cell_type"] == "markdown" and source_of(cell).startswith("#"))
            assert (kind == "skip") == bool(cell["metadata"].get("nbgrader", {}).get("grade"))


def test_a_lab_that_says_itself_where_slides_begin_is_left_so() -> None:
    own = {"cell_type": "markdown", "source": "# A", "metadata": {"slideshow": {"slide_type": "notes"}}}
    assert slides({"cells": [own]})["cells"] == [own]


def test_a_deck_of_every_lab(course: Path) -> None:
    for lab in labs():
        page = (course / "slides" / f"{lab.name}.slides.html").read_text(encoding="utf-8")
        assert "Reveal.initialize" in page and lab.title in page
        assert page.count("<section") > 5 and "assert verdict" not in page


def test_the_settings_are_python_that_nbgrader_can_read(course: Path) -> None:
    class Section:
        def __getattr__(self, name: str) -> Section:
            self.__dict__[name] = Section()
            return self.__dict__[name]  # type: ignore[no-any-return]

    found = Section()
    exec((course / "nbgrader_config.py").read_text(), {"get_config": lambda: found})
    assert found.CourseDirectory.course_id == "workbench"
    exec(found.ClearSolutions.code_stub["python"], {})  # type: ignore[index]  # an unanswered cell runs on to its check


def test_the_readme_names_every_lab_and_nothing_that_is_not_there(course: Path) -> None:
    text = (course / "README.md").read_text()
    for lab in labs():
        assert lab.name in text and f"| {lab.points} |" in text
    for name in ("source", "release", "slides", "leaderboard.ipynb", "nbgrader_config.py"):
        assert f"`{name}" in text and (course / name).exists()


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "grades.csv").write_text("ada,1")
    with pytest.raises(BadValue, match="something in it"):
        lay(tmp_path)
    with pytest.raises(BadValue, match="something in it"):
        lay(tmp_path / "grades.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["grades.csv"]


def test_a_package_without_labs_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finding, "_folder", lambda: tmp_path)
    with pytest.raises(BadFile, match="Install nn-workbench again"):
        lay(tmp_path / "new")


def stored(storage: Storage, place: Path, identity: str, figures: tuple[float, float]) -> None:
    """A variant with a change of accuracy and a size."""
    change, size = figures
    place.mkdir(exist_ok=True)
    made = (place / "model.onnx", place / "state.safetensors")
    for file in made:
        file.write_text(f"{identity} {file.suffix}")
    estimates = {
        "accuracy": Estimate(0.9 + change, 0.8, 1, 10),
        "accuracy_change": Estimate(change, change, change, 10),
        "file_bytes": Estimate(size, size, size, 1, "B"),
    }
    samples = json.dumps({"accuracy": Sample.of_marks(np.array([True] * 10)).write()})
    recipe = json.dumps({"version": 1, "recipe": [{"step": "Prune", "ratio": size / 1000}]})
    created = f"2026-01-02T03:04:{identity}"
    storage.store(Record(identity, created, recipe, estimates, (), metadata={"samples": samples}), *made)


@pytest.fixture
def shared(tmp_path: Path) -> Storage:
    """A study of two teams: ada's best keeps to the limit, bob's smallest does not."""
    storage = Storage(tmp_path / "study")
    storage.claim(model="m", data="d")
    storage.describe(model_name="net", data_name="data", judged_by="accuracy")
    signed = {
        "01": ("ada", (-0.01, 500)), "02": ("ada", (-0.015, 300)), "03": ("bob", (-0.001, 400)),
        "04": ("bob", (-0.1, 100)), "05": ("", (0.0, 50)),
    }  # fmt: skip
    for identity, (who, figures) in signed.items():
        stored(storage, tmp_path / "made", identity, figures)
        if who:
            storage.label(identity, Label(tags=(who,)))
    return storage


def test_the_leaderboard_ranks_each_teams_best_within_the_limit(
    shared: Storage, course: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COURSE_STUDY", str(shared.folder))
    cells = [source_of(one) for one in read(course / "leaderboard.ipynb")["cells"] if one["cell_type"] == "code"]
    names: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()) as said:
        for cell in cells:
            exec(cell, names)
    board: pd.DataFrame = names["best"]
    assert [*zip(board["who"], board["file_bytes"], strict=True)] == [("ada", 300), ("bob", 400)]
    assert "net on data: 5 variants" in said.getvalue()


def test_the_leaderboard_holds_no_outputs(course: Path) -> None:
    assert not [one for one in read(course / "leaderboard.ipynb")["cells"] if one.get("outputs")]


def test_labs_are_found_where_a_wheel_puts_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the package, as `pyproject.toml` maps them; what a wheel holds, tests/test_packaging.py looks into."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    (pattern,) = settings["package-data"]["workbench.teach.notebooks"]
    packed = tmp_path / "workbench" / "teach" / "notebooks"
    packed.mkdir(parents=True)
    for path in (ROOT / settings["package-dir"]["workbench.teach.notebooks"]).glob(pattern):
        shutil.copy(path, packed)
    expected = labs()
    monkeypatch.setattr(finding, "__file__", str(packed.parent / "course" / "notebooks.py"))
    assert finding._folder() == packed and labs() == expected
