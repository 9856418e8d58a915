"""workbench: make a trained neural network small and fast, and see the truth about it.

Everything here is imported when it is first used: `import workbench` alone loads no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from workbench import charts, lowrank, measure, runtimes, steps, teach
    from workbench.building.build import compress
    from workbench.cost import cost
    from workbench.data import Data, data
    from workbench.errors import WorkbenchError
    from workbench.estimate import Estimate
    from workbench.export import export
    from workbench.jobs import Job
    from workbench.models import Model, catalog, load
    from workbench.recipe import Recipe, Step, recipes
    from workbench.replay import replay
    from workbench.report import report
    from workbench.study import Study
    from workbench.variant import Variant
    from workbench.workers.pool import Workers

_HOMES = {
    "Data": "workbench.data",
    "Estimate": "workbench.estimate",
    "Job": "workbench.jobs",
    "Model": "workbench.models",
    "Recipe": "workbench.steps",
    "Study": "workbench.study",
    "Variant": "workbench.variant",
    "WorkbenchError": "workbench.errors",
    "Workers": "workbench.workers.pool",
    "catalog": "workbench.models",
    "compress": "workbench.building.build",
    "load": "workbench.models",
    "recipes": "workbench.steps",
}
_MODULES = (
    "charts", "cost", "data", "export", "lowrank", "measure", "replay", "report", "runtimes", "steps", "teach",
)  # fmt: skip

__all__ = [
    "Data", "Estimate", "Job", "Model", "Recipe", "Study", "Variant", "WorkbenchError", "Workers",
    "app", "catalog",
    "charts", "compress", "cost", "data", "export", "load", "lowrank", "measure", "recipes", "replay", "report",
    "runtimes", "steps", "teach",
]  # fmt: skip


def app(study: Study | None = None) -> Any:
    """The screen, for JupyterLab and Voilà: a widget on a study, or on a bundled model.

    >>> screen = wb.app(study)
    >>> type(screen).__name__
    'Screen'
    """
    from workbench_widgets import app as screen

    return screen(study)


if TYPE_CHECKING:

    def __getattr__(name: str) -> type[Step]:
        """To a type checker, whatever is not named above is a technique."""

else:

    def __getattr__(name: str) -> Any:
        """The public names, and every step by its class name."""
        if name in _HOMES:
            return getattr(importlib.import_module(_HOMES[name]), name)
        if name in _MODULES:
            return importlib.import_module(f"workbench.{name}")
        if name[:1].isupper():
            registry = importlib.import_module("workbench.steps").REGISTRY
            if name in registry:
                return registry[name]
        raise AttributeError(f"workbench has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *importlib.import_module("workbench.steps").REGISTRY])
