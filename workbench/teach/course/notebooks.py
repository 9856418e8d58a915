"""The labs as notebooks of a course: cells that nbgrader grades, and where slides begin.

Both follow from the notebook and from the questions: a cell that asks for `wb.teach.check` holds the solution, and
behind it stands a locked cell with the question's points.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.errors import BadFile
from workbench.teach.labs import LABS
from workbench.teach.student import BEGIN

Cell = dict[str, Any]
Notebook = dict[str, Any]

#: The schema of nbgrader's metadata that is written here.
SCHEMA = 3
ASKS = "wb.teach.check("
#: Lines of code that stand under a text on one slide.
ROOM = 12


@dataclass(frozen=True)
class Lab:
    """One lab: its notebook with solutions, by the name of its file."""

    name: str
    notebook: Notebook

    @property
    def title(self) -> str:
        """What its first heading says."""
        return "".join(self.notebook["cells"][0]["source"]).partition("\n")[0].lstrip("# ")

    @property
    def points(self) -> int:
        """What its questions give together."""
        return sum(_points(name) for cell in self.notebook["cells"] for name, _ in asked(cell))


def labs() -> list[Lab]:
    """The labs that come with the package, in their order. Raises: `BadFile` where it came without them."""
    folder = _folder()
    found = [Lab(path.stem, json.loads(path.read_text(encoding="utf-8"))) for path in sorted(folder.glob("*.ipynb"))]
    if not found:
        raise BadFile(f"There are no labs in {folder}. Install nn-workbench again, from a wheel or a whole checkout.")
    return found


def _folder() -> Path:
    """Where the notebooks are: in the package where it is installed, beside it in a checkout."""
    packed = Path(__file__).parents[1] / "notebooks"
    return packed if packed.is_dir() else Path(__file__).parents[3] / "notebooks" / "labs" / "solutions"


def graded(notebook: Notebook) -> Notebook:
    """A copy for nbgrader: what a student writes is a solution, and what asks for it again gives the points."""
    cells: list[Cell] = []
    for cell in notebook["cells"]:
        solved = cell["cell_type"] == "code" and BEGIN in "".join(cell["source"])
        cells.append(_with(cell, nbgrader=_mark(f"answer-{cell['id']}", solution=True)) if solved else cell)
        cells.extend(_test(name, answer) for name, answer in asked(cell))
    return {**notebook, "cells": cells}


def asked(cell: Cell) -> list[tuple[str, str]]:
    """The questions of a cell: each one's name, and what is given for an answer, as it is written there."""
    source = "".join(cell["source"])
    if cell["cell_type"] != "code" or ASKS not in source:
        return []
    calls = (one for one in ast.walk(ast.parse(source)) if isinstance(one, ast.Call) and len(one.args) == 2)
    return [(ast.literal_eval(one.args[0]), ast.unparse(one.args[1])) for one in calls if _checks(one)]


def _checks(call: ast.Call) -> bool:
    return ast.unparse(call.func) == ASKS.rstrip("(")


def _test(name: str, answer: str) -> Cell:
    """The locked cell that gives a question's points where the answer is right, and fails where it is not."""
    source = f'verdict = wb.teach.check("{name}", {answer})\nassert verdict.passed, verdict'
    mark = _mark(f"check-{name}", grade=True, locked=True, points=_points(name))
    metadata = {"nbgrader": mark, "slideshow": {"slide_type": "skip"}}
    made = {"cell_type": "code", "id": f"check-{name}"[:64], "metadata": metadata, "source": source}
    return made | {"outputs": [], "execution_count": None}


def _points(name: str) -> int:
    return {one.name: one.points for questions in LABS.values() for one in questions}[name]


def _mark(name: str, **how: Any) -> dict[str, Any]:
    """The metadata of a cell that nbgrader reads, by its schema."""
    return {"schema_version": SCHEMA, "grade": False, "solution": False, "locked": False, "task": False,
            "grade_id": name, **how}  # fmt: skip


def slides(notebook: Notebook) -> Notebook:
    """A copy that says where slides begin: at each heading, each further text, and code too long to stand under one."""
    return {**notebook, "cells": list(_slid(notebook["cells"]))}


def _slid(cells: list[Cell]) -> Iterator[Cell]:
    for cell in cells:
        if "slideshow" in cell["metadata"]:
            yield cell
        else:
            yield _with(cell, slideshow={"slide_type": _slide_type(cell)})


def _slide_type(cell: Cell) -> str:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return "slide" if source.startswith("#") else "subslide"
    return "subslide" if source.count("\n") >= ROOM else "-"


def _with(cell: Cell, **metadata: Any) -> Cell:
    return {**cell, "metadata": {**cell["metadata"], **metadata}}
