"""`Reduction`: what is left of a network and the fault that it shows; and the zip of it for a bug report."""

from __future__ import annotations

import io
import json
import platform
import zipfile
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from workbench.estimate import Estimate
from workbench.files.disk import told
from workbench.measure.machine import machine
from workbench.reduction import oracles, reproduce
from workbench.reduction.oracles import Twin
from workbench.reduction.pieces import Array, Piece

#: The folder in the zip.
FOLDER = "fault"
#: Every file in the zip bears this time, so that the same fault gives the same zip.
_TIME = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Reduction:
    """The smallest part of a network that shows a fault.

    `figure`: of a wrong one the largest difference of its outputs relative to their largest number, of a slow one how
    many times as fast as the right one it is, else 1. `expected`: the right outputs, of a wrong one. `twin`: the same
    part of the right network, where it could be cut out. `whole`: the operators that the search began with; `tried`:
    the parts that were run. `said`: what ONNX Runtime said, or how it ended.
    """

    fault: str
    piece: Piece = field(repr=False)
    figure: Estimate
    tolerance: float
    expected: tuple[Array, ...] = field(default=(), repr=False)
    twin: Twin | None = field(default=None, repr=False)
    twin_level: str = "all"
    whole: int = 0
    tried: int = 0
    said: str = ""

    @property
    def operators(self) -> tuple[str, ...]:
        """What is left, in execution order."""
        return self.piece.operators

    @property
    def nodes(self) -> tuple[str, ...]:
        """The names of what is left, or the names of their results where they have none."""
        return tuple(node.name or node.output[0] for node in self.piece.model.graph.node)

    def save(self, path: str | Path) -> Path:
        """Write model, input, right outputs and a script that shows the fault, as a zip. Raises: `StorageFailed`."""
        return pack(self, Path(path))

    def __str__(self) -> str:
        left = ", ".join(f"{operator} {name}" for operator, name in zip(self.operators, self.nodes, strict=True))
        return f"{self.sentence} {len(self.operators)} of {self.whole} operators are left: {left}."

    @property
    def sentence(self) -> str:
        """What is wrong with it."""
        if self.fault == oracles.WRONG:
            return (
                f"Its outputs are off by {self.figure.value:.2g} of their largest number, where {self.tolerance:.2g} "
                "is allowed."
            )
        if self.fault == oracles.SLOW:
            one = self.figure
            return f"It runs at {one.value:.3g}× the speed that it should ({one.low:.3g} to {one.high:.3g})."
        if self.fault == oracles.REFUSED:
            return f"ONNX Runtime refuses it: {self.said}."
        return f"ONNX Runtime ends its process over it ({self.said})."


def pack(found: Reduction, path: Path) -> Path:
    """Write the zip; the path with `.zip` behind it. Raises: `StorageFailed`."""
    path = path if path.suffix == ".zip" else path.with_name(f"{path.name}.zip")
    with told(path.parent, f"Writing {path.name}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in _files(found).items():
                archive.writestr(zipfile.ZipInfo(f"{FOLDER}/{name}", _TIME), content, zipfile.ZIP_DEFLATED)
        part.replace(path)
    return path


#: What each file is, in the order in which the README names them.
_TOLD = {
    reproduce.MODEL: "the part that shows the fault",
    reproduce.RIGHT: "the same part of the network that is right",
    reproduce.INPUT: "its inputs, in the order of the model's",
    reproduce.EXPECTED: "the right outputs, in the order of the model's",
    reproduce.FAULT: "names, figures, versions",
}


def _files(found: Reduction) -> dict[str, bytes]:
    twin = found.twin
    files = {
        reproduce.MODEL: found.piece.model.SerializeToString(),
        reproduce.INPUT: _npz(found.piece.inputs.values()),
        reproduce.FAULT: json.dumps(about(found), indent=2).encode(),
        "reproduce.py": Path(reproduce.__file__).read_bytes(),
    }
    if found.expected:
        files[reproduce.EXPECTED] = _npz(found.expected)
    if twin is not None and found.twin_level == "all":
        files[reproduce.RIGHT] = twin.model.SerializeToString()
    told = "\n".join(f"- `{name}`: {what}" for name, what in _TOLD.items() if name in files)
    return {"README.md": _readme(found, told).encode(), **files}


def about(found: Reduction) -> dict[str, Any]:
    """What `fault.json` says: names in the order of the arrays, how both are run, the figure, versions."""
    twin = found.twin
    return {
        "fault": found.fault,
        "inputs": list(found.piece.inputs),
        "outputs": list(found.piece.outputs),
        "right_inputs": {} if twin is None else dict(twin.inputs),
        "right_level": found.twin_level,
        "tolerance": found.tolerance,
        "figure": [found.figure.value, found.figure.low, found.figure.high],
        "said": found.said,
        "operators": list(found.operators),
        "nodes": list(found.nodes),
        "machine": machine().named,
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "versions": {name: metadata.version(name) for name in ("onnxruntime", "onnx", "numpy")},
    }


def _npz(arrays: Any) -> bytes:
    """Arrays in order: `array_0`, `array_1`, ...: names of tensors may be none that a file can bear."""
    stream = io.BytesIO()
    held: dict[str, Array] = {f"array_{index}": one for index, one in enumerate(arrays)}
    np.savez_compressed(stream, **held)  # type: ignore[arg-type]  # numpy's stubs take the keywords for its own
    return stream.getvalue()


def _readme(found: Reduction, files: str) -> str:
    said = about(found)
    versions = ", ".join(f"{name} {version}" for name, version in said["versions"].items())
    return f"""# {found.sentence}

{found} It was cut out of a network of {found.whole} operators.

    python reproduce.py

needs numpy and onnxruntime alone; exit code 1 where the fault shows, 0 where it does not, 2 where it cannot be run.

Seen with {versions} on {said["machine"]}, {said["system"]}.

{files}
"""
