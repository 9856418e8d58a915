"""`wb.replay(manifest, model, data)`: make the variant of an export again, from the original, and compare the two."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy.typing as npt
import onnx
import torch
from onnx import numpy_helper

from workbench.building import build
from workbench.data import Data
from workbench.errors import BadFile, BadValue, ReplayFailed
from workbench.files.content import check_folder
from workbench.interface.callable_module import make_callable
from workbench.interface.neutral import neutrally
from workbench.jobs import Reporter
from workbench.manifest import Manifest, read_manifest
from workbench.measure.affordable import drawn
from workbench.models import Model
from workbench.models.model import check_model
from workbench.models.structure import save_variant
from workbench.proof import check
from workbench.proof.provenance import package_hash, versions
from workbench.recipe import Recipe
from workbench.runtimes.onnxruntime import open_session
from workbench.tasks import recognise, seen_of
from workbench.untrusted import read_tensors

Array = npt.NDArray[Any]

#: By how much weights, or outputs, may differ that are called the same: relative to the largest number of each.
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Replay:
    """A variant that was made again.

    `model`: the network, as `wb.compress` gives it; `artefact`: the content of its ONNX file. `exact`: whether every
    weight has the bits of the exported one; `weights`, `outputs`: the largest differences, relative to the largest
    number of each tensor; `weights` is None where the format holds none that can be read. `notes`: what is otherwise
    here than where it was made, in sentences.
    """

    model: Model = field(repr=False)
    artefact: bytes = field(repr=False)
    recipe: Recipe
    exact: bool
    weights: float | None
    outputs: float
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.exact:
            said = "The same, bit for bit"
        elif self.weights is not None and self.weights <= TOLERANCE:
            said = f"Not bit for bit the same, and within {TOLERANCE:g}: weights differ by {self.weights:.2g} at most"
        else:
            said = f"Other weights that answer alike: outputs differ by {self.outputs:.2g} at most"
        return " ".join([f"{self.recipe.name}: {said}.", *self.notes])


@neutrally
def replay(
    manifest: str | Path, model: Model, data: Data | None = None, *, progress: Reporter | None = None
) -> Replay:
    """Make the variant of an export again: the same recipe on the same original, with the settings that it records.

    `manifest`: the folder that `wb.export` wrote, or the `manifest.json` in it. `data`: what the study was made with,
    for recipes that fit to it, train or calibrate; without it those are refused or come out otherwise. Weights are
    bit-equal where versions are the same; what else is here, and what came of it, is said.

    Raises: `BadFile` for a folder that holds something else, or whose files were changed; `BadValue` for another
    model or other data than the export's; `ReplayFailed` where what comes out is not the same within `TOLERANCE`;
    whatever the steps raise; `Cancelled`.

    >>> manifest = wb.export(study.baseline, "small")
    >>> print(wb.replay("small", model, data))
    original: The same, bit for bit.
    """
    said, report = read_manifest(manifest), progress or Reporter()
    check_folder(said.path)
    check_model(model, "An export is made again from")
    notes = _checked(said, model, data)
    recipe = Recipe.from_list(said.recipe)
    if data is not None:
        data = _as_it_was(said.made, model, data)
    with tempfile.TemporaryDirectory() as folder, _threads(said.made):
        module = build.rewrite(
            model, recipe, data, report.part(0.0, 0.7), recalibrate=bool(said.made.get("recalibrate", True))
        )
        file = build.lower(module, model, recipe, data, Path(folder) / "model.onnx", report.part(0.7, 1.0))
        state = Path(folder) / "model.safetensors"
        save_variant(module, model, state)
        exact, weights = _weights_apart(said, {".onnx": file, ".safetensors": state})
        outputs = _outputs_apart(said, file)
        made = Model(module, model.example, f"{model.name}, {recipe.name}", model.source)  # type: ignore[arg-type]
        found = Replay(made, file.read_bytes(), recipe, exact, weights, outputs, tuple(notes))
    if not exact and min(outputs, weights if weights is not None else outputs) > TOLERANCE:
        raise ReplayFailed(_why(found, said, data))
    return found


def _checked(said: Manifest, model: Model, data: Data | None) -> list[str]:
    """What is otherwise here, in sentences. Raises: `BadValue` for another model, or other data."""
    known = said.made.get("model")
    if known is not None and known != model.hash:
        raise BadValue(
            f"{model.name} ({model.hash}) is not the network that {said.path} was made from: that is {said.model} "
            f"({known}). Load the original, with the same weights and the same example."
        )
    known = said.made.get("data")
    if data is not None and known is not None and known != data.like(model.example).hash:
        raise BadValue(
            f"{data.name} ({data.like(model.example).hash}) are not the data that {said.path} was made with ({known}). "
            "Load those, split alike; or leave data out where the recipe needs none."
        )
    before, here = said.made.get("versions", said.versions), versions()
    notes = [
        f"Made with {name} {before[name]}, made again with {here[name]}."
        for name in before
        if name in here and here[name] != before[name]
    ]
    if said.made.get("package") not in {None, package_hash()}:
        notes.append("The workbench's own code is not what it was made with.")
    if "own" in (said.made.get("task"), said.made.get("metric")):
        notes.append("Its study was judged by a function of its user's, which a manifest cannot hold.")
    if not said.made.get("versions"):
        notes.append("An earlier version made it, which noted neither data nor settings.")
    return notes


def _as_it_was(made: Mapping[str, Any], model: Model, data: Data) -> Data:
    """The data as the study handed them to the steps."""
    data = data.like(model.example)
    task, metric = (made.get(name) or None for name in ("task", "metric"))
    seen = seen_of(model.module, model.example, data["test"])
    asked = recognise(seen, None if task == "own" else task, None if metric == "own" else metric)
    data = replace(data, task=asked)
    return drawn(data, made["inputs"]) if made.get("inputs") else data


@contextmanager
def _threads(made: Mapping[str, Any]) -> Iterator[None]:
    """As many threads of torch as it was made with: the order of sums depends on them."""
    before = torch.get_num_threads()
    torch.set_num_threads(int(made.get("threads") or before))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _weights_apart(said: Manifest, made: Mapping[str, Path]) -> tuple[bool, float | None]:
    """Whether every weight has the same bits, and the largest relative difference; None where none can be read."""
    with tempfile.TemporaryDirectory() as folder:
        file = check.unpacked(_read(said), Path(folder))
        if file.suffix not in READERS:
            return False, None
        expected, found = READERS[file.suffix](file), READERS[file.suffix](made[file.suffix])
    if expected.keys() != found.keys() or any(expected[one].shape != found[one].shape for one in found):
        return False, float("inf")
    same = all(expected[one].tobytes() == found[one].tobytes() for one in found)
    return same, check.apart(list(found.values()), [expected[one] for one in found])


def _read(said: Manifest) -> check.Folder:
    try:
        return check.read(said.path)
    except check.Unusable as error:
        raise BadFile(str(error)) from error


def _initialisers(file: Path) -> dict[str, Array]:
    return {one.name: numpy_helper.to_array(one) for one in onnx.load(file).graph.initializer}


def _tensors(file: Path) -> dict[str, Array]:
    found, _ = read_tensors(file)
    return {name: (one.float() if one.dtype == torch.bfloat16 else one).numpy() for name, one in found.items()}


READERS: dict[str, Callable[[Path], dict[str, Array]]] = {".onnx": _initialisers, ".safetensors": _tensors}


def _outputs_apart(said: Manifest, file: Path) -> float:
    """The largest relative difference of outputs on the export's canaries."""
    folder = _read(said)
    run = check.runner(open_session(str(file)))
    return check.apart(check.answers_of(run, folder.inputs), folder.outputs)


def _why(found: Replay, said: Manifest, data: Data | None) -> str:
    missing = said.made.get("data") is not None and data is None
    advice = "It was made with data: give them." if missing else "Install the versions that it was made with."
    return (
        f"What comes of {found.recipe.name} is not what was exported to {said.path}: outputs differ by "
        f"{found.outputs:.2g} of the largest, allowed {TOLERANCE:g}. {' '.join(found.notes)} {advice}"
    )


make_callable(__name__, "replay")
