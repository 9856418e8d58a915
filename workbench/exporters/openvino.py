"""OpenVINO IR: the artefact as OpenVINO keeps it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from workbench.errors import BadValue
from workbench.exporters.base import Exporter, register
from workbench.runtimes import runtime

if TYPE_CHECKING:
    from workbench.runtimes import Session
    from workbench.variant import Variant


class OpenVinoIr(Exporter):
    """`model.xml` with its weights in `model.bin`, in the precision of the artefact."""

    name, title, runtime, extra = "openvino", "OpenVINO IR", "openvino", "openvino"
    packages: ClassVar[tuple[str, ...]] = ("openvino",)
    tolerance = 1e-6

    def write(self, variant: Variant, folder: Path) -> Path:
        """Both files. Raises: `BadValue` for a graph that OpenVINO refuses, with what it says."""
        import openvino

        target = folder / "model.xml"
        try:
            openvino.save_model(openvino.Core().read_model(str(variant.onnx)), str(target), compress_to_fp16=False)
        except Exception as error:  # it raises anything for an operator that it lacks
            raise BadValue(
                f"OpenVINO cannot hold {variant.name}: {runtime(self.runtime).reason(error)} Export it with "
                'format="onnx".'
            ) from error
        return target

    def reference(self, variant: Variant) -> Session:
        """OpenVINO's own run of the artefact: it computes integers by rules of its own."""
        return runtime(self.runtime).load(variant.onnx)


register(OpenVinoIr())
