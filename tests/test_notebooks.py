"""Committed notebooks hold what a reader needs and nothing of the machine they ran on. nbmake executes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").rglob("*.ipynb"))
NOTEBOOKS = [path for path in NOTEBOOKS if ".ipynb_checkpoints" not in path.parts]


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.name)
def notebook(request: pytest.FixtureRequest) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(request.param.read_text())
    return content


def test_no_widget_state_is_stored(notebook: dict[str, Any]) -> None:
    assert "widgets" not in notebook["metadata"]
    outputs = [o for cell in notebook["cells"] for o in cell.get("outputs", [])]
    assert not [o for o in outputs if "application/vnd.jupyter.widget-view+json" in o.get("data", {})]


def test_no_error_and_no_path_of_a_machine_is_stored(notebook: dict[str, Any]) -> None:
    outputs = [o for cell in notebook["cells"] for o in cell.get("outputs", [])]
    assert not [o for o in outputs if o["output_type"] == "error"]
    folders = [f"/{name}/" for name in ("home", "root", "tmp", "Users")]
    assert not [folder for folder in folders if folder in json.dumps(notebook)]


def test_every_cell_has_an_id_and_the_kernel_is_any_python(notebook: dict[str, Any]) -> None:
    assert all(cell.get("id") for cell in notebook["cells"])
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"


def test_what_notebooks_write_is_no_part_of_the_project() -> None:
    """Executed from a checkout they write beside themselves."""
    rules = (Path(__file__).parent.parent / ".gitignore").read_text().splitlines()
    assert "/notebooks/**/out/" in rules
    written = [path for path in NOTEBOOKS if '"out/' in path.read_text() or '\\"out/' in path.read_text()]
    assert {path.parent.name for path in written} >= {"notebooks", "solutions"}
