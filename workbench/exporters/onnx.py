"""ONNX: the artefact that was measured."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.exporters.base import Exporter, register

if TYPE_CHECKING:
    from workbench.variant import Variant


class Onnx(Exporter):
    """The measured file itself."""

    name, title = "onnx", "ONNX"

    def write(self, variant: Variant, folder: Path) -> Path:
        """A copy."""
        return Path(shutil.copy2(variant.onnx, folder / "model.onnx"))

    def measured(self, variant: Variant) -> Path:
        """The artefact."""
        return variant.onnx


register(Onnx())
