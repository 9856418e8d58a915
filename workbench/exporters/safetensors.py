"""Safetensors: the torch network, which `wb.load(folder)` gives back to be trained further."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.errors import BadValue
from workbench.exporters.base import Exporter, register
from workbench.models.structure import load_variant
from workbench.runtimes.torch import TorchSession
from workbench.step import Lower

if TYPE_CHECKING:
    from workbench.runtimes import Session
    from workbench.variant import Variant


class Safetensors(Exporter):
    """Weights with the structure that they belong to."""

    name, title = "safetensors", "safetensors"

    def write(self, variant: Variant, folder: Path) -> Path:
        """A copy. Raises: `BadValue` for a recipe whose result is not in the torch network."""
        refuse_lowered(variant, "safetensors would hold")
        return Path(shutil.copy2(variant.state, folder / "model.safetensors"))

    def measured(self, variant: Variant) -> Path:
        """The network's file."""
        return variant.state

    def load(self, file: Path) -> Session:
        """The network in torch."""
        model = load_variant(file)
        return TorchSession(model.module, model.example, 1)


def refuse_lowered(variant: Variant, would: str) -> None:
    """Raise `BadValue` for a recipe whose last step exists in the ONNX artefact alone."""
    lowering = [step for step in variant.recipe if isinstance(step, Lower)]
    if lowering:
        raise BadValue(
            f"{lowering[0].expression()} exists only in the ONNX artefact; {would} the network without it. Export with "
            'format="onnx".'
        )


register(Safetensors())
