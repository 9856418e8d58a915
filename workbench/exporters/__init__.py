"""The formats that a variant can be exported in, one file each; the first is the artefact that was measured."""

from __future__ import annotations

import importlib
import pkgutil

from workbench.errors import BadValue, unknown
from workbench.exporters.base import REGISTRY, Exporter, register

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["DEFAULT", "REGISTRY", "Exporter", "available", "exporter", "register"]

DEFAULT = "onnx"


def available() -> list[str]:
    """The formats whose packages are installed, by name, the default one first."""
    return sorted((name for name, one in REGISTRY.items() if one.available()), key=lambda name: (name != DEFAULT, name))


def exporter(name: str) -> Exporter:
    """What writes a format. Raises: `UnknownName`; `BadValue` where its packages are not installed."""
    if name not in REGISTRY:
        raise unknown("export format", name, REGISTRY)
    found = REGISTRY[name]
    if not found.available():
        raise BadValue(
            f"The format {name!r} needs {', '.join(found.missing())}, which is not installed. Install it with "
            f"pip install 'nn-workbench[{found.extra}]', or export one of {', '.join(available())}."
        )
    return found
