"""OpenVINO on the CPU, straight from the ONNX artefact."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from workbench.runtimes.base import Array, Runtime, register


@dataclass(frozen=True)
class OpenVinoSession:
    """A compiled network and one request to it."""

    request: Any
    shape: tuple[int, ...]
    type: npt.DTypeLike

    @property
    def whole(self) -> bool:
        """Whether inputs are whole numbers."""
        return not np.issubdtype(self.type, np.floating)

    def run(self, inputs: Array) -> Array:
        """Logits (N, ...) of inputs (N, ...)."""
        values: Array = self.request.infer({0: np.ascontiguousarray(inputs, self.type)})[0]
        return values


@dataclass(frozen=True)
class OpenVino(Runtime):
    """Intel's runtime; it reads QDQ graphs and runs them in integers."""

    packages: ClassVar[tuple[str, ...]] = ("openvino",)
    extra: ClassVar[str] = "openvino"

    name: str = "openvino"
    title: str = "OpenVINO"

    def _load(self, path: Path, threads: int) -> OpenVinoSession:
        import openvino

        settings = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            # By default it computes in bfloat16 where the CPU can: another network than the artefact.
            "INFERENCE_PRECISION_HINT": "f32",
            "ENABLE_CPU_PINNING": False,  # whoever measures has chosen the CPUs
        }
        compiled = openvino.Core().compile_model(str(path), "CPU", settings)
        sizes = [size.get_length() if size.is_static else 1 for size in compiled.input(0).partial_shape]
        kind = compiled.input(0).element_type.to_dtype()
        return OpenVinoSession(compiled.create_infer_request(), tuple(sizes[1:]), kind)

    def reason(self, error: Exception) -> str:
        """The line that says what is wrong; those above it say where in OpenVINO's source."""
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        telling = [line for line in lines if not line.startswith(("Exception from", "Check '", "FrontEnd API"))]
        return super().reason(Exception((telling or lines or [type(error).__name__])[0]))


register(OpenVino())
