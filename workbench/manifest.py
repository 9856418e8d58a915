"""`Manifest` and `read_manifest(path)`: what an export says of itself, read as a stranger's file."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from workbench.data import Preprocess
from workbench.errors import shown
from workbench.estimate import Estimate
from workbench.files.content import MANIFEST, MANIFEST_VERSION
from workbench.recipe import Recipe
from workbench.untrusted import Guard, check_version, parse_json, read_text

#: Bytes of a manifest: its figures and notes take some thousands.
MANIFEST_BYTES = 10**6
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Manifest:
    """What was written, and the proof. Stored beside the files as `manifest.json`."""

    path: Path  # the folder
    version: int  # of the form of `manifest.json`
    format: str
    files: dict[str, str]  # name -> SHA-256
    model: str
    recipe: list[dict[str, Any]]
    estimates: dict[str, Estimate]
    verified: dict[str, float]  # what it is judged by and the largest relative difference of an output, read back
    notes: tuple[str, ...]
    versions: dict[str, str]
    created: str
    preprocess: dict[str, Any] = field(default_factory=dict)  # how pixels become inputs: a `Preprocess`, by field
    #: What it was made from and with: digests of model, data and package, seed, settings. `wb.replay` reads it.
    made: dict[str, Any] = field(default_factory=dict)

    @property
    def proven(self) -> bool:
        """Whether what was written was run and compared with the measured artefact; if not, `notes` say why."""
        return "largest_relative_difference" in self.verified

    def to_json(self) -> str:
        """What `manifest.json` holds; the folder itself is left out, so that it can be moved."""
        fields = asdict(self) | {"path": "."}
        return json.dumps(fields, indent=2)


def read_manifest(path: str | Path) -> Manifest:
    """The manifest of a folder that `wb.export` wrote, or of the `manifest.json` in it.

    Names of files lead to no other folder, and its recipe can be made. Raises: `BadFile`, also for one
    of a newer version, and as `Recipe.from_list`.
    """
    file = Path(path) / MANIFEST if Path(path).is_dir() else Path(path)
    text = read_text(file, "The manifest", size=MANIFEST_BYTES)
    said = parse_json(text, f"The manifest {file}", size=MANIFEST_BYTES)
    with Guard(f"{file} is no manifest that wb.export wrote"):
        said["version"] = check_version(said, MANIFEST_VERSION, f"The manifest {file}")
        said = {"preprocess": {}, "made": {}} | said  # of an earlier workbench
        known = {one.name: said[one.name] for one in fields(Manifest)}
        Recipe.from_list(known["recipe"])
        return Manifest(**known | {
            "path": file.parent,
            "files": {_name(name): _text(digest, _DIGEST) for name, digest in said["files"].items()},
            "estimates": {name: _estimate(values) for name, values in said["estimates"].items()},
            "verified": {name: _number(value) for name, value in said["verified"].items()},
            "versions": {name: _text(version) for name, version in said["versions"].items()},
            "preprocess": asdict(Preprocess.read(said["preprocess"])),
            "made": {_text(name): _plain(value) for name, value in said["made"].items()},
            "notes": tuple(_text(note) for note in said["notes"]),
            **{name: _text(said[name]) for name in ("format", "model", "created")},
        })  # fmt: skip


def _text(value: Any, pattern: re.Pattern[str] | None = None) -> str:
    if not isinstance(value, str) or (pattern and not pattern.fullmatch(value)):
        raise TypeError(f"{shown(value)} stands where a text should")
    return value


def _name(value: str) -> str:
    """The name of a file in the manifest's own folder."""
    if value in {"", ".", ".."} or Path(value.replace("\\", "/")).name != value or "\0" in value:
        raise ValueError(f"{shown(value)} is no name of a file")
    return value


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise TypeError(f"{shown(value)} stands where a number should")
    return float(value)


def _plain(value: Any) -> Any:
    """A text, a number, a truth value or nothing; or texts by name."""
    if isinstance(value, dict):
        return {_text(name): _text(one) for name, one in value.items()}
    if value is None or isinstance(value, (str, bool)):
        return value
    return int(_number(value))


def _estimate(values: dict[str, Any]) -> Estimate:
    for name in ("value", "low", "high"):
        _number(values[name])
    return Estimate(**values)
