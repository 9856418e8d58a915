"""`wb.export(variant, folder)`: write a variant's files with a manifest, read them back, prove they are it."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.coding import decode, pack
from workbench.data.batches import arrays, batches
from workbench.errors import BadValue, ExportFailed, unknown
from workbench.estimate import Estimate
from workbench.files.content import MANIFEST, MANIFEST_VERSION, digest
from workbench.files.disk import keep_on_disk, told, workspace
from workbench.interface.callable_module import make_callable
from workbench.measure.accuracy import BATCH, outputs
from workbench.models.structure import restore
from workbench.modules.calling import call, flatten
from workbench.runtimes import runtime
from workbench.step import Lower
from workbench.tasks.metric import Metric, Tally
from workbench.untrusted import quota
from workbench.variant import Variant

if TYPE_CHECKING:
    from workbench.data import Split

PACKAGES = ("nn-workbench", "torch", "onnx", "onnxruntime", "numpy")
DECODER = "decode.py"
#: Lists what belongs to an export, old or new, while the new one takes the place of the old.
REPLACING = ".replacing.json"
SAMPLE = 64  # inputs on which the outputs are compared, one by one
TOLERANCE = 1e-3  # relative to the largest output; float32 kernels may order their sums differently


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

    def to_json(self) -> str:
        """What `manifest.json` holds; the folder itself is left out, so that it can be moved."""
        fields = asdict(self) | {"path": "."}
        return json.dumps(fields, indent=2)


def formats() -> list[str]:
    """The formats that `export` can write."""
    return list(WRITERS)


def export(variant: Variant, folder: str | Path, format: str = "onnx") -> Manifest:  # noqa: A002  # the contract's word
    """Write a variant to `folder`, verified; where that fails or is killed, nothing that looks whole is left behind.

    `format`: `"onnx"`, the artefact that was measured; `"safetensors"`, the torch weights with the
    structure to load them (`wb.load(folder)`), for recipes without a step such as `Quantize`; `"bundle"`,
    the artefact with its weights in sparse and Huffman codes, beside the decoder that gives back the same
    file (`python decode.py model.wbz model.onnx`; it needs numpy alone). What was written is read back:
    its outputs must equal the measured artefact's, and what the study is judged by must lie, on the test split,
    within the measured interval. What an earlier export left in the folder is replaced; other files there stay.

    Raises: `UnknownName` for a format, `BadValue` when it cannot hold the variant, `BadFile` when the variant's file
    is missing or was changed, `OverQuota`, `ExportFailed`, `StorageFailed`.
    """
    if not isinstance(variant, Variant):
        raise BadValue(
            f"What is exported is a variant of a study, got {type(variant).__name__}. "
            "Make one: variant = wb.Study(model, data).run(recipe); the network as it is: study.baseline."
        )
    if format not in WRITERS:
        raise unknown("export format", format, WRITERS)
    if not isinstance(folder, (str, Path)) or folder == "":
        raise BadValue(f"The folder is {folder!r}. Give the name of one.")
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise BadValue(f"{folder} is a file. Give the name of a folder.")
    need = variant.onnx.stat().st_size
    quota.here().check_room(need)
    with told(folder, f"Exporting {variant.name}", need):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with workspace(_beside(folder)) as staging:
            return _staged(variant, folder, format, staging)


def _staged(variant: Variant, folder: Path, format: str, staging: Path) -> Manifest:  # noqa: A002
    """Write and verify in a folder of its own, then hand over what is whole."""
    written = WRITERS[format](variant, staging)
    variant.recipe.save(staging / "recipe.yaml")
    verified = _verify(variant, written)
    manifest = _manifest(variant, folder, format, staging, verified)
    (staging / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    for file in staging.iterdir():
        keep_on_disk(file)
    _hand_over(staging, folder)
    return manifest


def _beside(folder: Path) -> Path:
    """Where a folder can be made that is moved to `folder`: beside it, or inside one that is a disk of its own."""
    parent = folder.parent
    if not folder.exists():
        return parent
    movable = os.access(parent, os.W_OK) and parent.stat().st_dev == folder.stat().st_dev
    return parent if movable else folder


def _hand_over(staging: Path, folder: Path) -> None:
    """Put an export in its place: at once, or into a folder that holds other things, its manifest last.

    The files of an earlier export there go, and come back when something fails. Without a manifest a folder is no
    export, so that killing the process leaves nothing that looks like one; and the next export knows what to remove
    from a list that stands there meanwhile.
    """
    if not folder.is_dir():
        staging.rename(folder)
        return
    new = sorted(one.name for one in staging.iterdir() if one.name != MANIFEST)
    names = dict.fromkeys([MANIFEST, *_listed(folder, MANIFEST), *_listed(folder, REPLACING), *new])
    old = [name for name in names if (folder / name).is_file()]
    (staging / REPLACING).write_text(json.dumps({"files": list(names)[1:]}), encoding="utf-8")
    keep_on_disk(staging / REPLACING)
    before = staging / "before"
    before.mkdir()
    try:
        _move([REPLACING], staging, folder)
        _move(old, folder, before)
        _move([*new, MANIFEST], staging, folder)
    except BaseException:
        for name in {*new, MANIFEST} - {*old}:
            (folder / name).unlink(missing_ok=True)
        _move([name for name in reversed(old) if (before / name).exists()], before, folder)
        raise
    finally:
        (folder / REPLACING).unlink(missing_ok=True)


def _move(names: Iterable[str], source: Path, target: Path) -> None:
    for name in names:
        (source / name).replace(target / name)


def _listed(folder: Path, name: str) -> list[str]:
    """The files of an export that a list in the folder names."""
    try:
        names = json.loads((folder / name).read_text(encoding="utf-8"))["files"]
        return [one for one in names if Path(one).name == one]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):  # none, or not one of ours
        return []


def _write_onnx(variant: Variant, folder: Path) -> Path:
    return Path(shutil.copy2(variant.onnx, folder / "model.onnx"))


def _write_safetensors(variant: Variant, folder: Path) -> Path:
    lowering = [step for step in variant.recipe if isinstance(step, Lower)]
    if lowering:
        raise BadValue(
            f"{lowering[0].expression()} exists only in the ONNX artefact; safetensors would hold the network "
            'without it. Export with format="onnx".'
        )
    return Path(shutil.copy2(variant.state, folder / "model.safetensors"))


def _write_bundle(variant: Variant, folder: Path) -> Path:
    shutil.copy2(decode.__file__, folder / DECODER)
    written = folder / "model.wbz"
    written.write_bytes(pack(variant.onnx))
    return written


WRITERS: dict[str, Callable[[Variant, Path], Path]] = {
    "onnx": _write_onnx, "safetensors": _write_safetensors, "bundle": _write_bundle,
}  # fmt: skip


def _verify(variant: Variant, written: Path) -> dict[str, float]:
    """Run the written file against the measured artefact. Raises `ExportFailed`."""
    sample = variant.data["test"].first(SAMPLE)
    expected, found = outputs(variant.onnx, sample), _outputs(variant, written, sample)
    difference = float(np.abs(found - expected).max() / max(float(np.abs(expected).max()), 1e-12))
    if not difference <= TOLERANCE:
        raise ExportFailed(
            f"{written.name} gives other outputs than the measured artefact: largest relative difference "
            f"{difference:.2g}, allowed {TOLERANCE:g}. Nothing was exported."
        )
    verified = {"largest_relative_difference": difference}
    task = variant.data.task
    if variant.data["test"].labelled and task is not None and task.principal.name in variant.estimates:
        verified[task.principal.name] = _verify_figure(variant, written, task.principal)
    return verified


def _verify_figure(variant: Variant, written: Path, metric: Metric) -> float:
    """What the study is judged by, of what was written, on the test split. Raises `ExportFailed` when it is another."""
    tally, measured = Tally(metric), variant[metric.name]
    with _running(written) as run:
        for inputs, labels in variant.data["test"].batches(BATCH):
            given = run(inputs)
            tally.add(given if metric.several else given[0], arrays(labels))
    found, room = tally.value(), 1e-6 * abs(measured.value)  # an exact figure has no interval to lie in
    if not measured.low - room <= found <= measured.high + room:
        raise ExportFailed(
            f"{written.name} reaches {metric.word} {metric.text(found)} where {metric.text(measured.value)} was "
            "measured. Nothing was exported."
        )
    return found


def _outputs(variant: Variant, written: Path, inputs: Split) -> np.ndarray[Any, Any]:
    """The first outputs (N, ...) of what was written."""
    with _running(written) as run:
        return np.concatenate([run(part)[0] for part in batches(inputs, BATCH)])


@contextmanager
def _running(written: Path) -> Iterator[Callable[[Any], tuple[Any, ...]]]:
    """What runs a written file for all its outputs, the one that stands for them first."""
    if written.suffix in {".onnx", ".wbz"}:
        with tempfile.TemporaryDirectory() as folder:
            file = written if written.suffix == ".onnx" else _decoded(written, Path(folder) / "model.onnx")
            session = runtime().load(file)
            yield lambda inputs: tuple(session.outputs(arrays(inputs)))
        return
    import torch

    module = restore(written)

    def torched(inputs: Any) -> tuple[Any, ...]:
        with torch.no_grad():
            return tuple(one.numpy() for one in flatten(call(module, inputs)))

    yield torched


def _decoded(bundle: Path, target: Path) -> Path:
    """Unpack a bundle with the decoder that ships beside it. Raises `ExportFailed`."""
    command = [sys.executable, str(bundle.with_name(DECODER)), str(bundle), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ExportFailed(f"{bundle.name} could not be unpacked: {done.stderr.strip()} Nothing was exported.")
    return target


def _manifest(variant: Variant, folder: Path, format: str, staging: Path, verified: dict[str, float]) -> Manifest:  # noqa: A002
    return Manifest(
        path=folder,
        version=MANIFEST_VERSION,
        format=format,
        files={file.name: digest(file) for file in sorted(staging.iterdir())},
        model=variant.model.source,
        recipe=variant.recipe.to_list(),
        estimates=dict(variant.estimates),
        verified=verified,
        notes=variant.notes,
        versions=_versions(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        preprocess=asdict(variant.data.preprocess),
    )


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # run from a source folder that is not installed
            continue
    return found


make_callable(__name__, "export")
