"""`.pt2`: the torch network as `torch.export` keeps it, which runs without the workbench."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.errors import BadFile
from workbench.exporters.base import Exporter, register
from workbench.exporters.safetensors import refuse_lowered

if TYPE_CHECKING:
    from workbench.runtimes import Session
    from workbench.variant import Variant


class Pt2(Exporter):
    """`torch.export.load("model.pt2").module()` gives it back."""

    name, title, runtime = "pt2", "torch.export", "torch"

    def write(self, variant: Variant, folder: Path) -> Path:
        """The exported program. Raises: `BadValue` for a recipe whose result is not in the torch network."""
        from workbench.diagnosis.portability import write_exported

        refuse_lowered(variant, ".pt2 would hold")
        write_exported(variant, folder / "model.pt2")
        return folder / "model.pt2"

    def load(self, file: Path) -> Session:
        """The program in torch. Raises: `BadFile`, before torch says the same on the screen."""
        if not zipfile.is_zipfile(file):
            raise BadFile(f"{file.name} is no archive that torch.export wrote. Was it copied whole?")
        return super().load(file)


register(Pt2())
