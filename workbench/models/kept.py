"""Canonical forms on the user's disk: a network that was followed once is not followed again.

Only what has content to be known by is kept: files, and networks of collections with published weights. A module that
is handed over as an object is followed each time, since nothing tells two of them apart whose code does other things
under the same names. What is kept is data (`structure`), and was equal to the bit when it was written; what was
damaged since is made anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._pytree import tree_structure

from workbench.errors import WorkbenchError
from workbench.files import cache as disk
from workbench.files.content import digest
from workbench.files.disk import keep_on_disk, workspace
from workbench.models.graph import to_data
from workbench.models.model import Form
from workbench.models.structure import load_form, save_form
from workbench.modules.calling import flatten
from workbench.untrusted import quota

#: Seconds of work from which on a form is kept.
WORTH = 1.0
_SUFFIX = ".safetensors"
#: What a form follows from beside its source.
_PACKAGES = ("torch", "onnx", "onnxruntime", "nn-workbench")
_CODE = ("models", "operators", "modules", "artefact")


def kept(content: Sequence[str], example: Any, make: Callable[[], Form]) -> Form:
    """The form that `make` gives, or the one that it gave before for this content and example.

    `content` names everything that the network follows from: kinds, versions, digests. On a published page, where
    everybody has the same home, nothing is kept.
    Raises: whatever `make` raises.
    """
    place = _place(content, example)
    found = _read(place) if place is not None else None
    if found is not None:
        return found
    start = time.perf_counter()
    form = make()
    if place is not None and time.perf_counter() - start >= WORTH:
        with contextlib.suppress(Exception):  # keeping it only saves time
            _keep(form, place)
    return form


def digest_of(module: nn.Module) -> str:
    """A digest of a network's parameters and buffers with their names."""
    found = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        found.update(f"{name} {_told(tensor)}".encode())
    return found.hexdigest()


def _place(content: Sequence[str], example: Any) -> Path | None:
    """Where the form of this content is, but for the digest at the end of its name; None where nothing is kept."""
    if os.environ.get("WORKBENCH_PUBLISHED") == "1" or quota.here() != quota.Quota():
        return None
    try:
        where = disk.folder("networks")
        told = json.dumps([*content, _told(example), _made_with()])
    except (OSError, TypeError, ValueError):  # no disk; an example that says nothing of itself
        return None
    return where / hashlib.sha256(told.encode()).hexdigest()[:32] if where is not None else None


def _read(place: Path) -> Form | None:
    for file in place.parent.glob(f"{place.name}-*{_SUFFIX}"):
        try:
            if file.name == _named(place, file):
                found = load_form(file)
                os.utime(file)  # what is used stays longest
                return found
        except (OSError, WorkbenchError):
            pass
        with contextlib.suppress(OSError):
            file.unlink()
    return None


def _keep(form: Form, place: Path) -> None:
    """Write a form where reading it gives the same again."""
    size = sum(one.numel() * one.element_size() for one in form.graph.state_dict().values())
    if size > disk.bound(place.parent):
        return
    disk.make_room(place.parent, size, _SUFFIX)
    with workspace(place.parent) as folder:
        part = folder / f"form{_SUFFIX}"
        save_form(form, part)
        if _same(form, load_form(part)):
            keep_on_disk(part)
            part.replace(place.with_name(_named(place, part)))


def _named(place: Path, file: Path) -> str:
    return f"{place.name}-{digest(file)[:32]}{_SUFFIX}"


def _same(a: Form, b: Form) -> bool:
    """Whether two forms are equal to the bit."""
    if (a.notes, tree_structure(a.example)) != (b.notes, tree_structure(b.example)):
        return False
    if json.dumps(to_data(a.graph)) != json.dumps(to_data(b.graph)):
        return False
    first, second = a.graph.state_dict(), b.graph.state_dict()
    pairs = [*zip(flatten(a.example), flatten(b.example), strict=True), *((first[key], second[key]) for key in first)]
    return first.keys() == second.keys() and all(x.dtype == y.dtype and torch.equal(x, y) for x, y in pairs)


def _told(value: Any) -> str:
    """A text that differs wherever an example does. Raises: `TypeError` for what cannot be told."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray) and value.dtype != object:
        return f"{value.dtype} {value.shape} {hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()}"
    if isinstance(value, Mapping):
        return json.dumps([[str(key), _told(one)] for key, one in value.items()])
    if isinstance(value, (list, tuple)):
        return json.dumps([type(value).__name__, *map(_told, value)])
    if value is None or isinstance(value, (int, float, str)):
        return repr(value)
    raise TypeError(f"a {type(value).__name__}")


@cache
def _made_with() -> str:
    """The packages that a form is made with, and the code of this one that makes it."""
    own = Path(__file__).parents[1]
    code = hashlib.sha256()
    for file in sorted(file for part in _CODE for file in (own / part).rglob("*.py")):
        code.update(file.read_bytes())
    versions = {}
    for package in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return json.dumps([versions, code.hexdigest()])
