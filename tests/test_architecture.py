"""The map in docs/architecture.md is that of the tree, and names nothing that is not there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "architecture.md").read_text()
#: What tools put there.
MADE = {"__pycache__", "node_modules"}


def folders() -> set[str]:
    """The folders with code or what code reads, but for those inside the page's own sources and files."""
    found = {"workbench/"} | {
        f"{path.relative_to(ROOT)}/"
        for top in (ROOT / "workbench", ROOT / "widgets" / "workbench_widgets")
        for path in (top, *top.rglob("*"))
        if path.is_dir() and not MADE & set(path.parts) and "static" not in path.parent.parts
    }
    inner = {one for one in found if re.match(r"workbench/(models/cards|recipes/|studies/)", one)}
    return (found - inner) | {"workbench/recipes/", "workbench/studies/", "widgets/js/"}


def test_every_folder_has_its_line() -> None:
    told = re.findall(r"^\| `([^`]+)` \|", TEXT, re.MULTILINE)
    assert len(told) == len(set(told))
    assert set(told) == folders()


def test_every_file_that_is_named_is_there() -> None:
    for name in re.findall(r"`([\w/]+\.py)`", TEXT):
        assert list(ROOT.glob(f"**/{name}")) and not name.startswith("/"), name
