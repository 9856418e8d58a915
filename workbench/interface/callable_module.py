"""Modules that can be called: `wb.cost(model)` is a function and `workbench.cost` the package that holds it."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


def make_callable(module: str, function: str) -> None:
    """Calling the module calls its `function`.

    Python sets a package's attribute to each submodule that it imports, so a function of the same
    name could not stay there.
    """

    class Callable(ModuleType):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return getattr(self, function)(*args, **kwargs)

    sys.modules[module].__class__ = Callable
