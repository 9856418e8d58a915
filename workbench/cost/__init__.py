"""Analytic cost: multiply-accumulates, parameters, memory access, peak activations."""

from workbench.cost.layer import Layer
from workbench.cost.network import Network, Totals
from workbench.cost.report import Cost, cost
from workbench.interface.callable_module import make_callable

__all__ = ["Cost", "Layer", "Network", "Totals", "cost"]

make_callable(__name__, "cost")
