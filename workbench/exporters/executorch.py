"""ExecuTorch's `.pte`: the torch network as PyTorch's runtime for phones and small boards takes it, with XNNPACK."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from workbench.errors import BadFile, BadValue
from workbench.exporters.base import Exporter, register
from workbench.exporters.pt2 import write_program
from workbench.runtimes import runtime

if TYPE_CHECKING:
    from workbench.variant import Variant


class Pte(Exporter):
    """`model.pte` in float32, for as many inputs at a time as its memory was planned for."""

    name, title, runtime, extra = "executorch", "ExecuTorch", "executorch", "executorch"
    packages: ClassVar[tuple[str, ...]] = ("executorch",)

    def write(self, variant: Variant, folder: Path) -> Path:
        """The program. Raises: `BadValue` for what is not in the torch network, or ExecuTorch cannot hold."""
        with tempfile.TemporaryDirectory() as place:
            program = write_program(variant, Path(place) / "model.pt2")
            try:
                made = runtime(self.runtime).convert(program, Path(place))
            except BadFile as error:
                raise BadValue(f"ExecuTorch cannot hold {variant.name}: {error}") from error
            return Path(shutil.copy2(made, folder / "model.pte"))


register(Pte())
