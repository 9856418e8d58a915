"""OpenVINO on the CPU, straight from the ONNX artefact."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from workbench.runtimes.base import Array, Entry, Runtime, Session, register


@dataclass(frozen=True)
class OpenVinoSession(Session):
    """A compiled network and one request to it."""

    request: Any
    entries: tuple[Entry, ...]

    def outputs(self, inputs: Any) -> list[Array]:
        """As `Session.outputs`."""
        found = self.request.infer(dict(enumerate(self.given(inputs))))
        return [np.asarray(found[index]) for index in range(len(found))]


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
        return OpenVinoSession(compiled.create_infer_request(), tuple(_entry(one) for one in compiled.inputs))

    def reason(self, error: Exception) -> str:
        """The line that says what is wrong; those above it say where in OpenVINO's source."""
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        telling = [line for line in lines if not line.startswith(("Exception from", "Check '", "FrontEnd API"))]
        return super().reason(Exception((telling or lines or [type(error).__name__])[0]))


def _entry(one: Any) -> Entry:
    sizes = [size.get_length() if size.is_static else 1 for size in one.partial_shape]
    return Entry(one.get_any_name(), tuple(sizes[1:]), np.dtype(one.element_type.to_dtype()))


register(OpenVino())
