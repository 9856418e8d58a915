"""Recipes as files: JSON or YAML, `{version: 1, recipe: [{step: Prune, ratio: 0.5}, ...]}`.

Here are plain values alone; `Recipe` makes steps of them, and `Recipe.schema()` describes them to editors. A bare list
of steps, and a mapping without a version, are of version 1.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from workbench.errors import BadValue, unknown
from workbench.files.disk import told
from workbench.untrusted import check_version, parse_json, parse_yaml, read_text

#: The version of the form. It grows where what an earlier workbench reads would be misunderstood.
VERSION = 1
#: Steps that a recipe may have.
MOST_STEPS = 100
#: Keys of the mapping; "$schema" is how editors are told of a JSON file's schema.
KEYS = ("$schema", "version", "recipe")
#: The recipes that come with the package.
CATALOGUE = Path(__file__).with_name("recipes")
_WHAT = "The recipe"


def as_json(steps: list[dict[str, Any]]) -> str:
    """A line of JSON, the same for the same steps."""
    return json.dumps({"version": VERSION, "recipe": steps}, sort_keys=True)


def as_yaml(steps: list[dict[str, Any]]) -> str:
    """The same in YAML, a setting a line."""
    plain = json.loads(json.dumps(steps, sort_keys=True))  # tuples become lists
    return yaml.safe_dump({"version": VERSION, "recipe": plain}, sort_keys=False)


def from_json(text: str | bytes) -> Any:
    """What stands where the list of steps should. Raises: `BadFile`, `UnknownName`."""
    return _steps(parse_json(text, _WHAT))


def from_yaml(text: str) -> Any:
    """What stands where the list of steps should. Raises: `BadFile`, `UnknownName`."""
    return _steps(parse_yaml(text, _WHAT))


def write(path: Path, steps: list[dict[str, Any]]) -> None:
    """Write YAML, or JSON where the name ends in .json. Raises: `StorageFailed`."""
    with told(path, "Saving the recipe"):
        path.write_text((as_json if path.suffix == ".json" else as_yaml)(steps), encoding="utf-8")


def read(path: Path) -> Any:
    """As `from_json` and `from_yaml`, of a file or of one in the catalogue by its name."""
    in_catalogue = CATALOGUE / f"{path}.yaml"
    path = in_catalogue if path.name == str(path) and in_catalogue.exists() else path
    text = read_text(path, _WHAT)
    return from_json(text) if path.suffix == ".json" else from_yaml(text)


def named(given: object) -> Path:
    """The path that a user gave. Raises: `BadValue` for anything that is none."""
    if not isinstance(given, (str, Path)):
        raise BadValue(f"A recipe's file is the name of one, got {given!r}.")
    return Path(given)


def _steps(content: Any) -> Any:
    if not isinstance(content, dict):
        return content
    check_version(content, VERSION, _WHAT)
    for key in content:
        if key not in KEYS:
            raise unknown("key of a recipe's file", key, KEYS)
    return content.get("recipe")
