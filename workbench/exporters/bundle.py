"""The bundle: the measured artefact with its weights in sparse and Huffman codes, beside what decodes it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.coding import decode, pack
from workbench.errors import ExportFailed
from workbench.exporters.base import Exporter, register

if TYPE_CHECKING:
    from workbench.variant import Variant

DECODER = "decode.py"


class Bundle(Exporter):
    """`python decode.py model.wbz model.onnx` gives the artefact back; it needs numpy alone."""

    name, title, runs_code = "bundle", "compressed bundle", "the decoder beside it"

    def write(self, variant: Variant, folder: Path) -> Path:
        """The codes, and the decoder."""
        shutil.copy2(decode.__file__, folder / DECODER)
        written = folder / "model.wbz"
        written.write_bytes(pack(variant.onnx))
        return written

    def measured(self, variant: Variant) -> Path:
        """The artefact."""
        return variant.onnx

    def unpacked(self, written: Path, folder: Path) -> Path:
        """What the decoder that ships beside the bundle makes of it. Raises: `ExportFailed`."""
        target = folder / "model.onnx"
        command = [sys.executable, str(written.with_name(DECODER)), str(written), str(target)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ExportFailed(f"{written.name} could not be unpacked: {done.stderr.strip()} Nothing was exported.")
        return target


register(Bundle())
