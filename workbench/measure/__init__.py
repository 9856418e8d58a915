"""What is measured on the artefact itself: accuracy, latency, memory; and experiments on the machine.

>>> times = wb.measure.profile(study.baseline.onnx, runs=2)  # of every operator that runs
>>> bool((times["ms"] >= 0).all())
True
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workbench.measure.calibration import calibrate
    from workbench.measure.guideline_experiments import guidelines
    from workbench.measure.latency import measure_latency, run_memory
    from workbench.measure.levels import compare_levels
    from workbench.measure.profiler import profile

# Late, since the measuring process imports this package and must stay lean.
_HOMES = {
    "calibrate": "calibration",
    "compare_levels": "levels",
    "guidelines": "guideline_experiments",
    "measure_latency": "latency",
    "profile": "profiler",
    "run_memory": "latency",
}
__all__ = ["calibrate", "compare_levels", "guidelines", "measure_latency", "profile", "run_memory"]


def __getattr__(name: str) -> Any:
    """The public names; no submodule may have the name of one, or it would take its place."""
    if name in _HOMES:
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"workbench.measure has no attribute {name!r}")
