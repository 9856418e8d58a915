"""A course's folder as nbgrader has it: what instructors keep, what students get, slides, a leaderboard."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from workbench.errors import BadValue, ExportFailed
from workbench.files.disk import told
from workbench.interface.arguments import check_kinds
from workbench.teach.course.notebooks import Lab, graded, labs, slides
from workbench.teach.student import without_solutions

#: The templates beside this file, and what they become.
TEMPLATES = {"README.md.j2": "README.md", "nbgrader_config.py.j2": "nbgrader_config.py"}
BOARD = "leaderboard.ipynb"


@check_kinds
def lay(folder: str | Path) -> list[Lab]:
    """Lay a course's folder: `source` with solutions, `release` for students, `slides`, and what an instructor reads.

    Gives the labs that are in it. Raises: `BadValue` for a folder with something in it, `BadFile` without labs,
    `ExportFailed` where nbconvert makes no slides, `StorageFailed`.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadValue(f"{folder} is there already, with something in it. Name a new folder for the course.")
    found = labs()
    with told(folder, "Laying the course"):
        for lab in found:
            _lay_lab(folder, lab)
        _lay_rest(folder, found)
        _make_slides(folder, found)
    return found


def _lay_lab(folder: Path, lab: Lab) -> None:
    """Its two versions, each in a folder of its own, as nbgrader expects."""
    whole = slides(graded(lab.notebook))
    for part, notebook in (("source", whole), ("release", without_solutions(whole, lab.name))):
        place = folder / part / lab.name
        place.mkdir(parents=True)
        _write(place / f"{lab.name}.ipynb", notebook)


def _lay_rest(folder: Path, found: list[Lab]) -> None:
    """The templates, filled in, and the leaderboard."""
    environment = Environment(
        loader=PackageLoader("workbench.teach.course", "."), undefined=StrictUndefined, keep_trailing_newline=True,
        trim_blocks=True, autoescape=False,  # Markdown and Python, of the package's own labs
    )  # fmt: skip
    for template, name in TEMPLATES.items():
        (folder / name).write_text(environment.get_template(template).render(labs=found), encoding="utf-8")
    (folder / BOARD).write_bytes(Path(__file__).with_name(BOARD).read_bytes())


def _make_slides(folder: Path, found: list[Lab]) -> None:
    """A deck of each lab as students get it, by nbconvert."""
    files = [str(Path("release") / lab.name / f"{lab.name}.ipynb") for lab in found]
    command = [sys.executable, "-m", "nbconvert", "--to", "slides", "--output-dir", "slides", *files]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        why = done.stderr.strip().rpartition("\n")[2]
        raise ExportFailed(f"nbconvert makes no slides of the labs ({why:.300}). The rest of {folder} is there.")


def _write(path: Path, notebook: dict[str, Any]) -> None:
    path.write_text(f"{json.dumps(notebook, indent=1, ensure_ascii=False)}\n", encoding="utf-8")
