"""`wb.export(variant, folder)`: write a variant's files with a manifest, read them back, prove they are it."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench import quota
from workbench.callable_module import make_callable
from workbench.calling import answer
from workbench.coding import decode, pack
from workbench.data.batches import batches
from workbench.errors import BadValue, ExportFailed, unknown
from workbench.estimate import Estimate
from workbench.measure.accuracy import BATCH, outputs
from workbench.models.structure import restore
from workbench.steps.base import Lower

if TYPE_CHECKING:
    import torch

    from workbench.variant import Variant

PACKAGES = ("nn-workbench", "torch", "onnx", "onnxruntime", "numpy")
MANIFEST = "manifest.json"
DECODER = "decode.py"
SAMPLE = 64  # inputs on which the outputs are compared, one by one
TOLERANCE = 1e-3  # relative to the largest output; float32 kernels may order their sums differently


@dataclass(frozen=True)
class Manifest:
    """What was written, and the proof. Stored beside the files as `manifest.json`."""

    path: Path  # the folder
    format: str
    files: dict[str, str]  # name -> SHA-256
    model: str
    recipe: list[dict[str, Any]]
    estimates: dict[str, Estimate]
    verified: dict[str, float]  # accuracy and the largest relative difference of an output, read back
    notes: tuple[str, ...]
    versions: dict[str, str]
    created: str

    def to_json(self) -> str:
        """What `manifest.json` holds; the folder itself is left out, so that it can be moved."""
        fields = asdict(self) | {"path": "."}
        return json.dumps(fields, indent=2)


def formats() -> list[str]:
    """The formats that `export` can write."""
    return list(WRITERS)


def export(variant: Variant, folder: str | Path, format: str = "onnx") -> Manifest:  # noqa: A002  # the contract's word
    """Write a variant to `folder` and verify it there; nothing is left behind when that fails.

    `format`: `"onnx"`, the artefact that was measured; `"safetensors"`, the torch weights with the
    structure to load them (`wb.load(folder)`), for recipes without a step such as `Quantize`; `"bundle"`,
    the artefact with its weights in sparse and Huffman codes, beside the decoder that gives back the same
    file (`python decode.py model.wbz model.onnx`; it needs numpy alone). What was written is read back:
    its outputs must equal the measured artefact's, and its accuracy on the test split must lie within the
    measured interval.

    Raises: `UnknownName` for a format, `BadValue` when it cannot hold the variant, `OverQuota`, `ExportFailed`.
    """
    if format not in WRITERS:
        raise unknown("export format", format, WRITERS)
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise BadValue(f"{folder} is a file. Give the name of a folder.")
    quota.here().check_room(variant.onnx.stat().st_size if variant.onnx.is_file() else 0)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as staging:
        written = WRITERS[format](variant, Path(staging))
        variant.recipe.save(Path(staging) / "recipe.yaml")
        verified = _verify(variant, written)
        manifest = _manifest(variant, folder, format, Path(staging), verified)
        (Path(staging) / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
        folder.mkdir(exist_ok=True)
        for file in Path(staging).iterdir():
            shutil.copy2(file, folder / file.name)
    return manifest


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
    sample = variant.data["test"].inputs[:SAMPLE]
    expected, found = outputs(variant.onnx, sample), _outputs(variant, written, sample)
    difference = float(np.abs(found - expected).max() / max(float(np.abs(expected).max()), 1e-12))
    if not difference <= TOLERANCE:
        raise ExportFailed(
            f"{written.name} gives other outputs than the measured artefact: largest relative difference "
            f"{difference:.2g}, allowed {TOLERANCE:g}. Nothing was exported."
        )
    verified = {"largest_relative_difference": difference}
    if "accuracy" in variant.estimates:  # data without class labels are measured otherwise
        verified["accuracy"] = _verify_accuracy(variant, written)
    return verified


def _verify_accuracy(variant: Variant, written: Path) -> float:
    """The accuracy of what was written, on the test split. Raises `ExportFailed` when it is another."""
    test, measured = variant.data["test"], variant["accuracy"]
    found = float((_outputs(variant, written, test.inputs).argmax(1) == test.labels.numpy()).mean())
    if not measured.low <= found <= measured.high:
        raise ExportFailed(
            f"{written.name} reaches {found:.4f} where {measured.value:.4f} was measured. Nothing was exported."
        )
    return found


def _outputs(variant: Variant, written: Path, inputs: torch.Tensor) -> np.ndarray[Any, Any]:
    if written.suffix == ".onnx":
        return outputs(written, inputs)
    if written.suffix == ".wbz":
        with tempfile.TemporaryDirectory() as folder:
            return outputs(_decoded(written, Path(folder) / "model.onnx"), inputs)
    import torch

    module = restore(written)
    with torch.no_grad():
        return torch.cat([answer(module, part) for part in batches(inputs, BATCH)]).numpy()


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
        format=format,
        files={f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted(staging.iterdir())},
        model=variant.model.source,
        recipe=variant.recipe.to_list(),
        estimates=dict(variant.estimates),
        verified=verified,
        notes=variant.notes,
        versions=_versions(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
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
