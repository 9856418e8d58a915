"""ONNX as ONNX Runtime has rewritten it for this machine: it need not do that again when it loads the file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from workbench.exporters.base import Exporter, register
from workbench.runtimes.onnxruntime import open_session

if TYPE_CHECKING:
    from workbench.variant import Variant


class OnnxHere(Exporter):
    """`model.onnx` with joined operators and weights laid out for this processor, for this version of ONNX Runtime."""

    name, title, this_machine = "onnx-here", "ONNX, optimised for this machine", True

    def write(self, variant: Variant, folder: Path) -> Path:
        """The rewritten graph."""
        target = folder / "model.onnx"
        open_session(str(variant.onnx), optimized=str(target))
        return target


register(OnnxHere())
