"""`wb.export(variant, folder)`: write a variant's files with a manifest, read them back, prove they are it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

from workbench.errors import BadValue
from workbench.exporters import Exporter, available, exporter
from workbench.files.content import MANIFEST, MANIFEST_VERSION, check_folder, digest
from workbench.files.disk import keep_on_disk, told, workspace
from workbench.interface.callable_module import make_callable
from workbench.manifest import Manifest
from workbench.proof.canaries import add_proof
from workbench.proof.check import here
from workbench.proof.provenance import package_hash, versions
from workbench.proof.verification import verify
from workbench.untrusted import quota
from workbench.variant import Variant

__all__ = ["Manifest", "export", "formats"]

#: Lists what belongs to an export, old or new, while the new one takes the place of the old.
REPLACING = ".replacing.json"


def formats() -> list[str]:
    """The formats that `export` can write here, the artefact itself first."""
    return available()


def export(
    variant: Variant,
    folder: str | Path,
    format: str = "onnx",  # noqa: A002  # the contract's word
    *,
    opset: int | None = None,
) -> Manifest:
    """Write a variant to `folder`, verified; where that fails or is killed, nothing that looks whole is left behind.

    `format`: `"onnx"`, the artefact that was measured; `"safetensors"`, the torch weights with the
    structure to load them (`wb.load(folder)`), for recipes without a step such as `Quantize`; `"bundle"`,
    the artefact with its weights in sparse and Huffman codes, beside the decoder that gives back the same
    file (`python decode.py model.wbz model.onnx`; it needs numpy alone); `"c99"`, an int8 artefact as C for
    microcontrollers, without allocation; `"onnx-here"`, the graph as ONNX Runtime has rewritten it for this machine.
    `opset`: of `"onnx"`, for readers that know no newer operators; the measured file's where it is left out.
    What was written is read back:
    its outputs must equal the measured artefact's, and what the study is judged by must lie, on the test split,
    within the measured interval. What an earlier export left in the folder is replaced; other files there stay.

    Raises: `UnknownName` for a format, `BadValue` when it cannot hold the variant, `BadFile` when the variant's file
    is missing or was changed, `OverQuota`, `ExportFailed`, `StorageFailed`.

    >>> manifest = wb.export(study.baseline, "small")
    >>> sorted(manifest.files)
    ['canary.npz', 'check.py', 'model.onnx', 'recipe.yaml']
    """
    if not isinstance(variant, Variant):
        raise BadValue(
            f"What is exported is a variant of a study, got {type(variant).__name__}. "
            "Make one: variant = wb.Study(model, data).run(recipe); the network as it is: study.baseline."
        )
    target = exporter(format) if opset is None else exporter(format).at_opset(opset)
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
            return _staged(variant, folder, target, staging)


def _staged(variant: Variant, folder: Path, target: Exporter, staging: Path) -> Manifest:
    """Write and verify in a folder of its own, then hand over what is whole."""
    written = target.write(variant, staging)
    variant.recipe.save(staging / "recipe.yaml")
    unproven = target.unproven()
    verified = {} if unproven else verify(variant, target, written, staging)
    difference = verified.get("largest_relative_difference", target.tolerance)
    made_for = here() if target.this_machine else ""
    notes = add_proof(variant, written, target.name, difference=difference, made_for=made_for)
    if made_for:
        notes += (f"{written.name} was optimised for {made_for}. Elsewhere it may be slower, or not run.",)
    manifest = _manifest(variant, folder, target, staging, verified | target.figures(variant, written))
    manifest = replace(manifest, notes=(*variant.notes, *notes, *filter(None, [unproven])))
    (staging / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    check_folder(staging)
    quota.here().check_room()  # it is there by now, canaries and all
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


def _manifest(
    variant: Variant, folder: Path, target: Exporter, staging: Path, verified: dict[str, float]
) -> Manifest:
    return Manifest(
        path=folder,
        version=MANIFEST_VERSION,
        format=target.name,
        files={file.name: digest(file) for file in sorted(staging.iterdir())},
        model=variant.model.source,
        recipe=variant.recipe.to_list(),
        estimates=dict(variant.estimates),
        verified=verified,
        notes=(),
        versions=versions(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        preprocess=asdict(variant.data.preprocess),
        made=dict(variant.made) or {"model": variant.model.hash, "package": package_hash()},
    )


make_callable(__name__, "export")
