"""ncnn, Tencent's runtime for phones and small boards, by way of pnnx."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from workbench.errors import BadFile
from workbench.runtimes.base import Array, Entry, Runtime, Session, register

_LIMIT_S = 120


@dataclass(frozen=True)
class NcnnSession(Session):
    """A loaded network. ncnn knows no batch: images run one after the other."""

    net: Any
    entries: tuple[Entry, ...]

    def outputs(self, inputs: Any) -> list[Array]:
        """As `Session.outputs`."""
        import ncnn

        found = []
        for images in zip(*self.given(inputs), strict=True):
            extractor = self.net.create_extractor()
            for entry, image in zip(self.net.input_names(), images, strict=True):
                extractor.input(entry, ncnn.Mat(image))
            found.append([_extracted(extractor, leave) for leave in self.net.output_names()])
        return [np.stack(one) for one in zip(*found, strict=True)]


def _extracted(extractor: Any, leave: str) -> Array:
    code, value = extractor.extract(leave)
    if code != 0:
        raise BadFile(f"ncnn cannot compute this network (code {code}): an operator is not supported.")
    return np.array(value)


@dataclass(frozen=True)
class Ncnn(Runtime):
    """ncnn on the CPU in float32, from the ONNX artefact."""

    packages: ClassVar[tuple[str, ...]] = ("ncnn", "pnnx")
    extra: ClassVar[str] = "ncnn"

    name: str = "ncnn"
    title: str = "ncnn"

    def _convert(self, source: Path, folder: Path) -> Path:
        import onnx

        values = onnx.load(str(source), load_external_data=False).graph.input
        shapes = [[max(1, size.dim_value) for size in value.type.tensor_type.shape.dim] for value in values]
        told = ",".join(f"[{','.join(map(str, shape))}]" for shape in shapes)
        copy = Path(shutil.copy2(source, folder / "ncnn.onnx"))  # pnnx writes beside its input
        command = [_pnnx(), copy.name, f"inputshape={told}", "fp16=0"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
        target = folder / "ncnn.ncnn.param"
        said = (done.stdout + done.stderr).splitlines()
        unknown = sorted({line.split()[1] for line in said if line.startswith("todo ") and len(line.split()) > 1})
        if done.returncode or not target.is_file() or unknown:
            why = f"it has no {', '.join(unknown)}" if unknown else f"pnnx ended with code {done.returncode}"
            raise BadFile(
                f"ncnn refuses the artefact {source.name!r} because {why}. Use a variant in float32, or ONNX Runtime."
            )
        (folder / "ncnn.shape").write_text("\n".join(",".join(map(str, shape[1:])) for shape in shapes))
        return target

    def _load(self, path: Path, threads: int) -> NcnnSession:
        import ncnn

        net = ncnn.Net()
        net.opt.num_threads = threads
        net.opt.use_vulkan_compute = False
        for name in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
            setattr(net.opt, name, False)  # the artefact's own precision
        if net.load_param(str(path)) or net.load_model(str(path.with_suffix(".bin"))):
            raise BadFile(f"ncnn refuses the artefact {path.name!r}: its files cannot be read, or name unknown layers.")
        shapes = path.with_name("ncnn.shape").read_text().split("\n")
        sizes = (tuple(int(size) for size in one.split(",")) for one in shapes)
        return NcnnSession(net, tuple(map(Entry, net.input_names(), sizes)))


def _pnnx() -> str:
    """The program within the package `pnnx`, made executable where the wheel left that out."""
    spec = find_spec("pnnx")
    assert spec is not None and spec.origin is not None  # `available` has looked
    program = Path(spec.origin).parent / ("pnnx.exe" if os.name == "nt" else "pnnx")
    if not os.access(program, os.X_OK):
        program.chmod(program.stat().st_mode | 0o111)
    return str(program)


register(Ncnn())
