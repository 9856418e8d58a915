"""The student's version of a lab: its notebook without what stands between the solution marks, and without outputs.

The marks are nbgrader's, `### BEGIN SOLUTION` and `### END SOLUTION`, so that a course can use either.

    python -m workbench.teach.student notebooks/labs/solutions notebooks/labs
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from workbench.errors import BadFile

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"


def without_solutions(notebook: dict[str, Any], name: str = "notebook") -> dict[str, Any]:
    """A copy of a notebook (nbformat 4, as JSON) for students.

    Raises: `BadFile` where a mark has no counterpart.
    """
    cells = []
    for cell in notebook["cells"]:
        found = {**cell, "source": _cleared("".join(cell["source"]), name)}
        if cell["cell_type"] == "code":
            found |= {"outputs": [], "execution_count": None}
        cells.append(found)
    return {**notebook, "cells": cells}


def _cleared(source: str, name: str) -> str:
    """The lines outside of the marks."""
    kept, inside = [], False
    for line in source.splitlines():
        mark = line.strip()
        if mark in (BEGIN, END):
            if inside == (mark == BEGIN):
                raise BadFile(
                    f"{name}: {mark} without its counterpart. Write every solution between {BEGIN} and {END}."
                )
            inside = not inside
        elif not inside:
            kept.append(line)
    if inside:
        raise BadFile(f"{name}: {BEGIN} without its counterpart. Write every solution between {BEGIN} and {END}.")
    return "\n".join(kept)


def main(solutions: str, labs: str) -> None:
    """Write the student's version of every notebook of a folder into another."""
    for path in sorted(Path(solutions).glob("*.ipynb")):
        notebook = without_solutions(json.loads(path.read_text(encoding="utf-8")), path.name)
        text = json.dumps(notebook, indent=1, ensure_ascii=False)
        (Path(labs) / path.name).write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
