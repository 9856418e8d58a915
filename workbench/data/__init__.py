"""Data sets: named splits of images and labels."""

from workbench.callable_module import make_callable
from workbench.data.dataset import SPLITS, Data, Split
from workbench.data.load import data

__all__ = ["SPLITS", "Data", "Split", "data"]

make_callable(__name__, "data")
