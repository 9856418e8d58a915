"""Canaries: inputs that an export is checked with elsewhere, what it answered here, and fingerprints of its tensors."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from workbench.artefact.whole import INTEGERS
from workbench.building.build import asked
from workbench.data import Split
from workbench.data.batches import arrays, batches, count, some
from workbench.files.content import digest
from workbench.measure.accuracy import BATCH
from workbench.modules.calling import flatten
from workbench.proof import check
from workbench.proof.fingerprints import Layers, layers_of
from workbench.proof.hollow import hollow
from workbench.proof.pixels import pixels_of
from workbench.proof.verification import spread
from workbench.runtimes import Session, runtime
from workbench.runtimes.onnxruntime import open_session
from workbench.variant import Variant

Array = npt.NDArray[Any]

CHECK = "check.py"
#: How many canaries there are, where their inputs take no more bytes than this.
MOST, LEAST, BYTES = 64, 4, 8 << 20
#: Inputs among which those nearest to a decision are looked for.
LOOKED_AT = 500
#: Between two machines outputs may differ by so many times what they do between a graph as it is and optimised here,
#: and by this much in any case: float32 kernels sum in orders of their own, half precision rounds them, and on a grid
#: of integers a number may fall to the next.
ROOM, FLOOR, HALVES, GRID = 4.0, 1e-5, 2e-3, 5e-3


def add_proof(
    variant: Variant, written: Path, format_: str, *, difference: float, made_for: str = ""
) -> tuple[str, ...]:
    """Put `canary.npz`, `check.py` and, for a file that ONNX Runtime runs, `baseline.onnx` beside what was written.

    `difference`: by how much the written file's outputs differ from the artefact's, relative to the largest;
    `made_for`: the machine and runtime that it belongs to, if any.
    Returns sentences on what a check cannot tell.
    """
    folder, speed = written.parent, variant.estimates.get("speedup")
    file, is_onnx = variant.onnx, written.suffix in {".onnx", ".wbz"}
    inputs, near, labels = _chosen(variant)
    outputs = _run(file, inputs)
    plain = _run(file, inputs, optimised=False)
    same = written.suffix == ".wbz" or digest(written) == digest(file)  # a rewritten graph has tensors of its own
    layers, notes = _layers(file, inputs) if is_onnx and same else (Layers.none(), ())
    pixels = pixels_of(inputs, variant.data.preprocess)
    about = {
        "file": written.name,
        "format": format_,
        "inputs": len(inputs[0]),
        "outputs": len(outputs),
        "answers": bool(near.any()),
        "tolerance": max(ROOM * check.apart(plain, outputs), ROOM * difference, _floor(file)),
        "layers": [asdict(one) for one in layers.rows],
        "speedup": [speed.value, speed.low, speed.high] if speed is not None and is_onnx else None,
        "machine": variant.machine,
        "made_for": made_for,
        "preprocess": asdict(variant.data.preprocess) if pixels is not None else None,
    }
    held: dict[str, Any] = {f"input_{k}": np.concatenate(one) for k, one in enumerate(zip(*inputs, strict=True))}
    held |= {f"output_{index}": one for index, one in enumerate(outputs)}
    held |= {"near": near, "prints": layers.optimised, "prints_single": layers.single}
    held |= {name: one for name, one in (("labels", labels), ("pixels", pixels)) if one is not None}
    held["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    np.savez_compressed(folder / check.CANARIES, **held)
    shutil.copy2(check.__file__, folder / CHECK)
    if is_onnx and variant.recipe.steps:
        (folder / check.BASELINE).write_bytes(hollow(variant.model))
    return notes


def _layers(file: Path, inputs: list[list[Array]]) -> tuple[Layers, tuple[str, ...]]:
    """Fingerprints of the tensors; where ONNX Runtime does not give them, why."""
    try:
        return layers_of(file, inputs), ()
    except Exception as error:  # noqa: BLE001  # a runtime raises anything, and the network itself has been verified
        said = str(error).strip().partition("\n")[0][:200]
        return Layers.none(), (f"Its tensors cannot be looked at one by one, so a check names no layer ({said}).",)


def _floor(file: Path) -> float:
    """What outputs of a file may differ by on machines that both run it as they should."""
    graph = onnx.load(file).graph
    if any(node.op_type in INTEGERS for node in graph.node):
        return GRID
    return HALVES if any(one.data_type == onnx.TensorProto.FLOAT16 for one in graph.initializer) else FLOOR


def _chosen(variant: Variant) -> tuple[list[list[Array]], npt.NDArray[np.bool_], Array | None]:
    """Of each canary its inputs (1, ...); which lie near a decision; the numbers of their classes, where known."""
    task = asked(variant.model, variant.data)
    looked_at = spread(variant.data["test"], LOOKED_AT)
    session = runtime().load(variant.onnx)
    margins = _margins(session, looked_at) if task.by_class else None
    size = sum(one.numpy().nbytes for one in flatten(looked_at.example))
    number = min(len(looked_at), max(LEAST, min(MOST, BYTES // max(size, 1))))
    order = np.random.RandomState(0).permutation(len(looked_at))
    nearest = [] if margins is None else [int(one) for one in np.argsort(margins, kind="stable")[: number // 2]]
    others = [int(one) for one in order if one not in set(nearest)][: number - len(nearest)]
    picked = [(one, index < len(nearest)) for index, one in enumerate([*nearest, *others])]
    picked = [picked[index] for index in np.random.RandomState(1).permutation(len(picked))]  # some of each come first
    chosen = looked_at.take([one for one, _ in picked])
    labelled = task.name == "classification" and chosen.labelled
    inputs = [session.given(arrays(one)) for one in batches(chosen, 1)]
    near = np.array([near for _, near in picked])
    return inputs, near, np.asarray(chosen.labels) if labelled else None


def _margins(session: Session, split: Split) -> Array | None:
    """By how much the likeliest class is ahead of the next (N,), the least over an input's places."""
    found = []
    for batch in batches(split, some(split, BATCH)):
        scores = session.run(arrays(batch))
        if scores.ndim < 2 or scores.shape[1] < 2 or len(scores) != count(batch):
            return None
        two = np.sort(scores.astype(np.float64), axis=1)[:, -2:]
        found.append((two[:, 1] - two[:, 0]).reshape(len(two), -1).min(axis=1))
    return np.concatenate(found)


def _run(file: Path, inputs: list[list[Array]], *, optimised: bool = True) -> list[Array]:
    """The outputs (N, ...) of an ONNX file, one canary at a time."""
    run = check.runner(open_session(str(file), level="all" if optimised else "off"))
    return check.answers_of(run, inputs)
