"""ncnn, Tencent's runtime for phones and small boards: its own two files, by way of pnnx."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from workbench.errors import BadFile, BadValue
from workbench.exporters.base import Exporter, register
from workbench.runtimes import runtime

if TYPE_CHECKING:
    from workbench.variant import Variant


class NcnnFiles(Exporter):
    """`ncnn.ncnn.param` with its weights in `ncnn.ncnn.bin`, in float32, and the shapes of its inputs."""

    name, title, runtime, extra = "ncnn", "ncnn", "ncnn", "ncnn"
    packages: ClassVar[tuple[str, ...]] = ("ncnn", "pnnx")
    tolerance = 1e-3

    def write(self, variant: Variant, folder: Path) -> Path:
        """The files. Raises: `BadValue` for a variant with operators that ncnn lacks, with their names."""
        with tempfile.TemporaryDirectory() as place:
            try:
                made = runtime(self.runtime).convert(variant.onnx, Path(place))
            except BadFile as error:
                raise BadValue(f"ncnn cannot hold {variant.name}: {error}") from error
            for name in (made.name, made.with_suffix(".bin").name, "ncnn.shape"):
                shutil.copy2(Path(place) / name, folder)
        return folder / made.name


register(NcnnFiles())
