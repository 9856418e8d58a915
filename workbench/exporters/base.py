"""What writes a format. One file here that registers itself; nothing else knows it by name."""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from workbench.errors import BadValue, shown
from workbench.runtimes import DEFAULT, Session, runtime

if TYPE_CHECKING:
    from workbench.variant import Variant

#: Every format by the name that users select it by, whether its packages are installed or not.
REGISTRY: dict[str, Exporter] = {}


class Exporter(ABC):
    """One format: how it is written, and how what was written is read back.

    Whatever is written goes through `workbench.proof.verification` before it counts: it is loaded from the folder
    that it was written to, and compared with the artefact that was measured.

    `tolerance`: by how much an output may differ from the measured artefact's, relative to the largest one;
    `typical`: the same for the mean of all outputs' differences, where few may differ at all;
    `packages`: what must be importable; `extra`: the extra of this distribution that installs them; `runtime`: what
    runs the file, a name of `workbench.runtimes`.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str] = ""
    runtime: ClassVar[str] = DEFAULT
    tolerance: ClassVar[float] = 1e-4
    typical: ClassVar[float] = np.inf
    #: What reading it back runs of the folder that it lies in, where that is code; "" for formats that hold data.
    runs_code: ClassVar[str] = ""
    #: Whether what is written belongs to this machine and this version of ONNX Runtime.
    this_machine: ClassVar[bool] = False

    def at_opset(self, opset: int) -> Exporter:
        """The format in ONNX's operators of that version. Raises: `BadValue`, also where the format has none."""
        raise BadValue(f'The format {self.name!r} has no opset; leave opset={shown(opset)} out, or take format="onnx".')

    def missing(self) -> list[str]:
        """The packages that it needs and that are not installed."""
        return [one for one in self.packages if importlib.util.find_spec(one) is None]

    def available(self) -> bool:
        """True when everything that it needs is installed."""
        return not self.missing()

    @abstractmethod
    def write(self, variant: Variant, folder: Path) -> Path:
        """Write a variant to an empty folder; the file there that stands for it.

        Raises: `BadValue` where the format cannot hold the variant, naming the operator and its layer.
        """

    def measured(self, variant: Variant) -> Path | None:
        """The variant's file that `unpacked` gives byte for byte; None where the format is a conversion."""
        return None

    def unpacked(self, written: Path, folder: Path) -> Path:
        """The file that is run: what was written, or what comes out of it, made in `folder`. Raises: `ExportFailed`."""
        return written

    def reference(self, variant: Variant) -> Session | None:
        """The artefact in the runtime that reads the format, where that rounds by rules of its own; else None."""
        return None

    def unproven(self) -> str:
        """Why nothing that is written can be run here, a sentence for the manifest; "" where it can."""
        return ""

    def figures(self, variant: Variant, written: Path) -> dict[str, float]:
        """What else is known of the files, to stand beside what was verified."""
        return {}

    def load(self, file: Path) -> Session:
        """What `unpacked` gave, ready to run. Raises: `BadFile` for one that is damaged."""
        return runtime(self.runtime).load(file)


def register(one: Exporter) -> Exporter:
    """Add a format to `REGISTRY`."""
    REGISTRY[one.name] = one
    return one
