"""`hf:owner/name`: networks of the Hugging Face hub, or a folder that is laid out like one of its repositories.

Read are `config.json` and safetensors, or a network that `wb.export` wrote, or `model.onnx`; nothing else. No code of a
repository is ever run, and no pickle is opened. What a configuration may do is bounded by its weights: a network is
laid out without memory first and compared with what the files list.
"""

from __future__ import annotations

import importlib
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.errors import BadFile, UnknownName, shown
from workbench.untrusted import parse_json, read_metadata

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
ONNX = ("model.onnx", "onnx/model.onnx")
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack")
#: The most files that an index may name.
MOST_PARTS = 200
_NAME = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")


@dataclass(frozen=True)
class Repository:
    """The files of a repository that a network is read from."""

    name: str
    config: dict[str, Any]
    weights: tuple[Path, ...]  # safetensors
    config_file: Path | None
    index: Path | None
    onnx: Path | None


def repository(name: str) -> Repository:
    """The files of `owner/name`, `owner/name@revision` or a folder; those in the hub's own cache are not fetched again.

    Raises: `UnknownName` where there is no such repository or no package to fetch it with, `BadFile` where it cannot
    be reached, or holds its weights in no form that is read.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _read(name, _Folder(folder))
    if not _NAME.fullmatch(name):
        raise UnknownName(
            f"hf:{name} is no name on the hub and no folder. Give hf:owner/name, hf:owner/name@revision, or hf:folder."
        )
    return _read(name, _Hub(name))


class _Folder:
    """A folder that is laid out like a repository."""

    silent = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, file: str) -> Path | None:
        """A file; None where there is none of this name."""
        return self.folder / file if (self.folder / file).is_file() else None

    def listed(self) -> list[str]:
        """The names of its files."""
        return [one.name for one in sorted(self.folder.iterdir())]


class _Hub:
    """A repository on the hub, `owner/name@revision`. `silent`: the hub did not answer, and a file is not here."""

    def __init__(self, name: str) -> None:
        self.repo, _, revision = name.partition("@")
        self.revision, self.silent = revision or None, False
        try:
            self.hub = importlib.import_module("huggingface_hub")
        except ImportError as error:
            raise UnknownName(
                "huggingface_hub is not installed. Install it to load networks of the hub: "
                "pip install 'nn-workbench[hf]'."
            ) from error

    def get(self, file: str) -> Path | None:
        """A file, of the hub's own cache where it is there; None where there is none of this name."""
        errors = importlib.import_module("huggingface_hub.errors")
        try:
            return Path(self.hub.hf_hub_download(self.repo, file, revision=self.revision))
        except errors.LocalEntryNotFoundError:  # one of the next too
            self.silent = True
            return None
        except errors.EntryNotFoundError:
            return None
        except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.HFValidationError) as error:
            at = f" at {self.revision}" if self.revision else ""
            raise UnknownName(f"The hub has no {self.repo}{at} that may be read. Look at its spelling.") from error
        except Exception as error:  # connections end in many ways
            raise BadFile(f"hf:{self.repo} cannot be fetched: {sentence(error)}. Try again.") from error

    def listed(self) -> list[str]:
        """The names of its files."""
        return list(self.hub.list_repo_files(self.repo, revision=self.revision))


def _read(name: str, files: _Folder | _Hub) -> Repository:
    config_file = files.get(CONFIG)
    config = parse_json(config_file.read_bytes(), f"The {CONFIG} of {name}") if config_file else {}
    if not isinstance(config, dict):
        raise BadFile(f"The {CONFIG} of {name} is {shown(config)}, which describes no network.")
    whole, index = files.get(WEIGHTS), None
    weights: tuple[Path, ...] = (whole,) if whole else ()
    if not whole and (index := files.get(INDEX)) is not None:
        weights = _parts(name, index, files)
    onnx = None if weights else _onnx(files)
    if not weights and onnx is None:
        raise BadFile(_unreadable(name, files))
    return Repository(name, config, weights, config_file, index, onnx)


def _onnx(files: _Folder | _Hub) -> Path | None:
    for one in ONNX:
        found = files.get(one)
        if found is not None:
            files.get(f"{one}_data")  # where large ones have their weights
            return found
    return None


def _parts(name: str, index: Path, files: _Folder | _Hub) -> tuple[Path, ...]:
    """The files that an index names, each in the repository itself."""
    places = parse_json(index.read_bytes(), f"The {INDEX} of {name}", size=64 * 10**6, nodes=10**6)
    try:
        names = sorted(set(places["weight_map"].values()))
        sound = 0 < len(names) <= MOST_PARTS and all(re.fullmatch(r"[\w.-]+\.safetensors", one) for one in names)
    except (TypeError, KeyError, AttributeError):
        sound = False
    if not sound:
        raise BadFile(f"The {INDEX} of {name} names weights that are no safetensors files beside it.")
    found = {one: files.get(one) for one in names}
    missing = next((one for one, path in found.items() if path is None), None)
    if missing is not None:
        raise BadFile(f"{name} lacks {missing}, which its {INDEX} names. Was it copied whole?")
    return tuple(path for path in found.values() if path is not None)


def _unreadable(name: str, files: _Folder | _Hub) -> str:
    if files.silent:
        return (
            f"hf:{name} is not in the cache of huggingface_hub, and the hub does not answer. Load it once with a "
            "connection, or copy its files into a folder and load hf:folder."
        )
    pickled = ""
    with suppress(Exception):  # only to say more
        pickled = next((one for one in files.listed() if one.endswith(PICKLES)), "")
    holds = f" It has {pickled}, which may hold code that runs when it is read." if pickled else ""
    return (
        f"hf:{name} holds no {WEIGHTS} and no {ONNX[0]}.{holds} Load the network in its own library and pass it: "
        "wb.load(module, example=...); or write its weights as safetensors: model.save_pretrained(folder)."
    )


def described(repo: Repository) -> bool:
    """Whether it holds a network that `wb.export` wrote. Raises: `BadFile`."""
    return len(repo.weights) == 1 and "structure" in read_metadata(repo.weights[0])


def sentence(error: Exception) -> str:
    """The first line of what a library said."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300].rstrip(".")
