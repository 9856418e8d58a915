"""Techniques, one file each. Importing this package registers them all: recipes are read by the names of steps.

>>> wb.steps.REGISTRY["Tucker"].title
'Tucker'
>>> [setting.name for setting in wb.steps.REGISTRY["Prune"].settings()]
['ratio', 'scope', 'importance', 'layers']
"""

import importlib
import pkgutil

from workbench.recipe import REGISTRY, Recipe, Step, recipes
from workbench.step import Lower, Rewrite

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["REGISTRY", "Lower", "Recipe", "Rewrite", "Step", "recipes"]
