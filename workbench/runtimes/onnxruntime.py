"""ONNX Runtime, once for each execution provider that is built into the installed package."""

from __future__ import annotations

import functools
import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from workbench.errors import BadFile, BadValue
from workbench.runtimes.apart import prove
from workbench.runtimes.base import Array, Runtime, register

#: Severity of ONNX Runtime's log: what ends the process. What it refuses comes back as an exception anyway.
_FATAL = 4
_CODES = re.compile(
    r"\[ONNXRuntimeError\] : \d+ : \w+ : |Load model from .*? ?failed: ?|/\S*onnxruntime\S*\.cc:\d+ .*?&\) "
)
CPU = "CPUExecutionProvider"
#: The providers that compute on this machine. Azure's is left out: it sends the inputs to a remote service.
PROVIDERS = {
    "onnxruntime": CPU,
    "onnxruntime-cuda": "CUDAExecutionProvider",
    "onnxruntime-tensorrt": "TensorrtExecutionProvider",
    "onnxruntime-migraphx": "MIGraphXExecutionProvider",
    "onnxruntime-openvino": "OpenVINOExecutionProvider",
    "onnxruntime-dnnl": "DnnlExecutionProvider",
    "onnxruntime-xnnpack": "XnnpackExecutionProvider",
    "onnxruntime-directml": "DmlExecutionProvider",
    "onnxruntime-coreml": "CoreMLExecutionProvider",
    "onnxruntime-qnn": "QNNExecutionProvider",
    "onnxruntime-webgpu": "WebGpuExecutionProvider",
}


#: How much ONNX Runtime rewrites a graph before it runs it: its names for `GraphOptimizationLevel`.
LEVELS = {
    "off": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}


def open_session(
    source: str | bytes, threads: int = 1, optimized: str = "", provider: str = CPU, level: str = "all"
) -> Any:
    """An `onnxruntime.InferenceSession` whose idle threads do not burn the CPU.

    `optimized` is a path where the optimised graph is written too; `level` is one of `LEVELS`.
    Raises: `BadFile` for a file that would end this process; what ONNX Runtime raises for one that it refuses.
    """
    import onnxruntime

    if provider == CPU:
        prove(source, level)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, LEVELS[level])
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL
    # Spinning helps within a run; between runs it would steal time from whoever else is measured.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if optimized:
        options.optimized_model_filepath = optimized
    return onnxruntime.InferenceSession(source, options, providers=[provider])


#: What an input is converted to, by ONNX Runtime's name for the type that a file wants.
_TYPES = {
    "tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16,
    "tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(int16)": np.int16, "tensor(int8)": np.int8,
    "tensor(uint8)": np.uint8, "tensor(bool)": np.bool_,
}  # fmt: skip


def feeds(session: Any, inputs: Any) -> dict[str, Array]:
    """What `session.run` takes, of the type that the file wants.

    `inputs` are (N, ...) for a file with one input, a sequence of such for several, or a mapping by name.
    """
    entries = session.get_inputs()
    if not isinstance(inputs, Mapping):
        many = inputs if isinstance(inputs, (tuple, list)) else (inputs,)
        inputs = dict(zip((one.name for one in entries), many, strict=True))
    return {
        one.name: np.ascontiguousarray(np.asarray(inputs[one.name]), _TYPES.get(one.type, np.float32))
        for one in entries
    }


@dataclass(frozen=True)
class OnnxSession:
    """A loaded ONNX file."""

    session: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one input, without the batch; a dimension of any length counts as 1."""
        return tuple(size if isinstance(size, int) else 1 for size in self.session.get_inputs()[0].shape[1:])

    @property
    def whole(self) -> bool:
        """Whether inputs are whole numbers."""
        return not np.issubdtype(_TYPES.get(self.session.get_inputs()[0].type, np.float32), np.floating)

    def run(self, inputs: Array) -> Array:
        """Logits (N, ...) of inputs (N, ...). Raises: `BadValue` for inputs of another shape."""
        return self.run_all(inputs)[0]

    def run_all(self, inputs: Array) -> tuple[Array, ...]:
        """Every output (N, ...) in the file's order. Raises: as `run`."""
        try:
            values = self.session.run(None, feeds(self.session, inputs))
        except Exception as error:
            wanted = ", ".join(str(one.shape) for one in self.session.get_inputs())
            raise BadValue(
                f"ONNX Runtime refuses an input of shape {_shapes(inputs)}: the artefact takes {wanted}. "
                f"Pass inputs of that shape, batch first. ({_first_line(error)})"
            ) from error
        return tuple(values)


def _shapes(inputs: Any) -> str:
    several = inputs.values() if isinstance(inputs, Mapping) else inputs
    parts = several if isinstance(inputs, (Mapping, tuple, list)) else (inputs,)
    return ", ".join(str(tuple(np.shape(one))) for one in parts)


@dataclass(frozen=True)
class OnnxRuntime(Runtime):
    """ONNX Runtime with one execution provider; what that cannot run falls back to the CPU's, as it does for users."""

    packages: ClassVar[tuple[str, ...]] = ("onnxruntime",)

    name: str = "onnxruntime"
    title: str = "ONNX Runtime"
    provider: str = CPU

    def available(self) -> bool:
        """True when `onnxruntime` is installed, in a build that has the provider."""
        return super().available() and (self.provider == CPU or self.provider in _built_in())

    def _load(self, path: Path, threads: int) -> OnnxSession:
        session = open_session(str(path), threads, provider=self.provider)
        used = session.get_providers()
        if self.provider not in used:  # it only warns, and would be measured under a wrong name
            raise BadFile(
                f"{self.title} cannot be started on this machine and fell back to {', '.join(used)}. "
                "Install the provider's libraries and driver."
            )
        return OnnxSession(session)

    def reason(self, error: Exception) -> str:
        """What the runtime said, without its error codes and the places in its source."""
        return _first_line(error)


@functools.cache
def _built_in() -> tuple[str, ...]:
    if importlib.util.find_spec("onnxruntime") is None:
        return ()
    import onnxruntime

    return tuple(onnxruntime.get_available_providers())


def _first_line(error: Exception) -> str:
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    line = _CODES.sub("", line).strip()
    return line if line.endswith(".") else f"{line}."


for _name, _provider in PROVIDERS.items():
    _label = "" if _provider == CPU else f" ({_provider.removesuffix('ExecutionProvider')})"
    register(OnnxRuntime(_name, f"ONNX Runtime{_label}", _provider))
