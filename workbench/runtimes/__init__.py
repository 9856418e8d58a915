"""The runtimes that can run an artefact; ONNX Runtime is the default."""

from __future__ import annotations

from workbench.errors import BadValue, unknown
from workbench.runtimes.base import Runtime, Session
from workbench.runtimes.onnxruntime import OnnxRuntime

__all__ = ["Runtime", "Session", "available", "runtime"]

RUNTIMES: dict[str, Runtime] = {one.name: one for one in (OnnxRuntime(),)}


def available() -> dict[str, Runtime]:
    """The installed runtimes by name."""
    return {name: one for name, one in RUNTIMES.items() if one.available()}


def runtime(name: str = "onnxruntime") -> Runtime:
    """The runtime of this name. Raises: `UnknownName`; `BadValue` when it is not installed."""
    if name not in RUNTIMES:
        raise unknown("runtime", name, RUNTIMES)
    if not RUNTIMES[name].available():
        raise BadValue(f"The runtime {name!r} is not installed. Install it with pip, or use 'onnxruntime'.")
    return RUNTIMES[name]
