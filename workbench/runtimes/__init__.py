"""The runtimes that can run an artefact, one file each; ONNX Runtime is the default.

>>> list(wb.runtimes.available())[0]
'onnxruntime'
"""

from __future__ import annotations

import importlib
import pkgutil

from workbench.errors import BadValue, unknown
from workbench.interface.arguments import check_kinds
from workbench.runtimes.base import REGISTRY, Runtime, Session, register

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["DEFAULT", "REGISTRY", "Runtime", "Session", "available", "register", "runtime"]

#: The runtime in which accuracy and latency are measured.
DEFAULT = "onnxruntime"


def available() -> dict[str, Runtime]:
    """The installed runtimes by name, the default one first."""
    return {name: one for name, one in sorted(REGISTRY.items(), key=lambda item: item[0] != DEFAULT) if one.available()}


@check_kinds
def runtime(name: str = DEFAULT) -> Runtime:
    """The runtime of this name. Raises: `UnknownName`; `BadValue` when it is not installed."""
    if name not in REGISTRY:
        raise unknown("runtime", name, REGISTRY)
    found = REGISTRY[name]
    if not found.available():
        how = f"pip install 'nn-workbench[{found.extra}]'" if found.extra else "a build of its package that has it"
        raise BadValue(f"The runtime {name!r} is not installed. Install it with {how}, or use {DEFAULT!r}.")
    return found
