"""The labs' notebooks: solutions pass every check, the students' versions, made from them, none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import workbench as wb
from workbench.errors import BadFile
from workbench.teach import forget, rubric
from workbench.teach.labs import LABS
from workbench.teach.made import Made
from workbench.teach.student import BEGIN, END, main, without_solutions

FOLDER = Path(__file__).parents[2] / "notebooks" / "labs"
NAMES = sorted(path.name for path in (FOLDER / "solutions").glob("*.ipynb"))

#: What is made by a whole notebook: there its solution asserts full points, and the notebooks are executed as tests.
MADE = {one.name for questions in LABS.values() for one in questions if isinstance(one, Made)}


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def answered(path: Path) -> set[str]:
    """The questions that a notebook answers rightly, by running the cells that ask."""
    forget()
    names: dict[str, Any] = {"wb": wb, "np": np}
    for cell in read(path)["cells"]:
        source = "".join(cell["source"])
        makes = BEGIN in source and MADE & {*questions(source)}
        if cell["cell_type"] == "code" and "wb.teach.check(" in source and not makes:
            exec(source, names)
    found = rubric()
    forget()
    return {*found[found["reached"] > 0]["question"]}


def asked(path: Path) -> list[str]:
    return questions("".join("".join(cell["source"]) for cell in read(path)["cells"]))


def questions(text: str) -> list[str]:
    return [part.partition('"')[0] for part in text.split('wb.teach.check("')[1:]]


def test_every_question_is_asked_once_and_every_solution_passes() -> None:
    solutions = [FOLDER / "solutions" / name for name in NAMES]
    everything = sorted(one for path in solutions for one in asked(path))
    assert everything == sorted(one.name for questions in LABS.values() for one in questions)
    for path in solutions:
        assert answered(path) == {*asked(path)} - MADE


def test_solutions_that_make_something_assert_full_points() -> None:
    for path in (FOLDER / "solutions" / name for name in NAMES):
        last = "".join(read(path)["cells"][-1]["source"])
        assert bool(MADE & {*asked(path)}) == ('assert rubric["reached"].tolist() == rubric["points"].tolist()' in last)


@pytest.mark.parametrize("name", NAMES)
def test_the_untouched_student_version_passes_nothing(name: str) -> None:
    assert asked(FOLDER / name) == asked(FOLDER / "solutions" / name)
    assert answered(FOLDER / name) == set()


def test_the_student_versions_are_made_from_the_solutions(tmp_path: Path) -> None:
    main(str(FOLDER / "solutions"), str(tmp_path))
    assert sorted(path.name for path in FOLDER.glob("*.ipynb")) == NAMES
    for name in NAMES:
        assert (tmp_path / name).read_text() == (FOLDER / name).read_text()
        assert BEGIN not in (FOLDER / name).read_text()


def cell(source: str) -> dict[str, Any]:
    return {"cell_type": "code", "source": source, "outputs": [{"x": 1}], "execution_count": 3}


def test_what_stands_between_the_marks_goes_with_all_outputs() -> None:
    given = {
        "cells": [cell(f"a = 1\n    {BEGIN}\n    b = 2\n    {END}\nc = 3"), {"cell_type": "markdown", "source": "x"}]
    }
    found = without_solutions(given)
    assert found["cells"][0] == {"cell_type": "code", "source": "a = 1\nc = 3", "outputs": [], "execution_count": None}
    assert found["cells"][1]["source"] == "x"
    assert BEGIN in given["cells"][0]["source"]  # it is a copy


@pytest.mark.parametrize("source", [BEGIN, END, f"{BEGIN}\n{BEGIN}\n{END}", f"{BEGIN}\n{END}\n{END}"])
def test_marks_without_a_counterpart_are_refused(source: str) -> None:
    with pytest.raises(BadFile, match="counterpart"):
        without_solutions({"cells": [cell(source)]}, "lab.ipynb")
