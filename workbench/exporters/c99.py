"""C99 for microcontrollers: the int8 artefact as C that allocates nothing, with an arena of the predicted peak."""

from __future__ import annotations

import math
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.c99.compiling import compiler, footprint, library, loaded
from workbench.c99.project import STEP, project
from workbench.c99.reading import read
from workbench.c99.writing import written
from workbench.cost.roofline import weight_bytes
from workbench.data.batches import arrays
from workbench.exporters.base import Exporter, register
from workbench.runtimes import runtime

if TYPE_CHECKING:
    from workbench.runtimes import Session
    from workbench.variant import Variant


class C99(Exporter):
    """Weights and a forward pass in 8-bit integers, compiled by the system's compiler to be read back."""

    name, title, runs_code = "c99", "C99", "the C of its folder, compiled"
    #: One of 255 steps of the largest answer. Where the artefact runs in integers the answers are the same bit by bit.
    tolerance = STEP
    #: And few answers differ at all, or else a number is wrong that does little.
    typical = STEP / 100

    def write(self, variant: Variant, folder: Path) -> Path:
        """The network's files, and the project around them.

        Raises: `BadValue` for an operator that C99 has no kernel for, or that is not quantized, with its layer.
        """
        title = f"{variant.model.source}, {variant.name}"
        files, _ = written(read(variant.onnx), title)
        example = arrays(variant.data["test"].example)
        (answers,) = runtime().load(variant.onnx).outputs(example)
        for name, text in (dict(files) | project(title, example, answers)).items():
            (folder / name).write_text(text, encoding="ascii", newline="\n")
        return folder / "network.c"

    def unpacked(self, written: Path, folder: Path) -> Path:
        """The network compiled to a shared library. Raises: `BadFile` where a compiler refuses it."""
        shutil.copy2(written.with_name("network.h"), folder)
        return library(written.parent, folder / "network.so")

    def load(self, file: Path) -> Session:
        """The library, called from here."""
        return loaded(file)

    def unproven(self) -> str:
        """Without a compiler nothing can be run."""
        if compiler():
            return ""
        return (
            "There is no C compiler here ($CC, cc, gcc or clang), so network.c was written and not compiled, and none "
            "of its answers was compared. Install one and export again, or build and start network_check elsewhere."
        )

    def figures(self, variant: Variant, written: Path) -> dict[str, float]:
        """Flash and memory of the compiled objects beside what was predicted of the variant."""
        predicted = {
            "predicted_flash_bytes": float(math.ceil(weight_bytes(variant.network))),
            "predicted_ram_bytes": variant["peak_activation_bytes"].value,
        }
        if not compiler():
            return predicted
        with tempfile.TemporaryDirectory() as place:
            found = footprint(written.parent, Path(place))
        if found is None:
            return predicted
        return {"flash_bytes": float(found.flash), "ram_bytes": float(found.ram)} | predicted


register(C99())
