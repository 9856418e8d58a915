"""Techniques, one file each. Importing this package registers them all."""

import importlib
import pkgutil

from workbench.step import REGISTRY, Lower, Rewrite, Step

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["REGISTRY", "Lower", "Rewrite", "Step"]
