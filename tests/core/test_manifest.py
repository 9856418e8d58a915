"""Manifests are read as a stranger's files: every version that was, none that is to come."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import kills
import pytest
from tiny import tiny_data, tiny_model

import workbench as wb
from workbench.errors import BadFile, NewerVersion
from workbench.manifest import read_manifest

RECIPE = wb.Prune(ratio=0.3)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out")
    with kills.untimed():
        wb.export(wb.Study(tiny_model(), tiny_data(), keep=False).run(RECIPE, progress=False), folder, "safetensors")
    return folder


def changed(exported: Path, folder: Path, **changes: Any) -> Path:
    """A manifest with other content; None takes a key out."""
    content = json.loads((exported / "manifest.json").read_text()) | changes
    file = folder / "manifest.json"
    file.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
    return file


def test_what_was_written_is_read(exported: Path) -> None:
    found = read_manifest(exported)
    assert (found.version, found.format, found.path) == (1, "safetensors", exported)
    assert wb.Recipe.from_list(found.recipe) == RECIPE.recipe()


def test_one_from_before_versions_is_of_the_first(exported: Path, tmp_path: Path) -> None:
    assert read_manifest(changed(exported, tmp_path, version=None)).version == 1


@pytest.mark.parametrize("version", [2, 99])
def test_a_newer_one_is_refused_as_such_whatever_it_holds(exported: Path, tmp_path: Path, version: int) -> None:
    file = changed(exported, tmp_path, version=version, files=None, recipe={"graph": []})
    for read in (read_manifest, lambda file: wb.load(file.parent)):
        with pytest.raises(NewerVersion, match=rf"of version {version}, .* up to version 1.*pip install"):
            read(file)


@pytest.mark.parametrize("version", [0, -1, "1", 1.5, True, [1]])
def test_what_is_no_version_is_refused(exported: Path, tmp_path: Path, version: object) -> None:
    with pytest.raises(BadFile, match="its version is"):
        read_manifest(changed(exported, tmp_path, version=version))
