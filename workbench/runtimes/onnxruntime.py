"""ONNX Runtime on the CPU."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from workbench.errors import BadFile, BadValue
from workbench.runtimes.base import Array

#: Severity of ONNX Runtime's log: errors only. What it refuses comes back as an exception anyway.
_ERRORS_ONLY = 3
_CODES = re.compile(
    r"\[ONNXRuntimeError\] : \d+ : \w+ : |Load model from .*? ?failed: ?|/\S*onnxruntime\S*\.cc:\d+ .*?&\) "
)


def open_session(source: str | bytes, threads: int = 1, optimized: str = "") -> Any:
    """An `onnxruntime.InferenceSession` whose idle threads do not burn the CPU.

    `optimized` is a path where the optimised graph is written too.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    # Spinning helps within a run; between runs it would steal time from whoever else is measured.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if optimized:
        options.optimized_model_filepath = optimized
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


@dataclass(frozen=True)
class OnnxSession:
    """A loaded ONNX file."""

    session: Any
    input: str

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one input, without the batch; a dimension of any length counts as 1."""
        return tuple(size if isinstance(size, int) else 1 for size in self.session.get_inputs()[0].shape[1:])

    def run(self, inputs: Array) -> Array:
        """Logits (N, ...) of float32 inputs (N, ...). Raises: `BadValue` for inputs of another shape."""
        try:
            values: Array = self.session.run(None, {self.input: np.ascontiguousarray(inputs, np.float32)})[0]
        except Exception as error:
            wanted = self.session.get_inputs()[0].shape
            raise BadValue(
                f"ONNX Runtime refuses an input of shape {tuple(inputs.shape)}: the artefact takes {wanted}. "
                f"Pass inputs of that shape, batch first. ({_first_line(error)})"
            ) from error
        return values


@dataclass(frozen=True)
class OnnxRuntime:
    """The default runtime: the CPU provider of ONNX Runtime."""

    name: str = "onnxruntime"

    def available(self) -> bool:
        """True when the package `onnxruntime` is installed."""
        return importlib.util.find_spec("onnxruntime") is not None

    def load(self, path: Path, threads: int = 1) -> OnnxSession:
        """Open an ONNX file. Raises: `BadFile` when it is missing or ONNX Runtime refuses it."""
        if not Path(path).is_file():
            raise BadFile(f"There is no artefact at {str(path)!r}. Run the recipe again to make it.")
        try:
            session = open_session(str(path), threads)
        except Exception as error:
            raise BadFile(
                f"ONNX Runtime refuses the artefact {Path(path).name!r} because {_first_line(error)} "
                "Check that the file is complete and that its operators are supported."
            ) from error
        return OnnxSession(session, session.get_inputs()[0].name)


def _first_line(error: Exception) -> str:
    """What the runtime said, without its error codes and the places in its source."""
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    line = _CODES.sub("", line).strip()
    return line if line.endswith(".") else f"{line}."
