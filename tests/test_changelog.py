"""Changelog fragments are named so that a release can sort them."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent.parent
KINDS = {"added", "changed", "fixed", "removed"}


def test_every_fragment_is_named_by_its_kind_and_says_something() -> None:
    fragments = [p for p in (ROOT / "changelog.d").iterdir() if p.name != "README.md"]
    for path in fragments:
        name, kind, suffix = path.name.split(".")
        assert name and kind in KINDS and suffix == "md", path.name
        assert path.read_text().strip().endswith("."), f"{path.name} is not a sentence"
    assert fragments or "Not released yet" not in (ROOT / "CHANGELOG.md").read_text()
