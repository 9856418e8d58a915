"""Networks: loading them from every accepted source, and the bundled ones."""

from workbench.models.catalog import catalog
from workbench.models.doors import load
from workbench.models.model import Model

__all__ = ["Model", "catalog", "load"]
